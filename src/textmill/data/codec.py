"""From texts to rows of ids: the one way for training, evaluation, use and proofs alike.

    lead text tail              source: what an encoder, a model with a head, or the encoder of a pair reads
    lead a between b tail       pair: two texts in one row, segments 0 and 1
    lead word word … tail       words: every word cut by itself, so that no token crosses two
    text end                    target: what a decoder is to write; it reads it behind `start`
    prefix text                 prompt: what a decoder goes on from
    opening text                scored: what a decoder is asked for a text's probability by
    what the template writes    chat: a conversation

`lead` and `tail` are what the tokenizer's own model expects around a text (of a tokenizer learnt here, `start` before
it), `between` is what it expects between two texts, or the separator; `prefix` is what it expects before one, `opening`
that or the end of the text before.

    >>> row = codec.source("Gute Mühlen mahlen.")                        # doctest: +SKIP
    >>> [text[start:end] for start, end in row.offsets.tolist()]         # doctest: +SKIP
    ['', 'Gute', ' Mühlen', ' mahlen', '.', '']

A row longer than `context` is read in `windows`, each a row in the same frame; what cannot be read in pieces (targets,
prompts, conversations) has none, and it is the caller's to refuse it or to cut it and say so.

Shapes: T tokens of a row, n tokens of a text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from textmill.base.errors import TextmillError
from textmill.data import windows
from textmill.data.batch import IGNORE, Batch
from textmill.data.special import SpecialTokens, opening
from textmill.tokenization.chat.tools import spelt_out
from textmill.tokenization.protocol import AnyTokenizer

if TYPE_CHECKING:
    from textmill.tokenization.chat.template import ChatTemplate, Turns

Ids = Sequence[int] | np.ndarray
Around = tuple[tuple[int, ...], tuple[int, ...]]  # what stands before a text, and after it
_WORD = re.compile(r"\S+")
# Tokens read at once, padding included. A processor is quickest where what passes between the layers stays in its cache
# (benchmarks/predict.py: 1.6 times as quick as with 4096 tokens), anything else where there is much to do.
_ON_CPU, _ELSEWHERE = 256, 16_384


@dataclass(frozen=True, eq=False)
class Text:
    """A text as a tokenizer cuts it.

    ids      (n,) uint32
    words    (n,) int64: which word each id is of, where words were cut apart; `places`: the characters of each word
    offsets  (n, 2) int64: the characters [start, end) of the text that each id stands for; found when first asked for
    """

    text: str
    ids: np.ndarray
    _find: Callable[[], np.ndarray] = field(repr=False)
    words: np.ndarray | None = None
    places: Sequence[tuple[int, int]] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def offsets(self) -> np.ndarray:
        """Where each id comes from."""
        return self._find()

    def between(self, first: int, last: int) -> str:
        """What stands in the text from one of its ids to another, both included, as it was written."""
        start, end = self.offsets[first, 0], self.offsets[min(last, len(self) - 1), 1]
        return self.text[start:end].strip()

    @property
    def begins_word(self) -> np.ndarray:
        """(n,) bool: the first id of each word; without words, every id."""
        if self.words is None:
            return np.ones(len(self), dtype=bool)
        return np.diff(self.words, prepend=-1) != 0


@dataclass(frozen=True, eq=False)
class Row:
    """What a model reads of one or two texts.

    ids      (T,) int64
    loss     (T,) bool: which of them are in the loss: a target and its end, what assistants say
    texts    what was given; `of` (T,) int64: which of them each id is of, from 0, or -1: it stands around them; `at`
             (T,) int64: which of that text's ids it is
    """

    ids: np.ndarray
    loss: np.ndarray
    of: np.ndarray
    at: np.ndarray
    texts: tuple[Text, ...]
    _windows: tuple[Row, ...] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def windows(self) -> tuple[Row, ...]:
        """The rows that a model of this context reads: this one where it is short enough; none where it is longer and
        cannot be read in pieces."""
        return (self,) if self._windows is None else self._windows

    @property
    def offsets(self) -> np.ndarray:
        """(T, 2) int64: the characters [start, end) of its text that each id stands for; (0, 0) around texts."""
        return self._of_texts(lambda text: text.offsets, np.zeros((len(self), 2), dtype=np.int64))

    @property
    def words(self) -> np.ndarray:
        """(T,) int64: which word each id is of, or -1."""
        none = np.full(len(self), -1, dtype=np.int64)
        return self._of_texts(lambda text: none if text.words is None else text.words, none.copy())

    @property
    def segments(self) -> np.ndarray:
        """(T,) int64: 1 from the second text on."""
        return (np.maximum.accumulate(self.of) > 0).astype(np.int64)

    @property
    def candidates(self) -> np.ndarray:
        """(T,) bool: of what something may be said: the first id of each word; of two texts, those of the second."""
        return self._of_texts(lambda text: text.begins_word, np.zeros(len(self), dtype=bool)) & (
            self.of == len(self.texts) - 1
        )

    def _of_texts(self, of: Callable[[Text], np.ndarray], values: np.ndarray) -> np.ndarray:
        for number, text in enumerate(self.texts):
            mine = self.of == number
            values[mine] = of(text)[self.at[mine]]
        return values


@dataclass(frozen=True, eq=False)
class Codec:
    """A tokenizer, and what stands around its texts.

    start     the id a target begins with, where the model says one (`model.start`); else the tokenizer's
    around    what stands before and after a source; left out: what a model trained here reads there
    context   tokens of a row that the model reads; left out: any number
    template  how conversations are written
    """

    tokenizer: AnyTokenizer
    start: int | None = None
    around: Around | None = None
    context: int | None = None
    template: ChatTemplate | None = None

    @cached_property
    def special(self) -> SpecialTokens:
        """The ids that stand around texts and in place of their tokens."""
        usual = SpecialTokens.of(self.tokenizer, start=self.start)
        return usual if self.around is None else replace(usual, lead=self.around[0], tail=self.around[1])

    def encode(self, texts: Sequence[str], *, target: bool = False) -> list[Text]:
        """Texts cut, without what stands around them; a translator's tokenizer cuts targets otherwise."""
        if not texts:
            return []
        encode = self.tokenizer.encode_targets if target else self.tokenizer.encode_many
        return [self._text(text, ids, target) for text, ids in zip(texts, encode(texts), strict=True)]

    def _text(self, text: str, ids: np.ndarray, target: bool = False) -> Text:
        return Text(text, ids, lambda: self.tokenizer.offsets(text, "target" if target else "text"))

    def source(self, text: str | Text) -> Row:
        """lead text tail. Windows overlap by half."""
        read = self._read(text)
        room = self._room(self.special.frame)
        if room is None or len(read) <= room:
            return self._framed([read], [(0, len(read))])
        return self._windowed([read], [[bounds] for bounds in windows.of_one(len(read), room)])

    def pair(self, first: str | Text, second: str | Text) -> Row:
        """lead first between second tail. Windows hold the first text, or what of it fits into half of a row, and
        stretches of the second that overlap by half. Raises RecipeError when nothing stands between two texts."""
        texts = [self._read(first), self._read(second)]
        room = self._room(self.special.frame + len(self.special.need_between()))
        one, two = map(len, texts)
        if room is None or one + two <= room:
            return self._framed(texts, [(0, one), (0, two)])
        one = min(one, max(room // 2, room - two))
        bounds = windows.of_one(two, room - one)
        return self._windowed(texts, [[(0, one), stretch] for stretch in bounds])

    def words(self, words: str | Sequence[str], spans: Sequence[tuple[int, int]] | None = None) -> Row:
        """lead word word … tail, each word cut by itself. Windows are of whole words, unless one is longer than a row.

        words: a text, of which the words are what spaces separate, or `spans` of its characters; or the words
        themselves, of a text in which a space stands between them.
        """
        text = words if isinstance(words, str) else " ".join(words)
        if spans is None and not isinstance(words, str):
            ends = np.cumsum([len(word) + 1 for word in words]).tolist()
            spans = [(end - 1 - len(word), end - 1) for word, end in zip(words, ends, strict=True)]
        spans = [match.span() for match in _WORD.finditer(text)] if spans is None else spans
        read = together(self.encode(self.apart(text, spans)), text, spans)
        room = self._room(self.special.frame)
        if room is None or len(read) <= room:
            return self._framed([read], [(0, len(read))])
        return self._windowed([read], [[bounds] for bounds in windows.of_words(read.begins_word, room)])

    def apart(self, text: str, spans: Sequence[tuple[int, int]]) -> list[str]:
        """The words at `spans` of a text as they are cut one by one: where spaces are bytes like any other, with one
        before each that stands apart from the word before it."""
        words = [text[start:end] for start, end in spans]
        if not self.tokenizer.lossless:
            return words
        gaps = [False, *(start > end for (_, end), (start, _) in pairwise(spans))]
        return [f" {word}" if gap else word for word, gap in zip(words, gaps, strict=False)]

    def target(self, text: str | Text) -> Row:
        """text end, all of it in the loss."""
        read = self._read(text, target=True)
        return self._fitting(self._behind((), read, (self.special.end,), loss=True))

    def prompt(self, text: str | Text) -> Row:
        """prefix text; empty where both are."""
        return self._fitting(self._behind(self.tokenizer.prefix, self._read(text)))

    def scored(self, text: str | Text) -> Row:
        """opening text, the text in the loss."""
        row = self._behind(opening(self.tokenizer), self._read(text))
        return self._fitting(replace(row, loss=row.of == 0))

    def chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        answer: bool = False,
        turns: Turns = "all",
        tools: Any = None,
    ) -> Row:
        """A conversation as the template writes it; offsets are characters of what it writes.

        answer: it ends where the assistant is to say something, and nothing is in the loss. Otherwise what assistants
        say is, in all of their turns or in the last one, with the id that ends a turn. tools: those that may be called,
        as JSON has them. Where the template has no place for tools, or their calls, they are written into the messages
        (tokenization/chat/tools.py). Raises TextmillError as ChatTemplate.read, and without a template.
        """
        if self.template is None:
            raise TextmillError("has no chat template: nobody said how it reads conversations", where="model")
        messages, tools = spelt_out(self.template, messages, tools)
        read = self.template.read(
            self.tokenizer, messages, add_generation_prompt=answer, turns=turns, tools=tools
        )
        row = self._behind((), Text(read.text, read.ids, lambda: read.offsets))
        loss = np.zeros(len(row), dtype=bool)
        for said in read.answers:
            if messages[said.turn - 1].get("weight") != 0:
                loss[said.begin : said.end] = True
        return self._fitting(replace(row, loss=loss))

    def batch(self, rows: Sequence[Row]) -> Batch:
        """Rows as a model with a head reads them in training, padded behind: (B, T)."""
        segments, candidates = (
            torch.from_numpy(padded([of(row) for row in rows], dtype=dtype)[0])
            for of, dtype in ((lambda row: row.segments, np.int64), (lambda row: row.candidates, np.bool_))
        )
        ids, real = padded([row.ids for row in rows], self.special.pad)
        inputs = torch.from_numpy(ids)
        return Batch(
            inputs=inputs,
            targets=torch.full_like(inputs, IGNORE),
            mask=None if real is None else torch.from_numpy(real),
            segments=segments if any(len(row.texts) > 1 for row in rows) else None,
            candidates=candidates,
        )

    def _read(self, text: str | Text, *, target: bool = False) -> Text:
        return text if isinstance(text, Text) else self.encode([text], target=target)[0]

    def _room(self, around: int) -> int | None:
        """Tokens of texts that a row holds; None: any number. Raises TextmillError when there is none."""
        if self.context is None:
            return None
        if self.context - around < 1:
            raise TextmillError(f"reads {self.context} tokens only, which leaves no room for a text")
        return self.context - around

    def _framed(self, texts: Sequence[Text], bounds: Sequence[tuple[int, int]]) -> Row:
        """One text or two, of each the ids [begin, end), in what stands around them."""
        ids = self.special.around(
            *(text.ids[begin:end] for text, (begin, end) in zip(texts, bounds, strict=True))
        )
        starts = [len(self.special.lead)]
        if len(texts) > 1:
            starts.append(self.special.before_second + bounds[0][1] - bounds[0][0])
        of, at = (np.full(len(ids), -1, dtype=np.int64) for _ in range(2))
        for number, (start, (begin, end)) in enumerate(zip(starts, bounds, strict=True)):
            of[start : start + end - begin] = number
            at[start : start + end - begin] = np.arange(begin, end)
        return Row(ids, np.zeros(len(ids), dtype=bool), of, at, tuple(texts))

    def _windowed(self, texts: Sequence[Text], cuts: Sequence[Sequence[tuple[int, int]]]) -> Row:
        whole = self._framed(texts, [(0, len(text)) for text in texts])
        return replace(whole, _windows=tuple(self._framed(texts, bounds) for bounds in cuts))

    def _behind(self, before: Ids, text: Text, after: Ids = (), *, loss: bool = False) -> Row:
        ids = np.concatenate([before, text.ids, after]).astype(np.int64)
        place = np.arange(len(ids)) - len(before)
        inside = (place >= 0) & (place < len(text))
        return Row(
            ids, np.full(len(ids), loss), np.where(inside, 0, -1), np.where(inside, place, -1), (text,)
        )

    def _fitting(self, row: Row) -> Row:
        fits = self.context is None or len(row) <= self.context
        return row if fits else replace(row, _windows=())


def together(words: Sequence[Text], text: str = "", spans: Sequence[tuple[int, int]] = ()) -> Text:
    """Words that were cut by themselves (`Codec.apart`) as one text. spans: [start, end) of each in the text."""
    numbers = np.repeat(np.arange(len(words)), list(map(len, words)))

    def find() -> np.ndarray:
        found = [np.zeros((0, 2), dtype=np.int64)]
        for word, (start, end) in zip(words, spans, strict=True):
            before = len(word.text) - (end - start)  # the space it was cut with
            found.append(start + np.clip(word.offsets - before, 0, end - start))
        return np.concatenate(found)

    ids = np.concatenate([np.zeros(0, dtype=np.uint32), *(word.ids for word in words)])
    return Text(text, ids, find, numbers, spans)


def padded(
    rows: Sequence[Ids],
    filler: float = 0,
    *,
    width: int | None = None,
    front: bool = False,
    dtype: type = np.int64,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Rows one under the other, (B, T), and which places are of a row, (B, T) bool; None: all are.

    width: T; left out: the longest row's length. front: the filler stands before the rows, not after them.
    """
    width = max(map(len, rows), default=0) if width is None else width
    values = np.full((len(rows), width), filler, dtype=dtype)
    real = np.zeros((len(rows), width), dtype=bool)
    for index, row in enumerate(rows):
        columns = slice(width - len(row), width) if front else slice(0, len(row))
        values[index, columns] = row
        real[index, columns] = True
    return values, None if bool(real.all()) else real


def at_once(device: torch.device) -> int:
    """How many tokens are best read together there."""
    return _ON_CPU if device.type == "cpu" else _ELSEWHERE


def by_length(lengths: Sequence[int] | np.ndarray, tokens: int) -> Iterator[np.ndarray]:
    """Indices of rows in batches of like length, the longest first: each of at most `tokens`, padding included.

    A row longer than that is a batch of its own.

    >>> [batch.tolist() for batch in by_length([2, 9, 3, 2], tokens=8)]
    [[1], [2, 0], [3]]
    """
    order = np.argsort(-np.asarray(lengths), kind="stable")
    start = 0
    while start < len(order):
        stop = start + max(1, tokens // max(1, int(lengths[order[start]])))
        yield order[start:stop]
        start = stop
