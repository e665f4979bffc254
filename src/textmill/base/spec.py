"""The recipe: everything a run is made from, as frozen dataclasses of plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from textmill.base.errors import RecipeError
from textmill.base.model_spec import DecoderSpec, ModelSpec
from textmill.base.schema import About
from textmill.base.training_spec import TrainingSpec


@dataclass(frozen=True, kw_only=True)
class FilesSource:
    """Files, folders and globs on this machine."""

    kind: Literal["files"] = "files"
    paths: Annotated[
        tuple[str, ...], About("files, folders or globs; relative ones start at the recipe's folder")
    ]
    exclude: Annotated[tuple[str, ...], About("globs of paths or names to leave out")] = ()
    text_field: Annotated[str, About("column or key that holds the text in JSON, CSV, TSV and Parquet")] = (
        "text"
    )


@dataclass(frozen=True, kw_only=True)
class StdlibSource:
    """The standard library of the running Python: real code and prose on every machine."""

    kind: Literal["python-stdlib"] = "python-stdlib"
    tests: Annotated[bool, About("include its test packages")] = False


Source = FilesSource | StdlibSource


@dataclass(frozen=True, kw_only=True)
class RepairStep:
    """Repair text that was decoded wrongly, and drop control characters."""

    kind: Literal["repair"] = "repair"


@dataclass(frozen=True, kw_only=True)
class UnicodeStep:
    """Unicode normalisation (UAX #15)."""

    kind: Literal["unicode"] = "unicode"
    form: Annotated[Literal["NFC", "NFKC"], About("normal form; NFKC also folds full-width forms")] = "NFC"


@dataclass(frozen=True, kw_only=True)
class WhitespaceStep:
    """One kind of line end, no trailing blanks, no long runs of empty lines."""

    kind: Literal["whitespace"] = "whitespace"
    blank_lines: Annotated[int, About("empty lines kept in a row", "lines", ge=0)] = 2


@dataclass(frozen=True, kw_only=True)
class LengthStep:
    """Set aside documents that are too short or too long."""

    kind: Literal["length"] = "length"
    least: Annotated[int, About("shortest document kept", "characters", ge=0)] = 1
    most: Annotated[int | None, About("longest document kept", "characters", ge=1)] = None


@dataclass(frozen=True, kw_only=True)
class ExactDuplicatesStep:
    """Keep the first of documents whose cleaned text is the same to the byte."""

    kind: Literal["exact-duplicates"] = "exact-duplicates"


CleaningStep = RepairStep | UnicodeStep | WhitespaceStep | LengthStep | ExactDuplicatesStep


@dataclass(frozen=True, kw_only=True)
class SplitSpec:
    """Parts of the corpus, chosen by a hash of each document, so a document never changes sides."""

    validation: Annotated[float, About("share of documents looked at while training", ge=0, lt=1)] = 0.05
    test: Annotated[float, About("share of documents only the evaluation reads", ge=0, lt=1)] = 0.05

    def __post_init__(self) -> None:
        if self.validation + self.test >= 1:
            raise RecipeError("validation and test together leave nothing to train on", where="validation")


@dataclass(frozen=True, kw_only=True)
class LimitSpec:
    """Caps on what one input may cost; what exceeds one is set aside with its place and reason."""

    file_bytes: Annotated[
        int, About("largest text file, or record of a longer file, read", "bytes", ge=1)
    ] = 1 << 30
    archive_bytes: Annotated[int, About("most bytes unpacked from one archive", "bytes", ge=1)] = 16 << 30
    ratio: Annotated[float, About("most bytes unpacked for one byte packed", ge=1)] = 200.0
    members: Annotated[int, About("most members read from one archive", ge=1)] = 1_000_000


@dataclass(frozen=True, kw_only=True)
class CorpusSpec:
    """Where the text comes from and how it is prepared."""

    sources: Annotated[tuple[Source, ...], About("where the text comes from")]
    steps: Annotated[tuple[CleaningStep, ...], About("cleaning, in this order")] = (
        RepairStep(),
        UnicodeStep(),
        WhitespaceStep(),
        LengthStep(),
        ExactDuplicatesStep(),
    )
    split: Annotated[SplitSpec, About("parts of the corpus")] = SplitSpec()
    limits: Annotated[LimitSpec, About("caps on what one input may cost")] = LimitSpec()


@dataclass(frozen=True, kw_only=True)
class TokenizerSpec:
    """How text becomes ids."""

    kind: Annotated[
        Literal["bpe", "unigram", "wordpiece", "characters", "bytes"],
        About("byte-level BPE, unigram, WordPiece, one id a character, or one id a byte"),
    ] = "bpe"
    vocabulary: Annotated[
        int, About("number of ids, special ones included (characters and bytes: an upper bound)", ge=262)
    ] = 8192
    train_bytes: Annotated[
        int, About("training text the vocabulary is learnt from, at most", "bytes", ge=1)
    ] = 1 << 26
    path: Annotated[str | None, About("an existing tokenizer.json to use instead of training one")] = None


@dataclass(frozen=True, kw_only=True)
class TaskSpec:
    """What the model is for."""

    name: Annotated[Literal["generation"], About("the task")] = "generation"


@dataclass(frozen=True, kw_only=True)
class GenerationSpec:
    """How text is generated; published with the model as its defaults."""

    tokens: Annotated[int, About("longest answer", "tokens", ge=1)] = 200
    temperature: Annotated[float, About("logits are divided by this; 0 takes the likeliest token", ge=0)] = (
        0.8
    )
    top_k: Annotated[int | None, About("keep the k likeliest tokens", ge=1)] = None
    top_p: Annotated[
        float | None, About("keep the fewest likeliest tokens of this probability", gt=0, le=1)
    ] = 0.95
    min_p: Annotated[float | None, About("drop tokens under this share of the likeliest's", ge=0, le=1)] = (
        None
    )
    typical_p: Annotated[float | None, About("locally typical sampling of this probability", gt=0, le=1)] = (
        None
    )
    repetition_penalty: Annotated[float, About("logits of tokens already seen are divided by this", gt=0)] = (
        1.0
    )
    presence_penalty: Annotated[float, About("taken off the logit of a token already generated")] = 0.0
    frequency_penalty: Annotated[float, About("taken off the logit for each time it was generated")] = 0.0
    stop: Annotated[tuple[str, ...], About("texts that end the answer; they are not part of it")] = ()
    seed: Annotated[int, About("seed of the draws", ge=0)] = 0


@dataclass(frozen=True, kw_only=True)
class EvaluationSpec:
    """How good the model is said to be."""

    part: Annotated[Literal["test", "validation"], About("part of the corpus that is scored")] = "test"
    tokens: Annotated[
        int | None, About("tokens scored at most; left out: all of the part", "tokens", ge=1)
    ] = None
    bootstrap: Annotated[int, About("resamplings of documents behind the interval", ge=1)] = 1000
    baselines: Annotated[
        tuple[Literal["unigram", "xz", "zstd"], ...],
        About("what is scored beside the model, on the same text"),
    ] = ("unigram", "xz", "zstd")
    baseline_bytes: Annotated[
        int, About("newest training text the compressors are conditioned on", "bytes", ge=0)
    ] = 1 << 24
    samples: Annotated[tuple[str, ...], About("prompts whose continuations are shown")] = ()


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One job, from raw text to a published model."""

    name: Annotated[str, About("name of the run: a folder under runs/")]
    task: Annotated[TaskSpec, About("what the model is for")] = TaskSpec()
    corpus: Annotated[CorpusSpec, About("where the text comes from")]
    tokenizer: Annotated[TokenizerSpec, About("how text becomes ids")] = TokenizerSpec()
    model: Annotated[ModelSpec, About("what is trained")] = DecoderSpec()
    training: Annotated[TrainingSpec, About("how it is trained")] = TrainingSpec()
    evaluation: Annotated[EvaluationSpec, About("how it is scored")] = EvaluationSpec()
    generation: Annotated[GenerationSpec, About("how it writes")] = GenerationSpec()
    seed: Annotated[int, About("seed of everything random", ge=0)] = 0

    def __post_init__(self) -> None:
        if not self.name or any(mark in self.name for mark in "/\\\0") or self.name.startswith("."):
            raise RecipeError(f"{self.name!r} cannot be the name of a folder", where="name")
        if self.sequence > self.model.context:
            raise RecipeError(
                f"{self.sequence} tokens are more than the model reads (model.context = {self.model.context})",
                where="training.sequence",
                advice="raise model.context or lower training.sequence",
            )

    @property
    def sequence(self) -> int:
        """Tokens in a training sequence."""
        return self.training.sequence or self.model.context
