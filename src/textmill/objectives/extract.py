"""Which sentences of a text are its summary.

No person has said which: a text's summaries are sentences of people's own. Those of the text are taken that together
are likest to them, found greedily: as long as one more raises the mean of ROUGE-1, ROUGE-2 and ROUGE-L, the one that
raises it most (Nallapati et al. 2017, section 3.3). Each sentence is then kept or left out, as it is read among all
others of the text, at its first token.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from textmill.data.batch import IGNORE, Batch
from textmill.data.examples import ExampleStore
from textmill.metrics import rouge
from textmill.models.model import Model
from textmill.objectives.loss import count_targets, losses_by, sum_of_nats, widened
from textmill.objectives.objective import SAYS, Objective, Purpose
from textmill.objectives.records import lacks, loader_of
from textmill.objectives.show import in_place
from textmill.objectives.tag import TagReader, TagView
from textmill.specs.head import TagHead
from textmill.specs.objective import ExtractObjective
from textmill.text.document import Document, several
from textmill.text.sentences import sentences

KEPT, LEFT = "kept", "left out"


class ExtractReader(TagReader):
    """text: ids, each sentence cut by itself; value: whether it is kept, at its first token, IGNORE elsewhere."""

    decided: ClassVar = ("source", "target", "sentences")

    def wanted(self, document: Document) -> Any:
        """The sentences of the text, and which of them are likest to its summaries."""
        spec = self.spec
        text = self.text(document, spec.source)
        targets = [target for target in several(document.texts, spec.target) if target.strip()]
        if not text or not text.strip():
            return lacks(spec.source, text)
        if not targets:
            return lacks(spec.target, self.text(document, spec.target))
        places = sentences(text)
        best = oracle([text[start:end] for start, end in places], targets, spec.sentences)
        return self.apart(text, places, [KEPT if n in best else LEFT for n in range(len(places))])


def oracle(parts: Sequence[str], targets: Sequence[str], most: int) -> list[int]:
    """The numbers of the sentences, rising, that are likest to any of the targets; none where nothing is shared."""

    def worth(chosen: Sequence[int]) -> float:
        text = joined(parts[number] for number in sorted(chosen))
        return max(sum(rouge.rouge_of(text, target)[:3]) for target in targets)

    chosen, best = [], 0.0
    while len(chosen) < min(most, len(parts)):
        others = [number for number in range(len(parts)) if number not in chosen]
        gained, number = max((worth([*chosen, number]), -number) for number in others)
        if gained <= best:
            break
        chosen, best = [*chosen, -number], gained
    return sorted(chosen)


def joined(parts: Any) -> str:
    """Sentences as one summary, a line each."""
    return "\n".join(parts)


def head(spec: ExtractObjective, family: str, store: ExampleStore) -> TagHead:
    """Whether a sentence is kept, or left out."""
    return TagHead(labels=(KEPT, LEFT))


def loss(model: Model, batch: Batch) -> tuple[Tensor, Tensor]:
    """Cross-entropy of what becomes of each sentence: targets (B, T), IGNORE for all but a sentence's first token."""
    return sum_of_nats(model, model.hidden(batch), batch.targets), (batch.targets != IGNORE).sum()


@torch.no_grad()
def predict(model: Model, batch: Batch) -> Tensor:
    """(B, T) float: the log odds of keeping each sentence where its first token stands (`batch.candidates`); NaN
    elsewhere."""
    odds = odds_of(model(batch))
    return odds if batch.candidates is None else odds.masked_fill(~batch.candidates, torch.nan)


def odds_of(logits: Tensor) -> Tensor:
    """(…, 2) -> (…,): how much likelier it is that a sentence is kept than that it is left out, as a logarithm."""
    logits = widened(logits)
    return logits[..., 0] - logits[..., 1]


def chosen(odds: np.ndarray, most: int) -> list[int]:
    """The numbers of the sentences (n,) that are kept, rising: so many of the likeliest."""
    return sorted(np.argsort(-odds, kind="stable")[:most].tolist())


EXTRACT = Objective(
    spec=ExtractObjective,
    reader=ExtractReader,
    loader=loader_of(TagView),
    head=head,
    losses=losses_by(loss, count_targets),
    loss_unit="nats per sentence",
    predict=predict,
    show=in_place,
    judged=True,
    next=(
        "predict {run} 'a text to summarise'",
        "trace {run} 'a text to summarise'",
    ),
    purpose=Purpose(
        "token-classification",
        "summaries of a text's own sentences",
        "Choosing the sentences of a text that say what it is about.",
        SAYS,
        "它只从原文中挑出句子作为摘要，可能漏掉要点；使用前请人工核对。",
    ),
)
