"""How much of a document repeats itself: the rules of Gopher's table A1 (Rae et al. 2021, appendix A.1.1).

| what                                           | largest share |
|------------------------------------------------|---------------|
| duplicate lines, duplicate paragraphs          | 0.30, 0.30    |
| their characters                               | 0.20, 0.20    |
| characters of the most frequent 2-, 3-, 4-gram | 0.20, 0.18, 0.16 |
| characters of duplicate 5- to 10-grams         | 0.15, 0.14, 0.13, 0.12, 0.11, 0.10 |

An n-gram is n tokens in a row (`words.tokens`: words, hanzi, symbols), case counting. The most frequent one
counts with the spaces between its tokens, as often as it occurs, if it occurs twice. A duplicate one repeats an
earlier one of the document; the characters of its tokens count once, however many duplicates hold them, by going
from left to right and on behind a duplicate. All shares are of the characters of the document.

The n-grams of a batch are compared by 64-bit hashes. Nearly every document is cleared by bounds that cost little:
an n-gram is no more frequent than its rarest word, and repeats none if one of its words stands alone. What is left
is counted exactly.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from textmill.base.hashing import GOLDEN
from textmill.text.lines import repeated
from textmill.text.step import Reject
from textmill.text.words import Tokens

LINES = PARAGRAPHS = 0.30
LINE_CHARACTERS = PARAGRAPH_CHARACTERS = 0.20
TOP = {2: 0.20, 3: 0.18, 4: 0.16}
DUPLICATE = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}
_LENIENT = 1 - 1e-9  # bounds are computed another way round than shares, and rounded otherwise
_STEP = np.uint64(
    0xD6E8FEB86659FD93
)  # odd: hash of an n-gram = hash of its first n - 1 tokens * this + its last


def judge_lines(text: str) -> Reject | None:
    """The rules on duplicate paragraphs (parted by empty lines) and lines; the first that fails."""
    size = len(text)
    broken = text.split("\n")
    lines = [line for line in broken if line]
    if broken and not broken[0]:  # a break at either end leaves an empty line there, as many as there are
        lines.append("")
    if len(broken) > 1 and not broken[-1]:
        lines.append("")
    count, characters = repeated(lines)
    # A paragraph that occurs twice brings its lines twice, unless one of the two lost spaces at an end of the text.
    stripped = text.strip()
    if count or len(stripped) != len(text.strip("\n")):
        paragraphs = [p.strip("\n") for p in stripped.split("\n\n")]
        paragraphs = [p for p in paragraphs if p] or [""]
        more, inside = repeated(paragraphs)
        if more / len(paragraphs) > PARAGRAPHS:
            return Reject("has too many duplicate paragraphs", _share(more, len(paragraphs), PARAGRAPHS))
        if inside / size > PARAGRAPH_CHARACTERS:
            return Reject(
                "has too many characters in duplicate paragraphs", _share(inside, size, PARAGRAPH_CHARACTERS)
            )
        if count / len(lines) > LINES:
            return Reject("has too many duplicate lines", _share(count, len(lines), LINES))
        if characters / size > LINE_CHARACTERS:
            return Reject(
                "has too many characters in duplicate lines", _share(characters, size, LINE_CHARACTERS)
            )
    return None


def judge_ngrams(
    tokens: Tokens, sizes: NDArray[np.int64], verdicts: Sequence[Reject | None]
) -> list[Reject | None]:
    """The rules on n-grams, for the documents that have no verdict yet; `sizes` are their characters."""
    done = list(verdicts)
    repeats = _Repeats(tokens, sizes)
    for n, most in TOP.items():
        for d in repeats.perhaps_top(n, most):
            if done[d] is None and (share := repeats.top(d, n)) > most:
                done[d] = Reject(f"repeats its most frequent {n}-gram too often", f"{share:.3f} > {most}")
    alive = np.array([verdict is None for verdict in done], bool)
    for n, positions, groups, again in repeats.duplicates(alive):
        most = DUPLICATE[n]
        for d in repeats.perhaps_duplicate(n, positions[again], most):
            low, high = np.searchsorted(positions, tokens.offsets[d : d + 2])
            share = repeats.duplicate(d, n, positions[low:high], groups[low:high])
            if done[d] is None and share > most:
                done[d] = Reject(f"has too many characters in duplicate {n}-grams", f"{share:.3f} > {most}")
                alive[d] = False
    return done


def _share(part: int, whole: int, most: float) -> str:
    return f"{part / whole:.3f} > {most}"


class _Repeats:
    """What repeats within each document of a batch of N tokens."""

    def __init__(self, tokens: Tokens, sizes: NDArray[np.int64]) -> None:
        self.hash, self.offsets, self.sizes = tokens.hash, tokens.offsets, np.maximum(sizes, 1)
        self.before = np.concatenate([[0], np.cumsum(tokens.end - tokens.start)])  # characters before a token
        self.document = np.repeat(np.arange(len(sizes)), np.diff(tokens.offsets))
        self.often = _at_most(self.hash, self.document)

    def perhaps_top(self, n: int, most: float) -> list[int]:
        """Documents in which some n-gram might hold more than its share; few hold what they are suspected of."""
        count = len(self.hash) - n + 1
        if count < 1:
            return []
        often = self.often[:count].copy()
        for i in range(1, n):
            np.minimum(often, self.often[i : i + count], out=often)
        often *= self.before[n:] - self.before[:count] + (n - 1)
        # Runs that cross into the next document are among them: they only cast suspicion.
        document = self.document[:count]
        return np.unique(document[often >= (most * _LENIENT * self.sizes)[document]]).tolist()

    def top(self, d: int, n: int) -> float:
        """The share of characters of the most frequent n-gram of a document (the first of several such)."""
        low, high = self.offsets[d], self.offsets[d + 1] - n + 1
        if high - low < 2:
            return 0.0
        grams = self._ngrams(np.arange(low, high), n)
        _, first, counts = np.unique(grams, return_index=True, return_counts=True)
        if counts.max() < 2:
            return 0.0
        at = low + first[counts == counts.max()].min()
        length = self.before[at + n] - self.before[at] + n - 1
        return float(length * counts.max() / self.sizes[d])

    def _ngrams(self, positions: NDArray[np.int64], n: int) -> NDArray[np.uint64]:
        grams = self.hash[positions]
        for i in range(1, n):
            grams = grams * _STEP + self.hash[positions + i]
        return grams

    def duplicates(self, alive: NDArray[np.bool_]):
        """(n, positions, groups, again) for each n of DUPLICATE: the positions, rising, of n-grams that occur twice or
        more in a document that is still `alive` (looked at before each n), the same group for the same n-gram,
        and which of them repeat an earlier one."""
        n = min(DUPLICATE)
        count = max(0, len(self.hash) - n + 1)
        twice = self.often >= 2
        run = twice[:count].copy()
        for i in range(1, n):
            run &= twice[i : i + count]
        positions = np.flatnonzero(run)
        grams = None
        for n in DUPLICATE:
            stays = alive[self.document[positions]] & (
                positions + n <= self.offsets[self.document[positions] + 1]
            )
            if grams is None:
                positions = positions[stays]
                grams = self._ngrams(positions, n)
                stays = _at_most(grams, self.document[positions]) >= 2
                positions, grams = positions[stays], grams[stays]
            else:
                positions = positions[stays]
                grams = grams[stays] * _STEP + self.hash[positions + n - 1]
            groups, again, several = _grouped(self.document[positions], grams)
            positions, grams = positions[several], grams[several]
            yield n, positions, groups[several], again[several]

    def perhaps_duplicate(self, n: int, again: NDArray[np.int64], most: float) -> list[int]:
        """Documents whose tokens in n-grams that repeat an earlier one hold more than a share of the characters."""
        if not len(again):
            return []
        # Where the next one begins inside this one, the tokens they share count once.
        ends = np.minimum(again + n, np.append(again[1:], again[-1] + n))
        covered = np.bincount(
            self.document[again], weights=self.before[ends] - self.before[again], minlength=len(self.sizes)
        )
        return np.flatnonzero(covered >= most * _LENIENT * self.sizes).tolist()

    def duplicate(self, d: int, n: int, positions: NDArray[np.int64], groups: NDArray[np.int64]) -> float:
        """The share of characters of a document in duplicate n-grams, from left to right."""
        seen: set[int] = set()
        free = characters = 0
        lengths = (self.before[positions + n] - self.before[positions]).tolist()
        for position, group, length in zip(positions.tolist(), groups.tolist(), lengths, strict=True):
            if position < free:
                continue
            if group in seen:
                characters += length
                free = position + n
            else:
                seen.add(group)
        return characters / int(self.sizes[d])


def _at_most(hashes: NDArray[np.uint64], document: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each of several hashes a number its document holds it no oftener than; mostly exact, never too low."""
    bits = max(10, int(np.ceil(np.log2(len(hashes) * 4 + 1))))
    bucket = hashes ^ (document.astype(np.uint64) * np.uint64(GOLDEN))
    bucket >>= np.uint64(64 - bits)
    bucket = bucket.astype(np.int64)
    return np.bincount(bucket, minlength=1 << bits)[bucket]


def _grouped(document: NDArray[np.int64], grams: NDArray[np.uint64]) -> tuple[NDArray, NDArray, NDArray]:
    """(group, whether an earlier entry has the same, whether any other has), by document and hash."""
    order = np.lexsort((grams, document))
    same = np.zeros(len(order) + 1, bool)
    same[1:-1] = (grams[order][1:] == grams[order][:-1]) & (document[order][1:] == document[order][:-1])
    groups = np.empty(len(order), np.int64)
    groups[order] = np.cumsum(~same[:-1])
    again = np.empty(len(order), bool)
    again[order] = same[:-1]
    several = np.empty(len(order), bool)
    several[order] = same[:-1] | same[1:]
    return groups, again, several
