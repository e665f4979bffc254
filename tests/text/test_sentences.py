"""Sentences, of Western and Chinese text; nothing of a text is lost."""

from __future__ import annotations

import gzip
import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textmill.text.sentences import sentences

SHARED = Path(__file__).parents[3] / "shared" / "data"


def cut(text: str) -> list[str]:
    return [text[start:end] for start, end in sentences(text)]


@pytest.mark.parametrize(
    "parts",
    [
        ["It rained.", "We stayed in!", "Did you?", "“Yes.”", "(So did I.)"],
        ["Dr. Who met J. R. Smith of the U.S. Army, e.g. in Fig. 3.", "Then he left."],
        ["It costs 3.14 at example.org.", "Wait... and see."],
        ["See Wu et al. (2019), p. 3.", "That was me vs. I.", "So it ends"],
        ["Das sind z.B. Äpfel.", "Österreich ist schön."],
    ],
)
def test_sentences_of_western_text(parts):
    assert cut(" ".join(parts)) == parts


def test_sentences_of_chinese_need_no_space():
    text = "他说：“今天下雨。”我们没去！真的吗？？圆周率是3.14……后来呢"
    assert cut(text) == ["他说：“今天下雨。”", "我们没去！", "真的吗？？", "圆周率是3.14……", "后来呢"]


def test_lines_end_sentences_unless_they_are_wrapped():
    assert cut("1. First point.\n2. Second point.") == ["1. First point.", "2. Second point."]
    text = "A title\nThis line was\nwrapped. Next.\n\nafter an empty line"
    assert cut(text) == ["A title", "This line was\nwrapped.", "Next.", "after an empty line"]


def test_marks_alone_are_no_sentence():
    assert cut("Really? ?! Yes. . .") == ["Really? ?!", "Yes. . ."]
    assert sentences(" \n ") == []


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("aB1 .!?。！…”)\n，Dr"), max_size=40))
def test_nothing_is_lost(text):
    spans = sentences(text)
    assert all(0 <= start < end for start, end in spans)
    assert all(one[1] <= other[0] for one, other in itertools.pairwise(spans))
    assert "".join("".join(cut(text)).split()) == "".join(text.split())


def test_abstracts_are_cut_as_those_who_published_them_did():
    """Their cuts have mistakes of their own, in the middle of sentences: most, not all, are found."""
    path = SHARED / "scitldr" / "dev.jsonl.gz"
    if not path.is_file():
        pytest.skip("no data here")
    both = ours = theirs = 0
    for line in gzip.decompress(path.read_bytes()).decode().splitlines():
        parts = [part.strip() for part in json.loads(line)["source"]]
        ends, place = set(), 0
        for part in parts:
            ends.add(place + len(part))
            place += len(part) + 1
        found = {end for _, end in sentences(" ".join(parts))}
        both, ours, theirs = both + len(found & ends), ours + len(found), theirs + len(ends)
    assert both / ours > 0.99
    assert both / theirs > 0.93
