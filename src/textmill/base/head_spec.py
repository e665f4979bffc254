"""What stands on top of a model in place of its output layer, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from textmill.base.schema import About

Pooling = Literal["first", "mean", "last"]


@dataclass(frozen=True, kw_only=True)
class ClassifyHead:
    """Logits of labels for the whole text."""

    kind: Literal["classify"] = "classify"
    labels: Annotated[tuple[str, ...], About("the labels, in the order of the logits")]
    multiple: Annotated[bool, About("several labels may hold at once")] = False
    pooling: Annotated[Pooling, About("which states stand for the text")] = "first"


@dataclass(frozen=True, kw_only=True)
class RegressHead:
    """Numbers for the whole text."""

    kind: Literal["regress"] = "regress"
    outputs: Annotated[int, About("how many numbers", ge=1)] = 1
    pooling: Annotated[Pooling, About("which states stand for the text")] = "first"


@dataclass(frozen=True, kw_only=True)
class TagHead:
    """Logits of tags for every token; with `crf`, tags are scored as a sequence."""

    kind: Literal["tag"] = "tag"
    labels: Annotated[tuple[str, ...], About("the tags, in the order of the logits")]
    crf: Annotated[bool, About("transitions between tags are scored too (Lafferty et al. 2001)")] = False


@dataclass(frozen=True, kw_only=True)
class SpanHead:
    """Logits of the first and of the last token of a span."""

    kind: Literal["answer"] = "answer"


HeadSpec = ClassifyHead | RegressHead | TagHead | SpanHead
