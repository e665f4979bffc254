"""What a model says of documents: against a plain forward pass, whatever the batches and however logits are cut."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from textmill.data.batch import IGNORE, Batch
from textmill.data.loader import Scored
from textmill.models import build
from textmill.objectives import scoring
from textmill.specs.model import DecoderSpec

SPEC = DecoderSpec(d_model=16, layers=1, heads=2, d_ff=32, context=16, dropout=0.5)
VOCABULARY, DOCUMENTS = 40, 4


@pytest.fixture
def model():
    torch.set_num_threads(1)
    return build.build(SPEC, VOCABULARY, seed=1).train()


@pytest.fixture
def batches():
    """Five batches; a fifth of the targets bear no loss, and document 3 has none."""
    draw = torch.Generator().manual_seed(0)
    found = []
    for rows in (3, 1, 4, 2, 2):
        ids = torch.randint(VOCABULARY, (rows, 9), generator=draw)
        targets = torch.randint(VOCABULARY, (rows, 9), generator=draw)
        owners = torch.randint(DOCUMENTS - 1, (rows, 9), generator=draw)
        silent = torch.rand(rows, 9, generator=draw) < 0.2
        found.append(Scored(Batch(ids, targets.masked_fill(silent, IGNORE)), owners.masked_fill(silent, -1)))
    return found


def plain(model, batches):
    """(nats, hits, targets) of each document, a target at a time."""
    model.eval()
    found = np.zeros((3, DOCUMENTS))
    for scored in batches:
        with torch.no_grad():
            logits = model(scored.batch)
        for row, place in (scored.batch.targets != IGNORE).nonzero().tolist():
            target, owner = scored.batch.targets[row, place], int(scored.documents[row, place])
            nats = F.cross_entropy(logits[row, place], target).item()
            found[:, owner] += nats, int(logits[row, place].argmax() == target), 1
    return found


@pytest.mark.parametrize("most", [scoring._MOST_LOGITS, VOCABULARY * 5, 1])
def test_each_document_gets_its_own(model, batches, monkeypatch, most):
    monkeypatch.setattr(scoring, "_MOST_LOGITS", most)
    expected = plain(model, batches)
    guesses = scoring.score_guesses(model, batches, DOCUMENTS)
    nats, targets = scoring.score_documents(model, batches, DOCUMENTS)
    assert np.allclose(guesses[0], expected[0], rtol=1e-5)
    assert np.array_equal(guesses[1], expected[1])
    assert np.array_equal(guesses[2], expected[2])
    assert np.allclose(nats, expected[0], rtol=1e-5)
    assert np.array_equal(targets, expected[2])
    assert targets[3] == 0
    assert targets.sum() > 50


def test_dropout_is_off_and_the_mode_given_back(model, batches):
    model.train()
    first, second = (scoring.score_documents(model, batches, DOCUMENTS)[0] for _ in range(2))
    assert np.array_equal(first, second)
    assert model.training
    broken = [replace(batches[0], documents=torch.full((3, 9), DOCUMENTS))]
    with pytest.raises((IndexError, RuntimeError)):
        scoring.score_documents(model, broken, DOCUMENTS)
    assert model.training, "also when it failed"


def test_progress_and_looks(model, batches):
    told, seen = [], []
    scoring.score_guesses(
        model,
        batches,
        DOCUMENTS,
        progress=told.append,
        look=lambda states, batch, scored: seen.append((tuple(states.shape), scored)),
    )
    counts = [int((scored.batch.targets != IGNORE).sum()) for scored in batches]
    assert told == np.cumsum(counts).tolist()
    assert [shape for shape, _ in seen] == [(len(scored.batch), 9, SPEC.d_model) for scored in batches]
    assert [scored for _, scored in seen] == batches
