"""Documents: what is found, answered and kept silent about, and how quickly, on public questions.

    python benchmarks/documents.py recall --data FOLDER --embedder minilm-l6-v2
    python benchmarks/documents.py answers --data FOLDER --embedder minilm-l6-v2 --model RUN [--limit 100]
    python benchmarks/documents.py speed --data FOLDER

FOLDER holds xquad/{en,de,zh}.dev.json, squad-mini/{train.json.gz,dev.json} and cmrc2018/dev.json.gz (all SQuAD's form):
their 2,288 passages are one store, a file a set, a document a passage. For `speed` it holds
english-novels/train.jsonl.gz and chinese-classics/{hongloumeng,sanguoyanyi}.txt.gz.

recall    BM25 alone, vectors alone, hybrid: recall@1 and @5 of each set's questions (every --each'th), and of Chinese
          questions over the English passages. The weights of the hybrid were chosen on squad-mini's training questions;
          cmrc's and xquad's are judged.
answers   the evidence is fitted on squad-mini's training questions and every other question of cmrc, then judged on
          xquad: F1 beside F1 with the right passage given, and silence where passages were taken away
speed     100,000 chunks of English and Chinese novels with random vectors of 384: adding without vectors, hybrid search
          (p95), memory
"""

from __future__ import annotations

import argparse
import gzip
import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from textmill.retrieval.chunks import weigh
from textmill.retrieval.places import Filter
from textmill.retrieval.search import Search
from textmill.retrieval.store import Store
from textmill.stages.use import asking
from textmill.stages.use.documents import Documents
from textmill.stages.use.model import LanguageModel
from textmill.stages.workspace.workspace import Workspace
from textmill.text.document import utf8_size

SETS = {
    "xquad-en": "xquad/en.dev.json",
    "xquad-de": "xquad/de.dev.json",
    "xquad-zh": "xquad/zh.dev.json",
    "squad-mini-dev": "squad-mini/dev.json",
    "squad-mini-train": "squad-mini/train.json.gz",
    "cmrc": "cmrc2018/dev.json.gz",
}
JUDGED = ("xquad-en", "xquad-de", "xquad-zh", "squad-mini-dev", "cmrc")


def articles(path: Path) -> list[dict]:
    """The articles of a file in SQuAD's form."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as file:
        return json.load(file)["data"]


def collected(data: Path, folder: Path, titles: bool) -> None:
    """A file of records for each set: its passages, with the titles of their articles."""
    folder.mkdir(exist_ok=True)
    for name, file in SETS.items():
        with (folder / f"{name}.jsonl").open("w", encoding="utf-8") as out:
            for article in articles(data / file):
                for paragraph in article["paragraphs"]:
                    title = {"title": article["title"].replace("_", " ")} if titles else {}
                    print(json.dumps({"text": paragraph["context"], **title}, ensure_ascii=False), file=out)


def recall(documents: Documents, data: Path, each: int, embedder: bool) -> None:
    """Prints a line a set and way."""
    hows = ("words", "vectors", "hybrid") if embedder else ("words", "hybrid")
    print(f"{'questions':24} {'':8} recall@1  @5     @20")
    english = {p["context"] for article in articles(data / SETS["xquad-en"]) for p in article["paragraphs"]}
    for name in (*JUDGED, "xquad zh → en"):
        file = SETS["xquad-zh" if "→" in name else name]
        asked = [
            (question["question"], paragraph["context"])
            for article in articles(data / file)
            for paragraph in article["paragraphs"]
            for question in paragraph["qas"]
        ]
        chosen = None
        if "→" in name:  # the same passage in English, among the English ones
            across = dict(
                zip(
                    (p["context"] for a in articles(data / file) for p in a["paragraphs"]),
                    (p["context"] for a in articles(data / SETS["xquad-en"]) for p in a["paragraphs"]),
                    strict=True,
                )
            )
            asked = [(question, across[passage]) for question, passage in asked]
            assert {passage for _, passage in asked} <= english
            chosen = Filter(language="en")
        asked = asked[::each]
        for how in hows:
            ranks = []
            for question, passage in asked:
                found = documents.search(question, 40, how=how, chosen=chosen).hits
                names = list(dict.fromkeys(hit.place.source for hit in found))
                held = {hit.place.source for hit in found if asking.holds(passage, hit.place.text)}
                ranks.append(next((rank for rank, one in enumerate(names, 1) if one in held), 99))
            place = np.array(ranks)
            shares = "  ".join(f"{(place <= top).mean():.3f}" for top in (1, 5, 20))
            print(f"{name:16} {len(place):6,}  {how:8} {shares}", flush=True)


def answers(documents: Documents, data: Path, model: LanguageModel | None, limit: int, folder: Path) -> None:
    """Prints what was fitted, and the figures of xquad."""
    half = folder / "cmrc-half.json"
    paragraphs = [p for article in articles(data / SETS["cmrc"]) for p in article["paragraphs"]]
    half.write_text(json.dumps({"data": [{"title": "", "paragraphs": paragraphs[::2]}]}))
    for fitted, judged in (
        (data / SETS["squad-mini-train"], ("xquad-en", "xquad-de")),
        (half, ("xquad-zh",)),
    ):
        found = asking.evaluate(documents, [fitted], model, limit=limit, fit=True)
        print(json.dumps({"fitted on": fitted.name, **_short(found)}, ensure_ascii=False), flush=True)
        for name in judged:
            found = asking.evaluate(documents, [data / SETS[name]], model, limit=limit)
            print(json.dumps({"judged on": name, **_short(found)}, ensure_ascii=False), flush=True)


def _short(found: dict) -> dict:
    rows = {f"{row['coverage']:.1f}": round(row["wrong_left"], 3) for row in found.get("risk_coverage", ())}
    kept = {name: found[name] for name in found if name not in ("risk_coverage", "skipped")}
    return {**kept, "wrong left at coverage": rows}


class Random:
    """Vectors of nothing, as many and as wide as MiniLM's."""

    id = "random"

    def __init__(self, width: int = 384) -> None:
        self._rng, self._width = np.random.default_rng(0), width

    def embed(self, texts: list[str]) -> np.ndarray:
        """(B, D) of length 1."""
        made = self._rng.normal(size=(len(texts), self._width)).astype(np.float32)
        return made / np.linalg.norm(made, axis=1, keepdims=True)

    def unknown(self, text: str) -> float:
        """Nothing is."""
        return 0.0


