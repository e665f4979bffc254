"""Pages, slides or chapters as one text that remembers where each begins."""

from __future__ import annotations


def joined(pieces: list[str]) -> tuple[str, str]:
    """Pages as one text, an empty line between them, and the character each begins at, as `0 1820 4011`."""
    starts, at = [], 0
    for piece in pieces:
        starts.append(at)
        at += len(piece) + 2 if piece else 0
    return "\n\n".join(filter(None, pieces)), " ".join(map(str, starts))
