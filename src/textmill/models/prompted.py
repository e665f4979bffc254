"""A language model that labels texts because it is asked to: a prompt, a few examples, and how likely each label's word
is as what comes next (Brown et al. 2020). Nothing is trained.

    instruction
    Review: it was dull            an example, written by the form `Review: {text}\\nSentiment: {label}`
    Sentiment: negative
    …
    Review: a joy                  the text in question
    Sentiment:                     and then each label's word

    log p(label) = log p(word | prompt), among all labels;  calibrated: minus that of texts that say nothing

Contextual calibration (Zhao et al. 2021, section 5): what a model leans to by the prompt alone is divided out, p / p₀,
p₀ the mean of the probabilities for texts without content such as "N/A". It is a number for each label where all texts
have the same examples, and is taken anew where each has its nearest.

Shapes: B texts, C labels, E examples, T tokens, V ids.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from textmill.base.errors import RecipeError
from textmill.data.batch import IGNORE, Batch
from textmill.data.codec import padded
from textmill.data.special import frame
from textmill.models.heads import Headed
from textmill.models.model import Generator, Model, SourceReader
from textmill.nn.state import State
from textmill.specs.head import ClassifyHead
from textmill.specs.tuning import PromptingTuning
from textmill.text.bm25 import BM25

if TYPE_CHECKING:
    from textmill.tokenization.protocol import AnyTokenizer

Example = tuple[str, int]  # a text, and the number of its label
_TOKENS = 4096  # of rows that are read at once, with what they have in common


class Labels(nn.Module):
    """What a prompt knows of its labels, as a head is known by its spec; it holds what is saved.

    examples     (bytes,) uint8: JSON, [[text, number of its label], …]
    vectors      (E, D): of the examples, where they are chosen by their meaning
    calibration  (C,) log p₀ of each label, where all texts have the same examples; else zeros
    """

    examples: Tensor
    vectors: Tensor
    calibration: Tensor

    def __init__(self, spec: ClassifyHead, examples: Sequence[Example], width: int) -> None:
        super().__init__()
        self.spec = spec
        raw = np.frombuffer(json.dumps(list(examples), ensure_ascii=False).encode(), dtype=np.uint8)
        self.register_buffer("examples", torch.from_numpy(raw.copy()))
        self.register_buffer("vectors", torch.zeros(0, width))
        self.register_buffer("calibration", torch.zeros(len(spec.labels)))


class Prompted(Headed):
    """Body and labels: forward(batch) -> (B, C), as a model with a head has it."""

    def __init__(
        self,
        body: Model,
        head: ClassifyHead,
        tuning: PromptingTuning,
        tokenizer: AnyTokenizer,
        examples: Sequence[Example],
    ) -> None:
        """Raises RecipeError for a model that does not go on with text, several labels, and words that are the same."""
        Model.__init__(self)
        if not isinstance(body, Generator) or isinstance(body, SourceReader):
            raise RecipeError(
                "asks a model that goes on with text", where="tuning.kind", advice='use kind = "lora"'
            )
        if head.multiple:
            raise RecipeError(
                "says one label of each text", where="objective.multiple", advice="leave it out"
            )
        self.body: Model = body
        self.tuning, self.tokenizer = tuning, tokenizer
        self.head = Labels(head, examples, body.hidden_width)  # type: ignore[assignment]
        self.spec, self.vocabulary, self.pooled = body.spec, body.vocabulary, False
        words = [tuning.words.get(label, label) for label in head.labels]
        lead = (
            " " if tuning.before_label.endswith(" ") else ""
        )  # which belongs to the word, as tokenizers have it
        self.words = [tokenizer.encode(lead + word).astype(np.int64) for word in words]
        if len({tuple(word.tolist()) for word in self.words}) < len(words) or not all(map(len, self.words)):
            raise RecipeError("are the same, or empty, for two labels", where="tuning.words")
        self.requires_grad_(False)

    @property
    def labels(self) -> Labels:
        """What stands in place of a head."""
        assert isinstance(self.head, Labels)
        return self.head

    @cached_property
    def examples(self) -> list[Example]:
        """The examples there are to choose from."""
        return [(text, label) for text, label in json.loads(bytes(self.labels.examples.tolist()))]

    @cached_property
    def _index(self) -> BM25:
        return BM25([text for text, _ in self.examples])

    def forward(self, batch: Batch) -> Tensor:
        """The log-probability of each label, (B, C), calibrated where that is asked for."""
        found, leaning = self.said([self._text(batch, row) for row in range(len(batch))])
        return found - leaning

    def said(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """(B, C) log-probabilities of the labels of texts, and (B, C) log p₀ of each label there, zeros where nothing
        is calibrated. What prompts begin with alike is read once: for all texts or, where each has examples of its
        own, for a text and those that say nothing."""
        if self.tuning.choose == "random":
            shown = self.chosen("")
            found = self.log_probs([self.prompt(text, shown) for text in texts])
            return found, self.labels.calibration.cpu().expand_as(found)
        sides = []
        for text in texts:
            shown = self.chosen(text)
            both = self.log_probs([self.prompt(one, shown) for one in (text, *self.tuning.calibrate)])
            sides.append((both[0], _mean(both[1:]) if self.tuning.calibrate else torch.zeros_like(both[0])))
        found, leaning = (torch.stack(side) for side in zip(*sides, strict=True))
        return found, leaning

    def settle(self) -> Prompted:
        """Work out what is saved beside the examples; the model itself."""
        if self.tuning.choose == "embedding" and self.examples:
            self.labels.vectors = torch.stack([self.vector(text) for text, _ in self.examples])
        if self.tuning.choose == "random" and self.tuning.calibrate:
            shown = self.chosen("")
            nothing = [self.prompt(text, shown) for text in self.tuning.calibrate]
            self.labels.calibration = _mean(self.log_probs(nothing))
        return self

    def prompt(self, text: str, examples: Sequence[Example]) -> np.ndarray:
        """(T,) ids before a label of the text. The first examples are left out where they do not fit, then the end of
        the text."""
        room = self.spec.context - max(map(len, self.words))
        prefix = np.array(self.tokenizer.prefix, dtype=np.int64)
        some = list(examples)
        while True:
            ids = np.append(prefix, self.tokenizer.encode(self._written(text, some)).astype(np.int64))
            if len(ids) <= room or not (some or text):
                return ids if len(ids) else np.array([self.tokenizer.end])
            if some:
                some.pop(0)
            else:
                kept = self.tokenizer.encode(text)[: -max(1, len(ids) - room)]
                text = self.tokenizer.decode(kept)

    def _written(self, text: str, examples: Sequence[Example]) -> str:
        form, names = self.tuning.form, self.labels.spec.labels
        parts = [self.tuning.instruction] if self.tuning.instruction else []
        for shown, label in examples:
            word = self.tuning.words.get(names[label], names[label])
            parts.append(form.replace("{label}", word).replace("{text}", shown))
        asked = self.tuning.before_label.removesuffix(" ").replace("{text}", text)
        return self.tuning.between.join([*parts, asked])

    @torch.no_grad()
    def log_probs(self, prompts: Sequence[np.ndarray]) -> Tensor:
        """(n, C): the log-probability of each label's word after each prompt, as one of the labels.

        What all prompts begin with is read once, and its state goes on with the rest of each.
        """
        body, longest = self.body, max(map(len, self.words))
        assert isinstance(body, Generator)
        shared = shared_length(prompts)
        rests = [torch.from_numpy(prompt[shared:]).to(self._device) for prompt in prompts]
        room = max(map(len, prompts)) + longest
        state = None
        if shared:
            _, state = body.hidden_begin(
                _alike(torch.from_numpy(prompts[0][None, :shared]).to(self._device)), room
            )
        found = torch.zeros(len(prompts), len(self.words))
        for numbers in _equally_long(rests, shared):
            ids = torch.stack([rests[number] for number in numbers])
            if state is None:
                hidden, after = body.hidden_begin(_alike(ids), room)
            else:
                rows = torch.zeros(len(numbers), dtype=torch.int64, device=self._device)
                read, after = body.hidden_step(ids, state.reorder(rows))
                hidden = read[:, -1]
            found[numbers] = self._after(body.logits(hidden), after).cpu()
        return found.log_softmax(-1)

    @property
    def _device(self) -> torch.device:
        return next(self.body.parameters()).device

    def _after(self, logits: Tensor, state: State) -> Tensor:
        """(n, C): the log-probability of each word after n texts that were read, among all that could come next."""
        body, words = self.body, self.words
        assert isinstance(body, Generator)
        firsts = torch.tensor([int(word[0]) for word in words], device=self._device)
        found = logits.float().log_softmax(-1)[:, firsts]
        if max(map(len, words)) == 1:
            return found
        rows = torch.arange(len(logits), device=self._device).repeat_interleave(len(words))
        wanted, there = padded([word for _ in logits for word in words])
        said, _ = body.step(torch.from_numpy(wanted[:, :-1].copy()).to(self._device), state.reorder(rows))
        after = (
            said.float()
            .log_softmax(-1)
            .gather(-1, torch.from_numpy(wanted[:, 1:, None].copy()).to(self._device))[..., 0]
        )
        if there is not None:
            after = after.masked_fill(~torch.from_numpy(there[:, 1:]).to(self._device), 0.0)
        return found + after.sum(1).view(len(logits), -1)

    def vector(self, text: str) -> Tensor:
        """(D,) the mean of the states of a text, to length 1: what its nearest are found by."""
        ids = [*self.tokenizer.prefix, *self.tokenizer.encode(text).tolist()][: self.spec.context]
        inputs = torch.tensor([ids or [self.tokenizer.end]], device=self._device)
        states = self.body.hidden(Batch(inputs, torch.full_like(inputs, IGNORE)))[0].float().mean(0)
        return nn.functional.normalize(states, dim=0).cpu()

    def _text(self, batch: Batch, row: int) -> str:
        """What a row holds between the ids that stand around every text."""
        real = batch.inputs[row] if batch.mask is None else batch.inputs[row][batch.mask[row]]
        lead, tail = map(len, frame(self.tokenizer))
        return self.tokenizer.decode(real[lead : len(real) - tail].tolist())

    def chosen(self, text: str) -> list[Example]:
        """The examples that stand before a text, the nearest last."""
        number = self.tuning.examples
        if self.tuning.choose == "random" or not number:
            return self.examples[:number]
        if self.tuning.choose == "bm25":
            best = [place for place, _ in self._index.best(text, number)]
        else:
            best = torch.topk(
                self.labels.vectors @ self.vector(text), min(number, len(self.examples))
            ).indices.tolist()
        return [self.examples[place] for place in reversed(best)]


def shared_length(prompts: Sequence[np.ndarray]) -> int:
    """How many ids all prompts begin with alike, the last of each left out; 0 of a single one."""
    if len(prompts) < 2:
        return 0
    least = min(map(len, prompts)) - 1
    same = np.all([prompt[:least] == prompts[0][:least] for prompt in prompts], axis=0)
    return least if same.all() else int(same.argmin())


def _equally_long(rests: Sequence[Tensor], shared: int) -> Iterator[list[int]]:
    """Numbers of prompts whose rests have the same length, so that nothing is padded and words may follow them."""
    order = sorted(range(len(rests)), key=lambda number: len(rests[number]))
    for length, group in groupby(order, lambda number: len(rests[number])):
        numbers, most = list(group), max(1, _TOKENS // (shared + length))
        yield from (numbers[start : start + most] for start in range(0, len(numbers), most))


def _alike(ids: Tensor) -> Batch:
    """Rows of equal length that are only read."""
    return Batch(ids, torch.full_like(ids, IGNORE))


def _mean(log_probs: Tensor) -> Tensor:
    """(C,) the logarithm of the mean of the probabilities of (n, C)."""
    return log_probs.exp().mean(0).log()


def held(model: Prompted) -> dict[str, Tensor]:
    """What is saved of it, by name."""
    return dict(model.head.named_buffers())


def filled(
    body: Model,
    head: ClassifyHead,
    tuning: PromptingTuning,
    tokenizer: AnyTokenizer,
    tensors: Mapping[str, Tensor],
) -> Prompted:
    """A model with what was saved of it, in evaluation mode."""
    examples = json.loads(bytes(tensors["examples"].tolist()))
    model = Prompted(body, head, tuning, tokenizer, [(text, label) for text, label in examples])
    model.labels.vectors, model.labels.calibration = tensors["vectors"], tensors["calibration"]
    return model.eval()
