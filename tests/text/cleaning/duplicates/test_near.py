"""Near-duplicates: found nearly always, told apart exactly, whoever sketches them and in which batches."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textmill.specs.cleaning import NearDuplicatesStep
from textmill.text.cleaning import steps
from textmill.text.cleaning.duplicates.near import NearDuplicates, bands_and_rows, signatures
from textmill.text.cleaning.duplicates.shingles import runs, shingles
from textmill.text.document import Rejected, collected
from textmill.text.step import Mark, Reject, Sketched
from textmill.text.words import hashes


def shingle_set(text, size=5):
    """Written anew, on purpose: runs of words of English or Chinese text as Python tuples."""
    words = re.findall(r"[\u4e00-\u9fff]|[a-z0-9]+", text.lower())
    return {tuple(words[i : i + size]) for i in range(max(1, len(words) - size + 1))}


def jaccard(one, other):
    one, other = shingle_set(one), shingle_set(other)
    return len(one & other) / len(one | other)


def english(rng, words):
    return [f"{rng.choice('bcdfgl')}{int(rng.paretovariate(0.8))}" for _ in range(words)], " "


def chinese(rng, words):
    return [chr(0x4E00 + min(int(rng.paretovariate(0.5)), 5000)) for _ in range(words)], ""


def edited(rng, words, edits):
    """The words after changes, insertions and deletions at random places, and sometimes a block moved."""
    words = list(words)
    for _ in range(edits):
        at = rng.randrange(len(words))
        kind = rng.randrange(3)
        if kind == 0:
            words[at] = rng.choice(words)
        elif kind == 1:
            words.insert(at, rng.choice(words))
        else:
            del words[at]
    if rng.random() < 0.2:
        at, to = sorted(rng.sample(range(len(words)), 2))
        words = words[at:to] + words[:at] + words[to:]
    return words


def planted(make, pairs, length, seed=0):
    """(original, copy) with edits of every strength, the copies' exact similarity beside them."""
    rng = random.Random(seed)
    found = []
    for _ in range(pairs):
        words, blank = make(rng, rng.randrange(*length))
        copy = edited(rng, words, rng.randrange(1, max(2, len(words) // 30)))
        one, other = blank.join(words), blank.join(copy)
        found.append((one, other, jaccard(one, other)))
    return found


def decide(step, documents, scratch, batch=10**9):
    sketches = []
    for at in range(0, len(documents), batch):
        sketches += step.sketch(documents[at : at + batch])
    rows = [
        Sketched(n, d.id, d.characters, s) for n, (d, s) in enumerate(zip(documents, sketches, strict=True))
    ]
    scratch.mkdir(parents=True, exist_ok=True)
    return list(step.decide(lambda: iter(rows), scratch))


@pytest.mark.long
@pytest.mark.parametrize("make", [english, chinese])
@pytest.mark.parametrize("length", [(40, 400), (1500, 3000)], ids=["short", "long"])
def test_planted_near_duplicates_are_found(make, length, tmp_path):
    pairs = planted(make, 500 if length[0] < 100 else 250, length)
    documents = [collected(text, "") for pair in pairs for text in pair[:2]]
    verdicts = decide(NearDuplicates(NearDuplicatesStep(action="mark")), documents, tmp_path)
    together = {}
    for number, verdict in verdicts:
        together.setdefault(verdict.metadata["cluster"], set()).add(number // 2)
    assert all(len(members) == 1 for members in together.values()), "documents of different pairs never meet"
    found = {number // 2 for number, _ in verdicts}
    near = {at for at, pair in enumerate(pairs) if pair[2] >= 0.8}
    far = {at for at, pair in enumerate(pairs) if pair[2] < 0.8}
    assert len(near) > len(pairs) / 4
    assert far, "some must be told apart"
    assert len(found & near) / len(near) >= 0.99
    if length[1] <= 500:  # compared exactly
        assert not found & far
    assert all(pairs[at][2] > 0.72 for at in found)


def test_the_similarity_told_is_that_of_the_sets(tmp_path):
    pairs = [pair for pair in planted(english, 60, (50, 400), seed=1) if pair[2] >= 0.8]
    documents = [collected(text, "") for pair in pairs for text in pair[:2]]
    verdicts = decide(NearDuplicates(NearDuplicatesStep()), documents, tmp_path)
    assert len(verdicts) == len(pairs)
    for number, verdict in verdicts:
        pair, kept = pairs[number // 2], documents[number ^ 1]
        assert verdict == Reject(
            "is a near-duplicate of another document", f"id {kept.id}, similarity {pair[2]:.2f}"
        )
        assert len(kept.text) >= len(documents[number].text)


def test_signatures_estimate_jaccard():
    """The share of equal minima has the mean and the variance that Broder's theorem gives."""
    pairs = planted(english, 80, (100, 1500), seed=2)
    values, offsets = shingles(hashes([text for pair in pairs for text in pair[:2]]), 5)
    minima = signatures(values, offsets, 256)
    errors = []
    for at, (_, _, exact) in enumerate(pairs):
        estimate = np.mean(minima[2 * at] == minima[2 * at + 1])
        errors.append((estimate - exact) / max(0.01, (exact * (1 - exact) / 256) ** 0.5))
    assert abs(np.mean(errors)) < 0.5  # standard errors; that of the mean is 0.11
    assert 0.7 < np.std(errors) < 1.4


def test_estimates_agree_with_rensa():
    rensa = pytest.importorskip("rensa")
    pairs = planted(english, 20, (200, 800), seed=3)
    values, offsets = shingles(hashes([text for pair in pairs for text in pair[:2]]), 5)
    minima = signatures(values, offsets, 256)
    ours, theirs = [], []
    for at, pair in enumerate(pairs):
        ours.append(np.mean(minima[2 * at] == minima[2 * at + 1]))
        peers = []
        for text in pair[:2]:
            peer = rensa.RMinHash(num_perm=256, seed=7)
            peer.update([" ".join(words) for words in shingle_set(text)])
            peers.append(peer)
        theirs.append(peers[0].jaccard(peers[1]))
    exact = np.array([pair[2] for pair in pairs])
    assert np.abs(np.array(ours) - exact).mean() < 1.5 * np.abs(np.array(theirs) - exact).mean() + 0.01


def test_shingles_are_the_sets_of_words():
    rng = random.Random(4)
    texts = [" ".join(english(rng, n)[0]) for n in (0, 1, 3, 4, 5, 6, 40, 0, 300)] + ["，。!"]
    values, offsets = shingles(hashes(texts), 5)
    for text, start, end in zip(texts, offsets[:-1], offsets[1:], strict=True):
        assert end - start == (len(shingle_set(text)) if re.search(r"\w", text) else 0)
        assert (np.diff(values[start:end].astype(np.int64)) > 0).all()
    again, _ = shingles(hashes([texts[6].replace(" ", " -- ").upper()]), 5)
    assert np.array_equal(again, values[offsets[6] : offsets[7]])


@given(st.lists(st.integers(0, 6), max_size=8), st.integers(1, 4))
def test_runs_stay_within_their_text(counts, length):
    texts = [" ".join(f"w{d}x{i}" for i in range(n)) for d, n in enumerate(counts)]
    words = hashes(texts or [""])
    found = runs(words, length)
    for text, count in enumerate(counts):
        first = found.first[found.offsets[text] : found.offsets[text + 1]]
        begin = words.offsets[text]
        assert first.tolist() == list(range(begin, begin + max(0, count - length + 1)))


def test_sketches_do_not_depend_on_batches(tmp_path):
    rng = random.Random(5)
    documents = [collected(" ".join(english(rng, rng.randrange(0, 700))[0]), "") for _ in range(60)]
    documents += [collected(d.text + " and more", "") for d in documents[::3]]
    step = NearDuplicates(NearDuplicatesStep())
    alone = [step.sketch([document])[0] for document in documents]
    assert alone == step.sketch(documents)
    assert decide(step, documents, tmp_path / "a", 7) == decide(step, documents, tmp_path / "b")


def test_short_documents_are_near_only_when_their_words_are_the_same(tmp_path):
    texts = [
        "Good morning!",
        "good, morning",
        "good evening",
        "good morning sir",
        "…",
        "",
        "早上好",
        "早上好。",
    ]
    documents = [collected(text, "") for text in texts]
    verdicts = decide(NearDuplicates(NearDuplicatesStep(action="mark")), documents, tmp_path)
    assert verdicts == [
        (0, Mark({"cluster": documents[0].id})),
        (1, Mark({"cluster": documents[0].id})),
        (6, Mark({"cluster": documents[7].id})),  # the longest is the best
        (7, Mark({"cluster": documents[7].id})),
    ]


def test_a_thousand_copies_are_one_cluster_and_ties_go_to_the_first(tmp_path):
    text = " ".join(f"word{n}" for n in range(30))
    documents = [collected(f"{text} {'.' * 9}", f"{n}") for n in range(1000)]
    items = list(steps.apply(documents, (NearDuplicatesStep(),)))
    assert items[0] == documents[0]
    assert all(isinstance(item, Rejected) for item in items[1:])
    assert items[-1].detail == f"id {documents[0].id}, similarity 1.00"


def test_documents_alike_in_a_band_only_are_told_apart(tmp_path):
    """A hundred documents that share six tenths of their text: every pair is a candidate, none is near."""
    rng = random.Random(6)
    common = english(rng, 300)[0]
    documents = [collected(" ".join(common + english(rng, 100)[0]), "") for _ in range(100)]
    assert decide(NearDuplicates(NearDuplicatesStep()), documents, tmp_path) == []


def test_no_document_is_near_when_there_is_none(tmp_path):
    assert decide(NearDuplicates(NearDuplicatesStep()), [], tmp_path) == []
    assert decide(NearDuplicates(NearDuplicatesStep()), [collected("?", "")], tmp_path) == []


@pytest.mark.parametrize("similarity", [0.3, 0.5, 0.7, 0.8, 0.9, 0.95])
@pytest.mark.parametrize("permutations", [64, 128, 256])
def test_bands_find_what_is_asked_for(similarity, permutations):
    bands, rows = bands_and_rows(similarity, permutations)
    assert bands * rows <= permutations
    assert 1 - (1 - similarity**rows) ** bands >= 0.997


def test_marked_documents_keep_what_they_were(tmp_path):
    documents = [
        collected("a b c d e f", "x", {"title": "t"}),
        collected("A B C D E F", ""),
    ]
    items = list(steps.apply(documents, (NearDuplicatesStep(action="mark"),)))
    assert items[0].metadata == {"title": "t", "cluster": documents[0].id}
    assert [item.text for item in items] == [d.text for d in documents]
