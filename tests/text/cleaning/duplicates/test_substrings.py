"""Runs that stood earlier are cut, all of them and nothing else: held against a search by brute force."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.specs.cleaning import SubstringsStep
from textmill.text.cleaning import steps
from textmill.text.cleaning.duplicates.substrings import Substrings
from textmill.text.document import Rejected, collected
from textmill.text.step import Cut, Reject, Sketched

_WORD = re.compile(r"[\u4e00-\u9fff]|[a-z0-9]+")


def expected(texts, least):
    """Spans of each text by brute force: windows as tuples, first places in a dictionary."""
    first, position, found = {}, 0, []
    for text in texts:
        words = [(m.group(), m.start()) for m in _WORD.finditer(text.lower())]
        covered = set()
        for at in range(len(words) - least + 1):
            window = tuple(word for word, _ in words[at : at + least])
            earlier = first.setdefault(window, position + at)
            if position + at - earlier >= least:
                covered |= set(range(at, at + least))
        position += len(words)
        starts = [start for _, start in words] + [len(text)]
        edges = [at for at in range(len(words) + 1) if (at in covered) != (at - 1 in covered)]
        found.append(tuple((starts[a], starts[b]) for a, b in zip(edges[::2], edges[1::2], strict=True)))
    return found


def decide(texts, scratch, least, batch=3):
    step = Substrings(SubstringsStep(least=least))
    documents = [collected(text, "") for text in texts]
    sketches = []
    for at in range(0, len(documents), batch):
        sketches += step.sketch(documents[at : at + batch])
    rows = [
        Sketched(n, d.id, d.characters, s) for n, (d, s) in enumerate(zip(documents, sketches, strict=True))
    ]
    return list(step.decide(lambda: iter(rows), scratch))


def check(texts, scratch, least):
    verdicts = dict(decide(texts, scratch, least))
    for number, (text, spans) in enumerate(zip(texts, expected(texts, least), strict=True)):
        verdict = verdicts.pop(number, None)
        if not spans:
            assert verdict is None
        elif spans == ((_WORD.search(text.lower()).start(), len(text)),):
            assert verdict == Reject("holds only text that stood in earlier documents")
        else:
            assert verdict == Cut({"text": spans})
    assert not verdicts


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 2), max_size=40), max_size=6),
    st.integers(5, 9),
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 30)), max_size=4),
)
def test_cuts_are_those_of_brute_force(tmp_path_factory, documents, least, copies):
    for source, target, at in copies if documents else []:  # so that runs repeat
        copied = documents[source % len(documents)][at : at + 20]
        documents[target % len(documents)][at:] = [*copied, 3]
    check(
        [" ".join("abcd"[word] for word in words) for words in documents], tmp_path_factory.mktemp("s"), least
    )


@pytest.mark.parametrize("blank", [" ", ""], ids=["english", "chinese"])
def test_planted_runs_are_cut(tmp_path, blank):
    rng = random.Random(0)
    word = (lambda: f"w{rng.randrange(10**6)}") if blank else (lambda: chr(rng.randrange(0x4E00, 0x9FFF)))
    texts = [[word() for _ in range(rng.randrange(30, 900))] for _ in range(60)]
    for _ in range(80):
        source, target = rng.choice(texts), rng.choice(texts)
        at, size = rng.randrange(len(source)), rng.randrange(20, 150)
        to = rng.randrange(len(target))
        target[to:to] = source[at : at + size]
    check([blank.join(words) for words in texts], tmp_path, 50)


def test_periodic_text_keeps_one_window(tmp_path):
    for period in (1, 2, 7, 24, 25, 26, 27, 49, 50, 51):
        words = [f"w{n % period}" for n in range(400)]
        folder = tmp_path / str(period)
        folder.mkdir()
        check([" ".join(words)], folder, 50)


def test_what_is_left_reads_on(tmp_path):
    run = " ".join(f"word{n}" for n in range(60))
    documents = [
        collected(f"First. {run}. End.", "a"),
        collected(f"Second!\n\n{run.upper()}; and more.", "b"),
    ]
    assert [d.text for d in steps.apply(documents, (SubstringsStep(),))] == [
        documents[0].text,
        "Second!\n\nand more.",
    ]
    masked = list(steps.apply(documents, (SubstringsStep(action="mask"),)))
    assert masked[1].text == "Second!\n\n[...] and more."
    whole = list(steps.apply([documents[0], collected(run, "c")], (SubstringsStep(),)))
    assert isinstance(whole[1], Rejected)
    assert whole[1].reason == "holds only text that stood in earlier documents"


def test_words_far_apart_keep_their_places(tmp_path):
    run = " ".join(f"word{n}" for n in range(30)) + "." * 70_000 + " ".join(f"more{n}" for n in range(30))
    check([f"a b {run} c", f"c {run} d e"], tmp_path, 50)


def test_short_documents_hold_no_run(tmp_path):
    assert decide(["a b c", "a b c", "", "x"], tmp_path, 5) == []
    assert decide([], tmp_path, 5) == []
