"""Losses, rewards and gradients of preferences as TRL says them of the same batch, to 1e-5.

trl.json was printed by trl_program.py in an environment with TRL; the versions are in it.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from textmill.data.examples import ExampleStore, write_examples
from textmill.data.special import SpecialTokens
from textmill.interop.huggingface.directory import write_directory
from textmill.interop.load import load
from textmill.models.build import build
from textmill.objectives.prefer import (
    PreferReader,
    PreferView,
    log_probs,
    losses,
    one_by_one,
    record,
    reference,
)
from textmill.specs.generation import GenerationSpec
from textmill.specs.model import DecoderSpec
from textmill.specs.objective import PreferObjective
from textmill.specs.preference import DPOLoss, IPOLoss, KTOLoss, ORPOLoss
from textmill.text.document import Document

SAID = json.loads(Path(__file__).with_name("trl.json").read_text())
SPEC = DecoderSpec(d_model=16, layers=2, heads=2, d_ff=24, context=32, tied=False)
CASES = {
    "dpo": DPOLoss(beta=0.3),
    "ipo": IPOLoss(beta=0.3),
    "kto": KTOLoss(beta=0.3, desirable=1.5, undesirable=0.8),
    "orpo": ORPOLoss(weight=0.4),
}
# TRL's names of weights, and ours.
PROBES = {
    "model.embed_tokens.weight": "embedding.weight",
    "lm_head.weight": "output.weight",
    "model.norm.weight": "norm.weight",
    "model.layers.0.mlp.down_proj.weight": "blocks.0.feedforward.down.weight",
}


def numbered(folder: Path, tokenizer, by: float) -> Path:
    """A model whose weights are a formula, so that they are the same with every version of PyTorch."""
    model = build(SPEC, tokenizer.vocabulary)
    with torch.no_grad():
        for number, weight in enumerate(model.parameters()):
            places = torch.arange(weight.numel(), dtype=torch.float64).view_as(weight)
            gain = 1.0 if weight.ndim == 1 else 0.0
            weight.copy_(gain + 0.4 * (by * places + number).sin())
    write_directory(folder, model, tokenizer, GenerationSpec(), {})
    return folder


@pytest.fixture(scope="module")
def pair(tmp_path_factory, tokenizer):
    """(folder, start, policy, the rows of the batch)."""
    folder = tmp_path_factory.mktemp("pair")
    draw = np.random.default_rng(5)
    rows = [
        {
            "prompt_ids": draw.integers(5, 250, asked).tolist(),
            "chosen_ids": draw.integers(5, 250, good).tolist(),
            "rejected_ids": draw.integers(5, 250, bad).tolist(),
        }
        for asked, good, bad in ((4, 7, 9), (6, 8, 5), (3, 6, 6))
    ]
    (folder / "batch.json").write_text(json.dumps(rows))
    models = [
        load(numbered(folder / name, tokenizer, by)).model for name, by in (("start", 0.7), ("policy", 0.71))
    ]
    return folder, *models, rows


class Written(PreferReader):
    """Takes ids as they are."""

    def read(self, documents):
        for document in documents:
            ids = json.loads(document.text)
            given = {name: np.array(ids[f"{name}_ids"]) for name in ("chosen", "rejected")}
            answers = {name: (one, np.ones(len(one), dtype=bool)) for name, one in given.items()}
            yield record(np.array(ids["prompt_ids"]), answers, 1)


@pytest.fixture(scope="module", params=CASES)
def case(request, pair, tokenizer):
    """(name, spec, model, batch with its reference) of a loss."""
    folder, start, policy, rows = pair
    spec = PreferObjective(loss=CASES[request.param])
    if request.param == "orpo":  # as trl_program.py cuts them
        rows = [
            {
                "prompt_ids": row["prompt_ids"][-1:],
                "chosen_ids": row["chosen_ids"][:5],
                "rejected_ids": row["rejected_ids"][:5],
            }
            for row in rows
        ]
    documents = [
        Document(f"{number:032x}", {"text": json.dumps(row)}, "", {}) for number, row in enumerate(rows)
    ]
    where = folder / request.param
    write_examples(where, documents, Written(spec, tokenizer))
    special, store = SpecialTokens.of(tokenizer), ExampleStore(where)

    def made(known=None):
        view = PreferView(spec, store, 32, special, known)
        every = np.arange(len(view))
        return view.make(every, np.zeros(len(every), dtype=np.uint64)).batch

    return request.param, spec, policy, made(reference(start, [made()]))


def test_loss_rewards_and_gradient(case):
    name, spec, model, batch = case
    said = SAID[name]
    model.requires_grad_(True).zero_grad()
    found = losses(spec, sequence=32)
    nats, number = found.training(model, batch)
    (nats / number).backward()
    assert (nats / number).item() == pytest.approx(said["loss"], rel=1e-5)
    weights = dict(model.named_parameters())
    squares = sum(weight.grad.double().square().sum().item() for weight in weights.values())
    assert squares**0.5 == pytest.approx(said["gradient"], rel=1e-5)
    for theirs, ours in PROBES.items():
        grad = weights[ours].grad.double().flatten()
        along = (grad * torch.arange(grad.numel()).double().cos()).sum().item()
        assert along == pytest.approx(said["along"][theirs], rel=1e-4, abs=1e-5 * said["gradient"]), theirs
    if found.baseline is not None:
        total, rows = found.baseline(model, batch)
        assert max(0.0, (total / rows).item()) == pytest.approx(said["kl"], rel=1e-5, abs=1e-6)
    with torch.no_grad():
        sums, tokens = (part.view(-1, 2) for part in log_probs(model, one_by_one(batch)))
    of_tokens = name == "orpo"
    rewards = spec.loss.weight * sums / tokens if of_tokens else spec.loss.beta * (sums - batch.reference)
    if name == "kto":
        chosen, rejected = (rewards[batch.labels == good, 0].mean().item() for good in (1, 0))
    else:
        chosen, rejected = rewards.mean(0).tolist()
    assert chosen == pytest.approx(said["rewards/chosen"], rel=1e-5)
    assert rejected == pytest.approx(said["rewards/rejected"], rel=1e-5)


def test_a_row_that_is_cut_keeps_the_end_of_its_prompt(tokenizer, tmp_path):
    spec = PreferObjective()
    row = {"prompt_ids": list(range(5, 25)), "chosen_ids": [30, 31, 32], "rejected_ids": list(range(40, 60))}
    write_examples(
        tmp_path / "s", [Document("0" * 32, {"text": json.dumps(row)}, "", {})], Written(spec, tokenizer)
    )
    view = PreferView(spec, ExampleStore(tmp_path / "s"), 12, SpecialTokens.of(tokenizer))
    batch = one_by_one(view.make(np.array([0]), np.zeros(1, dtype=np.uint64)).batch)
    assert view.cut == 1
    real = batch.mask.sum(1).tolist()
    assert batch.inputs[0, : real[0]].tolist() == [*range(19, 25), 30, 31]
    assert batch.inputs[1, : real[1]].tolist() == [*range(19, 25), *range(40, 46)]
    assert batch.targets[1, real[1] - 1] == 46
