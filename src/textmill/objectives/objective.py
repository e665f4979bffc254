"""What an objective is: one value that holds all the house knows of it. The table of them is objectives/table.py.

To add one: a spec in specs/objective.py, a file here that ends in such a value, and its line in the table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from textmill.data.batch import Batch
from textmill.data.examples import ExampleStore
from textmill.data.loader import AnyLoader, Batching
from textmill.models.sentences import Sentences
from textmill.objectives.evaluation import EvaluationInput, EvaluationResult
from textmill.objectives.loss import Losses
from textmill.objectives.records import Reader
from textmill.objectives.show import Shown, ShownRow
from textmill.specs.head import HeadSpec
from textmill.text.document import Document
from textmill.tokenization.protocol import AnyTokenizer

# Limits of models, in the words of their cards.
WRITES = (
    "It writes what is likely after the text before it, whether or not it is true. Check what it says.",
    "It repeats the errors, gaps and prejudices of its training text, and knows nothing else.",
    "It may repeat passages of its training text word for word. Do not publish it more widely than that text.",
)
WRITES_FROM_SOURCE = (
    "It writes what is likely for its source, whether or not it is true. Check what it says.",
    *WRITES[1:],
)
SAYS = (
    "It gives an answer for every text, also for one unlike any it was trained on.",
    "It repeats the errors, gaps and prejudices of its training data, and knows nothing else.",
    "What it was trained on can partly be inferred from it. Do not publish it more widely than that data.",
)


@dataclass(frozen=True)
class Purpose:
    """What a model of an objective is for, in the words of its card.

    pipeline: Hugging Face's name of the task. loads: whether `transformers.pipeline` of that name runs it.
    chinese: one sentence on what it does and does not do.
    """

    pipeline: str
    task: str
    use: str
    limits: tuple[str, ...]
    chinese: str
    loads: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Objective:
    """One objective.

    spec         its dataclass of specs/objective.py, which says the families it trains
    loader       (spec, store, how) -> its batches. Raises RecipeError when the tokenizer lacks what it needs,
                 TextmillError for an empty store
    losses       (spec, sequence=, chunk=) -> what a model is trained and validated by; see Losses
    loss_unit    what the mean of its loss is counted in, for messages
    show         (batch, row) -> what a row reads, and what is to be said of it; shown: how much of it a person sees
    judged       whether a model is judged by what it says of records, as its task (tasks/) judges predictions
    measure      how well a model does; the first score is the headline. Of one that is judged, what is to be said
                 beside that; None: nothing
    purpose      for the model card
    next         commands to try with a published model; {run} is its name
    writes       whether a model of it writes text: `generate` asks it
    sample       (spec, document, tokenizer, tokens) -> a prompt that a held-out document makes, and what the document
                 says to it, so many tokens at most; None: no document says what the model should write
    notes        (store) -> what became of its records that a person should know
    reader       what it takes from documents as records; None: it reads plain text
    head         (spec, family, store) -> what stands in place of the model's output layer; None: that serves
    vectors      (spec, family) -> how the states of a text become its vector; its models are their bodies alone, which
                 give states and no logits, and what they are published with says how. None: it is trained on logits
    predict      (model, batch) -> what a model with a head says of each row; no target is looked at
    texts        how many texts as long as a sequence a row reads
    reference    (model, batches) -> (rows, 2), what the model a run begins as says of each row of a loader, where the
                 spec says that its loss compares with it
    settle       (spec, model, training loader): what of a model is worked out whenever its weights are saved, in place,
                 from the rest of them alone; None: nothing
    teacher_forcing  (spec, step, steps) -> how often, at a step of a run, a decoder reads the target and not its own
                 guess: a function of the step alone, so that a resumed run goes on with the ratio it would have had
    """

    spec: type[Any]
    loader: Callable[[Any, Any, Batching], AnyLoader]
    losses: Callable[..., Losses]
    show: Callable[[Batch, int], ShownRow]
    purpose: Purpose
    next: tuple[str, ...]
    measure: Callable[[EvaluationInput], EvaluationResult] | None = None
    judged: bool = False
    loss_unit: str = "nats per token"
    shown: Shown = Shown()
    notes: Callable[[ExampleStore], list[str]] = lambda store: []
    writes: bool = False
    sample: Callable[[Any, Document, AnyTokenizer, int], tuple[str, str]] | None = None
    reader: type[Reader] | None = None
    head: Callable[[Any, str, ExampleStore], HeadSpec] | None = None
    vectors: Callable[[Any, str], Sentences] | None = None
    predict: Callable[[Any, Batch], Any] | None = None
    texts: int = 1
    reference: Callable[[Any, Iterable[Batch]], np.ndarray] | None = None
    settle: Callable[[Any, Any, AnyLoader], None] | None = None
    teacher_forcing: Callable[[Any, int, int], float] = lambda spec, step, steps: 1.0

    @property
    def kind(self) -> str:
        """The word a recipe names it by."""
        return self.spec().kind
