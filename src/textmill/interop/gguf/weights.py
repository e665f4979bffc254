"""The weights of a GGUF file as ours, and ours as the tensors of one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from textmill.base.console import tracked
from textmill.base.errors import DamagedError
from textmill.base.machine import usable_cores
from textmill.interop.gguf.architectures import FREQUENCIES, Architecture, Rule, rules
from textmill.interop.gguf.quants import check, unpack
from textmill.interop.gguf.reader import Gguf
from textmill.nn.packed_rows import PackedEmbedding, PackedRows
from textmill.specs.model import DecoderSpec

EMBEDDING = "token_embd.weight"


def vocabulary(file: Gguf) -> int:
    """How many ids the embedding knows. Raises DamagedError when there is none."""
    file.bytes_of(EMBEDDING)
    return file.tensors[EMBEDDING].shape[0]


def plan_of(
    file: Gguf, architecture: Architecture, spec: DecoderSpec, shapes: Mapping[str, torch.Size]
) -> list[Rule]:
    """Which tensors become which of ours; shapes: what the model holds.

    Raises DamagedError where a tensor is missing or has another shape than the metadata asks for, and where there are
    tensors the model has no use for: it would be another model then.
    """
    plan = list(rules(architecture, spec, shapes))
    used = {name for rule in plan for name in rule.theirs} | {FREQUENCIES}
    unused = [name for name in file.tensors if name not in used]
    if unused:
        raise DamagedError(
            f"holds {len(unused)} tensors that a {architecture.name} of this shape has not, such as {unused[0]}",
            where=file.path,
            advice="the model is of another kind than its metadata says; choose another file",
        )
    for rule in plan:
        for name, shape in zip(rule.theirs, _shapes(shapes[rule.ours], rule.rows), strict=True):
            file.bytes_of(name)
            entry = file.tensors[name]
            if entry.shape != shape:
                raise DamagedError(
                    f"{name} has the shape {entry.shape}, and the metadata asks for {shape}",
                    where=file.path,
                    advice="the file is damaged; fetch it again",
                )
            check(entry.type, file.path)
    return plan


def ours(
    file: Gguf,
    plan: Sequence[Rule],
    shapes: Mapping[str, torch.Size],
    dtype: torch.dtype,
    held: Callable[[str, Tensor], dict[str, Tensor]],
) -> dict[str, Tensor]:
    """The file's tensors as the model holds them (nn.eight_bits.holding), one at a time on each core: each is unpacked
    straight into its rows of ours."""

    def take(rule: Rule) -> dict[str, Tensor]:
        weight = torch.empty(shapes[rule.ours], dtype=dtype)
        parts = weight.split(rule.rows or (weight.shape[0],))
        for name, part, heads in zip(rule.theirs, parts, rule.heads, strict=True):
            kind = file.tensors[name].type
            if heads is None:
                unpack(file.bytes_of(name), kind, part, file.path)
            else:
                laid = unpack(file.bytes_of(name), kind, torch.empty_like(part), file.path)
                paired(part, heads).copy_(laid.unflatten(0, (heads, -1, 2)))
        return held(rule.ours, weight)

    with _one_thread_each(), ThreadPoolExecutor(usable_cores()) as pool:
        taken = tracked(pool.map(take, plan), "reading weights", len(plan), "tensors")
        return {name: tensor for some in taken for name, tensor in some.items()}


def packed_embedding(file: Gguf, embedding: nn.Embedding) -> nn.Embedding:
    """The same embedding, with the bytes its rows were unpacked from where those are fewer."""
    weight, packed = embedding.weight, file.bytes_of(EMBEDDING)
    if packed.nbytes >= weight.nbytes:
        return embedding
    kind, (count, width), dtype = file.tensors[EMBEDDING].type, weight.shape, weight.dtype

    def unpacked(rows: np.ndarray) -> Tensor:
        return unpack(rows.reshape(-1), kind, torch.empty(len(rows), width, dtype=dtype), file.path)

    return PackedEmbedding(weight, PackedRows(packed.reshape(count, -1), width, unpacked))


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """PyTorch's operations take one thread inside: ours work on a tensor each, and need not wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _shapes(whole: torch.Size, rows: tuple[int, ...] | None) -> Iterator[tuple[int, ...]]:
    for count in rows or (whole[0],):
        yield (count, *whole[1:])


def paired(part: Tensor, heads: int) -> Tensor:
    """Rows of ours (heads · E, …) as theirs are laid: (heads, E/2, 2, …), a view.

    We turn features i and i + E/2 of a head together; a llama file has each such pair side by side.
    """
    return part.unflatten(0, (heads, 2, -1)).transpose(1, 2)


def theirs(
    architecture: Architecture, spec: DecoderSpec, weights: Mapping[str, Tensor]
) -> Iterator[tuple[str, Tensor]]:
    """Our weights as the file has them: names and tensors, in the order of ours."""
    for rule in rules(architecture, spec, weights):
        weight = weights[rule.ours].detach()
        parts = weight.split(rule.rows) if rule.rows else (weight,)
        for name, part, heads in zip(rule.theirs, parts, rule.heads, strict=True):
            yield name, part if heads is None else paired(part, heads).flatten(0, 2)


def frequencies(file: Gguf) -> Tensor:
    """The float32 table that stretches rotary frequencies. Raises DamagedError when it cannot be one."""
    entry = file.tensors[FREQUENCIES]
    if len(entry.shape) != 1 or entry.shape[0] > 1 << 16 or entry.type.name != "F32":
        raise DamagedError(f"{FREQUENCIES} is not a vector of numbers", where=file.path)
    return unpack(np.asarray(file.bytes_of(FREQUENCIES)), entry.type, torch.empty(entry.shape))
