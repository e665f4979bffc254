"""Each objective's loss by hand in float64, and the same however a batch is padded or cut up."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F

from textmill.data.batch import IGNORE, Batch
from textmill.models.build import build
from textmill.models.heads import attach
from textmill.nn import mode
from textmill.objectives.loss import Losses
from textmill.objectives.table import objective_of
from textmill.specs import forcing as forcing_specs
from textmill.specs import objective as specs
from textmill.specs import preference
from textmill.specs.head import ClassifyHead, RegressHead, SpanHead, TagHead
from textmill.specs.model import DecoderSpec, EncoderDecoderSpec, EncoderSpec, RecurrentEncoderDecoderSpec
from textmill.specs.training import AdamWSpec
from textmill.training import optimizer as optimizers
from textmill.training.loop import train

VOCABULARY = 31
LABELS = ("a", "b", "c")
ENCODER = EncoderSpec(d_model=16, layers=1, heads=2, d_ff=24, context=24, dropout=0.0)
DECODER = DecoderSpec(d_model=16, layers=1, heads=2, d_ff=24, context=24)
BOTH = EncoderDecoderSpec(d_model=16, layers=1, heads=2, d_ff=24, context=24, dropout=0.0)
RECURRENT = RecurrentEncoderDecoderSpec(d_model=16, layers=1, context=24, dropout=0.0)
CASES = {
    "causal": (DECODER, None, specs.CausalObjective()),
    "masked": (ENCODER, None, specs.MaskedObjective()),
    "sentences": (ENCODER, None, specs.MaskedObjective(next_sentence=True)),
    "infilling": (BOTH, None, specs.InfillingObjective()),
    "pairs": (BOTH, None, specs.PairsObjective(label_smoothing=0.1)),
    "recurrent pairs": (RECURRENT, None, specs.PairsObjective(label_smoothing=0.2)),
    "classify": (ENCODER, ClassifyHead(labels=LABELS, dropout=0.0), specs.ClassifyObjective()),
    "several": (
        DECODER,
        ClassifyHead(labels=LABELS, pooling="last", multiple=True, dropout=0.0),
        specs.ClassifyObjective(multiple=True),
    ),
    "regress": (DECODER, RegressHead(outputs=2, pooling="mean", dropout=0.0), specs.RegressObjective()),
    "tag": (ENCODER, TagHead(labels=LABELS, dropout=0.0), specs.TagObjective()),
    "crf": (ENCODER, TagHead(labels=LABELS, crf=True, dropout=0.0), specs.TagObjective(crf=True)),
    "answer": (ENCODER, SpanHead(), specs.SpanObjective()),
    "dpo": (DECODER, None, specs.PreferObjective(loss=preference.DPOLoss(beta=0.7, label_smoothing=0.1))),
    "ipo": (DECODER, None, specs.PreferObjective(loss=preference.IPOLoss(beta=0.7))),
    "kto": (DECODER, None, specs.PreferObjective(loss=preference.KTOLoss(beta=0.7, undesirable=1.5))),
    "orpo": (DECODER, None, specs.PreferObjective(loss=preference.ORPOLoss(weight=0.3))),
}
OF_TWO_TEXTS = ("dpo", "ipo", "kto", "orpo")


def model_of(case: str, dtype: torch.dtype = torch.float64) -> torch.nn.Module:
    spec, head, _ = CASES[case]
    model = build(spec, VOCABULARY, seed=3, dtype=dtype)
    return model if head is None else attach(model, head, seed=4)


def losses(spec: specs.ObjectiveSpec, *, sequence: int, chunk: int | None = None) -> Losses:
    return objective_of(spec).losses(spec, sequence=sequence, chunk=chunk)


def losses_of(case: str, chunk: int | None = None) -> Losses:
    return losses(CASES[case][2], sequence=10, chunk=chunk)


def batch_of(case: str, rows: int = 6, seed: int = 0, extra: int = 0) -> Batch:
    """Rows of 3 … 10 tokens beside `extra` more columns of padding; some targets, and whole rows, bear no loss."""
    if case in OF_TWO_TEXTS:
        return two_texts(case, rows, seed, extra)
    draw = torch.Generator().manual_seed(seed)
    length = 10
    inputs = torch.randint(0, VOCABULARY, (rows, length), generator=draw)
    lengths = torch.randint(3, length + 1, (rows,), generator=draw)
    mask = torch.arange(length)[None] < lengths[:, None]
    borne = mask & (torch.rand(rows, length, generator=draw) < 0.6)
    borne[0] = False
    targets = torch.randint(0, VOCABULARY, (rows, length), generator=draw).masked_fill(~borne, IGNORE)
    pad = (0, extra)
    batch = Batch(F.pad(inputs, pad), F.pad(targets, pad, value=IGNORE), F.pad(mask, pad))
    first = torch.randint(0, 2, (rows,), generator=draw)
    if case == "sentences":
        return dataclasses.replace(batch, labels=first, segments=(batch.inputs % 2))
    if case in ("infilling", "pairs", "recurrent pairs"):
        source = torch.randint(0, VOCABULARY, (rows, 7), generator=draw)
        seen = torch.arange(7)[None] < torch.randint(1, 8, (rows, 1), generator=draw)
        return dataclasses.replace(batch, source=F.pad(source, pad), source_mask=F.pad(seen, pad))
    chosen = {
        "classify": first.index_fill(0, torch.tensor([2]), IGNORE),
        "several": torch.rand(rows, 3, generator=draw).round(),
        "regress": torch.randn(rows, 2, generator=draw),
        "answer": torch.stack((first, first + 1), 1).index_fill(0, torch.tensor([1]), IGNORE),
    }
    if case in ("tag", "crf"):
        return dataclasses.replace(
            batch, targets=torch.where(batch.targets == IGNORE, IGNORE, batch.targets % 3)
        )
    if case in ("several", "regress"):
        chosen[case][3, 1] = math.nan
    return dataclasses.replace(batch, targets=chosen[case]) if case in chosen else batch


def two_texts(case: str, rows: int, seed: int, extra: int) -> Batch:
    """The same of rows that hold two texts each, both padded alike."""
    texts = batch_of("causal", 2 * rows, seed, extra)
    targets = texts.targets.clone()
    targets[:2], targets[2:, 1] = IGNORE, 7  # but for the first row something is learned of each text
    sides = (side.reshape(rows, -1) for side in (texts.inputs, targets, texts.mask))
    draw = torch.Generator().manual_seed(seed + 1)
    known = -20 * torch.rand(rows, 2, generator=draw, dtype=torch.float64)
    good = torch.randint(0, 2, (rows,), generator=draw) if case == "kto" else None
    return dataclasses.replace(Batch(*sides), reference=known, labels=good)


def preference_by_hand(case: str, model: torch.nn.Module, batch: Batch) -> tuple[torch.Tensor, int]:
    """As published, a pair at a time, of logits that are made of each text alone."""
    how, terms, drifts = CASES[case][2].loss, [], []
    width = batch.inputs.shape[1] // 2
    rows = []
    for row in range(len(batch)):
        sides = []
        for part in (slice(0, width), slice(width, None)):
            length = int(batch.mask[row, part].sum())
            ids, targets = batch.inputs[row, part][:length], batch.targets[row, part][:length]
            logs = model(Batch(ids[None], ids[None]))[0].log_softmax(-1)
            sides.append([logs[at, target] for at, target in enumerate(targets.tolist()) if target != IGNORE])
        if sides[0]:
            rows.append((row, sides))
            drifts.append(sum(sides[1]) - batch.reference[row, 1])
    drift = max(torch.stack(drifts).mean().detach(), torch.zeros(()))
    for row, (better, worse) in rows:
        gains = [sum(side) - known for side, known in zip((better, worse), batch.reference[row], strict=True)]
        if case == "dpo":
            margin = how.beta * (gains[0] - gains[1])
            terms.append(-0.9 * torch.sigmoid(margin).log() - 0.1 * torch.sigmoid(-margin).log())
        elif case == "ipo":
            terms.append((gains[0] / len(better) - gains[1] / len(worse) - 1 / (2 * how.beta)) ** 2)
        elif case == "kto":
            over = how.beta * (gains[0] - drift)
            good = batch.labels[row] == 1
            terms.append(1 - torch.sigmoid(over) if good else 1.5 * (1 - torch.sigmoid(-over)))
        else:
            p, q = (torch.exp(sum(side) / len(side)) for side in (better, worse))
            odds = (p / (1 - p)) / (q / (1 - q))
            terms.append(-p.log() - how.weight * torch.sigmoid(odds.log()).log())
    return sum(terms), len(terms)


def by_hand(case: str, model: torch.nn.Module, batch: Batch) -> tuple[torch.Tensor, int]:
    """(sum, number), from whole logits, a row at a time, by other functions than the losses use."""
    if case in OF_TWO_TEXTS:
        return preference_by_hand(case, model, batch)
    logits, targets = model(batch), batch.targets
    if case in ("several", "regress"):
        picked = [(logits[i, j], targets[i, j].item()) for i, j in (~targets.isnan()).nonzero().tolist()]
        if case == "regress":
            return sum((value - wanted) ** 2 for value, wanted in picked), len(picked)
        return -sum(torch.log(torch.sigmoid(x if y else -x)) for x, y in picked), len(picked)
    if case == "answer":
        terms = []
        for row, (start, end) in enumerate(targets.tolist()):
            if start != IGNORE:
                real = batch.mask[row]
                terms += [
                    -logits[row, real, 0].log_softmax(0)[start],
                    -logits[row, real, 1].log_softmax(0)[end],
                ]
        return sum(terms) / 2, len(terms) // 2
    if case == "crf":
        nats = model.head.crf.nats(logits, targets, targets != IGNORE)  # itself tested against all sequences
        return nats.sum(), int((targets != IGNORE).sum())
    smoothing = getattr(CASES[case][2], "label_smoothing", 0.0)
    rows, wanted = logits.reshape(-1, logits.shape[-1]), targets.flatten()
    nats, number = torch.zeros((), dtype=torch.float64), 0
    for row, target in zip(rows.log_softmax(-1), wanted.tolist(), strict=True):
        if target != IGNORE:
            nats, number = nats - (1 - smoothing) * row[target] - smoothing * row.mean(), number + 1
    if case == "sentences":
        said = model.next_sentence(model.hidden(batch)).log_softmax(-1)
        nats = nats - 1.5 * said[torch.arange(len(batch)), batch.labels].sum()  # 0.15 of rows of 10
    return nats, number


def gradients(model: torch.nn.Module, nats: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    nats.backward()
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], tolerance: float) -> None:
    for name in one.keys() | other.keys():
        first = one.get(name, torch.zeros(()))
        second = other.get(name, torch.zeros(()))
        assert (first - second).abs().max() <= tolerance * (1 + first.abs().max()), name


@pytest.mark.parametrize("case", CASES)
def test_by_hand(case):
    model, batch, found = model_of(case), batch_of(case), losses_of(case)
    nats, number = found.training(model, batch)
    exact, counted = by_hand(case, model, batch)
    assert number == counted == found.count(batch) > 0
    torch.testing.assert_close(nats, exact, rtol=1e-10, atol=1e-10)
    assert_same(gradients(model, nats), gradients(model, exact), 1e-10)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("chunk", [1, 4, 512])
def test_chunks_change_nothing(case, chunk):
    model, batch = model_of(case), batch_of(case)
    nats, _ = losses_of(case).training(model, batch)
    some, _ = losses_of(case, chunk).training(model, batch)
    torch.testing.assert_close(some, nats, rtol=1e-12, atol=1e-12)
    assert_same(gradients(model, some), gradients(model, nats), 1e-12)


@pytest.mark.parametrize("case", CASES)
def test_padding_changes_nothing(case):
    model = model_of(case)
    nats, number = losses_of(case).training(model, batch_of(case))
    wider, same = losses_of(case).training(model, batch_of(case, extra=5))
    assert number == same
    torch.testing.assert_close(wider, nats, rtol=1e-9, atol=1e-9)
    assert_same(gradients(model, wider), gradients(model, nats), 1e-9)


class Fixed:
    def __init__(self, batch: Batch) -> None:
        self._batch = batch

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        share = len(self._batch) // world
        return self._batch.rows(rank * share, (rank + 1) * share)


class Recorder(optimizers.Optimizer):
    """Keeps the gradients of the last step; changes nothing."""

    def __init__(self, model: torch.nn.Module) -> None:
        built = optimizers.build(model, AdamWSpec())
        super().__init__(built.parts, built.names)

    def step(self, rate: float) -> None:
        self.gradients = {
            self.names[weight]: weight.grad.clone() for weight in self.parameters() if weight.grad is not None
        }


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("micro_batch", [1, 4])
def test_accumulation_is_one_big_batch(case, micro_batch):
    """Micro-batches in which nothing is in the loss are among them."""
    model, batch, found = model_of(case), batch_of(case), losses_of(case, chunk=4)
    results = []
    for rows in (None, micro_batch):
        recorder = Recorder(model)
        options = {"steps": range(1), "rates": lambda step: 1.0, "count": found.count}
        options["baseline"] = found.baseline
        (result,) = train(model, found.training, Fixed(batch), recorder, micro_batch=rows, **options)
        results.append((result, recorder.gradients))
    (whole, first), (cut, second) = results
    assert cut.nats == pytest.approx(whole.nats, rel=1e-10)
    assert cut.targets == whole.targets
    assert_same(second, first, 1e-10)


def test_next_sentence_adds_the_papers_two_means():
    """With as many hidden tokens per row as the weight says, the loss is the sum of both means, of any cut."""
    model = model_of("sentences")
    batch = batch_of("sentences", rows=4)
    batch = dataclasses.replace(batch, targets=torch.full_like(batch.targets, IGNORE))
    batch.targets[:, 1], batch.targets[:, 2] = 5, 6
    two = losses(specs.MaskedObjective(share=0.2, next_sentence=True), sequence=10).training
    nats, number = two(model, batch)
    tokens = F.cross_entropy(model(batch).flatten(0, 1), batch.targets.flatten(), ignore_index=IGNORE)
    sentences = F.cross_entropy(model.next_sentence(model.hidden(batch)), batch.labels)
    torch.testing.assert_close(nats / number, tokens + sentences, rtol=1e-12, atol=0)


def test_smoothing_is_pytorchs_and_validation_has_none():
    model, batch = model_of("pairs"), batch_of("pairs")
    logits, targets = model(batch).flatten(0, 1), batch.targets.flatten()
    options = {"ignore_index": IGNORE, "reduction": "sum"}
    found = losses_of("pairs")
    smooth = F.cross_entropy(logits, targets, label_smoothing=0.1, **options)
    torch.testing.assert_close(found.training(model, batch)[0], smooth, rtol=1e-12, atol=0)
    plain = F.cross_entropy(logits, targets, **options)
    torch.testing.assert_close(found.validation(model, batch)[0], plain, rtol=1e-12, atol=0)


def test_smoothing_of_fairseq_is_this_one_with_another_share():
    """There the target keeps 1 - ε, and each of the others gets ε / (V - 1)."""
    model, batch = model_of("pairs"), batch_of("pairs")
    borne = batch.targets != IGNORE
    logs = model(batch)[borne].log_softmax(-1)
    shares = torch.full_like(logs, 0.1 / (VOCABULARY - 1)).scatter(1, batch.targets[borne][:, None], 0.9)
    ours = specs.PairsObjective(label_smoothing=0.1 * VOCABULARY / (VOCABULARY - 1))
    nats, _ = losses(ours, sequence=10).training(model, batch)
    torch.testing.assert_close(nats, -(shares * logs).sum(), rtol=1e-12, atol=0)


@pytest.mark.parametrize("case", ["classify", "tag", "answer", "several", "masked"])
def test_float32_is_near_float64(case):
    model, narrow, batch = model_of(case), model_of(case, torch.float32), batch_of(case)
    exact, _ = losses_of(case).training(model, batch)
    nats, _ = losses_of(case).training(narrow, batch)
    assert nats.dtype == torch.float32
    assert nats.item() == pytest.approx(exact.item(), rel=1e-5)


def test_logits_are_made_only_where_loss_is_borne():
    seen: list[int] = []
    for case in ("causal", "masked", "pairs", "tag"):
        model, batch = model_of(case), batch_of(case)
        seen.clear()
        original = model.logits
        model.logits = lambda hidden, original=original: (
            seen.append(hidden.shape[:-1].numel()) or original(hidden)
        )
        losses_of(case).training(model, batch)
        assert sum(seen) == int((batch.targets != IGNORE).sum()), case


def test_forcing_by_hand():
    def ratio(forcing, step, steps):
        spec = specs.PairsObjective(forcing=forcing)
        return objective_of(spec).teacher_forcing(spec, step, steps)

    assert ratio(forcing_specs.ConstantForcing(ratio=0.7), 3, 10) == 0.7
    line = forcing_specs.LinearForcing(start=1.0, end=0.25)
    assert [ratio(line, step, 4) for step in range(4)] == [1.0, 0.75, 0.5, 0.25]
    assert ratio(line, 0, 1) == 1.0
    k = 20.0
    for step in (0, 5, 60, 200):
        expected = k / (k + math.exp(step / k))
        assert ratio(forcing_specs.SigmoidForcing(k=k), step, 300) == pytest.approx(expected, rel=1e-12)
    assert ratio(forcing_specs.SigmoidForcing(k=1.0), 100_000, 200_000) == 0.0


def test_forcing_follows_the_step_in_the_loop():
    """A resumed run has the ratio it would have had; what is no pair has none."""
    model, batch = model_of("recurrent pairs"), batch_of("recurrent pairs")
    objective = specs.PairsObjective(forcing=forcing_specs.LinearForcing())
    found, seen = losses(objective, sequence=10), []

    def loss(model, batch):
        seen.append(mode.current().teacher_forcing)
        return found.training(model, batch)

    def during(step):
        return mode.computing(teacher_forcing=objective_of(objective).teacher_forcing(objective, step, 5))

    options = {"rates": lambda step: 0.0, "micro_batch": 3, "during": during}
    list(train(model, loss, Fixed(batch), Recorder(model), steps=range(2, 5), **options))
    assert seen == [0.5, 0.5, 0.25, 0.25, 0.0, 0.0]
    assert mode.current().teacher_forcing == 1.0
    plain = specs.CausalObjective()
    assert objective_of(plain).teacher_forcing(plain, 4, 5) == 1.0
