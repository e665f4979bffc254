"""Our quality filters beside datatrove's: the same decisions wherever the definitions are the same.

datatrove counts in words of spaCy, we in runs of letters; so it is given our words here, and what is compared is
everything behind them. Where we decide otherwise on purpose, the test says so and shows that this is all.
"""

from __future__ import annotations

import inspect
import random
import re
import sysconfig
from pathlib import Path

import numpy as np
import pytest

from textmill.specs.cleaning import C4Step, FineWebStep, GopherStep
from textmill.text import lines, words
from textmill.text.cleaning.quality import c4, fineweb, gopher
from textmill.text.document import collected

filters = pytest.importorskip("datatrove.pipeline.filters")
from datatrove.data import Document as Theirs  # noqa: E402
from datatrove.pipeline.filters import (  # noqa: E402
    c4_filters,
    fineweb_quality_filter,
    gopher_quality_filter,
    gopher_repetition_filter,
)

QUALITY = {
    "has too few words": "gopher_short_doc",
    "has too many words": "gopher_long_doc",
    "has too short words": "gopher_below_avg_threshold",
    "has too long words": "gopher_above_avg_threshold",
    "has too many hash signs": "gopher_too_many_hashes",
    "has too many ellipses": "gopher_too_many_ellipsis",
    "has too many lines with bullets": "gopher_too_many_bullets",
    "has too many lines that end in an ellipsis": "gopher_too_many_end_ellipsis",
    "has too few words with letters": "gopher_below_alpha_threshold",
    "has too few stop words": "gopher_enough_stop_words",
}


def tokens(text: str) -> list[str]:
    found = words.tokens([text])
    return [text[a:b] for a, b in zip(found.start.tolist(), found.end.tolist(), strict=True)]


def only_words(text: str, language: str = "") -> list[str]:
    return [token for token in tokens(text) if any(c.isalnum() for c in token)]


