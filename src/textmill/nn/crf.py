"""A linear-chain conditional random field (Lafferty et al. 2001): tags scored as a sequence.

Shapes: B sequences, T positions, C tags.

The score of tags y over positions 1 … n is start[y1] + Σ scores[t, yt] + Σ transitions[yt, yt+1] + end[yn], and
their probability is exp(score) over the sum of it for all Cⁿ sequences. Positions that are not to be tagged
(padding, all but the first piece of a word) are skipped as if they were not there.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class CRF(nn.Module):
    """Scores of moving from tag to tag; those of a tag at a position are given by whoever stands below."""

    def __init__(self, tags: int) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.zeros(tags))
        self.end = nn.Parameter(torch.zeros(tags))
        self.transitions = nn.Parameter(torch.zeros(tags, tags))  # from, to

    def nats(self, scores: Tensor, tags: Tensor, real: Tensor) -> Tensor:
        """-log p of each sequence of tags: scores (B, T, C), tags (B, T) int64, real (B, T) bool -> (B,).

        Positions that are not real are skipped, whatever their tag; a row of nothing else costs 0.
        """
        return self.log_partition(scores, real) - self.score(scores, tags, real)

    def score(self, scores: Tensor, tags: Tensor, real: Tensor) -> Tensor:
        """The score of each sequence of tags, -> (B,); 0 where nothing is real."""
        order, lengths = _front(real)
        tags = tags.gather(1, order)
        there = torch.arange(tags.shape[1], device=tags.device) < lengths[:, None]
        tags = torch.where(there, tags, 0)
        picked = _rows(scores, order).gather(2, tags[..., None])[..., 0]
        moves = self.transitions[tags[:, :-1], tags[:, 1:]]
        last = tags.gather(1, (lengths - 1).clamp(min=0)[:, None])[:, 0]
        inside = torch.where(there, picked, 0).sum(1) + torch.where(there[:, 1:], moves, 0).sum(1)
        return torch.where(lengths > 0, inside + self.start[tags[:, 0]] + self.end[last], 0)

    def log_partition(self, scores: Tensor, real: Tensor) -> Tensor:
        """The log of the summed exponentials of all sequences' scores, by the forward recursion in log space.

        scores (B, T, C), real (B, T) bool -> (B,); 0 for a row with nothing real, whose only sequence is empty.
        """
        order, lengths = _front(real)
        scores = _rows(scores, order)
        alpha = self.start + scores[:, 0]
        for position in range(1, int(lengths.max())):
            onwards = (alpha[:, :, None] + self.transitions).logsumexp(1) + scores[:, position]
            alpha = torch.where((position < lengths)[:, None], onwards, alpha)
        return torch.where(lengths > 0, (alpha + self.end).logsumexp(1), 0)

    @torch.no_grad()
    def best(self, scores: Tensor, real: Tensor) -> Tensor:
        """The likeliest sequence of tags of each row (Viterbi 1967): (B, T, C), (B, T) bool -> (B, T) int64.

        0 stands where `real` is False.
        """
        order, lengths = _front(real)
        scores = _rows(scores, order)
        rows, positions, _ = scores.shape
        alpha, back = self.start + scores[:, 0], []
        for position in range(1, int(lengths.max())):
            best, previous = (alpha[:, :, None] + self.transitions).max(1)
            alpha = torch.where((position < lengths)[:, None], best + scores[:, position], alpha)
            back.append(previous)
        tags = torch.zeros(rows, positions, dtype=torch.int64, device=scores.device)
        tag = (alpha + self.end).argmax(1)
        for position in range(len(back), -1, -1):
            tags[:, position] = torch.where(position < lengths, tag, 0)
            if position:
                previous = back[position - 1].gather(1, tag[:, None])[:, 0]
                tag = torch.where(position < lengths, previous, tag)
        return torch.zeros_like(tags).scatter(1, order, tags)

    @torch.no_grad()
    def marginals(self, scores: Tensor, tags: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        """How likely each of a row's tags is: (B, T, C), tags (B, T) int64, real (B, T) bool -> (B, T) log of the
        probability of the tag, and (B, T) of that given the tag of the real position before (the first: the same).

        By the forward and backward recursions; tags of a chain are as likely as the first one times each of the others
        given the one before. 0 stands where `real` is False.
        """
        order, lengths = _front(real)
        scores, places = _rows(scores, order), int(lengths.max())
        tags = torch.where(real, tags, 0).gather(1, order)
        alphas = [self.start + scores[:, 0]]
        for position in range(1, places):
            alphas.append((alphas[-1][:, :, None] + self.transitions).logsumexp(1) + scores[:, position])
        beta = self.end.expand(len(scores), -1)
        alone, given = torch.zeros_like(scores[..., 0]), torch.zeros_like(scores[..., 0])
        for position in range(places - 1, -1, -1):
            last = (position >= lengths - 1)[:, None]
            beta = torch.where(last, self.end, beta)
            tag = tags[:, position, None]
            both = alphas[position] + beta
            alone[:, position] = (both.gather(1, tag) - both.logsumexp(1, keepdim=True))[:, 0]
            onwards = scores[:, position] + beta
            if position:
                moves = self.transitions[tags[:, position - 1]] + onwards
                given[:, position] = (moves.gather(1, tag) - moves.logsumexp(1, keepdim=True))[:, 0]
            beta = (self.transitions + onwards[:, None]).logsumexp(2)
        given[:, 0] = alone[:, 0]
        there = torch.arange(scores.shape[1], device=scores.device) < lengths[:, None]

        def back(side: Tensor) -> Tensor:
            return torch.zeros_like(side).scatter(1, order, side.masked_fill(~there, 0))

        return back(alone), back(given)


def _front(real: Tensor) -> tuple[Tensor, Tensor]:
    """The order of positions that puts the real ones first, (B, T), and how many there are, (B,)."""
    return (~real).long().argsort(dim=1, stable=True), real.sum(1)


def _rows(scores: Tensor, order: Tensor) -> Tensor:
    return scores.gather(1, order[..., None].expand(-1, -1, scores.shape[2]))
