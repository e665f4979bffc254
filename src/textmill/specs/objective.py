"""What a model is trained to predict, as plain data: which ids it reads, and which of them are in the loss.

Each names the families (kinds of model) it can train, and those it is usual for: a recipe that names none means it.
What an objective does is in objectives/, a file each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, get_args

from textmill.base.errors import RecipeError
from textmill.base.schema import About
from textmill.specs.corpus import RecordSpec
from textmill.specs.forcing import ConstantForcing, Forcing
from textmill.specs.preference import DPOLoss, PreferenceLoss


class _Objective:
    """families: kinds of model it can train; usual_for: those for which a recipe that names none means it."""

    families: ClassVar[tuple[str, ...]]
    usual_for: ClassVar[tuple[str, ...]] = ()

    @property
    def record(self) -> RecordSpec | None:
        """What it reads of a record beside its texts; None: nothing."""
        return None

    @property
    def batch_tokens(self) -> int | None:
        """Target tokens in one update; None: an update is a number of rows."""
        return None

    def groups(self, batch: int) -> int | None:
        """How many groups of records an update of so many is made of, which are never cut; None: records are read
        apart. Raises RecipeError where it is no whole number."""
        return None

    @property
    def compared(self) -> str | None:
        """What of a record its loss compares with what the model the run began as says of it; None: nothing."""
        return None

    @property
    def template(self) -> str | None:
        """Name of the chat template it gives a model; None: the model's own, where it has one."""
        return None

    @property
    def converses(self) -> bool:
        """Whether it reads conversations, so that its model needs a chat template."""
        return False

    @property
    def next_sentence(self) -> bool | None:
        """Whether it also says if a second segment follows the first; None: it reads no pairs of segments."""
        return None


_FROM_SOURCE = ("encoder-decoder", "recurrent-encoder-decoder")
_HEADED = ("decoder", "encoder", "recurrent")


def _roles(*names: str) -> property:
    """The roles of the texts an objective reads, as these fields of it say; first the one a document may have alone."""
    return property(lambda spec: tuple(getattr(spec, name) for name in names))


@dataclass(frozen=True, kw_only=True)
class _OfText(_Objective):
    """Of documents that are read for one text."""

    kind: str = ""
    text: Annotated[str, About("role of the document's text")] = "text"
    roles = _roles("text")


@dataclass(frozen=True, kw_only=True)
class _OfWholeText(_OfText):
    """What is to be said is said of the whole text."""

    families: ClassVar = (*_HEADED, "linear")
    pair: Annotated[
        str | None, About("role of a second text, for labels of text pairs (entailment, paraphrase)")
    ] = None
    label: str = "label"
    pooling: Annotated[
        Literal["first", "mean", "last"] | None,
        About("how states are pooled into one vector; left out: the first, or the last of a causal model"),
    ] = None

    roles = property(lambda spec: tuple(filter(None, (spec.text, spec.pair))))


@dataclass(frozen=True, kw_only=True)
class CausalObjective(_OfText):
    """Each token from those before it (decoders, recurrent models, n-grams)."""

    families: ClassVar = ("decoder", "recurrent", "ngram")
    usual_for: ClassVar = ("decoder", "recurrent", "ngram")
    kind: Literal["causal"] = "causal"


@dataclass(frozen=True, kw_only=True)
class MaskedObjective(_OfText):
    """Some tokens from all the others (encoders; Devlin et al. 2019, section 3.1)."""

    families: ClassVar = ("encoder",)
    usual_for: ClassVar = ("encoder",)
    kind: Literal["masked"] = "masked"
    share: Annotated[
        float, About("share of the tokens that are masked for prediction, and so in the loss", gt=0, lt=1)
    ] = 0.15
    hidden: Annotated[float, About("share of those replaced by the mask token", ge=0, le=1)] = 0.8
    random: Annotated[float, About("share of those replaced by a random token", ge=0, le=1)] = 0.1
    whole_words: Annotated[bool, About("whole-word masking")] = False
    next_sentence: Annotated[
        bool,
        About(
            "next-sentence prediction: sequences of two segments, and whether the second follows the first"
        ),
    ] = False

    def __post_init__(self) -> None:
        if self.hidden + self.random > 1:
            raise RecipeError("mask and random together are more than 1", where="random")


