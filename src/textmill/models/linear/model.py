"""The linear model as a model like any other: it reads token ids, and says labels or numbers of the whole text.

What it really reads are the bytes that the ids stand for, and of the text that they make the n-grams. So its tokenizer
must lose nothing; how it cuts makes no difference. `hidden` is what each known n-gram counts for in a text, as a sparse
matrix; the head is the table of what it weighs.

Shapes: B texts, T tokens, F n-grams, C labels or numbers, V ids.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from textmill.base.errors import RecipeError
from textmill.data.batch import Batch
from textmill.models.linear.features import Features, Row
from textmill.models.linear.fit import Fitted, bag, scores
from textmill.models.model import Model
from textmill.models.ngram.tables import Tables
from textmill.specs.head import ClassifyHead, HeadSpec, RegressHead
from textmill.specs.model import LinearSpec
from textmill.tokenization.protocol import AnyTokenizer


class Bag(Tables, Model):
    """A text as its n-grams: scale (F,) what each counts for, keys (F,) int64 their hashes, rising; and what ids are
    read by: bytes, those of all ids one behind the other, and starts (V + 1,) where each id's begin."""

    spec: LinearSpec
    scale: nn.Parameter
    keys: nn.Parameter
    bytes: nn.Parameter
    starts: nn.Parameter

    def __init__(self, spec: LinearSpec, vocabulary: int) -> None:
        super().__init__("scale", "keys", "bytes", "starts")
        self.spec, self.vocabulary = spec, vocabulary

    @property
    def hidden_width(self) -> int:
        """How many n-grams it knows, F."""
        return len(self.keys)

    @torch.no_grad()
    def hidden(self, batch: Batch) -> Tensor:
        """(B, F), sparse rows."""
        return self.of_rows(self.texts(batch))

    def of_rows(self, rows: Sequence[Row]) -> Tensor:
        """The same of texts, one or two a row."""
        read, worth = bag(self.spec, self.keys.numpy(), self.scale.float().numpy(), rows)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that such tensors are a beta feature
            return torch.sparse_csr_tensor(
                torch.from_numpy(read.offsets),
                torch.from_numpy(read.keys),
                torch.from_numpy(worth).to(self.scale.dtype),
                size=(len(rows), self.hidden_width),
            )

    def texts(self, batch: Batch) -> list[Row]:
        """The texts of a batch: of segments 0 and 1 where it has segments."""
        ids = batch.inputs.numpy()
        real = np.ones(ids.shape, dtype=bool) if batch.mask is None else batch.mask.numpy()
        if batch.segments is None:
            return [(text,) for text in self._decoded(ids, real)]
        second = batch.segments.numpy() > 0
        return list(zip(self._decoded(ids, real & ~second), self._decoded(ids, real & second), strict=True))

    def _decoded(self, ids: np.ndarray, chosen: np.ndarray) -> list[str]:
        """The text of the chosen ids of each row; special ones stand for nothing."""
        table, starts = self.bytes.numpy(), self.starts.numpy()
        flat = ids[chosen]
        sizes = starts[flat + 1] - starts[flat]
        ends = np.cumsum(sizes)
        places = np.arange(sizes.sum()) + np.repeat(starts[flat] - (ends - sizes), sizes)
        data = table[places].tobytes()
        bounds = np.concatenate([[0], ends])[np.cumsum(chosen.sum(1))].tolist()
        return [
            data[start:stop].decode("utf-8", "replace")
            for start, stop in zip([0, *bounds[:-1]], bounds, strict=True)
        ]


class BagHead(Tables):
    """What each n-gram weighs for each label or number: weight (F, C), bias (C,)."""

    weight: nn.Parameter
    bias: nn.Parameter

    def __init__(self, spec: HeadSpec) -> None:
        super().__init__("weight", "bias")
        self.spec = spec

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, F) sparse -> (B, C)."""
        read = Features(hidden.col_indices().numpy(), np.empty(0, np.float32), hidden.crow_indices().numpy())
        return scores(read, hidden.values(), self.weight, self.bias)


def tables(fitted: Fitted, tokenizer: AnyTokenizer) -> dict[str, Tensor]:
    """A fitted model as the state of a `Headed` one over `Bag`, for texts of this tokenizer.

    Raises RecipeError for a tokenizer that loses something of a text.
    """
    check_tokenizer(tokenizer)
    pieces = [tokenizer.token_bytes(token) for token in range(tokenizer.vocabulary)]
    starts = np.cumsum([0, *map(len, pieces)])
    return {
        "body.scale": torch.from_numpy(fitted.scale),
        "body.keys": torch.from_numpy(fitted.keys),
        "body.bytes": torch.frombuffer(bytearray(b"".join(pieces)), dtype=torch.uint8),
        "body.starts": torch.from_numpy(starts),
        "head.weight": torch.from_numpy(np.ascontiguousarray(fitted.weight)),
        "head.bias": torch.from_numpy(fitted.bias),
    }


def check_tokenizer(tokenizer: AnyTokenizer) -> None:
    """Raises RecipeError for a tokenizer that loses something of a text."""
    if not tokenizer.lossless:
        raise RecipeError(
            "loses something of a text, and a linear model reads all of its characters",
            where="tokenizer.kind",
            advice='set it to "bytes"',
        )


def outputs(head: HeadSpec) -> int:
    """How many labels or numbers, C."""
    assert isinstance(head, (ClassifyHead, RegressHead))
    return len(head.labels) if isinstance(head, ClassifyHead) else head.outputs
