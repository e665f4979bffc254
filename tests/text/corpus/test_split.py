"""Splits: groups and near-duplicates stay together, the newest is for the test, nothing leaks."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.base.errors import TextmillError
from textmill.specs.cleaning import ExactDuplicatesStep, NearDuplicatesStep, PersonalDataStep
from textmill.specs.corpus import SplitSpec
from textmill.text.cleaning import steps as clean
from textmill.text.corpus import corpus, split
from textmill.text.corpus.corpus import Corpus
from textmill.text.corpus.split import PARTS, Watch, part_of
from textmill.text.document import Document, collected

BY_AUTHOR = SplitSpec(validation=0.2, test=0.2, by="group", field="author")
BY_DATE = SplitSpec(validation=0.1, test=0.2, by="time", field="date")


def document(number, **metadata):
    return collected(f"document {number}", str(number), metadata)


def deal(documents, spec):
    """part -> its documents, and the plan."""
    watch = Watch(spec)
    dealt = [watch.deal(d) for d in documents]
    plan = watch.plan()
    sides = {part: [] for part in PARTS}
    for one, part in zip(documents, dealt, strict=True):
        sides[plan.part(one, part)].append(one)
    return sides, plan


def parts_of(sides, field):
    """value of a metadata field -> the parts it is found in."""
    found = {}
    for part, documents in sides.items():
        for one in documents:
            if field in one.metadata:
                found.setdefault(one.metadata[field], set()).add(part)
    return found


def words(rng, number):
    return [f"w{rng.randrange(3000)}" for _ in range(number)]


def shingle_set(text):
    found = text.split()
    return {tuple(found[i : i + 5]) for i in range(len(found) - 4)}


@pytest.mark.parametrize("spec", [SplitSpec(validation=0.2, test=0.2), BY_AUTHOR, BY_DATE])
def test_neither_copies_nor_near_copies_leak(tmp_path, spec):
    rng = random.Random(0)
    texts = []
    for _ in range(250):
        original, author = words(rng, rng.randrange(60, 200)), f"a{rng.randrange(200)}"
        texts.append((original, author))
        for _ in range(rng.randrange(3)):
            copy = list(original)
            for _ in range(rng.randrange(4)):
                copy[rng.randrange(len(copy))] = "changed"
            texts.append((copy, author if rng.random() < 0.9 else f"a{rng.randrange(200)}"))
    rng.shuffle(texts)
    documents = [
        collected(" ".join(text), str(n), {"author": author, "date": f"20{rng.randrange(10, 26)}-05"})
        for n, (text, author) in enumerate(texts)
    ]
    steps = (ExactDuplicatesStep(), NearDuplicatesStep(action="mark"))
    corpus.write_corpus(tmp_path, clean.apply(documents, steps), spec)
    stored = Corpus(tmp_path)
    sides = {part: list(stored.documents(part)) for part in PARTS}
    assert all(sides.values())
    assert all(len(parts) == 1 for parts in parts_of(sides, "cluster").values())
    if spec is BY_AUTHOR:
        assert all(len(parts) == 1 for parts in parts_of(sides, "author").values())
    sets = {part: [shingle_set(one.text) for one in side] for part, side in sides.items()}
    for one, other in (("train", "test"), ("train", "validation"), ("validation", "test")):
        for left in sets[one]:
            for right in sets[other]:
                assert len(left & right) < 0.8 * len(left | right)


def test_groups_are_never_split_and_shares_are_kept():
    documents = [document(n, author=f"author {n % 997}") for n in range(10_000)]
    sides, plan = deal(documents, BY_AUTHOR)
    assert all(len(parts) == 1 for parts in parts_of(sides, "author").values())
    assert not plan
    for part, wanted in (("validation", 0.2), ("test", 0.2)):
        assert abs(len(sides[part]) / len(documents) - wanted) < 0.05
    again, _ = deal(list(reversed(documents[:5000])), BY_AUTHOR)
    for part in PARTS:  # a group never changes sides
        assert {d.metadata["author"] for d in again[part]} <= {d.metadata["author"] for d in sides[part]}


def test_a_document_without_the_field_is_a_group_of_its_own():
    documents = [document(n) for n in range(2000)] + [document(-1, author="a"), document(-2, author="")]
    sides, plan = deal(documents, BY_AUTHOR)
    assert plan.notes["without_field"] == 2001
    for part in PARTS:
        assert all(part_of(d.id, BY_AUTHOR) == part for d in sides[part] if "author" not in d.metadata)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 8)), min_size=1, max_size=60))
def test_groups_that_share_a_cluster_stay_together(rows):
    """Author 0: none; cluster 0: none. Chains of groups and clusters must all land on one side."""
    documents = []
    for number, (author, cluster) in enumerate(rows):
        metadata = {"author": f"a{author}"} if author else {}
        if cluster:
            metadata["cluster"] = document(f"best of {cluster}").id
        documents.append(document(number, **metadata))
    sides, plan = deal(documents, BY_AUTHOR)
    assert sum(map(len, sides.values())) == len(documents)
    assert sides["train"]
    assert all(len(parts) == 1 for parts in parts_of(sides, "author").values())
    assert all(len(parts) == 1 for parts in parts_of(sides, "cluster").values())
    assert not plan.at, "no document of a group is cut in pieces"


def test_groups_in_one_chain_are_for_training():
    documents = [document(n, author=f"a{n % 100}") for n in range(1000)]
    for n in range(50):  # authors 0 to 49 share a document with their neighbour
        best = document(f"shared {n}").id
        for author in (n, n + 1):
            documents.append(document(f"{n} {author}", author=f"a{author}", cluster=best))
    sides, plan = deal(documents, BY_AUTHOR)
    assert plan.notes["joined_groups"] == 51
    parts = parts_of(sides, "author")
    assert all(parts[f"a{n}"] == {"train"} for n in range(51))
    assert all(parts[f"a{n}"] == {part_of(f"author=a{n}", BY_AUTHOR)} for n in range(51, 100))


def test_clusters_are_dealt_by_the_id_of_their_best():
    documents = [document(n) for n in range(3000)]
    marked = [
        Document(d.id, d.texts, d.source, {"cluster": documents[n - n % 3].id})
        for n, d in enumerate(documents)
    ]
    sides, plan = deal(marked, SplitSpec())
    assert not plan
    assert all(part_of(d.metadata["cluster"], SplitSpec()) == part for part in PARTS for d in sides[part])


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 6)), max_size=80),
    st.sampled_from([0, 0.1, 0.3]),
    st.sampled_from([0, 0.1, 0.3]),
)
def test_the_newest_are_for_the_test(rows, validation, test):
    spec = SplitSpec(validation=validation, test=test, by="time", field="date")
    documents = []
    for number, (day, cluster) in enumerate(rows):
        metadata = {"date": f"2026-01-{day:02d}T10:00:00.123456+01:00"} if day else {}
        if cluster > 3:
            metadata["cluster"] = f"{cluster}"
        documents.append(document(number, **metadata))
    sides, plan = deal(documents, spec)
    assert plan.notes["without_field"] == sum(not day for day, _ in rows)
    assert all(len(parts) == 1 for parts in parts_of(sides, "cluster").values())
    newest = {}
    for one in documents:
        if name := one.metadata.get("cluster"):
            newest[name] = max(newest.get(name, ""), one.metadata.get("date", ""))

    def age(one):
        return newest.get(one.metadata.get("cluster"), one.metadata.get("date", ""))

    order = [side for side in (sides["train"], sides["validation"], sides["test"]) if side]
    for older, newer in itertools.pairwise(order):
        assert max(map(age, older)) <= min(map(age, newer))
    units = len({one.metadata.get("cluster", one.id) for one in documents if age(one)})
    for part, wanted in (("validation", validation), ("test", test)):
        if not wanted:
            assert not sides[part]
        elif units >= 3:
            assert sides[part]
    if documents:
        assert sides["train"] or units < 3


def test_the_report_says_how_many_lack_the_field(tmp_path):
    documents = [document(n, author=f"a{n % 5}") for n in range(50)] + [document(-n) for n in range(1, 8)]
    assert corpus.write_corpus(tmp_path, documents, BY_AUTHOR)["split"] == {
        "without_field": 7,
        "joined_groups": 0,
    }


def test_shares_by_time_are_exact():
    rng = random.Random(1)
    documents = [document(n, date=f"{rng.randrange(1990, 2026)}") for n in range(1000)]
    sides, plan = deal(documents, BY_DATE)
    assert plan
    assert {part: len(side) for part, side in sides.items()} == {
        "train": 700,
        "validation": 100,
        "test": 200,
    }
    again, _ = deal(documents[::-1], BY_DATE)
    assert {d.id for d in again["test"]} == {d.id for d in sides["test"]}


def test_many_documents_by_time(monkeypatch):
    monkeypatch.setattr(split, "_WAITING", 7)
    documents = [document(n, date=f"{n:05d}") for n in range(100)]
    sides, _ = deal(documents, BY_DATE)
    assert [d.metadata["date"] for d in sides["test"]] == [f"{n:05d}" for n in range(80, 100)]


def test_a_few_groups_still_fill_the_parts():
    spec = SplitSpec(validation=0.1, test=0.1, by="group", field="author")
    authors = [f"author {n}" for n in range(100)]
    authors = [a for a in authors if part_of(f"author={a}", spec) == "train"][:4]
    sides, plan = deal([document(n, author=authors[n % 4]) for n in range(40)], spec)
    assert [len(sides[part]) for part in PARTS] == [20, 10, 10]
    assert sorted(plan.moves.values()) == ["test", "validation"]
    alone, plan = deal([document(n, author="one") for n in range(40)], spec)
    assert len(alone["train"]) == 40


def sizes(**parts):
    rows = {part: {"bytes": 0, "documents": 0} for part in PARTS}
    return rows | {part: {"bytes": size, "documents": 1} for part, size in parts.items()}


def test_a_split_too_small_for_any_score_is_an_error_with_advice():
    split.check_sizes(sizes(train=50_000, validation=2500, test=2500), SplitSpec())
    with pytest.raises(
        TextmillError, match=r"test split.*136 bytes in 1 document:.*set corpus.split.test = 0.1;"
    ):
        split.check_sizes(sizes(train=50_000, validation=2500, test=136), SplitSpec())
    with pytest.raises(
        TextmillError, match=r"validation split.*add text; corpus.split.validation = 0 does without"
    ):
        split.check_sizes(sizes(train=500, validation=30), SplitSpec())
    with pytest.raises(TextmillError, match=r"set corpus.split.validation = 0.2;"):  # more than there is
        split.check_sizes(sizes(train=50_000, validation=200), SplitSpec(validation=0.12))
    split.check_sizes(sizes(train=500, validation=30), SplitSpec(least_bytes=0))
    split.check_sizes(sizes(train=500), SplitSpec())


def test_an_empty_split_is_given_a_document_of_about_the_size_asked_for():
    spec = SplitSpec(validation=0, test=0.05)
    texts = ["word " * size for size in (1, 2, 3, 900, 2000, 2000, 2000, 2000, 2000, 2000) for _ in range(3)]
    documents = [collected(f"{n} {text}", str(n)) for n, text in enumerate(texts)]
    sides, _ = deal([d for d in documents if part_of(d.id, spec) == "train"], spec)
    [given_away] = sides["test"]
    assert len(given_away.text) > 4000


def test_groups_that_were_redacted_tell_no_groups_apart():
    spec = SplitSpec(by="group", field="author")
    redacted = next(clean.apply([document(1, author="jane@example.org")], (PersonalDataStep(),)))
    with pytest.raises(TextmillError, match="no longer distinguishes groups.*pseudonymise"):
        Watch(spec).deal(redacted)
