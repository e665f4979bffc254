"""Which language a text is in: by its script where that decides, by py3langid where it does not.

py3langid (Lui & Baldwin 2011, "Cross-domain feature selection for language identification") walks an automaton
over bytes and adds up the log-probabilities of the n-grams it meets. Its model is used here for many texts at
once: the automata of a batch go forward together, one byte at a time, which numpy does many times quicker than a
loop over single texts.
"""

from __future__ import annotations

import importlib.util
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from typing import Any

import numpy as np

from textmill.base.errors import TextmillError
from textmill.specs.cleaning import LanguageStep
from textmill.text import scripts
from textmill.text.document import Document, Item, Step, reject, rewritten

UNDETERMINED = "und"
_SAMPLE = 500  # characters looked at, from the beginning and again from the middle
_BATCH = 256  # documents looked at together
_WORD = 4  # letters of an alphabet that say as much as one hanzi
_KANA = 0.05  # share of kana in CJK text from which it is Japanese
_HANGUL = 0.3  # share of hangul from which it is Korean
_PARAGRAPH = 60  # letters (hanzi count _WORD times) under which a paragraph is not judged by itself
_PARAGRAPHS = re.compile(r"(\n[ \t\u3000]*\n\s*)")
# Scripts that one language is written in, near enough; all others are left to the model.
_ONLY = {
    "greek": "el",
    "armenian": "hy",
    "gurmukhi": "pa",
    "gujarati": "gu",
    "oriya": "or",
    "tamil": "ta",
    "telugu": "te",
    "kannada": "kn",
    "malayalam": "ml",
    "sinhala": "si",
    "thai": "th",
    "lao": "lo",
    "georgian": "ka",
    "khmer": "km",
}


@dataclass(frozen=True)
class Guess:
    """A language and how probable it is, from 0 to 1."""

    language: str
    probability: float


def language(spec: LanguageStep) -> Step:
    """The step: it notes the language in the metadata, and skips what is in none of those kept.

    Raises TextmillError when py3langid is missing: without it the same recipe would give another corpus.
    """
    if importlib.util.find_spec("py3langid") is None:
        raise TextmillError(
            "needs py3langid", where="corpus.steps: language", advice="pip install 'textmill[web]'"
        )

    def step(items: Iterable[Item]) -> Iterator[Item]:
        stream = iter(items)
        while batch := list(islice(stream, _BATCH)):
            yield from _judge(batch, spec)

    return step


def _judge(batch: list[Item], spec: LanguageStep) -> Iterator[Item]:
    if spec.paragraphs and spec.keep:
        batch = _drop_paragraphs(batch, spec)
    guesses = iter(identify([item.whole for item in batch if isinstance(item, Document)]))
    for item in batch:
        if not isinstance(item, Document):
            yield item
            continue
        guess = next(guesses)
        code = guess.language if guess.probability >= spec.least else UNDETERMINED
        if spec.keep and code not in spec.keep:
            yield reject(item, "language", "is in a language that is not kept", code)
        else:
            yield replace(item, metadata={**item.metadata, "language": code})


def _drop_paragraphs(batch: list[Item], spec: LanguageStep) -> list[Item]:
    """Documents without the paragraphs that are surely in another language."""
    pieces = [
        {role: _PARAGRAPHS.split(text) for role, text in item.texts.items()}
        if isinstance(item, Document)
        else {}
        for item in batch
    ]
    judged = [
        (number, parts, at)
        for number, texts in enumerate(pieces)
        for parts in texts.values()
        for at in range(0, len(parts), 2)
        if _long(parts[at])
    ]
    guesses = identify([parts[at] for _, parts, at in judged])
    dropped: Counter[int] = Counter()
    for (number, parts, at), guess in zip(judged, guesses, strict=True):
        certain = guess.language != UNDETERMINED and guess.probability >= max(spec.least, 0.5)
        if certain and guess.language not in spec.keep:
            # With the gap after it, so that the gap before it is the one that stays.
            parts[at : at + 2] = ["", ""][: len(parts[at : at + 2])]
            dropped[number] += 1
    return [
        rewritten(item, {role: "".join(parts) for role, parts in texts.items()}, "language", dropped[number])
        if isinstance(item, Document)
        else item
        for number, (item, texts) in enumerate(zip(batch, pieces, strict=True))
    ]


def _long(paragraph: str) -> bool:
    if len(paragraph) * _WORD < _PARAGRAPH:
        return False
    counts = scripts.count(paragraph[: 4 * _PARAGRAPH])
    return sum(count * (_WORD if name in _CJK else 1) for name, count in counts.items()) >= _PARAGRAPH


