"""What is read and what is written of other people's formats: one line a format, one line a kind of model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textmill.interop.huggingface.config import READ as TYPES

if TYPE_CHECKING:
    from textmill.models.pretrained import Pretrained

Write = Callable[["Pretrained", Path], Any]


@dataclass(frozen=True)
class Format:
    """One way to hand a model over. `write` raises TextmillError for models the format cannot hold."""

    about: str
    write: Write
    needs: str = ""  # the extra whose packages it takes
    ending: str = ""  # of a format that is one file, not a directory
    read: Callable[[Path], Any] | None = (
        None  # a model that runs what was written; None: `write` has compared it
    )
    rounded: bool = False  # its numbers have fewer bits: only nearly the same logits can be asked of it


def _huggingface(published: Pretrained, path: Path) -> Any:
    from textmill.interop.huggingface import directory

    return directory.write_directory(
        path,
        published.model,
        published.tokenizer,
        published.generation,
        published.info,
        template=published.template,
    )


def _gguf(kind: str) -> Write:
    def write(published: Pretrained, path: Path) -> Any:
        from textmill.interop.gguf import model

        return model.write_gguf(path, published, kind=kind)

    return write


def _onnx(published: Pretrained, path: Path) -> Any:
    from textmill.interop.onnx import graphs

    return graphs.write_onnx(published, path)


def _ctranslate2(published: Pretrained, path: Path) -> Any:
    from textmill.interop import ctranslate2

    return ctranslate2.write_ctranslate2(published, path)


def _loaded(path: Path) -> Any:
    from textmill.interop.load import load

    return load(path).model.float().eval()


def _graphs(path: Path) -> Any:
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
    "onnx": Format("graphs with a cache, any batch and length", _onnx, needs="export", read=_graphs),
    "ctranslate2": Format("CTranslate2's own directory", _ctranslate2, needs="ct2"),
}
READ = {
    "Hugging Face directory": "safetensors with one of the types below; ours too",
    "GGUF file": "F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K to Q6_K, with tokenizer and template",
}


def model_types() -> list[str]:
    """The `model_type`s of Hugging Face directories that are read, and written where a model is one."""
    return sorted(TYPES)
