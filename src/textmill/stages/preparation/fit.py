"""How well the records of a corpus fit the objective they are for: what could not be used, labels, leakage.

Written beside the records as `records.json`, shown in the data card, and held against the recipe's limits.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from textmill.base.errors import TextmillError
from textmill.base.files import read_jsonl
from textmill.data.examples import SKIPPED, ExampleStore
from textmill.data.overlap import overlap
from textmill.specs.corpus import LimitSpec
from textmill.text.corpus.corpus import Corpus
from textmill.text.corpus.split import PARTS
from textmill.text.document import printable

Fit = dict[str, Any]
_LISTED = 10  # records named for one reason, or in an error


def fit(directory: Path, corpus: Corpus) -> Fit:
    """What is to be known of the records in a folder, a store for each split.

    splits       of each: read, records, and skipped by reason with the places of the first
    labels       of each label how many records, or words, have it in each split; none where nothing has a label
    unknown      labels that no training record has: the split, how many, the places of the first
    leakage      of each held-out split: records, those whose text is a training text, those that share a run of tokens
                 with one
    """
    stores = {name: ExampleStore(directory / name) for name in PARTS}
    splits = {name: _split(store) for name, store in stores.items()}
    train = stores["train"]
    labels: dict[str, dict[str, int]] = {}
    unknown: dict[str, dict[str, Any]] = {}
    for name, store in stores.items():
        if store.labels is None:
            continue
        values = store.fields["value"][0]
        counts = np.bincount(values[values >= 0], minlength=len(store.labels) + len(store.unseen))
        for label, count in zip((*store.labels, *store.unseen), counts.tolist(), strict=True):
            labels.setdefault(label, dict.fromkeys(stores, 0))[name] = count
        for number, label in enumerate(store.unseen, len(store.labels)):
            unknown.setdefault(label, {})[name] = {
                "records": int(counts[number]),
                "places": _places_of(number, store, corpus),
            }
    leakage = {}
    for name in PARTS[1:]:
        if len(stores[name]) and len(train):
            shared = overlap(train.texts(), stores[name].texts())
            leakage[name] = {"records": shared.documents, "same": shared.same, "touched": shared.touched}
    return {"splits": splits, "labels": labels, "unknown": unknown, "leakage": leakage}


def _split(store: ExampleStore) -> dict[str, Any]:
    reasons: dict[str, dict[str, Any]] = {}
    for row in read_jsonl(store.directory / SKIPPED):
        entry = reasons.setdefault(row["reason"], {"records": 0, "places": []})
        entry["records"] += 1
        if len(entry["places"]) < _LISTED:
            entry["places"].append(row["source"])
    return {"read": store.manifest["read"], "records": len(store), "skipped": reasons}


def _places_of(label: int, store: ExampleStore, corpus: Corpus) -> list[str]:
    """Where the first records with a label come from."""
    values, offsets = store.fields["value"]
    records = np.unique(np.searchsorted(offsets, np.flatnonzero(values == label), side="right") - 1)[:_LISTED]
    return [corpus.get(store.document_id(record)).source for record in records.tolist()]


def check(found: Fit, limits: LimitSpec) -> None:
    """Raises TextmillError, naming records, when too many do not fit their objective, or one has a label that no
    training record has."""
    read = sum(split["read"] for split in found["splits"].values())
    skipped = [entry for split in found["splits"].values() for entry in split["skipped"].items()]
    count = sum(entry["records"] for _, entry in skipped)
    if read and count / read > limits.unfit:
        places = [f"{place}: {reason}" for reason, entry in skipped for place in entry["places"]]
        raise TextmillError(
            f"{count:,} of {read:,} records do not fit the objective ({count / read:.0%}):{_lines(places, count)}",
            where="prepare",
            advice="name the right columns (columns), or correct or remove these records; "
            "corpus.limits.unfit is the share that may be skipped",
        )
    if found["unknown"] and not limits.unknown_labels:
        places = [
            f"{place}: {label!r}, in the {split} split"
            for label, splits in found["unknown"].items()
            for split, entry in splits.items()
            for place in entry["places"]
        ]
        number = sum(entry["records"] for splits in found["unknown"].values() for entry in splits.values())
        known = ", ".join(
            map(repr, itertools.islice((k for k in found["labels"] if k not in found["unknown"]), 20))
        )
        raise TextmillError(
            f"labels that no training record has:{_lines(places, number)}",
            where="prepare",
            advice=f"training has {known or 'none'}; correct them, give training such records, or set "
            "corpus.limits.unknown_labels = true to count them as wrong",
        )


def _lines(places: list[str], count: int) -> str:
    """Places, one a line, and how many more there are."""
    shown = "".join(f"\n  {printable(place)}" for place in places[:_LISTED])
    return f"{shown}\n  … and {count - _LISTED:,} more" if count > _LISTED else shown


def warnings(found: Fit, report: Mapping[str, Any]) -> list[str]:
    """What a person should see of labels and leakage before training."""
    said = []
    for variants in report["labels"]["variants"]:
        said.append(f"labels that differ only in spelling: {', '.join(map(repr, variants))}")
    if (contradictions := report["labels"]["contradictions"])["records"]:
        said.append(
            f"{contradictions['records']:,} records have the text of another but another label, "
            f"first {contradictions['places'][0]}"
        )
    for name, row in found["leakage"].items():
        if row["same"]:
            said.append(
                f"{row['same']:,} of {row['records']:,} {name} records have the text of a training record"
            )
    return said
