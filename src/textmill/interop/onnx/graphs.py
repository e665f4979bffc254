"""Models as ONNX graphs: any batch and length, decoders with their cache.

What is written, by kind of model; names are those others use for the same things:

decoder           model.onnx    input_ids, attention_mask, past_key_values.* -> logits, present.*
encoder           model.onnx    input_ids, attention_mask (, token_type_ids) -> logits, last_hidden_state
with a head       model.onnx    input_ids, attention_mask (, token_type_ids) -> logits
encoder-decoder   encoder.onnx  input_ids, attention_mask -> source.*: its keys and values in each block
                  decoder.onnx  input_ids, attention_mask, source_mask, source.*, past_key_values.* -> logits, present.*

attention_mask (B, P + T) is 1 at real tokens, of the P that are in the cache and of the T that are read now; padding
may stand on either side, and P may be 0. onnx.json says what runs need to know beside the graphs.

Shapes: B sequences, T tokens, P tokens in the cache, S tokens of a source, K key heads, E features of a head.
"""

from __future__ import annotations

import copy
import importlib.util
import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from textmill.base.console import tracked
from textmill.base.errors import TextmillError
from textmill.base.files import atomic_directory, write_json, write_texts
from textmill.data.batch import IGNORE, Batch
from textmill.interop.huggingface import texts
from textmill.interop.onnx import runtime
from textmill.models.decoder import Decoder
from textmill.models.encoder import Encoder
from textmill.models.encoder_decoder import EncoderDecoder
from textmill.models.heads import Headed
from textmill.models.pretrained import Pretrained
from textmill.nn import attention_mask
from textmill.nn.cache import CacheState, LayerCache, Source

FORMAT = 1  # of onnx.json
TOLERANCE = 1e-4  # of logits
_LARGE = (
    1_500_000_000  # bytes: more weights than this lie beside the graph, as a protobuf holds two gigabytes
)
_PAST, _NEW, _READ = 5, 3, 4  # sizes the graphs are drawn at; they serve all others
Names = tuple[str, ...]


class _Grown(LayerCache):
    """A cache that gets longer, since a graph cannot write in place."""

    def write(self, keys: Tensor, values: Tensor, start: int) -> None:
        self.keys = torch.cat((self.keys, keys), dim=2)
        self.values = torch.cat((self.values, values), dim=2)


class _Endless(CacheState):
    """A state whose room is never asked for: a graph that is drawn once serves every length."""

    def room(self, tokens: int) -> None:
        pass


