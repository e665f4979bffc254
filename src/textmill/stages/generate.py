"""`textmill generate`: text from a published model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from textmill.base import schema
from textmill.base.errors import RecipeError
from textmill.base.spec import GenerationSpec
from textmill.stages.locate import locate_model
from textmill.stages.workspace import Workspace

if TYPE_CHECKING:
    from textmill.decoding.stream import TextPiece


def generate(
    space: Workspace,
    target: str,
    prompts: Sequence[str],
    *,
    changes: Mapping[str, Any],
    samples: int = 1,
    weights: str = "fp32",
) -> Iterator[TextPiece]:
    """Stream the continuations of prompts; `changes` override the model's own generation defaults.

    Raises RecipeError when an option is out of range, TextmillError when there is no such model.
    """
    import torch

    from textmill.decoding import stream
    from textmill.decoding.weights import prepare
    from textmill.interop import huggingface

    formats = {"fp32": torch.float32, "bf16": torch.bfloat16}
    if weights not in formats:
        raise RecipeError(f"{weights!r} is neither fp32 nor bf16", where="--weights")
    published = huggingface.read(locate_model(space, target))
    plain = schema.write(published.generation or GenerationSpec()) | dict(changes)
    spec = schema.read(GenerationSpec, plain, "options")
    model = prepare(published.model, formats[weights])
    return stream.generate_text(model, published.tokenizer, prompts, spec, samples=samples)


@dataclass
class Answers:
    """The pieces of a generation, put together by prompt and sample."""

    prompts: Sequence[str]
    samples: int
    _texts: dict[tuple[int, int], list[str]] = field(default_factory=dict)
    _ends: dict[tuple[int, int], str] = field(default_factory=dict)
    _tokens: dict[tuple[int, int], int] = field(default_factory=dict)

    def add(self, piece: TextPiece) -> None:
        """Take in one piece."""
        key = (piece.row, piece.sample)
        self._texts.setdefault(key, []).append(piece.text)
        self._tokens[key] = piece.tokens
        if piece.finish:
            self._ends[key] = piece.finish

    def plain(self) -> dict[str, Any]:
        """Every answer with its prompt, how it ended and its length in tokens."""
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
                for row, sample in keys
            ]
        }


def collect(pieces: Iterator[TextPiece], prompts: Sequence[str], samples: int = 1) -> list[dict[str, Any]]:
    """Every answer of a generation, when nobody waits for its pieces."""
    answers = Answers(prompts, samples)
    for piece in pieces:
        answers.add(piece)
    return answers.plain()["answers"]
