"""Does the published model say the same everywhere? What `textmill verify` works out.

The reference is the training path: one forward pass over one text. Every other way to the same logits is held
against it on the same tokens (interop/forward_passes.py):

    cached decoding       a prompt, then one token at a time, as `generate` does; not of models that write nothing
    batch with padding    all texts in one batch
    reload                the directory written anew by Textmill and read again; its weights equal to the bit
    compiled              torch.compile of the forward pass; only on request, since it takes a minute
    weights of fewer bits as `generate --weights` takes them; on request. Their mean KL decides: at most `QUALITY`
    exports               each format asked for, written, loaded and run; those of fewer bits by their mean KL too
    transformers          what it makes of the directory by itself, of ids and of raw texts (interop/alone.py)
    chat template in GGUF the same ids of conversations from a GGUF file's copies (interop/conversations.py)

With logits r of the reference and l of the other way, per token: the largest |l - r|; the mean over tokens of
KL(softmax r ‖ softmax l) in nats; and the first token where their likeliest tokens differ. A way passes when the
largest |l - r| is at most `TOLERANCE`, scaled up with logits beyond ±8, since float32 has 7 digits and every layer
costs some of the last.

Shapes: T tokens, V vocabulary.
"""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from textmill.base.errors import RecipeError, TextmillError
from textmill.base.files import read_json, scratch, write_json
from textmill.data.batch import Batch
from textmill.interop import alone, conversations, formats, forward_passes
from textmill.interop.check import Check, by_divergence, compare, same_weights
from textmill.interop.huggingface import directory as huggingface
from textmill.interop.huggingface.configs import heads
from textmill.interop.huggingface.peft import directory as peft
from textmill.interop.load import load
from textmill.models import adapters
from textmill.models.heads import Headed
from textmill.models.model import Model
from textmill.models.pretrained import Pretrained
from textmill.specs.model import MixtureSpec
from textmill.specs.tuning import LoRATuning


@dataclass(frozen=True)
class Report:
    """All checks, and on how much text they were made."""

    checks: tuple[Check, ...]
    texts: int
    tokens: int
    versions: dict[str, str]

    @property
    def ok(self) -> bool:
        """Whether no check failed. One that was skipped (not installed, no published architecture) has not failed."""
        return all(check.state != "failed" for check in self.checks)

    def plain(self) -> dict[str, Any]:
        """The report as plain data, as parity.json holds it."""
        return {"ok": self.ok, **dataclasses.asdict(self)}


def verify(
    directory: Path | str,
    texts: Sequence[str],
    *,
    tokens: int = 128,
    compiled: bool = False,
    trained: nn.Module | None = None,
    base: Pretrained | None = None,
    weights: Sequence[str] = (),
    exports: Sequence[str] = (),
) -> Report:
    """Hold every way to the logits of the model in `directory`, or in one file, against its training path, on `texts`.

    At most `tokens` tokens of each text are read, special ones around it included. `trained` is the model that was
    to be written there, if it is at hand: it must be equal to the bit. `base`: what an adapter
    stands on. Nothing is written. `weights`: also decode
    with such weights (bf16, int8). `exports`: formats of interop/formats.py to be written and read as well. Raises
    TextmillError when there is no text, or what is there is not a model, RecipeError for a format there is not.
    """
    if unknown := [name for name in exports if name not in formats.FORMATS]:
        raise RecipeError(
            f"{unknown[0]!r} is not a supported format", advice=f"there is {', '.join(formats.FORMATS)}"
        )
    directory = Path(directory)
    pretrained = load(directory, base=base)
    model = pretrained.model.float().eval()
    if not texts:
        raise TextmillError("no text to compare on", where=directory, advice="give at least one text")
    batches = forward_passes.batches_of(pretrained, texts, tokens)
    with torch.inference_mode():
        reference = forward_passes.alone(model, batches)
        checks = [
            _cached(model, reference, batches),
            compare("batch with padding", reference, lambda: forward_passes.padded(model, batches)),
            _reload(directory, pretrained, reference, batches),
        ]
        if trained is not None:
            checks.insert(0, same_weights("trained weights", trained, model))
        if compiled:
            faster: Any = torch.compile(model)
            checks.append(compare("compiled", reference, lambda: forward_passes.alone(faster, batches)))
        else:
            checks.append(Check("compiled", "skipped", why="not asked for (it takes a minute)"))
        checks += [_by_weights(kind, model, reference, batches) for kind in weights]
        checks += [_exported(name, directory, pretrained, reference, batches) for name in exports]
        checks += _by_transformers(directory, pretrained, texts, reference, batches, tokens)
        checks += conversations.in_gguf_file(pretrained, directory)
    return Report(tuple(checks), len(batches), sum(map(forward_passes.tokens_of, batches)), _versions())


def _cached(model: Model, reference: list[Tensor], batches: Sequence[Batch]) -> Check:
    if not forward_passes.is_cached(model):
        return Check("cached decoding", "skipped", why="it does not generate text")
    return compare("cached decoding", reference, lambda: forward_passes.cached(model, batches))


