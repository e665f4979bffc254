"""Models as CTranslate2 directories, by way of the Hugging Face directory and CTranslate2's own converter.

What is converted is run before it is kept: a decoder's logits, an encoder-decoder's log-probabilities of a target, an
encoder's states are those of the model.

Shapes: T tokens, V vocabulary.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from textmill.base.errors import TextmillError
from textmill.base.files import atomic_directory, read_json, scratch, write_texts
from textmill.data.batch import IGNORE, Batch
from textmill.interop import forward_passes
from textmill.interop.huggingface import directory
from textmill.models.heads import Headed
from textmill.models.pretrained import Pretrained

TOLERANCE = 1e-4  # of logits, log-probabilities and states
_TOKENS = 24  # of the text the conversion is checked on


def write_ctranslate2(
    pretrained: Pretrained, path: Path | str, *, quantization: str | None = None
) -> dict[str, Any]:
    """Write the directory `path`, whole or not at all. Returns {"kind": its type of architecture, "difference": …}.

    quantization: None keeps float32; else int8, int8_float32, float16, …, as CTranslate2 names them, of the weights.
    Such a model differs by its rounding, so it is only the one in float32, made first, that is held to `TOLERANCE`.
    Raises TextmillError where no published architecture that CTranslate2 runs is the model's, where what it makes of it
    says something else, and where the extra is missing.
    """
    missing = [name for name in ("ctranslate2", "transformers") if importlib.util.find_spec(name) is None]
    if missing:
        raise TextmillError(
            f"converting to CTranslate2 needs {' and '.join(missing)}",
            advice="pip install 'textmill[ct2]'",
        )
    if isinstance(pretrained.model, Headed):
        raise TextmillError("CTranslate2 supports no heads", advice="export to onnx instead")
    with scratch(Path(path)) as folder:
        source, made = folder / "source", folder / "made"
        about = directory.write_directory(
            source, pretrained.model, pretrained.tokenizer, pretrained.generation, pretrained.info
        )
        kind = about["architecture"]
        if kind not in _WAYS:
            raise TextmillError(
                f"this architecture is not exported to CTranslate2: {about['reason'] or kind}",
                advice=f"it supports {', '.join(sorted(_WAYS))}; export to onnx instead",
            )
        spec: Any = pretrained.model.spec
        if spec.window is not None and spec.window < spec.context:
            raise TextmillError(
                "CTranslate2 gives other tokens than this model once a text is longer than its window",
                advice="export to onnx or gguf instead",
            )
        _convert(kind, source, made, None)
        delta = _check(kind, pretrained.model, source, made)
        if quantization is not None:
            _convert(kind, source, made, quantization)
        with atomic_directory(Path(path), private=False) as partial:
            shutil.copytree(made, partial, dirs_exist_ok=True)
            write_texts(partial, pretrained.beside)
            for beside in source.iterdir():
                if (
                    beside.suffix != ".safetensors"
                    and not (partial / beside.name).exists()
                    and beside.is_file()
                ):
                    shutil.copyfile(beside, partial / beside.name)
    return {"kind": kind, "difference": delta}


def _convert(kind: str, source: Path, made: Path, quantization: str | None) -> None:
    forward_passes.quiet_transformers()
    converter = _converter(kind)(str(source))
    try:
        converter.convert(str(made), quantization=quantization, force=True)
    except (ValueError, NotImplementedError, AttributeError, KeyError) as error:
        raise TextmillError(
            f"CTranslate2 cannot take this model ({str(error)[:300]})", advice="export to onnx instead"
        ) from error


def _converter(kind: str) -> Any:
    """CTranslate2's own converter, but for two things it takes for granted.

    That a tokenizer has a token for what it does not know: ours know every byte, and its file must name one. And that
    a Marian model's last id is <pad> and its decoder begins with zeros in that place: those trained here begin with a
    vector. Taken as that of any other architecture is, both come out right.
    """
    from ctranslate2.converters.transformers import BartLoader, TransformersConverter

    class Converter(TransformersConverter):
        def load_tokenizer(self, tokenizer_class: Any, model_name_or_path: str, **options: Any) -> Any:
            tokenizer = tokenizer_class.from_pretrained(model_name_or_path, local_files_only=True, **options)
            if tokenizer.unk_token is None:
                tokenizer.unk_token = tokenizer.pad_token or tokenizer.eos_token
            return tokenizer

    class Loader(BartLoader):
        def get_model_spec(self, model: Any) -> Any:
            model.config.normalize_before = False
            model.config.normalize_embedding = False
            return super().get_model_spec(model)

    class Marian(Converter):
        @torch.no_grad()
        def _load(self) -> Any:
            from transformers import AutoTokenizer, MarianMTModel

            path = self._model_name_or_path
            model = MarianMTModel.from_pretrained(path, dtype=torch.float32, local_files_only=True)
            return Loader()(model, self.load_tokenizer(AutoTokenizer, path))

    return Marian if kind == "marian" else Converter


@torch.no_grad()
def _check(kind: str, model: Any, source: Path, made: Path) -> float:
    """The largest difference; raises TextmillError where it is over `TOLERANCE`."""
    model = model.float().eval()
    length = min(model.spec.context - 2, _TOKENS)
    ids = torch.randint(0, model.vocabulary, (2, length), generator=torch.Generator().manual_seed(0))
    try:
        expected, converted = _WAYS[kind](model, ids, source, made)
    except (RuntimeError, ValueError) as error:
        raise TextmillError(
            f"CTranslate2 cannot run what it made of this {kind} ({str(error)[:200]})",
            advice="export to onnx instead",
        ) from error
    scale = max(1.0, float(expected.abs().max()) / 8)  # as interop/onnx/graphs.py
    delta = float((expected - converted).abs().max()) / scale
    if not delta <= TOLERANCE:  # NaN too
        raise TextmillError(
            f"what CTranslate2 makes of this {kind} differs from it by {delta:.1e}",
            advice="export to onnx instead",
        )
    return delta


def _logits(model: Any, ids: Tensor, source: Path, made: Path) -> tuple[Tensor, Tensor]:
    """Of a decoder, (2, T, V)."""
    import ctranslate2

    generator = ctranslate2.Generator(str(made), device="cpu", compute_type="float32")
    converted = torch.from_numpy(np.array(generator.forward_batch(ids.tolist())))
    return model(Batch(ids, torch.full_like(ids, IGNORE))), converted


def _states(model: Any, ids: Tensor, source: Path, made: Path) -> tuple[Tensor, Tensor]:
    """Of an encoder, (2, T, D)."""
    import ctranslate2

    encoder = ctranslate2.Encoder(str(made), device="cpu", compute_type="float32")
    converted = torch.from_numpy(np.array(encoder.forward_batch(ids.tolist()).last_hidden_state))
    return model.hidden(Batch(ids, torch.full_like(ids, IGNORE))), converted


def _scores(model: Any, ids: Tensor, source: Path, made: Path) -> tuple[Tensor, Tensor]:
    """Of an encoder-decoder, the log-probabilities of the second row and the end, given the first row."""
    import ctranslate2

    config = read_json(source / "config.json")
    vocabulary = read_json(made / "shared_vocabulary.json")
    start, end = config["decoder_start_token_id"], config["eos_token_id"]
    read, written = ids[:1], ids[1:]
    translator = ctranslate2.Translator(str(made), device="cpu", compute_type="float32")
    names = [[vocabulary[number] for number in row.tolist()] for row in ids]
    converted = torch.tensor(translator.score_batch(names[:1], names[1:])[0].log_probs)
    inputs = torch.cat((torch.tensor([[start]]), written), dim=1)
    logits = model(Batch(inputs, torch.full_like(inputs, IGNORE), source=read))[0].log_softmax(-1)
    target = torch.cat((written[0], torch.tensor([end])))
    return logits.gather(1, target[:, None])[:, 0], converted


_Way = Callable[[Any, Tensor, Path, Path], tuple[Tensor, Tensor]]
_WAYS: dict[str, _Way] = {
    "llama": _logits,
    "mistral": _logits,
    "qwen2": _logits,
    "qwen3": _logits,
    "gemma3_text": _logits,
    "gpt2": _logits,
    "bert": _states,
    "roberta": _states,
    "distilbert": _states,
    "bart": _scores,
    "marian": _scores,
    "t5": _scores,
}
