"""Recurrent layers handed over to Keras: their weights as the arrays that its GRU, LSTM and Bidirectional layers take.

Letters: I inputs, W features of a state, G gates (3 of a GRU, 4 of an LSTM).

Keras multiplies from the left (x · kernel), so its matrices are ours transposed, and orders the gates in its own way:

         ours (PyTorch)   Keras
GRU      r, z, n          z, r, h      with `reset_after=True`, Keras' default; and it keeps both biases
LSTM     i, f, g, o       i, f, c, o   the same order (c is g), with the sum of both biases
"""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from textmill.base.errors import TextmillError
from textmill.nn.recurrent import Recurrent

Weights = list[np.ndarray]


def gru_weights(module: nn.GRU, layer: int = 0, *, reverse: bool = False) -> Weights:
    """What `keras.layers.GRU(W, reset_after=True).set_weights` takes: kernel (I, 3W), recurrent kernel (W, 3W), bias
    (2, 3W). `reverse`: of the way back, where a layer has one.

    PyTorch's update gate keeps the old state where it is 1, and so does Keras': h' = z ⊙ h + (1 - z) ⊙ n.
    Raises TextmillError where there is no such layer.
    """
    kernel, recurrent, bias, other = (_reset_last(part) for part in _parts(module, layer, reverse))
    return [kernel.T.copy(), recurrent.T.copy(), np.stack([bias, other])]


def lstm_weights(module: nn.LSTM, layer: int = 0, *, reverse: bool = False) -> Weights:
    """What `keras.layers.LSTM(W).set_weights` takes: kernel (I, 4W), recurrent kernel (W, 4W), bias (4W).

    `reverse`: of the way back, where a layer has one. Raises TextmillError where there is no such layer.
    """
    kernel, recurrent, bias, other = _parts(module, layer, reverse)
    return [kernel.T.copy(), recurrent.T.copy(), bias + other]


def layer_weights(recurrent: Recurrent) -> list[Weights]:
    """The weights of all layers, first to last. A layer that reads both ways gives those of its way there and then of
    its way back, as `keras.layers.Bidirectional(…, merge_mode="concat").set_weights` takes them."""
    core = recurrent.core
    layers = []
    for layer in range(recurrent.layers):
        weights: Weights = []
        for reverse in (False, True)[: recurrent.ways]:
            if isinstance(core, nn.GRU):
                weights += gru_weights(core, layer, reverse=reverse)
            else:
                weights += lstm_weights(core, layer, reverse=reverse)
        layers.append(weights)
    return layers


def _parts(module: nn.GRU | nn.LSTM, layer: int, reverse: bool) -> tuple[np.ndarray, ...]:
    """Matrices of input (G·W, I) and state (G·W, W), and their biases (G·W), in PyTorch's order."""
    if not 0 <= layer < module.num_layers or (reverse and not module.bidirectional):
        raise TextmillError(
            f"layer {layer} {'(read backwards) ' if reverse else ''}is not one of its {module.num_layers} layers"
            + ("" if module.bidirectional else ", which read forwards"),
            where="keras",
        )
    ending = f"_l{layer}{'_reverse' if reverse else ''}"
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    return tuple(_array(getattr(module, name + ending)) for name in names)


def _array(weight: Tensor) -> np.ndarray:
    return weight.detach().float().cpu().numpy()


def _reset_last(rows: np.ndarray) -> np.ndarray:
    """Rows of the gates r, z, n as z, r, n."""
    reset, update, new = np.split(rows, 3)
    return np.concatenate([update, reset, new])
