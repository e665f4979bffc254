"""The quality rules of Gopher (Rae et al. 2021, appendix A.1.1, table A2), and the step that applies both tables.

Words are those of `words.tokens`: longest runs of letters and digits, and single hanzi and kana; punctuation is
none. The thresholds are the paper's where the recipe does not change them. What it leaves open is decided so:

- The mean length is that of words of letters and digits. Where half of the words or more are hanzi and kana, which
  are words of one character, the rule is left out.
- `#` and ellipses are counted against words. `……`, the Chinese ellipsis, is one.
- The share of words with a letter is that of what stands between spaces, so that `--` and `|` count where they stand
  alone. Punctuation at a word is part of it: others who count each mark as a word set novels full of dialogue aside.
  Where few spaces stand, as in Chinese, each hanzi and kana counts beside them.
- The stop words are English, so the rule is for English documents: those whose metadata says `en`, and where no
  language step has run, those with mostly words of ASCII letters. Put a language step before this one, or German
  falls under it.
- Line rules look at all lines, empty ones too.
- A document of more than 2**23 characters is judged by those, apart from the number of its words: so no document
  costs more than some hundred megabytes of memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from textmill.specs.cleaning import GopherStep
from textmill.text import words
from textmill.text.batches import in_batches, judged
from textmill.text.cleaning.quality.repetition import judge_lines, judge_ngrams
from textmill.text.document import Document, Step
from textmill.text.lines import BULLETS, ELLIPSES, bulleted, count_any, trailing_off
from textmill.text.step import Reject

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")  # table A2
BEGINNING = 1 << 23  # characters of a document that are judged; what is longer counts its words only


def step(spec: GopherStep) -> Step:
    """Set aside documents that fail a rule; the reason names the first that fails, the detail its number."""
    return in_batches(judged("gopher", lambda documents: judge(documents, spec)))


def judge(documents: Sequence[Document], spec: GopherStep) -> list[Reject | None]:
    """The verdict on each document, None for those that pass."""
    verdicts: list[Reject | None] = [None] * len(documents)
    waiting, beginnings = [], []
    for d, document in enumerate(documents):
        text = document.whole
        if len(text) > BEGINNING and words.count(text, spec.most_words) > spec.most_words:
            verdicts[d] = _too_many(spec)
            continue
        beginnings.append(text[:BEGINNING])
        waiting.append(d)
    if waiting:
        languages = [documents[d].metadata.get("language") for d in waiting]
        for d, verdict in zip(waiting, _judge(beginnings, languages, spec), strict=True):
            verdicts[d] = verdict
    return verdicts


def _too_many(spec: GopherStep) -> Reject:
    return Reject("has too many words", f"over {spec.most_words}")


def _judge(texts: Sequence[str], languages: Sequence[str | None], spec: GopherStep) -> list[Reject | None]:
    tokens = words.tokens(texts)
    counts = _Counts(tokens)
    verdicts = [
        _words(counts, d, spec) or _marks(counts, d, text, spec) or _english(counts, d, languages[d], spec)
        for d, text in enumerate(texts)
    ]
    if not spec.repetition:
        return verdicts
    verdicts = [verdict or judge_lines(text) for text, verdict in zip(texts, verdicts, strict=True)]
    return judge_ngrams(tokens, np.array(list(map(len, texts)), np.int64), verdicts)


class _Counts:
    """What the rules must know of each of D documents, as lists of D plain numbers."""

    def __init__(self, tokens: words.Tokens) -> None:
        many = len(tokens.offsets) - 1
        document = np.repeat(np.arange(many), np.diff(tokens.offsets))
        kinds = np.bincount(document * 5 + tokens.kind, minlength=many * 5).reshape(many, 5)
        spelt = (tokens.kind != words.SYMBOL) & (tokens.kind != words.ALONE)
        lengths = np.bincount(document, weights=(tokens.end - tokens.start) * spelt, minlength=many)
        self.words: list[int] = kinds[:, words.NUMBER :].sum(1).tolist()
        self.ascii: list[int] = kinds[:, words.ASCII].tolist()
        self.alone: list[int] = kinds[:, words.ALONE].tolist()
        self.characters: list[int] = lengths.astype(np.int64).tolist()  # of the words that are spelt
        self.alphabetic = _alphabetic(tokens, document, many)
        self.stop_words = _different(tokens.hash, document, many)


def _alphabetic(tokens: words.Tokens, document: NDArray[np.int64], many: int) -> list[float]:
    """The share, of what stands between spaces in each document and its hanzi, that has a letter in it."""
    if not len(document):
        return [0.0] * many
    apart = np.ones(len(document), bool)  # whether a token begins behind a space
    apart[1:] = (tokens.start[1:] != tokens.end[:-1]) | (document[1:] != document[:-1])
    first = np.flatnonzero(apart)
    letters = np.logical_or.reduceat(tokens.kind >= words.ASCII, first)
    alone = np.bincount(document[tokens.kind == words.ALONE], minlength=many)
    lettered = np.bincount(document[first], weights=letters, minlength=many) + alone
    return (lettered / np.maximum(np.bincount(document[first], minlength=many) + alone, 1)).tolist()


@cache
def _stop_hashes() -> tuple[int, ...]:
    return tuple(words.hash_of(word) for word in STOP_WORDS)


def _different(hashes: NDArray[np.uint64], document: NDArray[np.int64], many: int) -> list[int]:
    """How many of the stop words stand in each document."""
    present = np.zeros((len(STOP_WORDS), many), bool)
    for row, wanted in zip(present, _stop_hashes(), strict=True):
        row[document[hashes == np.uint64(wanted)]] = True
    return present.sum(0).tolist()


def _words(counts: _Counts, d: int, spec: GopherStep) -> Reject | None:
    """How many words, and how long."""
    many = counts.words[d]
    if many < spec.least_words:
        return Reject("has too few words", f"{many} < {spec.least_words}")
    if many > spec.most_words:
        return _too_many(spec)
    spelt = many - counts.alone[d]
    if spelt * 2 > many:
        mean = counts.characters[d] / spelt
        if mean < spec.least_mean_length:
            return Reject("has too short words", f"{mean:.2f} < {spec.least_mean_length}")
        if mean > spec.most_mean_length:
            return Reject("has too long words", f"{mean:.2f} > {spec.most_mean_length}")
    return None


def _marks(counts: _Counts, d: int, text: str, spec: GopherStep) -> Reject | None:
    """Symbols among the words, and at the ends of lines."""
    many = max(counts.words[d], 1)
    most = spec.most_symbols
    if (hashes := text.count("#")) / many > most:
        return Reject("has too many hash signs", f"{hashes / many:.3f} > {most}")
    dots = count_any(text, ELLIPSES)
    if (dots := dots - text.count("……") if dots else 0) / many > most:
        return Reject("has too many ellipses", f"{dots / many:.3f} > {most}")
    bullets = count_any(text, BULLETS)
    if not bullets and not dots:
        return None
    # No line begins or ends with what is not there: most documents are cleared without cutting lines.
    least = max(text.count("\n"), 1)  # lines
    if bullets <= spec.most_bullets * least and dots <= spec.most_ellipses * least:
        return None
    lines = text.splitlines()
    share = bulleted(lines) / max(len(lines), 1)
    if share > spec.most_bullets:
        return Reject("has too many lines with bullets", f"{share:.3f} > {spec.most_bullets}")
    share = trailing_off(lines) / max(len(lines), 1)
    if share > spec.most_ellipses:
        return Reject("has too many lines that end in an ellipsis", f"{share:.3f} > {spec.most_ellipses}")
    return None


def _english(counts: _Counts, d: int, language: str | None, spec: GopherStep) -> Reject | None:
    """Words with letters in them, and in English, stop words."""
    share = counts.alphabetic[d]
    if share < spec.least_alphabetic:
        return Reject("has too few words with letters", f"{share:.3f} < {spec.least_alphabetic}")
    english = language == "en" if language else counts.ascii[d] * 2 > counts.words[d]
    if english and counts.stop_words[d] < spec.least_stop_words:
        return Reject("has too few stop words", f"{counts.stop_words[d]} < {spec.least_stop_words}")
    return None