def speed(data: Path, folder: Path, chunks: int) -> None:
    """Prints megabytes a second, milliseconds and megabytes; of processor time too, which tells the same when others
    work."""
    books = folder / "books"
    books.mkdir()
    with gzip.open(data / "english-novels/train.jsonl.gz", "rt", encoding="utf-8") as file:
        english = [json.loads(line)["text"] for line in file]
    chinese = []
    for name in ("hongloumeng", "sanguoyanyi"):
        with gzip.open(data / f"chinese-classics/{name}.txt.gz", "rt", encoding="utf-8") as file:
            chinese.append(file.read())
    number = weight = size = 0
    enough = 620 * chunks  # a chunk is never quite full
    while weight < enough:  # the same words over and over, so that queries meet long lists
        for text in (*english, *chinese):
            (books / f"{number}.txt").write_text(text, encoding="utf-8")
            number, weight, size = number + 1, weight + weigh(text), size + utf8_size(text)
            if weight >= enough:
                break
    with Documents(folder / "speed.db", create=True) as documents:
        start, worked = time.perf_counter(), time.process_time()
        added = documents.add(books)
        seconds, worked = time.perf_counter() - start, time.process_time() - worked
    print(
        f"adding: {size / 1e6 / seconds:.2f} MB/s, {size / 1e6 / worked:.2f} MB a second of the processor; "
        f"{added.chunks:,} chunks of {size / 1e6:.0f} MB",
        flush=True,
    )
    encoder = Random()
    with Store(folder / "speed.db") as store:
        for document, texts in store.without_vectors("random"):
            store.set_vectors("random", document, encoder.embed(texts))
        search = Search(store, encoder)
        for name, texts, width in (("English", english, 50), ("Chinese", chinese, 12)):
            search_speed(search, name, texts[0], width)
    print(f"memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB at most")


def search_speed(search: Search, name: str, text: str, width: int) -> None:
    """Prints how long the search for 120 stretches of a text takes, but for the first 20."""
    taken = []
    for at in np.random.default_rng(1).integers(0, len(text) - width, 120):
        start, worked = time.perf_counter(), time.process_time()
        search.find(" ".join(text[at : at + width].split()))
        taken.append((1000 * (time.perf_counter() - start), 1000 * (time.process_time() - worked)))
    for what, column in zip(("passed", "of the processor"), np.array(taken[20:]).T, strict=True):
        print(
            f"hybrid, {name}: median {np.median(column):.0f} ms, p95 {np.quantile(column, 0.95):.0f} ms {what}",
            flush=True,
        )


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("recall", "answers", "speed"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument(
        "--work", type=Path, help="folder of the store, which is kept; left out: a temporary one"
    )
    parser.add_argument("--embedder")
    parser.add_argument("--model", help="of the task answer; left out: the sentence that fits best")
    parser.add_argument("--limit", type=int, default=200, help="questions of each set that are answered")
    parser.add_argument("--each", type=int, default=2, help="every so many questions are looked for")
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument(
        "--no-titles", action="store_true", help="passages without the titles of their articles"
    )
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.work or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if given.what == "speed":
            speed(given.data, folder, given.chunks)
            return
        workspace = Workspace(folder / "work")
        embedder, model = (
            None if name is None else LanguageModel(workspace, name) for name in (given.embedder, given.model)
        )
        collected(given.data, folder / "passages", not given.no_titles)
        with Documents(folder / "passages.db", embedder=embedder, create=True) as documents:
            documents.add(folder / "passages")
            if given.what == "recall":
                recall(documents, given.data, given.each, embedder is not None)
            else:
                answers(documents, given.data, model, given.limit, folder)


if __name__ == "__main__":
    main()
