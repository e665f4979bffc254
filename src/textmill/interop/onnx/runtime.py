"""ONNX graphs of Textmill's run in onnxruntime, through the same calls as the models they were drawn from.

So generation, beam search and `verify` drive them as they do a model. How the graphs look: interop/onnx/graphs.py.

Shapes: B sequences, T tokens, V vocabulary, C columns of a cache.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from textmill.base.errors import DamagedError, TextmillError
from textmill.base.files import read_json
from textmill.data.batch import Batch

ABOUT = "onnx.json"


def cache_names(name: str, layers: int) -> tuple[str, ...]:
    """The names of a cache's tensors: NAME.0.key, NAME.0.value, NAME.1.key, …"""
    return tuple(f"{name}.{layer}.{part}" for layer in range(layers) for part in ("key", "value"))


@dataclass(frozen=True)
class OnnxState:
    """What was read so far: the cache and which columns of it are real; and the source's, where there is one."""

    cache: Mapping[str, np.ndarray]  # past_key_values.*
    real: Tensor  # (B, C) bool
    source: Mapping[str, np.ndarray]  # source.* and source_mask

    def reorder(self, rows: Tensor) -> OnnxState:
        """The state whose row i is row rows[i] of this one."""
        chosen = rows.numpy()
        return OnnxState(
            {name: array[chosen] for name, array in self.cache.items()},
            self.real[rows],
            {name: array[chosen] for name, array in self.source.items()},
        )


class OnnxModel:
    """A directory of graphs as a model: forward, and begin and step where it writes."""

    def __init__(self, about: Mapping[str, Any], sessions: Sequence[Any]) -> None:
        self.about, self.sessions = about, list(sessions)
        self.vocabulary = int(about["vocabulary"])
        last = self.sessions[-1]
        self._reads = {given.name for given in last.get_inputs()}
        self._outputs = [given.name for given in last.get_outputs()]

    @classmethod
    def load(cls, directory: Path | str, threads: int | None = None) -> OnnxModel:
        """Read a directory that interop/onnx/graphs.py wrote. `threads`: as many as torch uses, if not given.

        Raises DamagedError when a file is missing or is no graph, TextmillError without onnxruntime.
        """
        try:
            import onnxruntime
        except ImportError as error:
            raise TextmillError(
                "running ONNX graphs needs onnxruntime", advice="pip install 'textmill[export]'"
            ) from error
        directory = Path(directory)
        about = read_json(directory / ABOUT)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or torch.get_num_threads()
        options.log_severity_level = 3
        try:
            paths = [directory / name for name in about["graphs"]]
            sessions = [
                onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
                for path in paths
            ]
            return cls(about, sessions)
        except Exception as error:  # onnxruntime has a dozen kinds of its own
            raise DamagedError(f"cannot be run ({str(error)[:200]})", where=directory) from error

    @property
    def writes(self) -> bool:
        """Whether it has a cache to go on from."""
        return any(name.startswith("past_key_values.") for name in self._reads)

    def __call__(self, batch: Batch) -> Tensor:
        """Logits as the model's `forward` gives them; states, of an encoder that has no output layer."""
        if self.writes:
            return self._read(batch.inputs, _real(batch), self._fresh(len(batch)), self._source(batch))[0]
        feed = {"input_ids": batch.inputs.numpy(), "attention_mask": _real(batch).long().numpy()}
        if "token_type_ids" in self._reads:
            segments = torch.zeros_like(batch.inputs) if batch.segments is None else batch.segments
            feed["token_type_ids"] = segments.numpy()
        return torch.from_numpy(self.sessions[-1].run(self._outputs[:1], feed)[0])

    forward = __call__

    def begin(self, batch: Batch, capacity: int) -> tuple[Tensor, OnnxState]:
        """Read the prompts `batch.inputs` (B, T): logits (B, V) after each one's last token, and the state.

        Padding, on whichever side, is moved to the left. The cache grows by itself; `capacity` is not needed.
        """
        order = _real(batch).long().argsort(dim=1, stable=True)
        inputs, real = batch.inputs.gather(1, order), _real(batch).gather(1, order)
        logits, state = self._read(inputs, real, self._fresh(len(batch)), self._source(batch))
        return logits[:, -1], state

    def step(self, tokens: Tensor, state: OnnxState) -> tuple[Tensor, OnnxState]:
        """Read `tokens` (B, n) after what `state` holds: logits (B, n, V), and the next state."""
        real = torch.cat((state.real, torch.ones_like(tokens, dtype=torch.bool)), dim=1)
        return self._read(tokens, real, state.cache, state.source)

    def _read(
        self, tokens: Tensor, real: Tensor, cache: Mapping[str, np.ndarray], source: Mapping[str, np.ndarray]
    ) -> tuple[Tensor, OnnxState]:
        feed = {"input_ids": tokens.numpy(), "attention_mask": real.long().numpy(), **cache, **source}
        # What a graph does not look at is no input of it.
        logits, *present = self.sessions[-1].run(
            self._outputs, {name: array for name, array in feed.items() if name in self._reads}
        )
        return torch.from_numpy(logits), OnnxState(dict(zip(cache, present, strict=True)), real, source)

    def _fresh(self, rows: int) -> dict[str, np.ndarray]:
        layers = (len(self._outputs) - 1) // 2
        shape = (rows, self.about["key_heads"], 0, self.about["head_width"])
        return {name: np.zeros(shape, np.float32) for name in cache_names("past_key_values", layers)}

    def _source(self, batch: Batch) -> dict[str, np.ndarray]:
        if len(self.sessions) == 1:
            return {}
        if batch.source is None:
            raise TextmillError(
                "the batch has no source", advice="this model reads a source and writes a target"
            )
        mask = torch.ones_like(batch.source) if batch.source_mask is None else batch.source_mask.long()
        reader = self.sessions[0]
        names = [given.name for given in reader.get_outputs()]
        source = reader.run(names, {"input_ids": batch.source.numpy(), "attention_mask": mask.numpy()})
        return dict(zip(names, source, strict=True)) | {"source_mask": mask.numpy()}


def _real(batch: Batch) -> Tensor:
    return torch.ones_like(batch.inputs, dtype=torch.bool) if batch.mask is None else batch.mask
