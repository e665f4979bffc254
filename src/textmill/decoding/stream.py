"""From tokens to text as it is written: whole characters only, and never a part of a stop string.

A token may hold part of a character and a stop string may begin in one token and end in another, so text is
held back for as long as it could still turn out otherwise, and no longer.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from textmill.base.spec import GenerationSpec
from textmill.decoding.generate import generate
from textmill.decoding.hypothesis import Finish

if TYPE_CHECKING:
    from textmill.decoding.speculate import Speculation
    from textmill.text.tokenizer import Tokenizer


class TextStream:
    """Bytes in, text out.

    What comes out, put together, is the decoded text (bytes that are not UTF-8 become U+FFFD) up to the
    first stop string that becomes complete; of several that become complete with the same character, the
    longest.

    >>> stream = TextStream(("<end>",))
    >>> stream.push("né<".encode()), stream.push(b"e"), stream.push(b"nd>no more"), stream.stopped
    ('né', '', '', True)
    """

    def __init__(self, stop: Sequence[str] = ()) -> None:
        self._stop = tuple(sorted((text for text in stop if text), key=len, reverse=True))
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self.stopped = False

    def push(self, data: bytes) -> str:
        """Take in the next bytes; return the text that is now certain."""
        return self._take(self._decoder.decode(data))

    def finish(self) -> str:
        """The text still held back, when nothing more will come."""
        text = self._take(self._decoder.decode(b"", final=True))
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


@dataclass(frozen=True, slots=True)
class TextPiece:
    """Text that has become certain. `finish` and `cut` as in decoding.generate.Piece.

    `tokens` and `logprob` are the number of tokens the row has written so far, end-of-text included, and
    the sum of their log probabilities.
    """

    row: int
    sample: int
    text: str
    finish: Finish | None
    tokens: int
    logprob: float
    cut: int = 0


def generate_text(
    model: nn.Module,
    tokenizer: Tokenizer,
    prompts: Sequence[str],
    spec: GenerationSpec,
    *,
    samples: int = 1,
    rows: int = 32,
    context: int | None = None,
    speculation: Speculation | None = None,
) -> Iterator[TextPiece]:
    """Continue each prompt `samples` times, yielding text as soon as it is certain.

    The texts of one (row, sample) put together are its continuation, without the prompt, the end-of-text
    token and the stop string. Each (row, sample) ends with exactly one piece whose `finish` is not None;
    its text may be empty. Arguments and errors as in decoding.generate.generate.
    """
    streams = {
        (row, sample): TextStream(spec.stop) for row in range(len(prompts)) for sample in range(samples)
    }
    sums = dict.fromkeys(streams, (0, 0.0))
    certain = ""

    def heard(row: int, sample: int, token: int) -> bool:
        nonlocal certain
        stream = streams[row, sample]
        certain = stream.push(tokenizer.token_bytes(token))
        return stream.stopped

    ids = [tokenizer.encode(prompt).tolist() for prompt in prompts]
    options = {"samples": samples, "rows": rows, "context": context, "speculation": speculation}
    for piece in generate(model, ids, spec, ends=tokenizer.ends, heard=heard, **options):
        key = (piece.row, piece.sample)
        count, logprob = sums[key]
        sums[key] = (count + 1, logprob + piece.logprob)
        text = "" if piece.finish == "end" else certain
        finish = piece.finish
        if finish is not None:
            text += streams[key].finish()
            if streams[key].stopped:  # the last, broken character completed a stop string
                finish = "stop"
        if text or finish is not None:
            yield TextPiece(*key, text, finish, *sums[key], piece.cut)


def complete(
    model: nn.Module, tokenizer: Tokenizer, prompts: Sequence[str], spec: GenerationSpec, *, samples: int = 1
) -> list[list[str]]:
    """The whole continuations: one list of `samples` texts for each prompt."""
    texts = [[""] * samples for _ in prompts]
    for piece in generate_text(model, tokenizer, prompts, spec, samples=samples):
        texts[piece.row][piece.sample] += piece.text
    return texts