@dataclass(frozen=True, kw_only=True)
class InfillingObjective(_OfText):
    """The text from itself with runs of tokens masked behind one mask each (BART; Lewis et al. 2020, section 2.2)."""

    families: ClassVar = _FROM_SOURCE
    usual_for: ClassVar = _FROM_SOURCE
    kind: Literal["infilling"] = "infilling"
    share: Annotated[float, About("share of the tokens masked", gt=0, lt=1)] = 0.3
    span: Annotated[
        float, About("mean length of a masked span (Poisson; 0 inserts a mask)", "tokens", ge=1)
    ] = 3.0


@dataclass(frozen=True, kw_only=True)
class SpansObjective(_OfText):
    """Hidden runs from the text around them, each behind a sentinel of its own (T5; Raffel et al. 2020, 3.1.4)."""

    families: ClassVar = _FROM_SOURCE
    kind: Literal["spans"] = "spans"
    share: Annotated[float, About("share of the tokens masked", gt=0, lt=1)] = 0.15
    span: Annotated[float, About("mean length of a masked span", "tokens", ge=1)] = 3.0


@dataclass(frozen=True, kw_only=True)
class ContinueObjective(_OfText):
    """The second half of a stretch of text from its first half: an encoder-decoder as a language model."""

    families: ClassVar = _FROM_SOURCE
    kind: Literal["continue"] = "continue"


@dataclass(frozen=True, kw_only=True)
class PairsObjective(_Objective):
    """A target from its source: the corpus' records hold both (translation, summaries)."""

    families: ClassVar = _FROM_SOURCE
    kind: Literal["pairs"] = "pairs"
    source: Annotated[str, About("role of the text that is read")] = "source"
    target: Annotated[str, About("role of the text that is written")] = "target"
    label_smoothing: Annotated[
        float,
        About(
            "label smoothing: share of the probability spread over the vocabulary (Szegedy et al. 2016)",
            ge=0,
            lt=1,
        ),
    ] = 0.1
    batch_tokens: Annotated[
        int | None,
        About("target tokens in one update, padding included; left out: training.batch pairs", ge=1),
    ] = None
    forcing: Annotated[
        Forcing, About("recurrent models: teacher forcing: how often the decoder reads the target")
    ] = ConstantForcing()
    roles = _roles("source", "target")

    @property
    def record(self) -> RecordSpec:
        """A source may have several targets."""
        return RecordSpec(several=(self.target,))


Offered = Literal["chatml", "llama3", "plain"]  # tokenization/chat/offered.py says what they write


@dataclass(frozen=True, kw_only=True)
class ChatObjective(_Objective):
    """What assistants say in conversations, as the model's chat template writes them; the rest is read only."""

    families: ClassVar = ("decoder", "recurrent")
    kind: Literal["chat"] = "chat"
    roles: ClassVar[tuple[str, ...]] = ("text",)
    template: Annotated[
        Offered | None,
        About(
            "chat template given to the model, with its special tokens: chatml, llama3, or plain, which needs none; "
            "left out: the model's own"
        ),
    ] = None
    turns: Annotated[
        Literal["all", "last"],
        About(
            "turns of the assistant in the loss; last: also for templates that write earlier turns otherwise"
        ),
    ] = "all"
    too_long: Annotated[
        Literal["split", "skip"],
        About("conversations longer than a sequence are split between turns, or skipped; both are counted"),
    ] = "split"

    @property
    def converses(self) -> bool:
        """It does."""
        return True


