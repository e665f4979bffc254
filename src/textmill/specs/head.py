"""What stands on top of a model in place of its output layer, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from textmill.base.errors import RecipeError
from textmill.base.schema import About

Pooling = Literal["first", "mean", "last"]
Dense = Literal["none", "tanh", "relu"]


@dataclass(frozen=True, kw_only=True)
class LinearHead:
    """One linear layer, over whatever states it is given."""

    kind: str = ""
    bias: Annotated[bool, About("that layer has a bias")] = True
    dropout: Annotated[float, About("probability of dropping what the head reads", ge=0, lt=1)] = 0.1


@dataclass(frozen=True, kw_only=True)
class TextHead(LinearHead):
    """One that reads the whole text at once."""

    pooling: Annotated[Pooling, About("how states are pooled into one vector")] = "first"
    dense: Annotated[
        Dense,
        About("an extra layer with this non-linearity before the last: RoBERTa (tanh), DistilBERT (relu)"),
    ] = "none"


@dataclass(frozen=True, kw_only=True)
class ClassifyHead(TextHead):
    """Logits of labels for the whole text."""

    kind: Literal["classify"] = "classify"
    labels: Annotated[tuple[str, ...], About("the labels, in the order of the logits")]
    multiple: Annotated[bool, About("multi-label: several labels may apply at once")] = False


@dataclass(frozen=True, kw_only=True)
class RegressHead(TextHead):
    """Numbers for the whole text."""

    kind: Literal["regress"] = "regress"
    outputs: Annotated[int, About("how many numbers", ge=1)] = 1


@dataclass(frozen=True, kw_only=True)
class TagHead(LinearHead):
    """Logits of tags for every token; with `crf`, tags are scored as a sequence."""

    kind: Literal["tag"] = "tag"
    labels: Annotated[tuple[str, ...], About("the tags, in the order of the logits")]
    crf: Annotated[bool, About("a CRF: transitions between tags are scored, too (Lafferty et al. 2001)")] = (
        False
    )
    convolutions: Annotated[
        int, About("layers of convolutions below the head, each over a token and its two neighbours", ge=0)
    ] = 0


@dataclass(frozen=True, kw_only=True)
class SpanHead(LinearHead):
    """Logits of the first and of the last token of a span."""

    kind: Literal["answer"] = "answer"
    dropout: float = 0.0


HeadSpec = ClassifyHead | RegressHead | TagHead | SpanHead
READ_ONE_WAY = ("decoder", "recurrent")  # kinds whose first state knows the first token only


def pooling_for(pooling: Pooling | None, kind: str) -> Pooling:
    """Which states stand for a text: `pooling`, or where it is None, what this kind of model is pooled by.

    Raises RecipeError where that is the first state of a model that reads one way.
    """
    if pooling == "first" and kind in READ_ONE_WAY:
        raise RecipeError(
            f"a {kind} has read only one token at its first state",
            where="objective.pooling",
            advice='set it to "last" or "mean", or leave it out',
        )
    return pooling or ("last" if kind in READ_ONE_WAY else "first")
