"""The linear family beside scikit-learn over the same n-grams, in one run: accuracy, and seconds of training.

Six sets of labelled texts, read from a folder of them (`--data`; each as its README there says): sst2, whose phrases
are dealt so that no split divides a sentence and its phrases, judged by whole sentences; chnsenticorp's dev part
without what its training part holds too; tnews and csl-category by their dev parts; agnews and thucnews10, dealt 8,000
to 2,000.
A twentieth of each training part (sst2: what the split makes) chooses our penalty. n-grams of 1 to 3 words, and of
hanzi of single characters.

Ours: tf-idf, and naive-bayes weighting, as a recipe without settings of its own fits them, the search for the penalty
included. Theirs: TfidfVectorizer with LogisticRegression at C = 1 / our penalty, no search; the same with LinearSVC at
C = 1; CountVectorizer with MultinomialNB. Seconds are those of reading texts as features and fitting, as a clock says
and as the processor counts them.

    OMP_NUM_THREADS=2 python benchmarks/linear.py --data DIR [--sets sst2,tnews] [--seeds 1]

Prints one JSON object; `difference` is our accuracy less LogisticRegression's, in points.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from textmill.models.linear.fit import Labelled, bag, fit, scores
from textmill.specs.cleaning import ContainmentStep
from textmill.specs.corpus import SplitSpec
from textmill.specs.model import LinearSpec
from textmill.text.cleaning import steps
from textmill.text.corpus.corpus import Corpus, write_corpus
from textmill.text.document import collected

CHINESE = ("chnsenticorp", "tnews", "thucnews10", "csl-category")
SETS = ("sst2", "agnews", *CHINESE)
Rows = list[tuple[str, str]]


def read(path: Path, *, header: bool = False) -> Rows:
    with (
        gzip.open(path, "rt", encoding="utf-8")
        if path.suffix == ".gz"
        else open(path, encoding="utf-8") as file
    ):
        rows = [tuple(line.rstrip("\n").rsplit("\t", 1)) for line in file]
    return rows[header:]  # type: ignore[return-value]


def parts(data: Path, name: str, seed: int) -> tuple[Rows, Rows, Rows]:
    """Training, validation and test rows."""
    folder = data / name
    if name == "sst2":
        return by_groups(
            read(folder / "train.tsv.gz", header=True) + read(folder / "dev.tsv", header=True), seed
        )
    train = read(folder / "train.tsv.gz")
    random.Random(seed).shuffle(train)
    if name in ("agnews", "thucnews10"):
        train, test = train[:8000], train[8000:]
    else:
        held = next(folder.glob("dev.tsv*"))
        known = {text for text, _ in train} if name == "chnsenticorp" else set()
        test = [row for row in read(held) if row[0] not in known]
    return train[len(train) // 20 :], train[: len(train) // 20], test


def by_groups(rows: Rows, seed: int) -> tuple[Rows, Rows, Rows]:
    """Dealt by containment; another seed deals otherwise, by a word more in every text's id."""
    split = SplitSpec(validation=0.05, test=0.15, by="containment")
    documents = [
        collected({"text": " ".join(text.split()), "deal": str(seed)}, "", {"label": label})
        for text, label in dict(rows).items()
    ]
    with tempfile.TemporaryDirectory() as folder:
        write_corpus(Path(folder), steps.apply(documents, (ContainmentStep(),)), split)
        corpus = Corpus(folder)
        train, validation, test = (
            [(document.texts["text"], document.metadata["label"]) for document in corpus.documents(part)]
            for part in ("train", "validation", "test")
        )
    return train, validation, test


def timed(work) -> tuple[object, float, float]:
    clock, processor = time.perf_counter(), time.process_time()
    result = work()
    return result, time.perf_counter() - clock, time.process_time() - processor


def ours(spec: LinearSpec, train: Rows, validation: Rows, test: Rows) -> dict:
    names = sorted({label for _, label in train + validation + test})
    number = {name: place for place, name in enumerate(names)}

    def labelled(rows: Rows) -> Labelled:
        return Labelled([(text,) for text, _ in rows], np.array([number[label] for _, label in rows]))

    fitted, seconds, processor = timed(lambda: fit(spec, labelled(train), len(names), labelled(validation)))
    known, worth = bag(spec, fitted.keys, fitted.scale, [(text,) for text, _ in test])
    logits = scores(
        known, torch.from_numpy(worth), torch.from_numpy(fitted.weight), torch.from_numpy(fitted.bias)
    )
    right = logits.argmax(1).numpy() == labelled(test).targets
    found = {"accuracy": round(100 * right.mean(), 2), "penalty": fitted.penalty, "n-grams": len(fitted.keys)}
    return found | {"seconds": round(seconds, 1), "processor": round(processor, 1)}


def theirs(model, vectorizer, train: Rows, test: Rows) -> dict:
    def work():
        table = vectorizer.fit_transform([text for text, _ in train])
        return model.fit(table, [label for _, label in train])

    _, seconds, processor = timed(work)
    said = model.predict(vectorizer.transform([text for text, _ in test]))
    right = np.array([label == wanted for label, (_, wanted) in zip(said, test, strict=True)])
    return {
        "accuracy": round(100 * right.mean(), 2),
        "seconds": round(seconds, 1),
        "processor": round(processor, 1),
    }


def compare(data: Path, name: str, seed: int) -> dict:
    from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import MultinomialNB
    from sklearn.svm import LinearSVC

    cut = {"analyzer": "char"} if name in CHINESE else {"token_pattern": r"(?u)\w+|[^\w\s]"}
    cut |= {"ngram_range": (1, 3)}
    train, validation, test = parts(data, name, seed)
    mine = ours(LinearSpec(), train, validation, test)
    bayes = ours(LinearSpec(weighting="naive-bayes"), train, validation, test)
    peers = {
        "LogisticRegression": (
            LogisticRegression(C=1 / mine["penalty"], max_iter=200),
            TfidfVectorizer(sublinear_tf=True, **cut),
        ),
        "LinearSVC": (LinearSVC(C=1.0), TfidfVectorizer(sublinear_tf=True, **cut)),
        "MultinomialNB": (MultinomialNB(), CountVectorizer(binary=True, **cut)),
    }
    found = {peer: theirs(*each, train, test) for peer, each in peers.items()}
    return {
        "rows": [len(train), len(validation), len(test)],
        "tf-idf": mine,
        "naive-bayes": bayes,
        **found,
        "difference": round(mine["accuracy"] - found["LogisticRegression"]["accuracy"], 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--seeds", type=int, default=1)
    asked = parser.parse_args()
    result = {
        name: [compare(asked.data, name, seed) for seed in range(asked.seeds)]
        for name in asked.sets.split(",")
    }
    print(json.dumps({"threads": os.environ.get("OMP_NUM_THREADS"), "sets": result}, indent=1))


if __name__ == "__main__":
    main()
