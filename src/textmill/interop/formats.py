"""The formats that models are exported to, one line each, and what is imported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textmill.base.errors import TextmillError
from textmill.interop.huggingface.config import READ as TYPES

if TYPE_CHECKING:
    from textmill.interop.forward_passes import Model
    from textmill.models.pretrained import Pretrained

Write = Callable[["Pretrained", Path], dict[str, Any]]


@dataclass(frozen=True)
class Format:
    """One way to hand a model over. `write` returns a report of what it wrote, and raises TextmillError for models that
    the format cannot hold."""

    about: str
    write: Write
    needs: str = ""  # the extra whose packages it takes
    ending: str = ""  # of a format that is one file, not a directory
    read: Callable[[Path], Model] | None = None  # runs what was written; None: `write` has compared it
    adapters: bool = False  # it is for adapters, which other formats hold merged into their base
    rounded: bool = False  # its numbers have fewer bits: only nearly the same logits can be asked of it


def _huggingface(pretrained: Pretrained, path: Path) -> dict[str, Any]:
    from textmill.interop.huggingface import directory

    return directory.write(path, pretrained)


def _has_output(pretrained: Pretrained) -> None:
    """Raise TextmillError for a model that was saved without what makes logits of its states; encoders are used so."""
    if pretrained.model.bare and pretrained.spec.kind != "encoder":
        raise TextmillError(
            "was saved without its output layer, which this format needs", advice="export it to huggingface"
        )


def _gguf(kind: str) -> Write:
    def write(pretrained: Pretrained, path: Path) -> dict[str, Any]:
        from textmill.interop.gguf import model

        _has_output(pretrained)
        return model.write_gguf(path, pretrained, kind=kind)

    return write


def _gguf_lora(pretrained: Pretrained, path: Path) -> dict[str, Any]:
    from textmill.interop.gguf import adapter

    if pretrained.adapter is None:
        raise TextmillError("is a model, not an adapter", advice='export it to "gguf"')
    return adapter.write_adapter(path, pretrained.model, pretrained.adapter.base.model)


def _onnx(pretrained: Pretrained, path: Path) -> dict[str, Any]:
    from textmill.interop.onnx import graphs

    _has_output(pretrained)
    return graphs.write_onnx(pretrained, path)


def _ctranslate2(pretrained: Pretrained, path: Path) -> dict[str, Any]:
    from textmill.interop import ctranslate2

    _has_output(pretrained)
    return ctranslate2.write_ctranslate2(pretrained, path)


def _loaded(path: Path) -> Model:
    from textmill.interop.load import load

    return load(path).model.float().eval()


def _graphs(path: Path) -> Model:
    from textmill.interop.onnx.runtime import OnnxModel

    return OnnxModel.load(path)


FORMATS: dict[str, Format] = {
    "huggingface": Format(
        "the standard directory: safetensors, tokenizer.json, config.json", _huggingface, read=_loaded
    ),
    "gguf": Format(
        "one file for llama.cpp, numbers of 16 bits", _gguf("f16"), ending=".gguf", read=_loaded, rounded=True
    ),
    "gguf-q8_0": Format(
        "one file for llama.cpp, numbers of 8 bits in blocks",
        _gguf("q8_0"),
        ending=".gguf",
        read=_loaded,
        rounded=True,
    ),
    "gguf-lora": Format(
        "an adapter as one file for llama.cpp (--lora), beside its base as another",
        _gguf_lora,
        ending=".gguf",
        adapters=True,
    ),
    "onnx": Format("graphs with a cache, any batch and length", _onnx, needs="export", read=_graphs),
    "ctranslate2": Format("CTranslate2's own directory", _ctranslate2, needs="ct2"),
}
READ = {
    "Hugging Face directory": "safetensors with one of the types below; ours too",
    "GGUF file": "F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K to Q6_K, MXFP4, IQ4; IQ1 to IQ3, "
    "TQ and NVFP4 with the extra `export`; with tokenizer and template; one file or several (-00001-of-00003)",
}


def model_types() -> list[str]:
    """The `model_type`s of Hugging Face directories that are read, and written where a model is one."""
    return sorted(TYPES)
