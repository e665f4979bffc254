"""Quality filters: Textmill beside datatrove, in one run, on one core each, on the same documents.

    python benchmarks/filters.py [--texts FILE.jsonl ...] [--documents 1500] [--rounds 3]

The documents are pieces of up to 3000 characters of the `text` of JSON lines, or where none are named, of the
standard library of the running Python. Both sides apply the rules of Gopher (quality and
repetition), of FineWeb and of C4 with the same thresholds, in turn, several rounds over; the best round counts, in
seconds of processor time.
datatrove runs with the word splitter it comes with (spaCy) where that is installed, and else with `str.split`,
which costs it next to nothing. `agreement` is the share of documents on which both decide the same. Prints one
JSON object; MB are 10^6 bytes of UTF-8 text; a peer that is missing is null.
"""

from __future__ import annotations

import argparse
import json
import sysconfig
import time
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from textmill.specs.cleaning import C4Step, ClassifierStep, FineWebStep, GopherStep
from textmill.text import words
from textmill.text.cleaning.quality import c4, classifier, fineweb, gopher
from textmill.text.document import Document, Step, collected

PIECE = 3000
Decide = Callable[[], list[bool]]


def pieces(files: list[Path], most: int) -> list[str]:
    """Texts of up to PIECE characters, spread evenly over what the files hold."""
    if files:
        whole = [json.loads(line)["text"] for file in files for line in file.read_text("utf-8").splitlines()]
    else:
        found = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
        whole = [path.read_text("utf-8", "replace") for path in found]
    cut = [text[at : at + PIECE] for text in whole for at in range(0, len(text), PIECE)]
    return cut[:: max(1, len(cut) // most)][:most]


def ours(step: Step, documents: list[Document]) -> Decide:
    return lambda: [isinstance(item, Document) for item in step(documents)]


def theirs(peers: list, texts: list[str]) -> Decide:
    from datatrove.data import Document as Theirs
    from datatrove.utils.text import split_into_parts

    def decide() -> list[bool]:
        split_into_parts.cache_clear()  # or the second filter of a round would find the words of the first
        return [all(peer.filter(Theirs(text=text, id="")) is True for peer in peers) for text in texts]

    return decide


def datatrove_filters() -> tuple[dict[str, list], str]:
    """datatrove's filters with our thresholds, and which words they count in."""
    from datatrove.pipeline import filters
    from datatrove.pipeline.filters import (
        c4_filters,
        fineweb_quality_filter,
        gopher_quality_filter,
        gopher_repetition_filter,
    )

    splitter = "spaCy" if find_spec("spacy") else "str.split"
    if splitter != "spaCy":
        for module in (fineweb_quality_filter, gopher_quality_filter, gopher_repetition_filter):
            module.split_into_words = lambda text, language: text.split()
        c4_filters.split_into_sentences = lambda text, language: [text] * c4.sentences(text)
    return {
        "gopher": [filters.GopherQualityFilter(), filters.GopherRepetitionFilter()],
        "fineweb": [filters.FineWebQualityFilter(char_duplicates_ratio=0.1, new_line_ratio=float("inf"))],
        "c4": [filters.C4QualityFilter()],
    }, splitter


def best(runs: dict[str, Decide], rounds: int) -> dict[str, float]:
    """Seconds of processor time of the best round of each, the rounds taken in turn."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.process_time()
            run()
            taken[name].append(time.process_time() - start)
    return {name: min(times) for name, times in taken.items()}


def learned(texts: list[str]) -> Step:
    """A classifier step fitted on halves of the texts: its speed is what counts here."""
    model = classifier.train(texts[:100], texts[-100:])
    return classifier.judging(model, ClassifierStep(good="-", bad="-", least=0.0))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--texts", type=Path, nargs="*", default=[])
    parser.add_argument("--documents", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    texts = pieces(asked.texts, asked.documents)
    documents = [collected(text, str(i)) for i, text in enumerate(texts)]
    megabytes = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts) / 1e6
    steps = {
        "gopher": gopher.step(GopherStep()),
        "fineweb": fineweb.step(FineWebStep()),
        "c4": c4.step(C4Step()),
    }
    runs: dict[str, Decide] = {f"textmill {name}": ours(step, documents) for name, step in steps.items()}
    runs["textmill gopher + fineweb"] = lambda: [
        isinstance(item, Document) for item in steps["fineweb"](steps["gopher"](documents))
    ]
    runs["textmill classifier"] = ours(learned(texts), documents)
    runs["textmill words only"] = lambda: [bool(len(words.hashes(texts).hash))]
    peer, splitter = datatrove_filters() if find_spec("datatrove") else ({}, None)
    runs |= {f"datatrove {name}": theirs(peers, texts) for name, peers in peer.items()}
    seconds = best(runs, asked.rounds)
    decided = {name: run() for name, run in runs.items()}
    report = {
        "megabytes": round(megabytes, 2),
        "documents": len(texts),
        "megabytes_per_second": {name: round(megabytes / max(s, 1e-9), 2) for name, s in seconds.items()},
        "kept": {name: sum(kept) for name, kept in decided.items() if name != "textmill words only"},
        "datatrove": {"version": version("datatrove"), "words": splitter} if peer else None,
        "agreement": {
            name: round(
                sum(
                    a == b
                    for a, b in zip(decided[f"textmill {name}"], decided[f"datatrove {name}"], strict=True)
                )
                / len(texts),
                4,
            )
            for name in peer
        },
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