@dataclass(frozen=True, kw_only=True)
class ClassifyObjective(_OfWholeText):
    """A label for the whole text; with `multiple`, any number of labels, told apart by blanks or commas."""

    usual_for: ClassVar = ("linear",)
    kind: Literal["classify"] = "classify"
    label: Annotated[str, About("metadata of a record that holds the label")] = "label"
    multiple: Annotated[bool, About("multi-label: several labels may apply at once")] = False
    contrastive: Annotated[
        float | None,
        About("for few examples: temperature of a contrastive loss, before a logistic head is fitted", gt=0),
    ] = None

    def groups(self, batch: int) -> int | None:
        """Texts that are drawn together are compared with all others of an update."""
        return None if self.contrastive is None else 1

    @property
    def record(self) -> RecordSpec:
        """Its label."""
        return RecordSpec(label=self.label, multiple=self.multiple)


@dataclass(frozen=True, kw_only=True)
class RegressObjective(_OfWholeText):
    """A number for the whole text, by least squares."""

    kind: Literal["regress"] = "regress"
    label: Annotated[str, About("metadata of a record that holds the number")] = "label"


@dataclass(frozen=True, kw_only=True)
class TagObjective(_OfText):
    """A tag for each word: the record's text is words with blanks between, its tags likewise."""

    families: ClassVar = _HEADED
    kind: Literal["tag"] = "tag"
    tags: Annotated[str, About("metadata of a record that holds the tags, separated by spaces")] = "tags"
    crf: Annotated[bool, About("a CRF: tags are scored as a sequence (Lafferty et al. 2001)")] = False
    convolutions: Annotated[
        int, About("layers of convolutions below the head, each over a token and its two neighbours", ge=0)
    ] = 0
    dropout: Annotated[float, About("probability of dropping what the head reads", ge=0, lt=1)] = 0.1

    @property
    def record(self) -> RecordSpec:
        """Its tags."""
        return RecordSpec(tags=self.tags)


@dataclass(frozen=True, kw_only=True)
class SpanObjective(_Objective):
    """The stretch of the text that answers a question: BERT's way (Devlin et al. 2019, section 4.2)."""

    families: ClassVar = ("decoder", "encoder")
    kind: Literal["answer"] = "answer"
    passage: Annotated[str, About("role of the text that is searched")] = "passage"
    question: Annotated[str, About("role of the question")] = "question"
    answer: Annotated[str, About("role of the answer, word for word from the passage")] = "answer"
    roles = _roles("passage", "question", "answer")

    @property
    def record(self) -> RecordSpec:
        """A question may have several answers."""
        return RecordSpec(several=(self.answer,))


@dataclass(frozen=True, kw_only=True)
class PreferObjective(_Objective):
    """Which of two answers to a prompt is better, or whether one answer is good."""

    families: ClassVar = ("decoder", "recurrent")
    kind: Literal["prefer"] = "prefer"
    templated: Annotated[
        bool,
        About(
            "prompts and answers are written as a conversation, by the chat template; false: as plain text, one after "
            "the other"
        ),
    ] = True
    template: Annotated[
        Offered | None,
        About(
            "chat template given to the model, with its special tokens: chatml, llama3, or plain, which needs none; "
            "left out: the model's own"
        ),
    ] = None
    prompt: Annotated[str, About("role of the prompt, in records that are no conversations")] = "prompt"
    chosen: Annotated[str, About("role of the better answer there")] = "chosen"
    rejected: Annotated[str, About("role of the worse answer there")] = "rejected"
    loss: Annotated[PreferenceLoss, About("what is learned from them: dpo, ipo, kto or orpo")] = DPOLoss()
    roles = _roles("prompt", "chosen", "rejected")

    @property
    def converses(self) -> bool:
        """Unless it reads plain text."""
        return self.templated

    @property
    def compared(self) -> str | None:
        """Pairs or single answers; None of a loss without a reference."""
        if not self.loss.compared:
            return None
        return "single answers" if self.loss.thumbs else "pairs of answers"


