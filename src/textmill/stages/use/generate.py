"""`textmill generate`: text from a published model."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from textmill.base import machine, schema
from textmill.base.errors import TextmillError
from textmill.specs.model import READ_AND_WRITE
from textmill.specs.recipe import GenerationSpec
from textmill.stages.tracing.index import open_index
from textmill.stages.workspace.locate import locate_model, locate_run
from textmill.stages.workspace.run import Run
from textmill.stages.workspace.workspace import Workspace

if TYPE_CHECKING:
    from textmill.decoding.speculate import Speculation
    from textmill.decoding.stream import TextPiece
    from textmill.index.draft import Drafter
    from textmill.models.pretrained import Pretrained


@dataclass
class Generation:
    """A generation under way; iterating over it writes it. `reads`: the prompts are sources, which answers do not go on
    from.

    Where it speculated, `report` tells afterwards what that came to, and the run, if there is one, notes it.
    """

    pieces: Iterator[TextPiece]
    speculation: Speculation | None = None
    run: Run | None = None
    reads: bool = False
    _tokens: dict[tuple[int, int], int] = field(default_factory=dict)
    _seconds: float = 0.0

    def __iter__(self) -> Iterator[TextPiece]:
        begun = time.perf_counter()
        for piece in self.pieces:
            self._tokens[piece.row, piece.sample] = piece.tokens
            yield piece
        self._seconds = time.perf_counter() - begun
        if self.run is not None and self.speculation is not None:
            with contextlib.suppress(TextmillError):  # somebody else's run may not be written to
                self.run.event("generated", speculation=self.report())

    def report(self) -> dict[str, Any] | None:
        """Accepted tokens a step, share of steps speculated, speed; None when nothing was speculated on."""
        if self.speculation is None:
            return None
        speed = sum(self._tokens.values()) / self._seconds if self._seconds else None
        return self.speculation.report.plain() | {
            "tokens_per_second": None if speed is None else round(speed, 1)
        }


def generate(
    workspace: Workspace,
    target: str,
    prompts: Sequence[str],
    *,
    changes: Mapping[str, Any],
    samples: int = 1,
    weights: str = "fp32",
) -> Generation:
    """Stream the continuations of prompts; `changes` override the model's own generation defaults.

    Raises RecipeError when an option is out of range, TextmillError when there is no such model, or when it is to
    draw guesses from a corpus that cannot be found.
    """
    from textmill.decoding import stream
    from textmill.decoding.layout import prepare
    from textmill.decoding.prompt import of_text
    from textmill.interop.load import load
    from textmill.models.model import Generator

    published = load(locate_model(workspace, target))
    if not isinstance(published.model, Generator):
        raise TextmillError(
            f"a model of kind {published.spec.kind!r} writes no text",
            where=target,
            advice="`textmill embed` makes vectors with it",
        )
    plain = schema.write(published.generation or GenerationSpec()) | dict(changes)
    spec = schema.read(GenerationSpec, plain, "options")
    run = _run(workspace, target)
    ahead = speculation(workspace, run, spec.speculate)
    machine.keep_memory()
    together = len(prompts) * max(samples, spec.beams, spec.candidates if spec.mbr else 1)
    model = prepare(published.model, weights, rows=min(together, 32 * spec.beams))
    start = target_start(published)
    asked = [of_text(published.tokenizer, text, start=start) for text in prompts]
    pieces = stream.generate_text(model, published.tokenizer, asked, spec, samples=samples, speculation=ahead)
    return Generation(pieces, ahead, run, reads=start is not None)


def target_start(published: Pretrained) -> int | None:
    """The id a target begins with, of a model that reads a source; None of one that goes on from its prompt."""
    if published.spec.kind not in READ_AND_WRITE:
        return None
    start = published.spec.start
    return published.tokenizer.start if start is None else start


def _run(workspace: Workspace, target: str) -> Run | None:
    """The run a model belongs to; None for a directory on its own."""
    try:
        return locate_run(workspace, target)
    except TextmillError:
        return None


def speculation(workspace: Workspace, run: Run | None, kind: str) -> Speculation | None:
    """Speculative decoding as a GenerationSpec asks for it: None when it is off.

    Guesses from the corpus need its index, which is built where it is missing. Raises TextmillError when the model
    belongs to no run, so that nobody knows its corpus.
    """
    if kind == "off":
        return None
    from textmill.decoding.speculate import Speculation
    from textmill.index.draft import ContextDrafter, CorpusDrafter

    makers: dict[str, Callable[[], Drafter]] = {}
    if kind in ("prompt", "both"):
        makers["prompt"] = ContextDrafter
    if kind in ("corpus", "both"):
        if run is None:
            raise TextmillError(
                "belongs to no run here, so its corpus is not known",
                where="--speculate",
                advice="`--speculate prompt` draws its guesses from the prompt",
            )
        corpus = open_index(workspace, str(run.path)).index
        makers["corpus"] = lambda: CorpusDrafter(corpus)
    return Speculation(lambda: {name: make() for name, make in makers.items()})


@dataclass
class Answers:
    """The pieces of a generation, put together by prompt and sample."""

    prompts: Sequence[str]
    samples: int
    _texts: dict[tuple[int, int], list[str]] = field(default_factory=dict)
    _ends: dict[tuple[int, int], str] = field(default_factory=dict)
    _tokens: dict[tuple[int, int], int] = field(default_factory=dict)
    _scores: dict[tuple[int, int], float] = field(default_factory=dict)

    def add(self, piece: TextPiece) -> None:
        """Take in one piece."""
        key = (piece.row, piece.sample)
        self._texts.setdefault(key, []).append(piece.text)
        self._tokens[key] = piece.tokens
        if piece.score is not None:
            self._scores[key] = piece.score
        if piece.finish:
            self._ends[key] = piece.finish

    def plain(self) -> dict[str, Any]:
        """Every answer with its prompt, how it ended, its length in tokens, and what it was ranked by, if it was."""
        keys = [(row, sample) for row in range(len(self.prompts)) for sample in range(self.samples)]
        return {
            "answers": [
                {
                    "prompt": self.prompts[row],
                    "sample": sample,
                    "text": "".join(self._texts.get((row, sample), [])),
                    "finish": self._ends.get((row, sample)),
                    "tokens": self._tokens.get((row, sample), 0),
                }
                | ({"score": self._scores[row, sample]} if (row, sample) in self._scores else {})
                for row, sample in keys
            ]
        }


def collect(pieces: Iterator[TextPiece], prompts: Sequence[str], samples: int = 1) -> list[dict[str, Any]]:
    """Every answer of a generation, when nobody waits for its pieces."""
    answers = Answers(prompts, samples)
    for piece in pieces:
        answers.add(piece)
    return answers.plain()["answers"]