class _Step(nn.Module):
    """Tokens after a cache -> logits, and the cache with them in it."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model: Any = model

    def forward(self, ids: Tensor, mask: Tensor, past: list[Tensor]) -> tuple[Tensor, ...]:
        return self._step(ids, mask, past, None)

    def _step(
        self, ids: Tensor, mask: Tensor, past: list[Tensor], sources: list[Source] | None
    ) -> tuple[Tensor, ...]:
        layers: list[LayerCache] = [_Grown(*pair) for pair in _pairs(past)]
        state = _Endless(layers, past[0].shape[2], mask.bool(), sources)
        logits, _ = self.model.step(ids, state)
        return logits, *_flat(layers)


class _StepAfterSource(_Step):
    """The same of a model that has read a source."""

    def forward(  # type: ignore[override]
        self, ids: Tensor, mask: Tensor, source_mask: Tensor, source: list[Tensor], past: list[Tensor]
    ) -> tuple[Tensor, ...]:
        seen = attention_mask.across(source_mask.bool())
        return self._step(ids, mask, past, [Source(LayerCache(*pair), seen) for pair in _pairs(source)])


class _ReadSource(nn.Module):
    """A source -> its keys and values in each block of the decoder."""

    def __init__(self, model: EncoderDecoder) -> None:
        super().__init__()
        self.model: Any = model

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        memory = self.model.encode(ids, mask.bool())
        return _flat([block.cross_attention.remember(memory) for block in self.model.decoder.blocks])


class _Read(nn.Module):
    """A text -> logits, of an encoder with its states too."""

    def __init__(self, model: Encoder | Headed) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor, mask: Tensor, segments: Tensor | None = None) -> tuple[Tensor, ...]:
        batch = Batch(ids, ids, mask.bool(), segments=segments)
        if isinstance(self.model, Headed):
            return (self.model(batch),)
        hidden = self.model.hidden(batch)
        return (self.model.logits(hidden), hidden) if _writes_logits(self.model) else (hidden,)


def _pairs(tensors: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
    return list(zip(tensors[::2], tensors[1::2], strict=True))


def _flat(layers: Sequence[LayerCache]) -> tuple[Tensor, ...]:
    return tuple(tensor for layer in layers for tensor in (layer.keys, layer.values))


def _writes_logits(model: Encoder) -> bool:
    """Whether an encoder has its output layer: sentence encoders are published without."""
    return model.transform is not None


@dataclass(frozen=True)
class _Input:
    """What a graph reads: one tensor, or one for each key and value of a cache."""

    names: Names
    example: Tensor | list[Tensor]
    axes: dict[int, str]  # those that may have any size

    @property
    def shapes(self) -> Any:
        return [dict(self.axes) for _ in self.example] if isinstance(self.example, list) else dict(self.axes)


@dataclass(frozen=True)
class _Graph:
    """One file."""

    name: str
    module: nn.Module
    inputs: tuple[_Input, ...]
    outputs: Names


def _ids(name: str, length: int, axis: str) -> _Input:
    return _Input((name,), torch.ones(2, length, dtype=torch.int64), {0: "batch", 1: axis})


def _cache(name: str, layers: int, spec: Any, length: int, axis: str) -> _Input:
    shape = (2, spec.key_heads, length, spec.head_width)
    names = runtime.cache_names(name, layers)
    return _Input(names, [torch.zeros(shape) for _ in names], {0: "batch", 2: axis})


def _decoder(model: Decoder) -> list[_Graph]:
    spec = model.spec
    inputs = (
        _ids("input_ids", _NEW, "tokens"),
        _ids("attention_mask", _PAST + _NEW, "columns"),
        _cache("past_key_values", spec.layers, spec, _PAST, "past"),
    )
    outputs = ("logits", *runtime.cache_names("present", spec.layers))
    return [_Graph("model.onnx", _Step(model), inputs, outputs)]


def _encoder_decoder(model: EncoderDecoder) -> list[_Graph]:
    spec: Any = model.spec
    layers = spec.decoder_depth
    source = (_ids("input_ids", _READ, "source"), _ids("attention_mask", _READ, "source"))
    inputs = (
        _ids("input_ids", _NEW, "tokens"),
        _ids("attention_mask", _PAST + _NEW, "columns"),
        _ids("source_mask", _READ, "source"),
        _cache("source", layers, spec, _READ, "source"),
        _cache("past_key_values", layers, spec, _PAST, "past"),
    )
    outputs = ("logits", *runtime.cache_names("present", layers))
    return [
        _Graph("encoder.onnx", _ReadSource(model), source, runtime.cache_names("source", layers)),
        _Graph("decoder.onnx", _StepAfterSource(model), inputs, outputs),
    ]


def _encoder(model: Encoder | Headed) -> list[_Graph]:
    inputs = [_ids("input_ids", _READ, "tokens"), _ids("attention_mask", _READ, "tokens")]
    if model.spec.segments:
        inputs.append(_ids("token_type_ids", _READ, "tokens"))
    outputs: Names = ("logits",)
    if isinstance(model, Encoder):
        outputs = ("logits", "last_hidden_state") if _writes_logits(model) else ("last_hidden_state",)
    return [_Graph("model.onnx", _Read(model), tuple(inputs), outputs)]


def _graphs(model: Any) -> list[_Graph]:
    kinds: tuple[tuple[type, Callable[[Any], list[_Graph]]], ...] = (
        (Decoder, _decoder),
        (Encoder, _encoder),
        (EncoderDecoder, _encoder_decoder),
    )
    headed = isinstance(model, Headed)
    for made, drawn in kinds:
        if isinstance(model.body if headed else model, made):
            return _encoder(model) if headed else drawn(model)
    raise TextmillError(
        f"a model of kind {model.spec.kind} has no ONNX graph here",
        advice="decoders, encoders, encoder-decoders, and those with a head, do",
    )


def write_onnx(pretrained: Pretrained, path: Path | str) -> dict[str, Any]:
    """Write the directory `path`: graphs, tokenizer, onnx.json; whole or not at all. Returns what onnx.json says.

    Weights are float32. The graphs are run in onnxruntime before the directory takes its name: alone, padded, and
    token by token, their logits differ from the model's by at most `TOLERANCE`, or nothing is written.
    Raises TextmillError when that is not so, for kinds of models that have no graph, and where the extra is missing.
    """
    missing = [
        name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None
    ]
    if missing:
        raise TextmillError(f"ONNX needs {' and '.join(missing)}", advice="pip install 'textmill[export]'")
    model = pretrained.model
    if next(model.parameters()).dtype != torch.float32:
        model = copy.deepcopy(model).float()
    model = model.eval()
    graphs = _graphs(model)
    with atomic_directory(Path(path), private=False) as partial:
        for graph in tracked(graphs, "writing ONNX", len(graphs), "graphs", slow=True):
            _draw(graph, partial / graph.name)
        pretrained.tokenizer.publish(partial, texts.reading_of(model, pretrained.tokenizer))
        write_texts(partial, pretrained.beside)
        about = _about(pretrained, graphs)
        write_json(partial / runtime.ABOUT, about)
        _check(model, partial)
    return about


def _about(pretrained: Pretrained, graphs: list[_Graph]) -> dict[str, Any]:
    tokenizer = pretrained.tokenizer
    spec: Any = pretrained.model.spec
    about = {
        "format": FORMAT,
        "kind": spec.kind,
        "vocabulary": pretrained.model.vocabulary,
        "context": spec.context,
        "key_heads": spec.key_heads,
        "head_width": spec.head_width,
        "graphs": [graph.name for graph in graphs],
        "end": tokenizer.end,
        "pad": tokenizer.pad,
    }
    start = spec.start
    return about if start is None else about | {"start": start}


@torch.no_grad()
def _draw(graph: _Graph, path: Path) -> None:
    """Write one graph, drawn from one pass over example inputs, with every axis that may vary left open."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it tells of other libraries that are not installed
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                graph.module.eval(),
                tuple(given.example for given in graph.inputs),
                input_names=[name for given in graph.inputs for name in given.names],
                output_names=list(graph.outputs),
                dynamic_shapes=tuple(given.shapes for given in graph.inputs),
                dynamo=True,
                verbose=False,
            )
        assert program is not None
        weights = sum(weight.numel() * weight.element_size() for weight in graph.module.parameters())
        program.save(str(path), external_data=weights > _LARGE)
    finally:
        logger.setLevel(level)


