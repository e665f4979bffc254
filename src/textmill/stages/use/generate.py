"""Text from a model: pieces as they come, and the answers they make up."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textmill.base.errors import TextmillError

if TYPE_CHECKING:
    from textmill.decoding.hypothesis import Finish
    from textmill.decoding.speculate import Speculation
    from textmill.decoding.stream import TextPiece
    from textmill.index.draft import Drafter
    from textmill.index.search import Index
    from textmill.stages.workspace.run import Run


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer to one prompt.

    text      without the prompt, the end-of-text token and the stop string
    finish    end: the model ended it; stop: a stop string came; length: no more tokens were to be written
    tokens    written, end-of-text included; logprob: the sum of their natural log probabilities under the model
    cut       tokens of the prompt that were left out, since the model reads no more
    score     what answers were ranked by, where they were searched for (higher is better)
    """

    prompt: str
    sample: int
    text: str
    finish: Finish | None
    tokens: int
    logprob: float
    cut: int = 0
    score: float | None = None

    def plain(self) -> dict[str, object]:
        """The fields that say something, as JSON has them."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}


class Stream(Iterator["TextPiece"]):
    """An answer, or several, on the way: iterating writes them, and gives each piece of text as it becomes certain.

    A piece says which prompt (`row`) and `sample` it goes on with. Pieces of different answers come in turns.
    """

    def __init__(
        self,
        pieces: Iterable[TextPiece],
        prompts: Sequence[str],
        samples: int = 1,
        speculation: Speculation | None = None,
        run: Run | None = None,
    ) -> None:
        """run: notes what speculation came to, where there is any."""
        self.prompts, self.samples = prompts, samples
        self._speculation, self._run = speculation, run
        self._texts: dict[tuple[int, int], list[str]] = {}
        self._last: dict[tuple[int, int], TextPiece] = {}
        self._seconds = 0.0
        self._pieces = self._kept(pieces)

    def __next__(self) -> TextPiece:
        return next(self._pieces)

    def _kept(self, pieces: Iterable[TextPiece]) -> Iterator[TextPiece]:
        begun = time.perf_counter()
        for piece in pieces:
            key = (piece.row, piece.sample)
            self._texts.setdefault(key, []).append(piece.text)
            self._last[key] = piece
            yield piece
        self._seconds = time.perf_counter() - begun
        if self._run is not None and self._speculation is not None:
            with contextlib.suppress(TextmillError):  # somebody else's run may not be written to
                self._run.event("generated", speculation=self.speculation)

    def answers(self) -> list[Answer]:
        """The whole answers, by prompt and then by sample; what is not written yet is written first."""
        for _ in self:
            pass
        return [
            Answer(
                self.prompts[row],
                sample,
                "".join(self._texts[row, sample]),
                last.finish,
                last.tokens,
                last.logprob,
                last.cut,
                last.score,
            )
            for (row, sample), last in sorted(self._last.items())
        ]

    @property
    def speculation(self) -> dict[str, object] | None:
        """Accepted tokens per step, share of steps speculated, speed, once all is written; None when it was off."""
        if self._speculation is None:
            return None
        tokens = sum(piece.tokens for piece in self._last.values())
        speed = round(tokens / self._seconds, 1) if self._seconds else None
        return self._speculation.report.plain() | {"tokens_per_second": speed}


def collect(pieces: Iterable[TextPiece], prompts: Sequence[str], samples: int = 1) -> list[dict[str, object]]:
    """The answers that pieces make up, as plain data."""
    return [answer.plain() for answer in Stream(pieces, prompts, samples).answers()]


def speculation(kind: str, corpus: Callable[[], Index]) -> Speculation | None:
    """Speculative decoding as a GenerationSpec asks for it: None when it is off. `corpus` opens the index guesses are
    drawn from, where they are."""
    if kind == "off":
        return None
    from textmill.decoding.speculate import Speculation
    from textmill.index.draft import ContextDrafter, CorpusDrafter

    makers: dict[str, Callable[[], Drafter]] = {}
    if kind in ("prompt", "both"):
        makers["prompt"] = ContextDrafter
    if kind in ("corpus", "both"):
        index = corpus()
        makers["corpus"] = lambda: CorpusDrafter(index)
    return Speculation(lambda: {name: make() for name, make in makers.items()})
