"""Which of two answers is better, or whether one is good: DPO, IPO, KTO and ORPO.

    x prompt, y answer, w the chosen and l the rejected one; π the model, π₀ the model the run began as (the reference);
    r(x, y) = log π(y|x) - log π₀(y|x); β · r is an answer's reward (Rafailov et al. 2023, section 4)

    DPO    -log σ(β (r_w - r_l)), mixed with the same of the other order where labels are smoothed (equation 7)
    IPO    (r_w / |y_w| - r_l / |y_l| - 1 / 2β)² (Azar et al. 2023, equation 17, whose authors take means over tokens)
    KTO    good: λ (1 - σ(β (r - z)));  bad: λ (1 - σ(β (z - r))) (Ethayarajh et al. 2024, equation 8)
    ORPO   -log p_w - λ log σ(log odds(p_w) - log odds(p_l)), p = exp(mean log π of the tokens of y)
           (Hong et al. 2024, equation 6; TRL's first term is of the prompt, too)

z of KTO stands for the drift of the model, KL(π ‖ π₀), at least 0. The paper and TRL take it from answers that belong
to other prompts of the micro-batch, so it changes with how a batch is cut. Here it is the mean over the whole update,
each prompt with the answer of the next row of its split: the same pairs at every step, whose reference is known, so
that any cut of a batch gives the same gradient. It has no gradient.

A row holds two texts, each a prompt and an answer, one after the other and equally wide: (B, 2 · W). Of a pair these
are the chosen and the rejected one, of KTO an answer and the one its drift is measured by.

Shapes: B rows, W tokens of a text, n texts, R rows of a view.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from textmill.base.errors import RecipeError, TextmillError
from textmill.data.batch import IGNORE, Batch
from textmill.data.buckets import BucketLoader
from textmill.data.codec import Text, padded
from textmill.data.examples import ExampleStore, Record
from textmill.data.loader import Batching
from textmill.data.record_view import RecordView
from textmill.data.special import SpecialTokens
from textmill.data.view import ALL, Viewed
from textmill.metrics.guesses import proportion
from textmill.metrics.score import Score, Sums, share
from textmill.models.model import Model
from textmill.nn.shared import evaluating
from textmill.objectives.drift import drift
from textmill.objectives.evaluation import (
    EvaluationInput,
    EvaluationResult,
    record_batches,
    result_of_records,
)
from textmill.objectives.loss import Losses, log_probs
from textmill.objectives.objective import WRITES, Objective, Purpose
from textmill.objectives.records import Reader, lacks, size
from textmill.objectives.show import Shown, ShownRow, of_tokens
from textmill.specs.objective import PreferObjective
from textmill.specs.preference import DPOLoss, IPOLoss, KTOLoss, ORPOLoss
from textmill.text import chats
from textmill.text.chats import Message
from textmill.text.document import Document
from textmill.tokenization.protocol import AnyTokenizer

CHOSEN, REJECTED = "chosen", "rejected"
BOTH = (CHOSEN, REJECTED)


class PreferReader(Reader):
    """prompt: its ids, which both answers go on from; chosen, rejected: those of the answers with what ends them, none
    of one that is not there; chosen_loss, rejected_loss: which of these are to be learned; longer: whether a
    conversation is longer than a sequence."""

    schema: ClassVar = {
        "prompt": "ids",
        CHOSEN: "ids",
        REJECTED: "ids",
        "chosen_loss": "bool",
        "rejected_loss": "bool",
        "longer": "bool",
    }
    decided: ClassVar = ("prompt", CHOSEN, REJECTED, "templated")

    def wanted(self, document: Document) -> Any:
        """The prompt, and both answers or one."""
        prompt, answers = self._asked(document)
        if not any(message.content.strip() or message.more for message in prompt):
            return lacks(self.spec.prompt, "" if prompt else None)
        if not answers:
            return lacks(self.spec.chosen, None)
        if len(answers) > 1 and answers[CHOSEN] == answers[REJECTED]:
            return "the two answers are the same"
        written = sum(size(message.content) for listed in answers.values() for message in listed)
        if self.spec.templated:
            try:
                made = self._conversation(prompt, answers, chats.tools_of(document.metadata), written)
            except TextmillError as error:
                return f"the chat template {error.what}"
            return made if isinstance(made, str) else ([], lambda texts: made)
        if len(prompt) > 1 or any(len(listed) > 1 for listed in answers.values()):
            return "is a conversation of several turns"

        def finish(texts: list[Text]) -> Record | str:
            if not all(map(len, texts)):
                return "no token is left"
            said = {
                name: (np.append(text.ids, self.tokenizer.end), np.ones(len(text) + 1, dtype=bool))
                for name, text in zip(answers, texts[1:], strict=True)
            }
            return record(np.array([*self.tokenizer.prefix, *texts[0].ids]), said, written)

        return [prompt[0].content, *(listed[0].content for listed in answers.values())], finish

    def _asked(self, document: Document) -> tuple[list[Message], dict[str, list[Message]]]:
        """The messages of the prompt, and those of each answer there is."""
        texts = {role: self.text(document, role) or "" for role in document.texts}
        if chats.is_chat(document.metadata):
            sections = chats.put_together(texts, document.metadata)
            answers = {name: sections[name] for name in BOTH if name in sections}
            return sections.get(chats.MESSAGES, []), answers
        prompt = [Message("user", texts[self.spec.prompt])] if self.spec.prompt in texts else []
        named = {name: texts.get(getattr(self.spec, name), "") for name in BOTH}
        return prompt, {name: [Message("assistant", text)] for name, text in named.items() if text.strip()}

    def _conversation(
        self, prompt: list[Message], answers: dict[str, list[Message]], tools: Any, written: int
    ) -> Record | str:
        """As the chat template writes it. What all answers go on from is found by ids: as far as they are the same, and
        no further than where an answer is asked for."""
        asked = [chats.plain(message) for message in prompt]
        before = self.codec.chat(asked, answer=True, tools=tools).ids
        rows = {
            name: self.codec.chat([*asked, *map(chats.plain, listed)], tools=tools)
            for name, listed in answers.items()
        }
        shared = _shared([before, *(row.ids for row in rows.values())])
        said = {name: (row.ids[shared:], row.loss[shared:]) for name, row in rows.items()}
        if not all(loss.any() for _, loss in said.values()):
            return "no token of an answer is in the loss"
        return record(before[:shared], said, written, longer=not all(row.windows for row in rows.values()))


def record(
    prompt: np.ndarray,
    answers: dict[str, tuple[np.ndarray, np.ndarray]],
    written: int,
    *,
    longer: bool = False,
) -> Record:
    """A record of a prompt's ids and, of each answer there is, ids and which of them are to be learned."""
    none = (np.zeros(0, dtype=np.int64), np.zeros(0, dtype=bool))
    fields = {"prompt": prompt, "longer": np.array([longer])}
    for name in BOTH:
        fields[name], fields[f"{name}_loss"] = answers.get(name, none)
    return Record(fields, written)


