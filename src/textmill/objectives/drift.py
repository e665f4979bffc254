"""How far a model has moved from the one it began as: what it writes is read by both.

    KL(π ‖ π₀) = E over y drawn from π(·|x) of log π(y|x) - log π₀(y|x)

The mean over a few prompts and one draw each, without a bias; that of one draw may be under 0.

Shapes: N prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from textmill.data.batch import IGNORE, Batch
from textmill.data.codec import padded
from textmill.decoding.decode import answers
from textmill.decoding.hypothesis import Hypothesis
from textmill.decoding.prompt import Prompt
from textmill.decoding.stream import drawable
from textmill.metrics.score import LOWER, Score, Sums, share
from textmill.models.model import Generator, Model
from textmill.objectives.evaluation import EvaluationInput
from textmill.objectives.loss import log_probs
from textmill.specs.generation import GenerationSpec

PROMPTS, TOKENS = 32, 128  # that are answered, and that an answer has, at most
_ROWS = 8  # answers read at once
KL, LENGTH = "KL from the start", "tokens per answer"


def drift(
    evaluation: EvaluationInput, prompts: Sequence[Sequence[int]], start: Model
) -> tuple[dict[str, Score], dict[str, Score]]:
    """The KL of the evaluated model from `start` and how long its answers are; and how long those of `start` are.

    prompts: ids to go on from; the first few are answered, as drawn from the models themselves.
    """
    tokenizer, model = evaluation.data.tokenizer, evaluation.model
    length = min(TOKENS, evaluation.recipe.generation.tokens)
    spec = GenerationSpec(tokens=length, temperature=1.0, seed=evaluation.recipe.seed)
    asked = [Prompt(list(ids)) for ids in prompts[:PROMPTS]]

    def written(by: Model) -> list[Hypothesis]:
        assert isinstance(by, Generator)
        drawn = drawable(spec, by, tokenizer)
        found = answers(by, asked, drawn, ends=evaluation.data.ends, rows=_ROWS, decoder=tokenizer.stream)
        return [best for best, *_ in found]

    evaluation.reporter.note(f"answering {len(asked)} prompts, to see how far the model has moved")
    own, before = written(model), written(start)
    read = [(list(prompt.ids)[one.cut :], one.ids) for prompt, one in zip(asked, own, strict=True)]
    moved = _read(model, read) - _read(start, read)
    how = f"drawn at temperature 1, at most {length} tokens, seed {spec.seed}"

    def score(name: str, values: np.ndarray, unit: str, **options: Any) -> Score:
        columns = np.stack([values, np.ones(len(values))], axis=1)
        return Sums.of(columns).score(name, share(0, 1), unit=unit, how=how, **options)

    lengths = [np.array([len(one.ids) for one in side], dtype=np.float64) for side in (own, before)]
    mine, theirs = (score("tokens-per-answer|mean", values, "tokens") for values in lengths)
    kl = score("KL|mean of log π(y) - log π₀(y), y from π", moved, "nats/answer", better=LOWER)
    return {KL: kl, LENGTH: mine}, {LENGTH: theirs}


@torch.inference_mode()
def _read(model: Model, texts: Sequence[tuple[Sequence[int], Sequence[int]]]) -> np.ndarray:
    """(N,) log-probabilities of answers after their prompts."""
    found: list[Tensor] = []
    for start in range(0, len(texts), _ROWS):
        some = texts[start : start + _ROWS]
        whole = [np.array([*prompt, *ids], dtype=np.int64) for prompt, ids in some]
        inputs, real = padded([ids[:-1] for ids in whole])
        targets, _ = padded([ids[1:] for ids in whole], IGNORE)
        for row, (prompt, _) in enumerate(some):
            targets[row, : len(prompt) - 1] = IGNORE
        real = np.ones_like(inputs, dtype=bool) if real is None else real
        batch = Batch(*map(torch.from_numpy, (inputs, targets, real)))
        found.append(log_probs(model, batch)[0])
    return torch.cat(found).numpy()
