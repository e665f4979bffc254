"""Learning a unigram model of pieces (Kudo 2018, "Subword Regularization", section 3.2), reproducibly.

The trainer of the `tokenizers` library adds in the order of a hash table, so two runs on the same text differ
in the last bits and, through ties, in the pieces. This one is NumPy in a fixed order, and keeps pieces to whole
characters, so that no id is spent on parts of characters but the 256 bytes.

All words are laid end to end as one lattice: nodes are the positions between bytes, edges are pieces. Words are
worked on side by side, one position after the other.

`abc` has the nodes 0 a 1 b 2 c 3. With the pieces `a b c ab` it has four edges and two spellings, `a b c` and `ab c`;
of probabilities 0.06 and 0.02, the first counts 3/4 and the second 1/4: `c` is used once, `ab` a quarter time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from textmill.base.hashing import GOLDEN

LONGEST = 24  # bytes of a piece
_WORDS = 100_000  # commonest words learnt from; rarer ones hardly move a score
_KEEP = 0.75  # share of the pieces that survives a round (Kudo 2018 keeps 80 %)
_ROUNDS_OF_EM = 2  # between two prunings
_FEWEST = 2  # a seed stands at least this often in the text
_BASE = np.uint64(GOLDEN)  # of the rolling hash, modulo 2 ** 64


@dataclass(frozen=True)
class _Words:
    """Words end to end. N nodes, one before each byte and one after each word."""

    data: np.ndarray  # (N,) uint8; at a word's last node there is no byte
    place: np.ndarray  # (N,) int64: position in the word
    left: np.ndarray  # (N,) int64: bytes of the word from here on
    last: np.ndarray  # (W,) int64: the last node of each word
    counts: np.ndarray  # (W,) float64

    @classmethod
    def lay(cls, words: Sequence[bytes], counts: np.ndarray) -> _Words:
        sizes = np.array([len(word) + 1 for word in words], dtype=np.int64)
        ends = np.cumsum(sizes)
        position = np.arange(int(ends[-1])) - np.repeat(ends - sizes, sizes)
        left = np.repeat(sizes, sizes) - 1 - position
        data = np.frombuffer(b"".join(word + b"\0" for word in words), dtype=np.uint8)
        return cls(data, position, left, ends - 1, counts.astype(np.float64))

    def stretches(self, hashes: np.ndarray, length: int) -> np.ndarray:
        """Nodes where a stretch of `length` bytes of whole characters begins; `hashes` is advanced to it."""
        reach = max(len(hashes) - length + 1, 0)
        hashes[:reach] = hashes[:reach] * _BASE + self.data[len(hashes) - reach :] + np.uint64(1)
        begins = np.flatnonzero(self.left >= length)
        if length == 1:
            return begins
        inner = (self.data & 0xC0) == 0x80  # not the first byte of a character
        inner[self.left == 0] = False
        return begins[~inner[begins] & ~inner[begins + length]]


@dataclass(frozen=True)
class _Lattice:
    """Edges in the order of their end: first by its position in the word, then by node. E edges."""

    words: _Words
    start: np.ndarray  # (E,) int64 nodes
    end: np.ndarray  # (E,) int64 nodes
    piece: np.ndarray  # (E,) int64

    @classmethod
    def build(cls, words: _Words, pieces: Sequence[bytes]) -> _Lattice:
        """The first 256 pieces are the bytes, so every word can be spelt."""
        hashes = np.zeros(len(words.data), dtype=np.uint64)
        number = {piece: index for index, piece in enumerate(pieces)}
        starts, ends, indices = [], [], []
        for length in range(1, LONGEST + 1):
            begins = words.stretches(hashes, length)
            mine = sorted((_hash(piece), index) for piece, index in number.items() if len(piece) == length)
            if not mine or not len(begins):
                continue
            keys = np.array([entry[0] for entry in mine], dtype=np.uint64)
            where = np.minimum(np.searchsorted(keys, hashes[begins]), len(keys) - 1)
            hit = keys[where] == hashes[begins]
            starts.append(begins[hit])
            ends.append(begins[hit] + length)
            indices.append(np.array([entry[1] for entry in mine], dtype=np.int64)[where[hit]])
        start, end, piece = np.concatenate(starts), np.concatenate(ends), np.concatenate(indices)
        order = np.lexsort((start, end, words.place[end]))
        return cls(words, start[order], end[order], piece[order])

    def keep(self, edges: np.ndarray, number: np.ndarray) -> _Lattice:
        """Only some edges, their pieces renumbered."""
        return _Lattice(self.words, self.start[edges], self.end[edges], number[self.piece[edges]])

    def _steps(self) -> list[tuple[slice, np.ndarray, np.ndarray]]:
        """(edges, where each end node's edges begin among them, those end nodes), position after position."""
        positions = self.words.place[self.end]
        bounds = np.searchsorted(positions, np.arange(1, int(self.words.place.max(initial=0)) + 2))
        steps = []
        for first, after in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            ends = self.end[first:after]
            groups = np.flatnonzero(np.diff(ends, prepend=-1))
            steps.append((slice(first, after), groups, ends[groups]))
        return [step for step in steps if len(step[2])]

    def best(self, scores: np.ndarray) -> np.ndarray:
        """(W,) score of the best spelling of each word (Viterbi); -inf where there is none."""
        reach = np.where(self.words.place == 0, 0.0, -np.inf)
        for edges, groups, nodes in self._steps():
            reach[nodes] = np.maximum.reduceat(reach[self.start[edges]] + scores[self.piece[edges]], groups)
        return reach[self.words.last]

    def expected(self, scores: np.ndarray) -> np.ndarray:
        """(P,) how often each piece is used, over all spellings weighted by their probability.

        Forward sums of probability, then the count of each word is handed back from its last node: an edge
        gets the share that its spelling so far has of all spellings that end where it ends.
        """
        steps = self._steps()
        total = np.where(self.words.place == 0, 0.0, -np.inf)
        for edges, groups, nodes in steps:
            value = total[self.start[edges]] + scores[self.piece[edges]]
            top = np.maximum.reduceat(value, groups)
            sizes = np.diff(groups, append=len(value))
            total[nodes] = top + np.log(np.add.reduceat(np.exp(value - np.repeat(top, sizes)), groups))
        share = np.exp(total[self.start] + scores[self.piece] - total[self.end])
        mass = np.zeros(len(self.words.data))
        mass[self.words.last] = self.words.counts
        for edges, _, _ in reversed(steps):
            share[edges] *= mass[self.end[edges]]
            np.add.at(mass, self.start[edges], share[edges])
        return np.bincount(self.piece, weights=share, minlength=len(scores))


def _hash(piece: bytes) -> int:
    value = 0
    for byte in piece:
        value = (value * int(_BASE) + byte + 1) & 0xFFFFFFFFFFFFFFFF
    return value


def _seeds(words: _Words, most: int) -> list[bytes]:
    """The 256 bytes, then the stretches of characters that cover most bytes of the text."""
    hashes = np.zeros(len(words.data), dtype=np.uint64)
    weight = np.repeat(words.counts, np.diff(words.last, prepend=-1))
    starts, lengths, covers = [], [], []
    for length in range(1, LONGEST + 1):
        begins = words.stretches(hashes, length)
        if length == 1 or not len(begins):
            continue
        _, first, owner = np.unique(hashes[begins], return_index=True, return_inverse=True)
        times = np.bincount(owner, weights=weight[begins])
        often = times >= _FEWEST
        starts.append(begins[first[often]])
        lengths.append(np.full(int(often.sum()), length))
        covers.append(times[often] * length)
    if not starts:
        return [bytes([byte]) for byte in range(256)]
    start, length, cover = np.concatenate(starts), np.concatenate(lengths), np.concatenate(covers)
    chosen = np.lexsort((start, length, -cover))[:most]
    stretches = [words.data[start[index] : start[index] + length[index]].tobytes() for index in chosen]
    return [bytes([byte]) for byte in range(256)] + stretches


def _without_itself(pieces: Sequence[bytes], scores: np.ndarray) -> np.ndarray:
    """(P,) score of the best way to spell each piece with the others; 0 for a byte, which has none."""
    words = _Words.lay(pieces, np.ones(len(pieces)))
    lattice = _Lattice.build(words, pieces)
    whole = (words.place[lattice.start] == 0) & (words.left[lattice.end] == 0)
    best = lattice.keep(np.flatnonzero(~whole), np.arange(len(pieces))).best(scores)
    best[:256] = 0.0
    return best


def _scores(counts: np.ndarray) -> np.ndarray:
    """Log probabilities; a piece never used gets that of a hundredth of a use, so that it stays possible."""
    counts = np.maximum(counts, 0.01)
    return np.log(counts) - np.log(counts.sum())


def learn(words: Sequence[tuple[bytes, int]], size: int) -> list[tuple[bytes, float]]:
    """Pieces and their log probabilities: the 256 bytes first, then the likeliest first.

    words: different ones, with how often each stands in the text. size: pieces, bytes included; fewer come
    back when the text has not as many stretches that stand in it twice.
    """
    commonest = sorted(((word, times) for word, times in words if word), key=lambda w: (-w[1], w[0]))[:_WORDS]
    laid = _Words.lay([word for word, _ in commonest], np.array([times for _, times in commonest]))
    pieces = _seeds(laid, max(8 * size, 50_000))
    lattice = _Lattice.build(laid, pieces)
    counts = np.bincount(lattice.piece, minlength=len(pieces)) + 1.0
    scores = _scores(counts)
    while True:
        for _ in range(_ROUNDS_OF_EM):
            counts = lattice.expected(scores)
            scores = _scores(counts)
        if len(pieces) <= size:
            break
        loss = counts * (scores - _without_itself(pieces, scores))  # nats lost when the piece goes
        loss[:256] = np.inf  # never goes
        wanted = max(size, int(_KEEP * len(pieces)))
        kept = np.sort(np.argsort(-loss, kind="stable")[:wanted])
        number = np.full(len(pieces), -1)
        number[kept] = np.arange(wanted)
        lattice = lattice.keep(np.flatnonzero(number[lattice.piece] >= 0), number)
        pieces, scores = [pieces[index] for index in kept], scores[kept]
    likeliest = sorted(range(256, len(pieces)), key=lambda index: (-round(scores[index], 6), pieces[index]))
    return [(pieces[index], round(float(scores[index]), 6)) for index in [*range(256), *likeliest]]