def docstrings() -> list[str]:
    """Prose and code from the standard library, in pieces of up to 3000 characters."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    texts = [path.read_text("utf-8", "ignore") for path in sorted(folder.glob("*.py"))[:60]]
    prose = ["\n".join(map(inspect.cleandoc, re.findall('"""(.*?)"""', text, re.DOTALL))) for text in texts]
    return [
        piece for text in [*texts[:20], *prose] for piece in (text[:3000], text[3000:6000]) if piece.strip()
    ]


def damaged(text: str, chance: random.Random) -> str:
    """A text in which one of the filters may find fault, or may not yet."""
    broken, cut = text.split("\n"), text.split()
    kind, share = chance.randrange(9), chance.random()
    if kind == 0:
        return f"{text}\n\n{text[: int(len(text) * share)]}"
    if kind == 1:
        return text + (" " + " ".join(cut[: chance.randint(3, 12)])) * chance.randint(1, 25)
    if kind == 2:
        return "\n".join(f"- {line}" if chance.random() < 0.95 else line for line in broken)
    if kind == 3:
        return "\n".join(f"{line}..." if chance.random() < 0.35 else line for line in broken)
    if kind == 4:
        return " ".join(word + chance.choice(("", "", " #", " ...", " 12")) * (share < 0.4) for word in cut)
    if kind == 5:
        return "\n".join(chance.choice(broken) for _ in range(40))
    if kind == 6:
        return "\n".join(part for line in broken for part in (line[:25], line[25:60]))
    if kind == 7:
        return " ".join(str(chance.randrange(999)) if chance.random() < share / 2 else word for word in cut)
    return (
        "".join(cut)
        if share < 0.3
        else " ".join(f"{a}{b}" for a, b in zip(cut[::2], cut[1::2], strict=False))
    )


@pytest.fixture(scope="module")
def texts() -> list[str]:
    chance = random.Random(0)
    sound = docstrings()
    bad = [damaged(chance.choice(sound), chance) for _ in range(500)]
    return [text for text in sound + bad if text.strip()]


def reasons(verdicts) -> list[str | None]:
    return [verdict.reason if verdict else None for verdict in verdicts]


def theirs(their_filter, text: str) -> str | None:
    with np.errstate(all="ignore"):
        result = their_filter.filter(Theirs(text=text, id=""))
    return None if result is True else result[1]


@pytest.mark.filterwarnings("ignore")  # the mean of no words
def test_gopher_quality(texts, monkeypatch):
    ours = reasons(gopher.judge([collected(text, "a") for text in texts], GopherStep(repetition=False)))
    # The share of words with letters is of what stands between blanks, everything else of words.
    first = filters.GopherQualityFilter(max_non_alpha_words_ratio=None, min_stop_words=None)
    letters = filters.GopherQualityFilter(0, 0, 0, 0, 0, 0, 0, min_stop_words=None)
    last = filters.GopherQualityFilter(0, 0, 0, 0, 0, 0, 0, max_non_alpha_words_ratio=None)
    seen = set()
    for text, mine in zip(texts, ours, strict=True):
        monkeypatch.setattr(gopher_quality_filter, "split_into_words", only_words)
        there = theirs(first, text) if only_words(text) else "gopher_short_doc"
        monkeypatch.setattr(gopher_quality_filter, "split_into_words", lambda text, language: text.split())
        there = there or theirs(letters, text)
        monkeypatch.setattr(gopher_quality_filter, "split_into_words", only_words)
        there = there or theirs(last, text)
        assert QUALITY.get(mine) == there, text
        seen.add(mine)
    assert len(seen) >= 8
    assert None in seen


def ambiguous(text: str) -> bool:
    """Whether different 5- to 10-grams give the same characters, joined without blanks as datatrove does."""
    cut = tokens(text)
    grams = {tuple(cut[i : i + n]) for n in range(5, 11) for i in range(len(cut) - n + 1)}
    return any(
        len({"".join(g) for g in grams if len(g) == n}) < sum(len(g) == n for g in grams)
        for n in range(5, 11)
    )


def test_gopher_repetition(texts, monkeypatch):
    free = GopherStep(
        least_words=0, most_words=10**9, least_mean_length=0, most_mean_length=1e9, most_symbols=1e9,
        most_bullets=1, most_ellipses=1, least_alphabetic=0, least_stop_words=0,
    )  # fmt: skip
    ours = reasons(gopher.judge([collected(text, "a") for text in texts], free))
    monkeypatch.setattr(gopher_repetition_filter, "split_into_words", lambda text, language: tokens(text))
    find_top = gopher_repetition_filter.find_top_duplicate
    # An n-gram that occurs once repeats nothing: in short documents theirs may be skipped for its length.
    monkeypatch.setattr(
        gopher_repetition_filter,
        "find_top_duplicate",
        lambda grams: find_top(grams) if len(set(grams)) < len(grams) else 0,
    )
    told = {
        "dup_para_frac": "has too many duplicate paragraphs",
        "dup_para_char_frac": "has too many characters in duplicate paragraphs",
        "dup_line_frac": "has too many duplicate lines",
        "dup_line_char_frac": "has too many characters in duplicate lines",
        None: None,
    }
    told |= {f"top_{n}_gram": f"repeats its most frequent {n}-gram too often" for n in (2, 3, 4)}
    told |= {
        f"duplicated_{n}_n_grams": f"has too many characters in duplicate {n}-grams" for n in range(5, 11)
    }
    seen, skipped = set(), 0
    for text, mine in zip(texts, ours, strict=True):
        there = theirs(filters.GopherRepetitionFilter(), text)
        if mine != told[there]:
            skipped += 1
            assert ambiguous(text), text
        seen.add(there)
    assert len(seen) >= 8
    assert skipped <= len(texts) / 100


def test_fineweb(texts, monkeypatch):
    """With the paper's threshold on repeated characters, and without lines that end in quotation marks or brackets:
    a full stop inside them ends a line for us and does not for datatrove."""
    peer = filters.FineWebQualityFilter(char_duplicates_ratio=0.1, new_line_ratio=float("inf"))
    closing = "".join(lines.CLOSING)
    seen = set()
    monkeypatch.setattr(fineweb_quality_filter, "split_into_words", lambda text, language: ["word"])
    for text in texts:
        plain = "\n".join(line.rstrip(closing) for line in text.split("\n"))
        if not plain.strip():
            continue
        mine, there = fineweb.judge(plain, FineWebStep()), theirs(peer, plain)
        assert (mine is None) == (there is None), (mine, there, plain)
        seen.add(there)
    assert len(seen) == 4


def test_c4(texts, monkeypatch):
    """The same documents, and the same lines of them; blanks that a reference mark leaves behind go, with us."""
    monkeypatch.setattr(
        c4_filters, "split_into_sentences", lambda line, language: [line] * c4.sentences(line)
    )
    peer = filters.C4QualityFilter()
    seen = set()
    for text in texts:
        mine = c4.clean({"text": text}, C4Step())
        document = Theirs(text=text, id="")
        there = peer.filter(document)
        assert isinstance(mine, dict) == (there is True), text
        if there is True:
            assert mine == {"text": document.text}
        seen.add(there if there is True else there[1])
    assert seen == {True, "too_few_sentences", "curly_bracket"}