def _by_weights(kind: str, model: nn.Module, reference: list[Tensor], batches: Sequence[Batch]) -> Check:
    from textmill.decoding.layout import prepare

    ready = prepare(model, kind)
    return by_divergence(compare(f"weights {kind}", reference, lambda: forward_passes.alone(ready, batches)))


def _exported(
    name: str, beside: Path, pretrained: Pretrained, reference: list[Tensor], batches: Sequence[Batch]
) -> Check:
    """A format written, loaded and run; where it writes text, token by token."""
    form, title = formats.FORMATS[name], f"export {name}"
    with scratch(beside) as folder:
        path = folder / f"model{form.ending}"
        try:
            # Files are read by several threads, and inference mode is each thread's own.
            with torch.inference_mode(False):
                form.write(pretrained if form.adapters else pretrained.merged(), path)
                if form.read is None:
                    return Check(title, "ok", why="compared during export")
                model = form.read(path)
        except TextmillError as error:
            return Check(title, "failed", why=error.what)
        way = forward_passes.cached if forward_passes.is_cached(model) else forward_passes.alone
        check = compare(title, reference, lambda: way(model, batches))
    return by_divergence(check) if form.rounded else check


def _reload(beside: Path, pretrained: Pretrained, reference: list[Tensor], batches: Sequence[Batch]) -> Check:
    if isinstance(pretrained.spec, MixtureSpec):
        return Check("reload", "skipped", why="a mixture names its models: verify each of them")
    with scratch(beside) as folder:
        copy = folder / "model"
        if pretrained.adapter is None:
            huggingface.write(copy, pretrained)
            again = huggingface.read_directory(copy).model.float().eval()
        else:
            peft.write_pretrained(copy, pretrained)
            again = peft.load(copy, pretrained.adapter.base).model.float().eval()
        same = same_weights("reload", pretrained.model, again)
        if same.state == "failed":
            return same
        return compare("reload", reference, lambda: forward_passes.alone(again, batches))


def _by_transformers(
    path: Path,
    pretrained: Pretrained,
    texts: Sequence[str],
    reference: list[Tensor],
    batches: Sequence[Batch],
    tokens: int,
) -> list[Check]:
    """What transformers makes of the directory by itself; of a file, by way of the directory Textmill makes of it."""
    if importlib.util.find_spec("transformers") is None:
        why = "not installed (pip install transformers), so whether it reads the directory alike was not checked"
        return [Check("transformers", "skipped", why=why)]
    if pretrained.adapter is not None:
        return _adapter_by_transformers(path, pretrained, texts, reference, batches, tokens)
    if not path.is_dir():
        with scratch(path) as folder:
            copy = folder / "model"
            huggingface.write(copy, pretrained)
            return _by_transformers(copy, pretrained, texts, reference, batches, tokens)
    if not huggingface.is_published(read_json(path / "config.json")):
        return [Check("transformers", "skipped", why="transformers has no such architecture")]
    return alone.checks(path, pretrained, texts, reference, batches, tokens=tokens)


def _adapter_by_transformers(
    path: Path,
    pretrained: Pretrained,
    texts: Sequence[str],
    reference: list[Tensor],
    batches: Sequence[Batch],
    tokens: int,
) -> list[Check]:
    """The same of an adapter, which transformers loads by peft: a copy of its directory names a copy of its base, which
    is rounded alike where the adapter is over 8 bits."""
    adapter = pretrained.adapter
    assert adapter is not None
    if importlib.util.find_spec("peft") is None:
        return [
            Check(
                "transformers",
                "skipped",
                why="peft is not installed (pip install peft), which loads adapters",
            )
        ]
    if not isinstance(adapter.tuning, LoRATuning):
        return [Check("transformers", "skipped", why="it loads low-rank adapters alone by itself")]
    whole = adapter.base
    if adapter.tuning.base == "int8":  # what it was trained on: the base's matrices as 8 bits hold them
        whole = dataclasses.replace(whole, model=adapters.rounded(whole.model))
    with scratch(path) as folder:
        base, copy = folder / "base", folder / "adapter"
        named = dataclasses.replace(adapter, name=str(base))
        about = peft.write_pretrained(copy, dataclasses.replace(pretrained, adapter=named))
        if about["architecture"] is None:
            return [Check("transformers", "skipped", why="transformers has no such architecture")]
        huggingface.write(base, whole)
        if isinstance(pretrained.model, Headed):  # whoever puts a head on a model says what its labels are
            config = read_json(base / "config.json")
            labels = heads.write(config["model_type"], pretrained.model.head.spec)
            write_json(base / "config.json", config | labels)
        return alone.checks(copy, pretrained, texts, reference, batches, tokens=tokens)


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    versions = {}
    for package in ("torch", "transformers", "peft", "tokenizers", "safetensors"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return versions
