"""The recipe: everything a run is made from, as frozen dataclasses of plain data."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from textmill.base.errors import RecipeError
from textmill.base.schema import About
from textmill.specs.corpus import CorpusSpec
from textmill.specs.generation import GenerationSpec
from textmill.specs.model import DecoderSpec, ModelSpec, NGramSpec, TrainedSpec
from textmill.specs.objective import ObjectiveSpec, objectives_of, usual
from textmill.specs.training import TrainingSpec

# What a run cannot be called: nothing, a hidden folder, a path, control characters, bytes that are no text.
_NO_FOLDER = re.compile(r"^$|^\.|[/\\\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_LONGEST_NAME = 200  # bytes; file systems take 255


@dataclass(frozen=True, kw_only=True)
class TokenizerSpec:
    """How text becomes ids."""

    kind: Annotated[
        Literal["bpe", "unigram", "wordpiece", "characters", "bytes"],
        About("byte-level BPE, unigram, WordPiece, one id a character, or one id a byte"),
    ] = "bpe"
    vocabulary: Annotated[
        int, About("number of ids, special ones included (characters and bytes: an upper bound)", ge=265)
    ] = 8192
    train_bytes: Annotated[int, About("most training text the vocabulary is learned from", "bytes", ge=1)] = (
        1 << 26
    )
    sentinels: Annotated[
        int,
        About("sentinel tokens, which stand for masked spans (the objective spans needs one per span)", ge=0),
    ] = 0
    path: Annotated[str | None, About("an existing tokenizer.json to use instead of training one")] = None


@dataclass(frozen=True, kw_only=True)
class EvaluationSpec:
    """How good the model is said to be."""

    part: Annotated[Literal["test", "validation"], About("split of the corpus that is scored")] = "test"
    tokens: Annotated[
        int | None, About("tokens scored at most; left out: all of the split", "tokens", ge=1)
    ] = None
    context: Annotated[
        int | None,
        About(
            "causal: longest window in which a text is scored; left out: the model's context", "tokens", ge=2
        ),
    ] = None
    end: Annotated[bool, About("causal: whether the end-of-text token is scored, too")] = True
    bootstrap: Annotated[int, About("bootstrap resamples of documents for the interval", ge=1)] = 1000
    baselines: Annotated[
        tuple[Literal["unigram", "xz", "zstd"], ...],
        About("baselines scored on the same text"),
    ] = ("unigram", "xz", "zstd")
    baseline_bytes: Annotated[
        int, About("newest training text the compressors are primed with", "bytes", ge=0)
    ] = 1 << 24
    samples: Annotated[
        tuple[str, ...] | None,
        About("prompts whose continuations are shown; left out: how three held-out documents begin"),
    ] = None


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One job, from raw text to a published model."""

    name: Annotated[str, About("name of the run: a folder under runs/")]
    corpus: Annotated[CorpusSpec, About("where the text comes from")]
    tokenizer: Annotated[TokenizerSpec, About("how text becomes ids")] = TokenizerSpec()
    model: Annotated[ModelSpec, About("what is trained", usual="decoder")] = DecoderSpec()
    objective: Annotated[ObjectiveSpec, About("training objective; left out: the usual one of the model")] = (
        None  # type: ignore[assignment]
    )
    training: Annotated[TrainingSpec, About("how it is trained")] = TrainingSpec()
    evaluation: Annotated[EvaluationSpec, About("how it is evaluated")] = EvaluationSpec()
    generation: Annotated[GenerationSpec, About("how it generates")] = GenerationSpec()
    seed: Annotated[int, About("seed of all random numbers", ge=0)] = 0

    def __post_init__(self) -> None:
        if self.objective is None:
            object.__setattr__(self, "objective", usual(self.model.kind))
        roles = self.objective.roles
        if len(set(roles)) < len(roles) or not all(roles) or "=" in "".join(roles):
            raise RecipeError(
                f"cannot read {', '.join(map(repr, roles))}: each text has a name of its own, without `=`",
                where="objective",
            )
        object.__setattr__(self, "corpus", self.corpus.read_as(roles))
        if _NO_FOLDER.search(self.name):
            raise RecipeError(f"{self.name!r} cannot be the name of a folder", where="name")
        if (size := len(self.name.encode())) > _LONGEST_NAME:
            raise RecipeError(
                f"{self.name[:20]!r}… is too long for the name of a folder ({size} bytes, {_LONGEST_NAME} at most)",
                where="name",
            )
        if self.sequence > self.model.context:
            raise RecipeError(
                f"{self.sequence} tokens are more than the model reads (model.context = {self.model.context})",
                where="training.sequence",
                advice="raise model.context or lower training.sequence",
            )

        possible = objectives_of(self.model.kind)
        if self.objective.kind not in possible:
            raise RecipeError(
                f"{self.objective.kind!r} is not an objective for a model of kind {self.model.kind!r}",
                where="objective.kind",
                advice=f"there is {', '.join(possible)}",
            )
        if self.objective.next_sentence and not self.model.pooler:
            raise RecipeError(
                "next-sentence prediction needs a pooler, and the model has none",
                where="objective.next_sentence",
                advice="set model.pooler = true",
            )

    @property
    def sequence(self) -> int:
        """Tokens in a training sequence."""
        return self.training.sequence or self.model.context

    @property
    def trained(self) -> TrainedSpec:
        """The model, for whom only one that is trained by steps will do."""
        assert isinstance(self.model, TrainedSpec)
        return self.model

    @property
    def steps(self) -> int:
        """Updates of the whole training run: one, where the text is only counted."""
        return 1 if isinstance(self.model, NGramSpec) else self.training.steps
