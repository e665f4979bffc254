"""The recipe: everything a run is made from, as frozen dataclasses of plain data."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from textmill.base.errors import RecipeError
from textmill.base.schema import About
from textmill.specs.corpus import CorpusSpec
from textmill.specs.generation import GenerationSpec
from textmill.specs.model import AtOnceSpec, DecoderSpec, ModelSpec, TrainedSpec
from textmill.specs.objective import ClassifyObjective, ObjectiveSpec, objectives_of, usual
from textmill.specs.training import TrainingSpec
from textmill.specs.tuning import PromptingTuning, TuningSpec

# What a run cannot be called: nothing, a hidden folder, a path, control characters, bytes that are no text.
_NO_FOLDER = re.compile(r"^$|^\.|[/\\\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_LONGEST_NAME = 200  # bytes; file systems take 255


@dataclass(frozen=True, kw_only=True)
class TokenizerSpec:
    """How text becomes ids."""

    kind: Annotated[
        Literal["bpe", "unigram", "wordpiece", "characters", "bytes", "start"],
        About(
            "byte-level BPE, unigram, WordPiece, one id a character, one id a byte, or the tokenizer of [start]"
        ),
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
class StartSpec:
    """A trained model to begin with, in place of weights drawn from the seed.

    `hash` and `vocabulary` are written into the recipe when that model is read (stages/preparation/starting.py).
    """

    model: Annotated[
        str,
        About(
            "model to start from: a run's name, or the path (with a `/`) of a model's directory or .gguf file"
        ),
    ]
    keep_head: Annotated[
        bool, About("keep its trained head; otherwise the objective gets a new one, where it needs one")
    ] = False
    add_tokens: Annotated[
        tuple[str, ...], About("tokens added to its vocabulary; each begins as the mean of its pieces")
    ] = ()
    add_special_tokens: Annotated[
        tuple[str, ...], About("special tokens added to its vocabulary, which no text produces")
    ] = ()
    hash: Annotated[
        str | None,
        About("content hash of that model, any other is refused; left out: filled in when it is read"),
    ] = None
    vocabulary: Annotated[
        int | None, About("rows of its embedding; filled in when it is read", "tokens", ge=1)
    ] = None

    @property
    def added(self) -> tuple[str, ...]:
        """All tokens to be added."""
        return (*self.add_tokens, *self.add_special_tokens)

    def __post_init__(self) -> None:
        if len(set(self.added)) < len(self.added) or not all(text.strip() for text in self.added):
            raise RecipeError("names a token twice, or one of spaces only", where="add_tokens")


@dataclass(frozen=True, kw_only=True)
class ReplaySpec:
    """General text trained on beside the new, against forgetting; how well it is known is told before and after."""

    corpus: Annotated[CorpusSpec, About("where the general text comes from")]
    share: Annotated[
        float, About("share of the sequences in an update, at least one of them", gt=0, lt=1)
    ] = 0.1


@dataclass(frozen=True, kw_only=True)
class EvaluationSpec:
    """How good the model is said to be."""

    split: Annotated[
        Literal["test", "validation"], About("split of the corpus that is scored", was=("part",))
    ] = "test"
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
    task: Annotated[
        str | None,
        About(
            "task the model is for: translate, summarize, classify …; left out: the usual one of the objective"
        ),
    ] = None
    corpus: Annotated[CorpusSpec, About("where the text comes from")]
    tokenizer: Annotated[TokenizerSpec, About("how text becomes ids")] = TokenizerSpec()
    model: Annotated[ModelSpec, About("what is trained", usual="decoder")] = DecoderSpec()
    start: Annotated[
        StartSpec | None, About("trained model to start from; left out: weights of the seed")
    ] = None
    tuning: Annotated[
        TuningSpec | None,
        About("adapter to train beside the frozen model of [start]; left out: all weights", usual="lora"),
    ] = None
    objective: Annotated[ObjectiveSpec, About("training objective; left out: the usual one of the model")] = (
        None  # type: ignore[assignment]
    )
    training: Annotated[TrainingSpec, About("how it is trained")] = TrainingSpec()
    evaluation: Annotated[EvaluationSpec, About("how it is evaluated")] = EvaluationSpec()
    generation: Annotated[GenerationSpec, About("how it generates")] = GenerationSpec()
    replay: Annotated[
        ReplaySpec | None, About("general text trained on beside the new, against forgetting; left out: none")
    ] = None
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
        object.__setattr__(self, "corpus", self.corpus.read_as(roles, self.objective.record))
        if self.replay is not None:
            read = self.replay.corpus.read_as(roles, self.objective.record)
            object.__setattr__(self, "replay", dataclasses.replace(self.replay, corpus=read))
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

        self._check_groups()
        if self.replay is not None and self.objective.compared:
            raise RecipeError(
                "rereads text of no known preference",
                where="replay",
                advice="leave it out: beta keeps the model near",
            )
        self._check_start()
        self._check_tuning()
        _ = self.apart
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

    def _check_groups(self) -> None:
        """Records that are compared with each other stay together: in an update, and in what is computed at once."""
        training = self.training
        groups = self.objective.groups(training.batch)
        if groups is None:
            return
        group = training.batch // groups
        if training.micro_batch is not None and training.micro_batch % group:
            raise RecipeError(
                f"{training.micro_batch} records computed at once would cut groups of {group}, whose loss is another "
                "when they are cut",
                where="training.micro_batch",
                advice="leave it out, or lower objective.group: it says how many are computed at once",
            )
        if training.average is not None and getattr(self.objective, "contrastive", None) is not None:
            raise RecipeError(
                "averages weights, and the head is fitted to those of one step",
                where="training.average",
                advice="leave it out",
            )
        if training.parallel == "fsdp2":
            raise RecipeError(
                "ranks gather sharded weights in step, and each reads as many texts as its groups have different ones",
                where="training.parallel",
                advice='set training.parallel = "ddp"',
            )
        if self.replay is not None:
            raise RecipeError(
                "puts other text into an update, and records of this objective are compared with each other",
                where="replay",
                advice="leave it out; name both corpora as sources of one",
            )

    def _check_start(self) -> None:
        """A recipe with a start says what was read of it; its tokenizer is that one's, or a file that extends it."""
        if self.start is None:
            if self.tokenizer.kind == "start":
                raise RecipeError("is the tokenizer of [start], and there is none", where="tokenizer.kind")
            return
        if self.start.hash is None or self.start.vocabulary is None:
            raise RecipeError("names a model that has not been read", where="start.model")
        if self.tokenizer.kind != "start" and self.tokenizer.path is None:
            raise RecipeError(
                f"{self.tokenizer.kind!r} learns a new vocabulary, and the start's weights belong to its own",
                where="tokenizer.kind",
                advice="leave out [tokenizer]; start.add_tokens adds tokens to the start's own",
            )

    def _check_tuning(self) -> None:
        """An adapter stands on a model that is there, and all of that is frozen."""
        if self.tuning is None:
            return
        if self.start is None:
            raise RecipeError(
                "trains an adapter, and there is no model for it to stand on",
                where="tuning",
                advice="name one: [start] model = ...; without [tuning] all weights are trained",
            )
        for where, given in (
            ("start.add_tokens", self.start.added),
            ("start.keep_head", self.start.keep_head),
            ("tokenizer", self.tokenizer.kind != "start"),
            ("training.freeze", self.training.freeze),
            ("training.layer_decay", self.training.layer_decay),
        ):
            if given:
                raise RecipeError(
                    "changes the weights of the model, and those under an adapter stay as they are",
                    where=where,
                    advice="leave it out, or leave out [tuning]",
                )
        if self.training.parallel == "fsdp2":
            raise RecipeError(
                "adapters are small: they are not sharded",
                where="training.parallel",
                advice='set training.parallel = "ddp"',
            )
        if isinstance(self.tuning, PromptingTuning) and (
            self.objective.kind != ClassifyObjective().kind or self.objective.pair is not None
        ):
            raise RecipeError(
                "asks for labels of single texts",
                where="tuning.kind",
                advice='set objective.kind = "classify", without pair',
            )
        if self.tuning.kind == "prefix" and self.training.optimizer.kind == "muon":
            raise RecipeError(
                "Muon is for matrices, and keys and values of a prefix are none",
                where="training.optimizer",
                advice='set kind = "adamw"',
            )

    @property
    def apart(self) -> tuple[Recipe, Recipe] | None:
        """Of a recipe with replay: what is trained on of its own text, and what of the general text, each as a recipe
        with its part of every update; None: there is no replay.

        Raises RecipeError where an update is too small to hold some of both.
        """
        if self.replay is None:
            return None
        tokens = getattr(self.objective, "batch_tokens", None)
        whole = tokens or self.training.batch
        some = max(1, round(whole * self.replay.share))
        if some >= whole:
            raise RecipeError(
                f"an update of {whole} holds nothing beside what is replayed",
                where="replay.share",
                advice="raise training.batch, or lower the share",
            )

        def sized(size: int) -> Recipe:
            if tokens:
                objective: Any = self.objective  # the only one that has batch_tokens as a field
                return dataclasses.replace(
                    self, replay=None, objective=dataclasses.replace(objective, batch_tokens=size)
                )
            return dataclasses.replace(
                self, replay=None, training=dataclasses.replace(self.training, batch=size)
            )

        return sized(whole - some), dataclasses.replace(
            sized(some),
            corpus=self.replay.corpus,
            evaluation=dataclasses.replace(self.evaluation, baselines=(), samples=()),
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
    def at_once(self) -> bool:
        """Whether nothing is trained by steps: it is counted or fitted in one go, or only asked."""
        return isinstance(self.model, AtOnceSpec) or isinstance(self.tuning, PromptingTuning)

    @property
    def steps(self) -> int:
        """Updates of the whole training run: one, where nothing is trained by steps."""
        return 1 if self.at_once else self.training.steps
