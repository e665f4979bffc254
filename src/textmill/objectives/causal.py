"""Each token from those before it: language modelling."""

from __future__ import annotations

from typing import Any

from textmill.data.loader import Batching, Loader
from textmill.data.packing import PACKINGS
from textmill.data.tokens import TokenStore
from textmill.objectives import show
from textmill.objectives.evaluation import EvaluationInput, EvaluationResult
from textmill.objectives.loss import losses_of_tokens
from textmill.objectives.objective import WRITES, Objective, Purpose
from textmill.objectives.text_evaluation import beside, language_model
from textmill.specs.objective import CausalObjective
from textmill.text.document import Document
from textmill.tokenization.protocol import AnyTokenizer

_PROMPT = 8  # tokens
_CHARACTERS = 32  # of a token, at most, where only the beginning of a text is wanted


def loader(spec: CausalObjective, store: TokenStore, how: Batching) -> Loader:
    """Rows of running text, or of whole documents packed together."""
    return Loader(PACKINGS[how.packing](store, how.sequence), how.batch, how.seed)


def measure(evaluation: EvaluationInput) -> EvaluationResult:
    """Bits per byte, nats per token and perplexity; beside a unigram model and compressors."""
    store: Any = evaluation.loader.store
    scored = language_model(
        evaluation.model,
        store,
        evaluation.spec,
        evaluation.reporter,
        evaluation.recipe.model.context,
        evaluation.data.tokenizer,
        evaluation.bootstrap,
    )
    return beside(evaluation, store, *scored)


def sample(
    spec: CausalObjective, document: Document, tokenizer: AnyTokenizer, tokens: int
) -> tuple[str, str]:
    """How a document begins, whole characters of it, and how it goes on."""
    ids, stream = tokenizer.encode(document.text[: _CHARACTERS * (_PROMPT + tokens)]), tokenizer.stream()
    prompt = "".join(stream.push(int(token)) for token in ids[:_PROMPT])
    return prompt, tokenizer.decode(ids[: _PROMPT + tokens])[len(prompt) :].rstrip("\ufffd")


CAUSAL = Objective(
    spec=CausalObjective,
    loader=loader,
    losses=losses_of_tokens,
    show=show.of_tokens,
    measure=measure,
    writes=True,
    sample=sample,
    next=("generate {run} 'Once upon a time'",),
    purpose=Purpose(
        "text-generation",
        "language modelling",
        "Continuing text of the kind it was trained on, and studying how such a model is trained. It has not been "
        "taught to follow instructions or to hold a conversation.",
        WRITES,
        "它只会续写文本，可能写出不实或带有偏见的内容，也可能逐字复述训练文本；使用前请人工核对。",
        loads=True,
    ),
)
