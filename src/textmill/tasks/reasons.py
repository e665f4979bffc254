"""Why a linear model says what it says of a text: the n-grams that add most to its answer, or take most from it."""

from __future__ import annotations

from collections.abc import Sequence

from textmill.base.errors import TextmillError
from textmill.data.codec import Row
from textmill.models.heads import Headed
from textmill.models.linear.model import Bag, BagHead
from textmill.models.linear.shares import shares
from textmill.models.pretrained import Pretrained
from textmill.tasks import rows
from textmill.tasks.prediction import Why

_MOST = 8  # n-grams told of a text


def can_tell(pretrained: Pretrained) -> None:
    """Raises TextmillError for a model that is not linear: what it says is no sum of what its text holds."""
    _parts(pretrained)


def reasons(
    pretrained: Pretrained, reads: Sequence[Row], columns: Sequence[int], *, against: bool
) -> list[Why]:
    """Of each text why the answer of that column is as it is; against: whether one label is said out of several."""
    body, head = _parts(pretrained)
    codec = rows.codec_of(pretrained)
    found = []
    for read, column in zip(reads, columns, strict=True):
        (text,) = body.texts(codec.batch([read]))
        told = shares(body, head, text, column, against=against, most=_MOST)
        found.append(tuple((share.ngram, share.weight) for share in told))
    return found


def _parts(pretrained: Pretrained) -> tuple[Bag, BagHead]:
    model = pretrained.model
    if not (isinstance(model, Headed) and isinstance(model.body, Bag) and isinstance(model.head, BagHead)):
        raise TextmillError(
            f"a {pretrained.spec.kind} model cannot say which words its answer comes from",
            where="--why",
            advice='a model of kind = "linear" can; `textmill trace` shows what a text shares with the training text',
        )
    return model.body, model.head