@torch.no_grad()
def _check(model: Any, directory: Path) -> None:
    """Raise TextmillError where the graphs do not give the model's logits."""
    exported = runtime.OnnxModel.load(directory)
    draw = torch.Generator().manual_seed(0)
    delta = 0.0
    for length in (7, 1):
        batch = _padded(model, length, draw)
        mask = batch.mask
        assert mask is not None
        expected, logits = _result(model, batch), exported(batch)
        if expected.ndim == 3:  # a row for each token: those of padding are nobody's
            expected, logits = expected[mask], logits[mask]
        delta = max(delta, _distance(expected, logits))
        if exported.writes:
            logits, state = exported.begin(batch, 2 * length + 2)
            expected, reference = model.begin(batch, 2 * length + 2)
            delta = max(delta, _distance(expected, logits))
            for _ in range(2):
                tokens = expected.argmax(-1).reshape(len(batch), -1)[:, -1:]
                expected, reference = model.step(tokens, reference)
                logits, state = exported.step(tokens, state)
                delta = max(delta, _distance(expected, logits))
    if not delta <= TOLERANCE:  # NaN too
        raise TextmillError(
            f"the graphs differ from the model by {delta:.1e} in a logit",
            where=directory.name,
            advice="please report this, with the model's config.json",
        )


def _result(model: Any, batch: Batch) -> Tensor:
    bare = isinstance(model, Encoder) and not _writes_logits(model)
    return model.hidden(batch) if bare else model(batch)


def _distance(expected: Tensor, exported: Tensor) -> float:
    """The largest difference, that of logits beyond ±8 scaled down: float32 has 7 digits, and thirty layers of it
    leave SmolLM2's own logits, up to 36, 2e-4 from those of float64."""
    scale = max(1.0, float(expected.abs().max()) / 8)
    return float((expected - exported).abs().max()) / scale


def _padded(model: Any, length: int, draw: torch.Generator) -> Batch:
    """Three rows of random ids, one of them half padding, on the left; and a source each, where one is read."""
    top = model.vocabulary
    inputs = torch.randint(0, top, (3, length), generator=draw)
    mask = torch.ones(3, length, dtype=torch.bool)
    mask[1, : length // 2] = False
    batch = Batch(inputs, torch.full_like(inputs, IGNORE), mask)
    if not isinstance(model, EncoderDecoder):
        return batch
    source = torch.randint(0, top, (3, length + 2), generator=draw)
    seen = torch.ones(3, length + 2, dtype=torch.bool)
    seen[2, 2:] = False
    return Batch(inputs, batch.targets, mask, source=source, source_mask=seen)
