"""What marks stretches of a document's first text: words with their tags, and spans with their labels.

    @words    [[0, 5], [6, 11]]    metadata, JSON: where each word stands, [from, to) characters of the first text
    @spans    [[0, 5, "PER"]]      metadata, JSON: stretches and what they are
    tags      B-PER O              metadata: one a word; `@aligned` names the metadata that are so
    pages     0 1820 4011          metadata: the character that each page begins at

Without `@words`, words are what spaces part. Marks move with the text when a step changes it: `moved` finds in the new
text what was marked in the old one, or says that it cannot.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher

WORDS, ALIGNED, SPANS = "@words", "@aligned", "@spans"
PAGES = "pages"
MARKS = (WORDS, ALIGNED, SPANS, PAGES)
TAGS = "tags"  # the usual name of what has a tag for each word
Place = tuple[int, int]  # [from, to) characters
_GRAM = 6  # characters that must agree for two texts to have met again
_REACHES = (64, 4096)  # characters ahead that are searched for it
_SMALL = 300  # characters of a stretch that is compared character by character
_WORD = re.compile(r"\S+")


class Lost(Exception):
    """What was marked does not stand in the new text as it did in the old one."""


def words_of(text: str, metadata: Mapping[str, str]) -> list[Place]:
    """Where the words of a first text stand: those that are marked, else what spaces part."""
    if WORDS in metadata:
        return [(start, end) for start, end in json.loads(metadata[WORDS])]
    return [match.span() for match in _WORD.finditer(text)]


def spans_of(metadata: Mapping[str, str]) -> list[tuple[int, int, str]]:
    """The spans that are marked: from, to, label."""
    return [(start, end, label) for start, end, label in json.loads(metadata.get(SPANS, "[]"))]


def written(places: Sequence[Sequence[int | str]]) -> str:
    """Places, or spans, as metadata has them."""
    return json.dumps(list(map(list, places)), ensure_ascii=False, separators=(",", ":"))


def moved(old: str, new: str, metadata: Mapping[str, str]) -> dict[str, str]:
    """The marks in metadata as they are where a document's first text became another one; empty where it has none.

    A word that is gone takes its tags with it; a page begins where the first of it that is left stands, and where the
    text has become another one altogether, nobody knows where (`pages` is empty). Raises Lost where a word or a span
    was cut, joined or put in.
    """
    if old == new or not any(mark in metadata for mark in MARKS):
        return {}
    try:
        alignment = _Alignment(old, new)
    except Lost:
        if any(mark in metadata for mark in (WORDS, ALIGNED, SPANS)):
            raise
        return {PAGES: ""}
    found = {}
    if PAGES in metadata:
        found[PAGES] = " ".join(str(alignment.first(int(start))) for start in metadata[PAGES].split())
    if SPANS in metadata:
        places = [(*alignment.place(start, end), label) for start, end, label in spans_of(metadata)]
        if any(start == end for start, end, _ in places):
            raise Lost
        found[SPANS] = written(places)
    if WORDS in metadata or ALIGNED in metadata:
        words = [alignment.place(*word) for word in words_of(old, metadata)]
        kept = [start < end for start, end in words]
        there = [word for word, stays in zip(words, kept, strict=True) if stays]
        if WORDS in metadata:
            found[WORDS] = written(there)
        elif there != words_of(new, {}):
            raise Lost
        for name in metadata.get(ALIGNED, "").split():
            tags = metadata.get(name, "").split()
            if len(tags) != len(words):
                raise Lost
            found[name] = " ".join(tag for tag, stays in zip(tags, kept, strict=True) if stays)
    return found


class _Alignment:
    """Where the characters of a text, white space aside, are in what became of it."""

    def __init__(self, old: str, new: str) -> None:
        """Raises Lost for texts that differ over too long a stretch to be compared."""
        (before, self._from), (after, self._to) = _pieces(old), _pieces(new)
        self._length = len(new)
        self._place = [-1] * len(before)  # of each character that stands in both, its number in the new text
        for a, b, size in _alike(before, after):
            self._place[a : a + size] = range(b, b + size)

    def first(self, start: int) -> int:
        """Where what is left of the old text from a place on begins in the new one; its end where nothing is."""
        at = bisect_left(self._from, start)
        there = next((to for to in self._place[at:] if to >= 0), len(self._to))
        return self._to[there] if there < len(self._to) else self._length

    def place(self, start: int, end: int) -> Place:
        """Where a stretch of the old text stands in the new one; an empty place where all of it is gone.

        What became of its ends must have become of them alone. Raises Lost where it did not.
        """
        first, last = bisect_left(self._from, start), bisect_left(self._from, end)
        place, count = self._place, len(self._place)
        if first == last:  # nothing but white space
            return 0, 0
        left = next((place[at] for at in range(first - 1, -1, -1) if place[at] >= 0), -1)
        right = next((place[at] for at in range(last, count) if place[at] >= 0), len(self._to))
        if max(place[first:last]) < 0 and left + 1 == right:
            return 0, 0
        if place[first] < 0 and first and place[first - 1] < 0:
            raise Lost  # what stands in its place began before it
        if place[last - 1] < 0 and last < count and place[last] < 0:
            raise Lost
        begin = place[first] if place[first] >= 0 else left + 1
        stop = place[last - 1] if place[last - 1] >= 0 else right - 1
        if begin > stop:
            raise Lost
        return self._to[begin], self._to[stop] + 1


def _pieces(text: str) -> tuple[str, list[int]]:
    """The characters of a text that are not white space, and where each stands."""
    places = [at for at, character in enumerate(text) if not character.isspace()]
    return "".join([text[at] for at in places]), places


def _alike(before: str, after: str) -> Iterator[tuple[int, int, int]]:
    """(place in one text, place in the other, length) of the stretches two texts share, in their order.

    Where they part, they meet again where _GRAM characters agree with the least lost on the way. A stretch that became
    another of the same length did so character by character.
    """
    a = b = 0
    while a < len(before) and b < len(after):
        if before[a] == after[b]:
            size = _shared(before, a, after, b)
            yield a, b, size
            a, b = a + size, b + size
            continue
        next_a, next_b = _meeting(before, a, after, b)
        yield from _within(before[a:next_a], after[b:next_b], a, b)
        a, b = next_a, next_b


def _shared(before: str, a: int, after: str, b: int) -> int:
    """How many characters two texts have alike from two places on."""
    size, most = 0, min(len(before) - a, len(after) - b)
    while size < most and before[a + size] == after[b + size]:
        size += 1
    return size


def _meeting(before: str, a: int, after: str, b: int) -> Place:
    """The places where two texts that part at `a` and `b` agree again; their ends where they do not."""
    for reach in _REACHES:
        grams: dict[str, int] = {}
        for far in range(min(reach, len(after) - b - _GRAM + 1)):
            grams.setdefault(after[b + far : b + far + _GRAM], far)
        best = None
        for far in range(min(reach, len(before) - a - _GRAM + 1)):
            if best is not None and far >= sum(best):
                break
            other = grams.get(before[a + far : a + far + _GRAM])
            if other is not None and (best is None or far + other < sum(best)):
                best = far, other
        if best is not None:
            return a + best[0], b + best[1]
    if max(len(before) - a, len(after) - b) > _REACHES[-1]:
        raise Lost
    return len(before), len(after)


def _within(before: str, after: str, a: int, b: int) -> Iterator[tuple[int, int, int]]:
    """What two differing stretches, which begin at `a` and `b`, share all the same."""
    if len(before) == len(after):
        yield a, b, len(before)
    elif before and after and max(len(before), len(after)) <= _SMALL:
        for in_a, in_b, size in SequenceMatcher(None, before, after, autojunk=False).get_matching_blocks():
            if size:
                yield a + in_a, b + in_b, size