_CJK = ("hanzi", "kana", "hangul")


def identify(texts: Sequence[str]) -> list[Guess]:
    """The language of each text, from its beginning and its middle. `und`, 0 for a text without letters."""
    guesses: list[Guess | None] = []
    unsure: list[str] = []
    for text in texts:
        sample = _sample(text)
        guess = None if sample.isascii() and _LETTER.search(sample) else by_script(sample)
        guesses.append(guess)
        if guess is None:
            unsure.append(sample)
    modelled = iter(_model().classify(unsure) if unsure else ())
    return [guess if guess is not None else next(modelled) for guess in guesses]


_LETTER = re.compile("[A-Za-z]")


def _sample(text: str) -> str:
    if len(text) <= 2 * _SAMPLE:
        return text
    middle = len(text) // 2
    return f"{text[:_SAMPLE]}\n{text[middle : middle + _SAMPLE]}"


def by_script(text: str) -> Guess | None:
    """The language where the script decides it; None where it does not."""
    counts = scripts.count(text)
    cjk = sum(counts[name] for name in _CJK)
    alphabetic = sum(counts.values()) - cjk
    if not cjk and not alphabetic:
        return Guess(UNDETERMINED, 0.0)
    share = cjk / (cjk + alphabetic / _WORD)
    if share >= 0.5:
        if counts["hangul"] >= _HANGUL * cjk:
            return Guess("ko", share)
        return Guess("ja" if counts["kana"] >= _KANA * cjk else "zh", share)
    name, most = counts.most_common(1)[0]
    if name in _ONLY and most >= 0.5 * alphabetic:
        return Guess(_ONLY[name], most / alphabetic)
    return None


class _Model:
    """The model of py3langid, over many texts at once. The same answers as its `classify`, to float32."""

    def __init__(self, identifier: Any) -> None:
        # The languages, and which of them each class stands for: some have one class for each script.
        self._names, self._of = np.unique(np.array(identifier.nb_classes), return_inverse=True)
        self._table = np.asarray(identifier.nb_ptc, np.float32)  # (features, classes)
        self._prior = np.asarray(identifier.nb_pc, np.float32)
        self._rows = np.asarray(identifier.tk_row, np.int64) << 8
        self._next = np.asarray(identifier.tk_nextmove)
        self._feature = np.asarray(identifier.tk_output)

    def classify(self, texts: Sequence[str]) -> list[Guess]:
        """The likeliest language of each text."""
        data = [_bytes(text) for text in texts]
        return [
            self._decide(features, len(text)) for features, text in zip(self._walk(data), data, strict=True)
        ]

    def _walk(self, data: list[bytes]) -> list[np.ndarray]:
        """The features each text meets, -1 where a byte ends none. The longest go first, so that those still
        being read stay together at the front."""
        order = sorted(range(len(data)), key=lambda number: -len(data[number]))
        sizes = np.array([len(data[number]) for number in order])
        longest = int(sizes[0]) if len(sizes) else 0
        letters = np.zeros((longest, len(data)), np.uint8)
        for column, number in enumerate(order):
            letters[: sizes[column], column] = np.frombuffer(data[number], np.uint8)
        met = np.full((longest, len(data)), -1, np.int32)
        state = np.zeros(len(data), np.int64)
        reading = len(data) - np.searchsorted(sizes[::-1], np.arange(longest), side="right")
        for position in range(longest):
            active = int(reading[position])
            state = self._next[self._rows[state[:active]] + letters[position, :active]]
            met[position, :active] = self._feature[state]
        columns = {number: column for column, number in enumerate(order)}
        return [met[: len(text), columns[number]] for number, text in enumerate(data)]

    def _decide(self, met: np.ndarray, size: int) -> Guess:
        features, counts = np.unique(met[met >= 0], return_counts=True)
        if not len(features):
            return Guess(UNDETERMINED, 0.0)
        scores = np.log1p(counts.astype(np.float32)) @ self._table[features] + self._prior
        # The temperature of py3langid: the square root of the length keeps probabilities honest over lengths.
        likely = np.exp((scores - scores.max()) / np.sqrt(size))
        shares = np.bincount(self._of, likely / likely.sum(), minlength=len(self._names))
        best = int(shares.argmax())
        return Guess(str(self._names[best]), float(shares[best]))


def _bytes(text: str) -> bytes:
    text = text.lower() if text.isupper() else text
    return unicodedata.normalize("NFC", text).encode("utf-8", "replace")


@cache
def _model() -> _Model:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return _Model(LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True))
