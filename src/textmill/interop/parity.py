"""Does the published model say the same everywhere? What `textmill verify` works out.

The reference is the training path: one forward pass over one text. Every other way to the same logits is held
against it on the same tokens (interop/forward_passes.py):

    cached decoding       a prompt, then one token at a time, as `generate` does; not of models that write nothing
    batch with padding    all texts in one batch
    reload                the directory written anew by Textmill and read again; its weights equal to the bit
    compiled              torch.compile of the forward pass; only on request, since it takes a minute
    weights of fewer bits as `generate --weights` takes them; on request. Their mean KL decides: at most `QUALITY`
    exports               each format asked for, written, loaded and run; those of fewer bits by their mean KL too
    transformers          its own class for the directory, and AutoTokenizer's ids

With logits r of the reference and l of the other way, per token: the largest |l - r|; the mean over tokens of
KL(softmax r ‖ softmax l) in nats; and the first token where their likeliest tokens differ. A way passes when the
largest |l - r| is at most `TOLERANCE`, scaled up with logits beyond ±8, since float32 has 7 digits and every layer
costs some of the last.

Shapes: T tokens, V vocabulary.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from textmill.base.errors import RecipeError, TextmillError
from textmill.base.files import read_json, write_json
from textmill.data.batch import Batch
from textmill.interop import formats, forward_passes
from textmill.interop.huggingface import directory as huggingface
from textmill.interop.load import load
from textmill.models.model import Model
from textmill.models.pretrained import Pretrained
from textmill.specs.model import MixtureSpec

TOLERANCE = 1e-4
QUALITY = 0.02  # nats a token: the mean KL from which on numbers of fewer bits have cost too much
_USUAL = 8.0  # logits up to here are held to the tolerance itself


@dataclass(frozen=True)
class Check:
    """One way to the logits, held against the reference. A way that was not tried has no numbers, and says why."""

    name: str
    state: Literal["ok", "failed", "skipped"]
    max_difference: float | None = None  # of logits; of weights where those are compared
    mean_kl: float | None = None  # nats a token
    tolerance: float | None = None
    first_disagreement: tuple[int, int] | None = None  # (text, token) where the likeliest token first differs
    seconds: float | None = None
    why: str = ""


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
    weights: Sequence[str] = (),
    exports: Sequence[str] = (),
) -> Report:
    """Hold every way to the logits of the model in `directory`, or in one file, against its training path, on `texts`.

    At most `tokens` tokens of each text are read, special ones around it included. `trained` is the model that was
    to be written there, if it is at hand: it must be equal to the bit. The report is also written to
    `directory`/parity.json, or beside the file. `weights`: also decode with such weights (bf16, int8). `exports`:
    formats of interop/formats.py to be written and read as well. Raises TextmillError when there is no text, or what
    is there is not a model, RecipeError for a format there is not.
    """
    if unknown := [name for name in exports if name not in formats.FORMATS]:
        raise RecipeError(
            f"{unknown[0]!r} is no format here", advice=f"there is {', '.join(formats.FORMATS)}"
        )
    directory = Path(directory)
    pretrained = load(directory)
    model = pretrained.model.float().eval()
    if not texts:
        raise TextmillError(
            "there is no text to compare on", where=directory, advice="give at least one text"
        )
    batches = forward_passes.batches_of(pretrained, texts, tokens)
    with torch.inference_mode():
        reference = forward_passes.alone(model, batches)
        checks = [
            _cached(model, reference, batches),
            compare("batch with padding", reference, lambda: forward_passes.padded(model, batches)),
            _reload(pretrained, reference, batches),
        ]
        if trained is not None:
            checks.insert(0, same_weights("trained weights", trained, model))
        if compiled:
            faster: Any = torch.compile(model)
            checks.append(compare("compiled", reference, lambda: forward_passes.alone(faster, batches)))
        else:
            checks.append(Check("compiled", "skipped", why="not asked for: it takes a minute"))
        checks += [_by_weights(kind, model, reference, batches) for kind in weights]
        checks += [_exported(name, pretrained, reference, batches) for name in exports]
        checks.append(_by_transformers(directory, pretrained, texts, reference, batches))
    report = Report(tuple(checks), len(batches), sum(map(forward_passes.tokens_of, batches)), _versions())
    beside = directory / "parity.json" if directory.is_dir() else directory.with_suffix(".parity.json")
    write_json(beside, report.plain())
    return report


def compare(
    name: str, reference: list[Tensor], other: Callable[[], list[Tensor]], *, tolerance: float = TOLERANCE
) -> Check:
    """Hold the logits of `other()` against `reference`: one tensor (T, V) a text, both. NaN fails."""
    started = time.perf_counter()
    logits = other()
    seconds = time.perf_counter() - started
    scale = max(1.0, max(float(r.abs().max()) for r in reference) / _USUAL)
    pairs = list(zip((text.float() for text in logits), reference, strict=True))
    deltas = torch.stack([(tried - expected).abs().max() for tried, expected in pairs])
    delta = float(deltas.max())  # which passes NaN on
    nats = [
        nn.functional.kl_div(
            tried.log_softmax(-1), expected.log_softmax(-1), reduction="sum", log_target=True
        )
        for tried, expected in pairs
    ]
    first = None
    for text, (tried, expected) in enumerate(pairs):
        differs = (tried.argmax(-1) != expected.argmax(-1)).nonzero()
        if len(differs):
            first = (text, int(differs[0]))
            break
    allowed = tolerance * scale
    why = "" if delta <= allowed else "the logits differ"
    mean_kl = float(sum(nats)) / sum(map(len, reference))
    return Check(name, "failed" if why else "ok", delta, mean_kl, allowed, first, round(seconds, 3), why)


def same_weights(name: str, model: nn.Module, other: nn.Module) -> Check:
    """Whether two models hold the same weights, to the bit. Their logits may still differ in the last digit: a
    processor adds up in another order where memory begins at another address."""
    started = time.perf_counter()
    weights, others = dict(model.state_dict()), dict(other.state_dict())
    why = "" if weights.keys() == others.keys() else "they hold other weights"
    delta = 0.0
    for key in weights.keys() & others.keys():
        a, b = weights[key].detach().cpu(), others[key].detach().cpu()
        if a.shape != b.shape or not torch.equal(a, b.to(a.dtype)):
            why = why or f"{key} differs"
            if a.shape == b.shape:
                delta = max(delta, float((a.double() - b.double()).abs().max()))
    seconds = round(time.perf_counter() - started, 3)
    return Check(name, "failed" if why else "ok", delta, None, 0.0, None, seconds, why)


def _cached(model: Model, reference: list[Tensor], batches: Sequence[Batch]) -> Check:
    if not forward_passes.is_cached(model):
        return Check("cached decoding", "skipped", why="it writes nothing")
    return compare("cached decoding", reference, lambda: forward_passes.cached(model, batches))


def _by_weights(kind: str, model: nn.Module, reference: list[Tensor], batches: Sequence[Batch]) -> Check:
    from textmill.decoding.layout import prepare

    ready = prepare(model, kind)
    return by_divergence(compare(f"weights {kind}", reference, lambda: forward_passes.alone(ready, batches)))


def by_divergence(check: Check) -> Check:
    """The same check of numbers of fewer bits: passed where their mean KL is small, whatever single logits do."""
    good = check.mean_kl is not None and check.mean_kl <= QUALITY
    why = "" if good else f"its mean KL is over {QUALITY} nats a token"
    return dataclasses.replace(check, state="ok" if good else "failed", tolerance=None, why=why)


def _exported(name: str, pretrained: Pretrained, reference: list[Tensor], batches: Sequence[Batch]) -> Check:
    """A format written, loaded and run; where it writes text, token by token."""
    form, title = formats.FORMATS[name], f"export {name}"
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / f"model{form.ending}"
        try:
            # Files are read by several threads, and inference mode is each thread's own.
            with torch.inference_mode(False):
                form.write(pretrained, path)
                if form.read is None:
                    return Check(title, "ok", why="compared while it was written")
                model = form.read(path)
        except TextmillError as error:
            return Check(title, "failed", why=error.what)
        way = forward_passes.cached if forward_passes.is_cached(model) else forward_passes.alone
        check = compare(title, reference, lambda: way(model, batches))
    return by_divergence(check) if form.rounded else check


def _reload(pretrained: Pretrained, reference: list[Tensor], batches: Sequence[Batch]) -> Check:
    if isinstance(pretrained.spec, MixtureSpec):
        return Check("reload", "skipped", why="a mixture names its parts: verify each of them")
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "model"
        huggingface.write_directory(
            copy, pretrained.model, pretrained.tokenizer, pretrained.generation, pretrained.info
        )
        again = huggingface.read_directory(copy).model.float().eval()
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
) -> Check:
    """As `_transformers`, of a file by way of the directory that Textmill makes of it."""
    if path.is_dir():
        return _transformers(path, pretrained, texts, reference, batches)
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "model"
        huggingface.write_directory(
            copy, pretrained.model, pretrained.tokenizer, pretrained.generation, pretrained.info
        )
        return _transformers(copy, pretrained, texts, reference, batches)


def _transformers(
    directory: Path,
    pretrained: Pretrained,
    texts: Sequence[str],
    reference: list[Tensor],
    batches: Sequence[Batch],
) -> Check:
    """What transformers makes of the directory: logits, and ids."""
    if importlib.util.find_spec("transformers") is None:
        return Check("transformers", "skipped", why="not installed (pip install transformers)")
    if not huggingface.is_published(read_json(directory / "config.json")):
        return Check("transformers", "skipped", why="transformers has no such architecture")
    check = compare(
        "transformers", reference, lambda: forward_passes.by_transformers(directory, pretrained, batches)
    )
    transformers = forward_passes.quiet_transformers()
    auto: Any = transformers.AutoTokenizer.from_pretrained(directory, local_files_only=True)
    for number, text in enumerate(texts):
        if auto(text, add_special_tokens=False)["input_ids"] != pretrained.tokenizer.encode(text).tolist():
            return dataclasses.replace(check, state="failed", why=f"the ids of text {number} differ")
    return check


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    versions = {}
    for package in ("torch", "transformers", "tokenizers", "safetensors"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return versions
