"""Text as it is written: never a part of a stop string.

A stop string may begin in one token and end in another, so text is held back for as long as it could still turn out
otherwise, and no longer. (Characters are held back until they are whole by the tokenizer's own `stream`.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from textmill.tokenization.protocol import Decoder


@dataclass(frozen=True)
class Spelling:
    """A decoder that spells some special tokens, id -> as what, instead of passing them over. They do not stand inside
    of a character."""

    decoder: Decoder
    spelt: Mapping[int, str]

    def push(self, token: int) -> str:
        """The characters that this id completes."""
        return self.spelt[token] if token in self.spelt else self.decoder.push(token)

    def finish(self) -> str:
        """What is left."""
        return self.decoder.finish()


class TextStream:
    """Ids in, text out.

    What comes out, put together, is the decoded text up to the first stop string that becomes complete; of several
    that become complete with the same character, the longest. `before` are the ids the text goes on from: they decide
    how its beginning is spelt, and none of their text comes out.
    """

    def __init__(self, decoder: Decoder, stop: Sequence[str] = (), before: Sequence[int] = ()) -> None:
        self._decoder = decoder
        self._stop = tuple(sorted((text for text in stop if text), key=len, reverse=True))
        self._held = ""
        self.stopped = False
        for token in before:
            decoder.push(token)

    def push(self, token: int) -> str:
        """Take in the next id; return the text that is now certain."""
        return self._take(self._decoder.push(token))

    def finish(self) -> str:
        """The text still held back, when nothing more will come."""
        text = self._take(self._decoder.finish())
        rest, self._held = self._held, ""
        return text + rest

    def _take(self, text: str) -> str:
        if self.stopped:
            return ""
        if not self._stop:
            return text
        for character in text:
            self._held += character
            for stop in self._stop:
                if self._held.endswith(stop):
                    certain, self._held, self.stopped = self._held[: -len(stop)], "", True
                    return certain
        keep = self._beginning()
        certain, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return certain

    def _beginning(self) -> int:
        """Length of the longest end of the held text that a stop string begins with."""
        longest = min(len(self._held), len(self._stop[0]) - 1)
        for length in range(longest, 0, -1):
            if any(stop.startswith(self._held[-length:]) for stop in self._stop):
                return length
        return 0


def whole(decoder: Decoder, ids: Sequence[int], stop: Sequence[str] = (), before: Sequence[int] = ()) -> str:
    """The text of an answer, up to its first stop string."""
    stream = TextStream(decoder, stop, before)
    return "".join(stream.push(token) for token in ids) + stream.finish()


def stops_at(make: Callable[[], Decoder], ids: Sequence[int], stop: Sequence[str]) -> int | None:
    """How many of these ids there are when the first stop string is complete; None when none ever is."""
    stream = TextStream(make(), stop)
    for number, token in enumerate(ids, 1):
        stream.push(token)
        if stream.stopped:
            return number
    return None
