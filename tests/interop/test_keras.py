"""Weights in Keras' layout, run by the formulas of Keras' documented cells; by Keras itself where it is installed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from textmill.base.errors import TextmillError
from textmill.interop.keras import gru_weights, layer_weights, lstm_weights
from textmill.nn.recurrent import Recurrent


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def keras_gru(x, kernel, recurrent, bias):
    """keras.layers.GRUCell, reset_after=True: gates z, r, h. x (T, I) -> (T, W)."""
    state, found = np.zeros(len(recurrent)), []
    for vector in x:
        xz, xr, xh = np.split(vector @ kernel + bias[0], 3)
        hz, hr, hh = np.split(state @ recurrent + bias[1], 3)
        z, r = sigmoid(xz + hz), sigmoid(xr + hr)
        state = z * state + (1 - z) * np.tanh(xh + r * hh)
        found.append(state)
    return np.stack(found)


def keras_lstm(x, kernel, recurrent, bias):
    """keras.layers.LSTMCell: gates i, f, c, o. x (T, I) -> (T, W)."""
    state = carry = np.zeros(len(recurrent))
    found = []
    for vector in x:
        i, f, c, o = np.split(vector @ kernel + state @ recurrent + bias, 4)
        carry = sigmoid(f) * carry + sigmoid(i) * np.tanh(c)
        state = sigmoid(o) * np.tanh(carry)
        found.append(state)
    return np.stack(found)


CELLS = {"gru": keras_gru, "lstm": keras_lstm}


def make(cell, **more):
    torch.manual_seed(1)
    module = Recurrent(cell, 3, 4, 2, **more)
    for parameter in module.parameters():
        nn.init.normal_(parameter, 0.0, 0.7)
    return module


@torch.no_grad()
@pytest.mark.parametrize("cell", CELLS)
def test_keras_formulas_say_what_our_layers_say(cell):
    module, x = make(cell), torch.randn(2, 6, 3)
    wanted = module(x)[0].numpy()
    for row in range(2):
        outputs = x[row].numpy()
        for weights in layer_weights(module):
            outputs = CELLS[cell](outputs, *weights)
        np.testing.assert_allclose(outputs, wanted[row], atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("cell", CELLS)
def test_layers_that_read_both_ways(cell):
    module, x = make(cell, bidirectional=True), torch.randn(1, 6, 3)
    outputs = x[0].numpy()
    for weights in layer_weights(module):
        there, back = CELLS[cell](outputs, *weights[:3]), CELLS[cell](outputs[::-1], *weights[3:])[::-1]
        outputs = np.concatenate([there, back], axis=-1)
    np.testing.assert_allclose(outputs, module(x)[0][0].numpy(), atol=1e-6)


def test_shapes_are_those_keras_wants():
    assert [w.shape for w in gru_weights(make("gru").core, 1)] == [(4, 12), (4, 12), (2, 12)]
    assert [w.shape for w in lstm_weights(make("lstm").core)] == [(3, 16), (4, 16), (16,)]
    with pytest.raises(TextmillError, match="not one of its 2 layers"):
        gru_weights(make("gru").core, 2)
    with pytest.raises(TextmillError, match="which read forwards"):
        lstm_weights(make("lstm").core, 0, reverse=True)


KERAS = """
import sys
import numpy as np
import keras

given = np.load(sys.argv[1])
cell, both = sys.argv[3], sys.argv[4] == "both"
x, number = given["x"], int(given["number"])
layers = []
for k in range(number):
    one = {"gru": keras.layers.GRU, "lstm": keras.layers.LSTM}[cell](
        4 // (2 if both else 1), return_sequences=True
    )
    layers.append(keras.layers.Bidirectional(one, merge_mode="concat") if both else one)
model = keras.Sequential([keras.Input(x.shape[1:]), *layers])
for k, layer in enumerate(layers):
    layer.set_weights([given[f"{k}.{i}"] for i in range(6 if both else 3)])
np.save(sys.argv[2], model.predict(x, verbose=0))
"""


@pytest.mark.slow
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("ways", ["one", "both"])
def test_keras_itself(cell, ways, tmp_path):
    """With TEXTMILL_KERAS naming a Python that has Keras: the real layers, with the weights set."""
    python = os.environ.get("TEXTMILL_KERAS")
    if not python or not Path(python).exists():
        pytest.skip("TEXTMILL_KERAS names no Python with Keras")
    module, x = make(cell, bidirectional=ways == "both"), torch.randn(2, 6, 3)
    arrays = {f"{k}.{i}": w for k, weights in enumerate(layer_weights(module)) for i, w in enumerate(weights)}
    given, found = tmp_path / "given.npz", tmp_path / "found.npy"
    np.savez(given, x=x.numpy(), number=2, **arrays)
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    command = [python, "-c", KERAS, given, found, cell, ways]
    done = subprocess.run(
        command, env=os.environ | quiet, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    with torch.no_grad():
        np.testing.assert_allclose(np.load(found), module(x)[0].numpy(), atol=1e-5)