def _shared(rows: Sequence[np.ndarray]) -> int:
    """How many ids all rows begin with alike."""
    shortest = min(map(len, rows))
    same = np.all([row[:shortest] == rows[0][:shortest] for row in rows], axis=0)
    return shortest if same.all() else int(same.argmin())


def notes(store: ExampleStore) -> list[str]:
    """What became of conversations that are longer than a sequence."""
    if not (cut := int(store.fields["longer"][0].sum())):
        return []
    return [
        f"{cut:,} of {len(store):,} conversations are longer than a sequence: the beginning of the prompt is left "
        "out, down to half of a sequence, and then the end of the answer"
    ]


class PreferView(RecordView):
    """A row for each pair. `answers` (R, 2) says which two answers of which records it holds: 2 · record, and 1 more of
    a rejected one.

    A text longer than a row loses the beginning of its prompt, down to half of the row, and then the end of its answer.
    """

    def __init__(
        self,
        spec: PreferObjective,
        store: ExampleStore,
        sequence: int,
        tokens: SpecialTokens,
        reference: np.ndarray | None = None,
    ) -> None:
        """reference: (R, 2), as Batching has it. Raises RecipeError where pairs are wanted and a record holds one."""
        super().__init__(store, tokens, sequence // 2)
        self._room, self.reference = sequence, reference
        self._lengths = np.stack([store.lengths(name) for name in BOTH], axis=1)  # (records, 2)
        there = self._lengths > 0
        if spec.loss.thumbs:
            own = np.flatnonzero(there)
            self.answers = np.stack([own, np.roll(own, -1)], axis=1)
            self.good: np.ndarray | None = own % 2 == 0
        else:
            if not there.all():
                raise RecipeError(
                    f"{spec.loss.kind} compares two answers, and {int((~there.all(1)).sum()):,} records hold one",
                    where="objective.loss",
                    advice='set kind = "kto", which learns from single answers, too',
                )
            self.answers, self.good = np.arange(2 * len(store)).reshape(-1, 2), None
        self.record = self.answers[:, 0] // 2
        self._longest = np.minimum(self._whole(), sequence + 1)

    def _whole(self) -> np.ndarray:
        """(R,) tokens of a row's longer text."""
        prompts = self.store.lengths("prompt")[self.record]
        return prompts + self._lengths.reshape(-1)[self.answers].max(axis=1, initial=0)

    @property
    def cut(self) -> int:
        """Rows of which a text is longer than fits."""
        return int((self._whole() > self._room + 1).sum())

    def lengths(self) -> tuple[np.ndarray, np.ndarray]:
        """(R,) tokens of both texts of a row, padding between them included; there is no source."""
        return 2 * self._longest, np.zeros(len(self), dtype=np.int64)

    def rows_of(self, document: int, key: int) -> np.ndarray:
        """The rows of a record, and those whose drift is measured by its answers."""
        return np.flatnonzero((self.answers // 2 == document).any(axis=1))

    def read_by(self, rows: np.ndarray) -> np.ndarray:
        """(n, 2) pairs of a row and a record it reads."""
        pairs = np.stack([np.repeat(np.arange(len(rows)), 2), self.answers[rows].reshape(-1) // 2], axis=1)
        return np.unique(pairs, axis=0)

    def make(self, rows: np.ndarray, keys: np.ndarray, share: slice = ALL) -> Viewed:
        """The rows of a share, as wide as the whole batch."""
        texts = [text for row in rows.tolist() for text in self._texts(row)]
        inputs, real = padded([ids[:-1] for ids, _ in texts], self.tokens.pad)
        targets, _ = padded([np.where(loss, ids, IGNORE)[1:] for ids, loss in texts], IGNORE)
        real = np.ones_like(inputs, dtype=bool) if real is None else real
        width = inputs.shape[1]

        def beside(values: np.ndarray) -> np.ndarray:
            return values.reshape(len(rows), 2 * width)[share]

        owners = np.where(targets != IGNORE, np.repeat(self.record[rows], 2)[:, None], -1)
        if self.good is not None:
            owners[1::2] = -1  # nothing is learned of these
        chosen = rows[share]
        batch = Batch(
            inputs=torch.from_numpy(beside(inputs)),
            targets=torch.from_numpy(beside(targets)),
            mask=torch.from_numpy(beside(real)),
            labels=None if self.good is None else torch.from_numpy(self.good[chosen].astype(np.int64)),
            reference=None if self.reference is None else torch.from_numpy(self.reference[chosen]),
        )
        return Viewed(batch, beside(owners), self.read_by(chosen))

    def prompt(self, record: int, answer: int) -> np.ndarray:
        """Its ids, as they stand before an answer of so many tokens."""
        least = max(1, self._room // 2, self._room + 1 - answer)  # the last token is never read
        return self.store.field("prompt", record).astype(np.int64)[-least:]

    def _texts(self, row: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(ids, which of them are to be learned) of the prompt with each answer of a row."""
        named = [(int(one) // 2, BOTH[int(one) % 2]) for one in self.answers[row]]
        answers = [(self.store.field(name, of), self.store.field(f"{name}_loss", of)) for of, name in named]
        prompt = self.prompt(int(self.record[row]), max(len(ids) for ids, _ in answers))
        room = self._room + 1 - len(prompt)
        for ids, loss in answers:
            learned = np.concatenate([np.zeros(len(prompt), dtype=bool), loss[:room]])
            yield np.concatenate([prompt, ids[:room].astype(np.int64)]), learned


def loader(spec: PreferObjective, store: ExampleStore, how: Batching) -> BucketLoader:
    """Rows of two texts, those of nearly equal length together."""
    view = PreferView(spec, store, how.sequence, how.tokens, how.reference)
    return BucketLoader(view, batch=how.batch, seed=how.seed)


def one_by_one(batch: Batch, which: slice = ALL) -> Batch:
    """The texts of rows, one under the other: (B, 2 · W) -> (2 · B, W), or (B, W) of the first or second of each."""

    def apart(values: Tensor) -> Tensor:
        return values.unflatten(1, (2, -1))[:, which].flatten(0, 1)

    assert batch.mask is not None
    return Batch(apart(batch.inputs), apart(batch.targets), apart(batch.mask))


def paired(spec: PreferObjective, model: Model, batch: Batch, chunk: int | None) -> tuple[Tensor, Tensor]:
    """The loss of pairs: (sum, number of pairs)."""
    how, real = spec.loss, _counted(batch)
    sums, tokens = (part.view(-1, 2) for part in log_probs(model, one_by_one(batch), chunk))
    tokens = tokens.clamp(min=1)
    if isinstance(how, (DPOLoss, IPOLoss)):
        assert batch.reference is not None
        gains = sums - batch.reference
        if isinstance(how, IPOLoss):
            chosen, rejected = (gains / tokens).unbind(1)
            nats = (chosen - rejected - 1 / (2 * how.beta)) ** 2
        else:
            margin = how.beta * (gains[:, 0] - gains[:, 1])
            share = how.label_smoothing
            nats = -(1 - share) * F.logsigmoid(margin) - share * F.logsigmoid(-margin)
    else:
        assert isinstance(how, ORPOLoss)
        means = sums / tokens
        odds = means - torch.log1p(-torch.exp(means.clamp(max=-1e-12)))
        nats = -means[:, 0] - how.weight * F.logsigmoid(odds[:, 0] - odds[:, 1])
    return torch.where(real, nats, 0.0).sum(), real.sum()


def single(how: KTOLoss, model: Model, batch: Batch, chunk: int | None) -> tuple[Tensor, Tensor]:
    """The loss of single answers: (sum, number of answers)."""
    assert batch.reference is not None
    assert batch.labels is not None
    real, good = _counted(batch), batch.labels == 1
    drift = batch.baseline
    if drift is None:  # no update is made: that of the rows alone
        with torch.no_grad():
            total, number = drifted(model, batch, chunk)
            drift = (total / number.clamp(min=1)).expand(len(batch))
    sums, _ = log_probs(model, one_by_one(batch, slice(0, 1)), chunk)
    worth = how.beta * (sums - batch.reference[:, 0] - drift.clamp(min=0))
    nats = torch.where(good, how.desirable * torch.sigmoid(-worth), how.undesirable * torch.sigmoid(worth))
    return torch.where(real, nats, 0.0).sum(), real.sum()


def drifted(model: Model, batch: Batch, chunk: int | None = None) -> tuple[Tensor, Tensor]:
    """(sum of the drifts of rows, number of rows): what z of KTO is the mean of."""
    assert batch.reference is not None
    real = _counted(batch)
    sums, _ = log_probs(model, one_by_one(batch, slice(1, 2)), chunk)
    return torch.where(real, sums - batch.reference[:, 1], 0.0).sum(), real.sum()


def _counted(batch: Batch) -> Tensor:
    """(B,) bool: rows from which something is to be learned."""
    return (batch.targets != IGNORE).any(1)


def losses(spec: PreferObjective, *, sequence: int, chunk: int | None = None) -> Losses:
    """Those of the loss that the spec names."""

    def count(batch: Batch) -> int:
        return int(_counted(batch).sum())

    if isinstance(spec.loss, KTOLoss):
        loss = partial(single, spec.loss, chunk=chunk)
        return Losses(loss, loss, count, partial(drifted, chunk=chunk))
    loss = partial(paired, spec, chunk=chunk)
    plain = (
        spec
        if not isinstance(spec.loss, DPOLoss)
        else replace(spec, loss=replace(spec.loss, label_smoothing=0.0))
    )
    return Losses(loss, partial(paired, plain, chunk=chunk), count)


@torch.inference_mode()
def reference(model: Model, batches: Iterable[Batch]) -> np.ndarray:
    """(rows, 2) float64: the log-probability of both texts of each row, in the order the batches have."""
    found = [log_probs(model, one_by_one(batch))[0].view(-1, 2).numpy() for batch in batches]
    return np.concatenate(found) if found else np.zeros((0, 2))


def measure(evaluation: EvaluationInput) -> EvaluationResult:
    """How often the better answer has the higher reward, by how much, and how far the model has moved from its start.

    Of single answers, how often the reward is over 0 for a good one and under 0 for a bad one. Beside the rule that the
    longer answer is the better one, and beside what the start finds likelier, token by token.
    """
    objective = evaluation.recipe.objective
    assert isinstance(objective, PreferObjective)
    rewards, before, tokens = rewards_of(objective, evaluation)
    paired_ones = ~np.isnan(rewards).any(axis=1)
    if paired_ones.any():
        records = np.flatnonzero(paired_ones)

        def first(values: np.ndarray) -> np.ndarray:
            """Whether the first of two is larger; half of it where they are the same."""
            return np.sign(values[records, 0] - values[records, 1]) / 2 + 0.5

        right, longer, likelier = map(first, (rewards, tokens, before))
    else:
        records = np.flatnonzero(~np.isnan(rewards).all(axis=1))
        good = ~np.isnan(rewards[records, 0])
        right = np.where(good, rewards[records, 0] > 0, rewards[records, 1] < 0)
        lengths = np.nansum(tokens[records], axis=1)
        longer, likelier = (lengths > np.median(lengths)) == good, None
    bootstrap = evaluation.bootstrap.of(records)
    how = _REWARDS[objective.loss.compared]
    name = "reward-accuracy|better over worse" if paired_ones.any() else "reward-accuracy|over 0 if good"
    accuracy = "reward accuracy"
    scores: dict[str, Score] = {accuracy: proportion(name, right, bootstrap, how=how)}
    if paired_ones.any():
        gaps = np.stack([rewards[records, 0] - rewards[records, 1], np.ones(len(records))], axis=1)
        margin = Sums.of(gaps, bootstrap).score("reward-margin|mean", share(0, 1), unit="nats", how=how)
        scores["reward margin"] = margin
    baselines = {"the longer one": {accuracy: proportion(name, longer, bootstrap, how="tokens")}}
    if objective.loss.compared and likelier is not None:
        score = proportion(name, likelier, bootstrap, how="mean log π₀ of its tokens")
        baselines["what its start finds likelier"] = {accuracy: score}
    view = evaluation.loader.view
    prompts = [view.prompt(record, 0).tolist() for record in records.tolist()]
    moved, start = drift(evaluation, prompts, evaluation.data.reference_model())
    said = {"cut": view.cut, "learned_from": "pairs of answers" if paired_ones.any() else "single answers"}
    return result_of_records(
        evaluation, records, scores | moved, baselines | {"its start": start}, len(records), said
    )


_REWARDS = {True: "β (log π - log π₀)", False: "mean log π of its tokens"}


def rewards_of(
    spec: PreferObjective, evaluation: EvaluationInput
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(records, 2) each, of the chosen and the rejected answer, NaN where there is none: the reward, the mean
    log-probability of a token under the start, and the number of tokens."""
    view = evaluation.loader.view
    found = np.full((3, 2 * len(view.store)), np.nan)
    which = slice(0, 1) if spec.loss.thumbs else ALL
    model = evaluating(evaluation.model)
    with torch.inference_mode():
        for batch in record_batches(evaluation):
            answers = view.answers[batch.rows][:, which]
            sums, tokens = (part.numpy() for part in log_probs(model, one_by_one(batch.batch, which)))
            length = np.maximum(tokens, 1)
            reward = sums / length
            if batch.batch.reference is not None:
                known = batch.batch.reference.numpy()[:, which].reshape(-1)
                assert not isinstance(spec.loss, ORPOLoss)
                reward = spec.loss.beta * (sums - known)
                found[1, answers.reshape(-1)] = known / length
            found[0, answers.reshape(-1)], found[2, answers.reshape(-1)] = reward, tokens
    rewards, before, lengths = found.reshape(3, -1, 2)
    return rewards, before, lengths


def show(batch: Batch, row: int) -> ShownRow:
    """The first text of a row and, of a pair, the second: each is a document of its own."""
    pair = one_by_one(batch.rows(row, row + 1))
    texts = [of_tokens(pair, number).tokens for number in range(1 if batch.labels is not None else 2)]
    tokens = [replace(token, document=number) for number, text in enumerate(texts) for token in text]
    return ShownRow(tokens, label=None if batch.labels is None else int(batch.labels[row]))


def sample(
    spec: PreferObjective, document: Document, tokenizer: AnyTokenizer, tokens: int
) -> tuple[str, str]:
    """The prompt, and the better answer; none of a conversation of several turns."""
    if not chats.is_chat(document.metadata):
        return document.texts.get(spec.prompt, ""), document.texts.get(spec.chosen, "")
    sections = chats.put_together(document.texts, document.metadata)
    prompt, chosen = sections.get(chats.MESSAGES, []), sections.get(CHOSEN, [])
    return (prompt[0].content, chosen[0].content) if len(prompt) == len(chosen) == 1 else ("", "")


PREFER = Objective(
    spec=PreferObjective,
    reader=PreferReader,
    loader=loader,
    losses=losses,
    loss_unit="nats per comparison",
    texts=2,
    reference=reference,
    show=show,
    measure=measure,
    writes=True,
    sample=sample,
    notes=notes,
    shown=Shown(rows=4, tokens=400, apart=True),
    next=("chat {run} --message 'Hello'",),
    purpose=Purpose(
        "text-generation",
        "answering as people preferred",
        "Answering prompts of the kind it was trained on, in the way that was preferred in its training pairs.",
        WRITES,
        "它按训练数据中被偏好的方式回答，回答仍可能不实或带有偏见；使用前请人工核对。",
        loads=True,
    ),
)
