"""The training text itself, in the order of its suffixes: contexts of any length, for the ∞-gram.

A context of n tokens is a stretch low <= i < high of that order; reading one more token halves it down.

Shapes: B rows, T positions, N positions in one row of numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from textmill.models.ngram.tables import Tables, first_not_under, ragged

FIELDS = 4  # what is kept of a position's longest context: low, high, tokens, followers
_FOLLOWERS = 32  # different next tokens are counted up to here
Stretches = list[
    tuple[int, Tensor, Tensor, Tensor]
]  # by rising length: length, positions (rising), low, high


class Stream(Tables):
    """What followed every context, however long, that stands in the training text.

    The ∞-gram takes the longest context that was seen (Liu et al. 2024). With c(w) of its C occurrences followed by w
    and by T different tokens in all, P(w) = (c(w) + e·T·P'(w)) / (C + e·T), P' being what shorter contexts say: the
    form of Witten and Bell, with an escape e for each length, by which no probability is 0.

    ids (n,); order (n,) the places of its suffixes; first (V + 1,) where those that begin with each id begin; escape
    (L,): e of contexts of 0, 1, … tokens, longer ones as the last; end (1,).
    """

    ids: nn.Parameter
    order: nn.Parameter
    first: nn.Parameter
    escape: nn.Parameter
    end: nn.Parameter

    def __init__(self) -> None:
        super().__init__("ids", "order", "first", "escape", "end")

    def follow(self, inputs: Tensor, linked: Tensor, real: Tensor, longest: int) -> Stretches:
        """The stretches of all contexts that end at each of (B, T) positions.

        linked: (B, T) bool, whether a position goes on from the one before; real: (B, T) bool. A context that stands
        wherever a longer one does, and nowhere else, is not followed further: it and the longer one will always say
        the same. So reading a copy of a document costs no more than reading another one.
        """
        tokens, joined = inputs.flatten(), linked.flatten()
        sizes = torch.zeros_like(tokens)  # of the stretches of one length, by position
        at = real.flatten().nonzero().squeeze(1)
        low, high = self._begin(tokens[at])
        stretches: Stretches = []
        for length in range(1, longest + 1):
            alive = high > low
            at, low, high = at[alive], low[alive], high[alive]
            if not len(at):
                break
            stretches.append((length, at, low, high))
            after = at + 1
            goes = after < len(tokens)
            goes &= joined[after.clamp(max=len(tokens) - 1)]
            before, (after, first, last) = at[goes], (each[goes] for each in (after, low, high))
            first, last = self.after(first, last, torch.full_like(after, length), tokens[after])
            last = torch.where(tokens[after] == self.end, first, last)
            sizes[at] = high - low
            longer = torch.zeros_like(sizes)
            longer[after] = last - first
            new = longer[before] != sizes[before]
            at, low, high = after[new], first[new], last[new]
        return stretches

    def step(self, ranges: Tensor, tokens: Tensor, longest: int) -> Tensor:
        """Stretches (B, L, 2) of a row's contexts of 1, 2, … tokens, after one more token (B,): (B, L + 1, 2)."""
        rows, lengths, _ = ranges.shape
        start = torch.stack(self._begin(tokens), -1)
        offsets = torch.arange(1, lengths + 1, device=tokens.device).expand(rows, lengths)
        token = tokens[:, None].expand(rows, lengths)
        low, high = (side.flatten() for side in ranges.unbind(-1))
        low, high = self.after(low, high, offsets.flatten(), token.flatten())
        ended = (token == self.end).flatten()
        longer = torch.stack([low, torch.where(ended, low, high)], -1).view(rows, lengths, 2)
        whole = torch.cat([start[:, None], longer], 1)[:, :longest]
        used = (whole[..., 1] > whole[..., 0]).any(0).nonzero()
        return whole[:, : int(used[-1]) + 1 if len(used) else 1]

    def _begin(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """The stretch of each token alone. The text's last end-of-text, the first of its kind, begins nothing."""
        return self.first[tokens].long() + (tokens == self.end), self.first[tokens + 1].long()

    def after(self, low: Tensor, high: Tensor, length: Tensor, token: Tensor) -> tuple[Tensor, Tensor]:
        """The part of each stretch (n,), of contexts of `length` tokens, in which `token` comes next."""

        def read(positions: Tensor, which: Tensor) -> Tensor:
            return self.next(positions, length[which])

        lower = first_not_under(low, high, token, read)
        return lower, first_not_under(lower, high, token + 1, read)

    def next(self, positions: Tensor, length: Tensor) -> Tensor:
        """The token `length` places on from the beginning of each of these suffixes; -1 past the text's end."""
        at = self.order[positions].long() + length
        inside = at < len(self.ids)
        return torch.where(inside, self.ids[torch.where(inside, at, 0)].long(), -1)

    def longest(self, stretches: Stretches, positions: int, shortest: int) -> Tensor:
        """(N, 4): the longest context of each position, if it has `shortest` tokens or more; else zeros."""
        kept = torch.zeros(positions, FIELDS, dtype=torch.int64, device=self.ids.device)
        for length, at, low, high in stretches:
            if length >= shortest:
                kept[at, :3] = torch.stack([low, high, torch.full_like(low, length)], -1)
        here = kept[:, 1] > 0
        kept[here, 3] = self.followers(*kept[here, :3].unbind(-1))
        return kept

    def followers(self, low: Tensor, high: Tensor, length: Tensor) -> Tensor:
        """(n,): how many different tokens come after each context, up to 32."""
        count = torch.ones_like(low)
        which = (high - low > 1).nonzero().squeeze(1)
        start, stop = low[which], high[which]
        for _ in range(_FOLLOWERS - 1):
            if not len(which):
                break
            tokens = self.next(start, length[which])
            start = self.after(start, stop, length[which], tokens)[1]
            alive = start < stop
            which, start, stop = which[alive], start[alive], stop[alive]
            count[which] += 1
        return count

    def mix_one(self, kept: Tensor, tokens: Tensor, lower: Tensor) -> Tensor:
        """P of (N,) tokens: what followed the longest context (N, 4), over the shorter contexts' `lower` (N,)."""
        rows = (kept[:, 1] > 0).nonzero().squeeze(1)
        low, high, length, followers = kept[rows].unbind(-1)
        start, stop = self.after(low, high, length, tokens[rows])
        left = self._left(length, followers, lower)
        return lower.index_put((rows,), (stop - start + left * lower[rows]) / (high - low + left))

    def mix(self, kept: Tensor, lower: Tensor) -> None:
        """The same for every token: `lower` (N, V) is changed in place."""
        rows = (kept[:, 1] > 0).nonzero().squeeze(1)
        low, high, length, followers = kept[rows].unbind(-1)
        left = self._left(length, followers, lower)
        total = high - low + left
        lower[rows] *= (left / total)[:, None]
        which, positions = ragged(low, high)
        tokens = self.next(positions, length[which])
        lower.view(-1).index_add_(0, rows[which] * lower.shape[1] + tokens, (1 / total)[which])

    def _left(self, length: Tensor, followers: Tensor, like: Tensor) -> Tensor:
        return (self.escape[length.clamp(max=len(self.escape) - 1)] * followers).to(like.dtype)
