"""Counts of recurrent models from the spec, against the built model."""

import pytest
import torch

from textmill.data.batch import Batch
from textmill.models.build import build
from textmill.models.cost import activation_bytes, flops_per_token
from textmill.specs.model import RecurrentEncoderDecoderSpec, RecurrentSpec

COSTED = [
    RecurrentSpec(d_model=64),
    RecurrentSpec(d_model=64, hidden=128, layers=3, cell="lstm", dropout=0.1),
    RecurrentSpec(d_model=64, attention=True),
    RecurrentEncoderDecoderSpec(d_model=64, cell="gru", attention="additive"),
    RecurrentEncoderDecoderSpec(d_model=64, cell="gru", input_feeding=False, dropout=0.0),
    RecurrentEncoderDecoderSpec(d_model=64, cell="lstm", attention="dot"),
    RecurrentEncoderDecoderSpec(d_model=64, cell="lstm", input_feeding=False),
]


@pytest.mark.parametrize("spec", COSTED)
def test_activations_are_about_what_autograd_keeps(spec):
    """Everything but the output layer: within a third of the tensors that the backward pass finds."""
    model, x = build(spec, 300), torch.zeros(8, 32, dtype=torch.long)
    own = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda saved: kept.append(saved) or saved, lambda saved: saved
    ):
        model.hidden(Batch(x, x, source=x))
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage() for tensor in kept}
    found = sum(storage.nbytes() for pointer, storage in storages.items() if pointer not in own)
    assert found / 1.34 < activation_bytes(spec, 0, 8, 32) < found * 1.34


def test_arithmetic():
    spec = RecurrentSpec(d_model=4, layers=1)
    assert flops_per_token(spec, 10, 7) == 6 * (40 + 3 * 4 * (4 + 4))
    attentive = RecurrentSpec(d_model=4, layers=1, attention=True)
    assert flops_per_token(attentive, 10, 7) == 6 * (40 + 3 * 4 * (4 + 4) + 4 * 16) + 12 * 4 * 7
    pair = RecurrentEncoderDecoderSpec(d_model=4, layers=1, attention="dot", cell="lstm", bidirectional=False)
    read, written = 4 * 4 * (4 + 4), 4 * 4 * (8 + 4) + 4 * 8
    assert flops_per_token(pair, 10, 7) == 6 * (40 + read + written) + 12 * 4 * 7
