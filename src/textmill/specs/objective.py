"""What a model is trained to say, as plain data: which ids it reads, and which of them bear loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from textmill.base.errors import RecipeError
from textmill.base.schema import About


class _Kind:
    """What may be asked of any objective; one that has it declares a field of the name."""

    @property
    def batch_tokens(self) -> int | None:
        """Target tokens in one update; None: an update is a number of rows."""
        return None

    @property
    def next_sentence(self) -> bool | None:
        """Whether it also says if a second segment follows the first; None: it reads no pairs of segments."""
        return None


@dataclass(frozen=True, kw_only=True)
class CausalObjective(_Kind):
    """Each token from those before it (decoders, recurrent models, n-grams)."""

    kind: Literal["causal"] = "causal"


@dataclass(frozen=True, kw_only=True)
class MaskedObjective(_Kind):
    """Some tokens from all the others (encoders; Devlin et al. 2019, section 3.1)."""

    kind: Literal["masked"] = "masked"
    share: Annotated[float, About("share of the tokens that bear loss", gt=0, lt=1)] = 0.15
    hidden: Annotated[float, About("share of those that read as the mask", ge=0, le=1)] = 0.8
    random: Annotated[float, About("share of those that read as a random token", ge=0, le=1)] = 0.1
    whole_words: Annotated[bool, About("all tokens of a word are chosen together")] = False
    next_sentence: Annotated[
        bool, About("rows of two segments; also trained to say whether the second follows the first")
    ] = False

    def __post_init__(self) -> None:
        if self.hidden + self.random > 1:
            raise RecipeError("hidden and random together are more than everything", where="random")


@dataclass(frozen=True, kw_only=True)
class InfillingObjective(_Kind):
    """The text from itself with runs of tokens hidden behind one mask each (BART; Lewis et al. 2020, section 2.2)."""

    kind: Literal["infilling"] = "infilling"
    share: Annotated[float, About("share of the tokens hidden", gt=0, lt=1)] = 0.3
    span: Annotated[
        float, About("mean length of a hidden run (Poisson; 0 inserts a mask)", "tokens", ge=1)
    ] = 3.0


@dataclass(frozen=True, kw_only=True)
class SpansObjective(_Kind):
    """Hidden runs from the text around them, each behind a sentinel of its own (T5; Raffel et al. 2020, 3.1.4)."""

    kind: Literal["spans"] = "spans"
    share: Annotated[float, About("share of the tokens hidden", gt=0, lt=1)] = 0.15
    span: Annotated[float, About("mean length of a hidden run", "tokens", ge=1)] = 3.0


@dataclass(frozen=True, kw_only=True)
class ContinueObjective(_Kind):
    """The second half of a stretch of text from its first half: an encoder-decoder as a language model."""

    kind: Literal["continue"] = "continue"


@dataclass(frozen=True, kw_only=True)
class ConstantForcing:
    """The decoder always reads the target with this probability, else its own last guess."""

    kind: Literal["constant"] = "constant"
    ratio: Annotated[float, About("probability of reading the target", ge=0, le=1)] = 1.0


@dataclass(frozen=True, kw_only=True)
class LinearForcing:
    """The probability falls in a straight line over the run (Bengio et al. 2015, section 2.4)."""

    kind: Literal["linear"] = "linear"
    start: Annotated[float, About("probability at the first step", ge=0, le=1)] = 1.0
    end: Annotated[float, About("probability at the last step", ge=0, le=1)] = 0.0


@dataclass(frozen=True, kw_only=True)
class SigmoidForcing:
    """k / (k + exp(i / k)) at step i (Bengio et al. 2015, section 2.4, inverse sigmoid)."""

    kind: Literal["sigmoid"] = "sigmoid"
    k: Annotated[float, About("how long it stays near 1", "steps", ge=1)] = 500.0


Forcing = ConstantForcing | LinearForcing | SigmoidForcing


@dataclass(frozen=True, kw_only=True)
class PairsObjective(_Kind):
    """A target from its source: the corpus' records hold both (translation, summaries)."""

    kind: Literal["pairs"] = "pairs"
    target: Annotated[str, About("metadata of a record that holds the target; its text is the source")] = (
        "target"
    )
    label_smoothing: Annotated[
        float, About("share of the probability spread over the vocabulary (Szegedy et al. 2016)", ge=0, lt=1)
    ] = 0.1
    batch_tokens: Annotated[
        int | None,
        About("target tokens in one update, padding included; left out: training.batch pairs", ge=1),
    ] = None
    forcing: Annotated[Forcing, About("recurrent models: how often the decoder reads the target")] = (
        ConstantForcing()
    )


@dataclass(frozen=True, kw_only=True)
class ClassifyObjective(_Kind):
    """A label for the whole text; with `multiple`, any number of labels, told apart by blanks or commas."""

    kind: Literal["classify"] = "classify"
    label: Annotated[str, About("metadata of a record that holds the label")] = "label"
    multiple: Annotated[bool, About("several labels may hold at once")] = False
    pooling: Annotated[
        Literal["first", "mean", "last"] | None,
        About(
            "which states stand for the text; left out: the first, or the last of a model that reads one way"
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class RegressObjective(_Kind):
    """A number for the whole text, by least squares."""

    kind: Literal["regress"] = "regress"
    label: Annotated[str, About("metadata of a record that holds the number")] = "label"
    pooling: Annotated[
        Literal["first", "mean", "last"] | None,
        About(
            "which states stand for the text; left out: the first, or the last of a model that reads one way"
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class TagObjective(_Kind):
    """A tag for each word: the record's text is words with blanks between, its tags likewise."""

    kind: Literal["tag"] = "tag"
    tags: Annotated[str, About("metadata of a record that holds the tags, with blanks between")] = "tags"
    crf: Annotated[bool, About("tags are scored as a sequence (Lafferty et al. 2001)")] = False


@dataclass(frozen=True, kw_only=True)
class SpanObjective(_Kind):
    """The stretch of the text that answers a question: BERT's way (Devlin et al. 2019, section 4.2)."""

    kind: Literal["answer"] = "answer"
    question: Annotated[str, About("metadata of a record that holds the question; its text is searched")] = (
        "question"
    )
    answer: Annotated[str, About("metadata that holds the answer, word for word from the text")] = "answer"


ObjectiveSpec = (
    CausalObjective
    | MaskedObjective
    | InfillingObjective
    | SpansObjective
    | ContinueObjective
    | PairsObjective
    | ClassifyObjective
    | RegressObjective
    | TagObjective
    | SpanObjective
)
# Which objectives a kind of model can be trained by; the first is what a recipe that names none means.
OBJECTIVES: dict[str, tuple[str, ...]] = {
    "decoder": ("causal", "classify", "regress", "tag", "answer"),
    "encoder": ("masked", "classify", "regress", "tag", "answer"),
    "encoder-decoder": ("infilling", "spans", "continue", "pairs"),
    "recurrent": ("causal", "classify", "regress", "tag"),
    "recurrent-encoder-decoder": ("infilling", "spans", "continue", "pairs"),
    "ngram": ("causal",),
}
_USUAL: dict[str, ObjectiveSpec] = {
    "causal": CausalObjective(),
    "masked": MaskedObjective(),
    "infilling": InfillingObjective(),
}


def usual(kind: str) -> ObjectiveSpec:
    """The objective of a kind of model where a recipe names none."""
    return _USUAL[OBJECTIVES[kind][0]]