@dataclass(frozen=True, kw_only=True)
class EmbedObjective(_Objective):
    """Vectors such that a query lies nearer to its passages than to those of others (van den Oord et al. 2018, InfoNCE;
    Henderson et al. 2017, negatives of the batch). Which passages a query is told from is decided by its group alone.
    """

    families: ClassVar = _HEADED
    kind: Literal["embed"] = "embed"
    passage: Annotated[str, About("role of the text that is to be found; a record may have several")] = (
        "passage"
    )
    query: Annotated[str, About("role of the text it is found by: a question, a title, a paraphrase")] = (
        "query"
    )
    negative: Annotated[
        str | None, About("role of texts that look alike and are not to be found (hard negatives)")
    ] = None
    pooling: Annotated[
        Literal["first", "mean", "last", "max"] | None,
        About(
            "how states are pooled into one vector; left out: as the start's own files say, else the mean, or the last "
            "state of a causal model"
        ),
    ] = None
    normalise: Annotated[bool, About("vectors of length 1, so that their product is the cosine")] = True
    temperature: Annotated[float, About("temperature of the softmax over the passages of a group", gt=0)] = (
        0.05
    )
    symmetric: Annotated[bool, About("passages find their queries, too: the mean of both losses")] = True
    dimensions: Annotated[
        tuple[int, ...],
        About(
            "Matryoshka: the first so many numbers of a vector are trained to serve alone, such as [128, 64]"
        ),
    ] = ()
    group: Annotated[
        int | None,
        About(
            "records whose passages are negatives for each other: never cut into micro-batches or shared by ranks; "
            "left out: all of an update",
            ge=2,
        ),
    ] = None
    window: Annotated[
        int | None,
        About(
            "groups are drawn from so many records that stand near each other in the corpus: harder negatives where it "
            "stands by topic; left out: from all",
            ge=2,
        ),
    ] = None
    roles = property(lambda spec: tuple(filter(None, (spec.passage, spec.query, spec.negative))))

    def __post_init__(self) -> None:
        if any(number < 1 for number in self.dimensions):
            raise RecipeError("are numbers of features, at least 1 each", where="dimensions")

    @property
    def record(self) -> RecordSpec:
        """A query may have several passages, and several that are none of it."""
        return RecordSpec(several=tuple(filter(None, (self.passage, self.negative))))

    def groups(self, batch: int) -> int:
        """As many as the batch holds."""
        group = self.group or batch
        if batch % group:
            raise RecipeError(
                f"{batch} records are no whole number of groups of {group}: the passages of a group are each other's "
                "negatives, so that its loss is another when it is cut",
                where="objective.group",
                advice="make training.batch a multiple of objective.group, or leave that out",
            )
        if self.window is not None and self.window % group:
            raise RecipeError(
                f"{self.window} records are no whole number of groups of {group}",
                where="objective.window",
                advice="make it a multiple of objective.group",
            )
        return batch // group


@dataclass(frozen=True, kw_only=True)
class ExtractObjective(_Objective):
    """Which sentences of a text are its summary: those that together are likest to the summaries people wrote of it
    (Nallapati et al. 2017, section 3.3; Liu & Lapata 2019, section 3)."""

    families: ClassVar = ("encoder",)
    kind: Literal["extract"] = "extract"
    source: Annotated[str, About("role of the text whose sentences are chosen")] = "source"
    target: Annotated[str, About("role of its summary; a record may have several")] = "target"
    sentences: Annotated[int, About("sentences of a summary, at most", ge=1)] = 3
    roles = _roles("source", "target")

    @property
    def record(self) -> RecordSpec:
        """A text may have several summaries."""
        return RecordSpec(several=(self.target,))


ObjectiveSpec = (
    CausalObjective
    | MaskedObjective
    | InfillingObjective
    | SpansObjective
    | ContinueObjective
    | PairsObjective
    | ChatObjective
    | ClassifyObjective
    | RegressObjective
    | TagObjective
    | SpanObjective
    | PreferObjective
    | EmbedObjective
    | ExtractObjective
)


def objectives_of(family: str) -> list[str]:
    """The kinds of the objectives that can train a family."""
    return [spec().kind for spec in get_args(ObjectiveSpec) if family in spec.families]


def usual(family: str) -> ObjectiveSpec:
    """The objective of a family where a recipe names none."""
    return next(spec() for spec in get_args(ObjectiveSpec) if family in spec.usual_for)
