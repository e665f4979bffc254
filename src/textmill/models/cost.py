"""What a model costs, from its spec alone: parameters, arithmetic, memory.

Numbers of weights are counted on the model itself, built without storage (PyTorch's meta device), and so are exact.

Letters: V vocabulary, D d_model, L layers, H heads, K key heads, E width of a head, F d_ff, T sequence; of a
recurrent model W width of a state.
"""

from __future__ import annotations

import functools

from textmill.models import adapters, names
from textmill.models.build import empty
from textmill.models.initial import kind_of_parameter
from textmill.specs.model import (
    EncoderDecoderSpec,
    RecurrentEncoderDecoderSpec,
    RecurrentSpec,
    TrainedSpec,
    TransformerSpec,
)
from textmill.specs.position import RelativePositions
from textmill.specs.tuning import TuningSpec

_Recurrent = RecurrentSpec | RecurrentEncoderDecoderSpec
_ONCE = ("transform", "pooler", "sentences", "bridge")  # parts that few tokens of a text pass, or none


@functools.cache
def parameters(spec: TrainedSpec, vocabulary: int) -> int:
    """Trained numbers of the model.

    >>> parameters(DecoderSpec(d_model=8, layers=1, heads=2, d_ff=16), 10)  # 80 + 256 + 384 + 3 norms of 8
    744
    """
    return sum(weight.numel() for weight in empty(spec, vocabulary).parameters())


@functools.cache
def trained(spec: TrainedSpec, vocabulary: int, freeze: tuple[str, ...]) -> tuple[int, int]:
    """(numbers that are trained where `freeze` is not, those of them in matrices inside blocks)."""
    model = empty(spec, vocabulary)
    kinds = kind_of_parameter(model)
    sizes = {
        name: weight.numel()
        for name, weight in model.named_parameters()
        if not any(names.matches(name, pattern) for pattern in freeze)
    }
    inside = (size for name, size in sizes.items() if kinds[name] == "hidden" and not name.startswith(_ONCE))
    return sum(sizes.values()), sum(inside)


@functools.cache
def still(spec: TrainedSpec, vocabulary: int, freeze: tuple[str, ...]) -> int:
    """How many blocks of a stack, from the first, have no gradient to make: nothing in or below them is trained. Of
    models of another form none are counted."""
    if spec.kind not in ("decoder", "encoder") or not freeze:
        return 0
    known = (name for name, _ in empty(spec, vocabulary).named_parameters())
    moving = [name for name in known if not any(names.matches(name, pattern) for pattern in freeze)]
    numbers = {int(name.split(".")[1]) for name in moving if name.startswith("blocks.")}
    below = any("embedding" in name.partition(".")[0] for name in moving)
    return 0 if below else min(numbers, default=spec.layers)


@functools.cache
def adapter(spec: TrainedSpec, vocabulary: int, tuning: TuningSpec) -> int:
    """Trained numbers of an adapter; a head beside it is not counted."""
    adapted = adapters.adapt(empty(spec, vocabulary), tuning)
    return sum(tensor.numel() for tensor in adapters.tensors(adapted).values())


@functools.cache
def base_bytes(spec: TrainedSpec, vocabulary: int, base: str) -> int:
    """Bytes of a frozen base: in float32, or with its matrices in 8 bits."""
    model = empty(spec, vocabulary)
    model = adapters.in_eight_bits(model) if base == "int8" else model
    held = {id(tensor): tensor.nbytes for tensor in model.state_dict(keep_vars=True).values()}
    return sum(held.values())


@functools.cache
def matrices(spec: TrainedSpec) -> int:
    """Entries of the matrices that every token passes between embedding and output layer: of a Transformer, those of
    its blocks.

    >>> matrices(DecoderSpec(d_model=8, layers=1, heads=2, d_ff=16))  # 4 · 8 · 8 + 3 · 8 · 16
    640
    """
    model = empty(spec, 1)
    kinds = kind_of_parameter(model)
    return sum(
        weight.numel()
        for name, weight in model.named_parameters()
        if kinds[name] == "hidden" and not name.startswith(_ONCE)
    )


def blocks(spec: TransformerSpec) -> tuple[tuple[int, bool], ...]:
    """How many blocks there are, and whether they attend to a source: the encoder's and the decoder's."""
    if isinstance(spec, EncoderDecoderSpec):
        return (spec.layers, False), (spec.decoder_depth, True)
    return ((spec.layers, False),)


def flops_per_token(spec: TrainedSpec, vocabulary: int, sequence: int, *, frozen: bool = False) -> int:
    """Floating-point operations of one token's forward and backward pass. frozen: no gradient of a matrix is made, so
    that the backward pass of a product costs what its forward pass does.

    6 · (matrix entries: blocks and output layer) + 12 · L · H · E · T, T no more than the window. A product
    of matrices takes 2 operations an entry forward and 4 backward; embedding look-ups, norms and activations
    are left out, and attention is counted as if nothing were masked: the convention of Chowdhery et al. 2022
    (PaLM), appendix B, in which published shares of a device's peak are given.

    An encoder's output layer, which few tokens reach, is left out. Of an encoder-decoder, a token is one of the
    target, and the source is as long as the target.
    """
    if not isinstance(spec, TransformerSpec):
        return _recurrent_flops_per_token(spec, vocabulary, sequence)
    products = matrices(spec) + (0 if spec.kind == "encoder" else vocabulary * spec.d_model)
    seen = min(sequence, spec.window or sequence)
    attentions = sum(number * (2 if crossed else 1) for number, crossed in blocks(spec))
    return (4 if frozen else 6) * products + 12 * attentions * spec.heads * spec.head_width * seen


def cache_bytes(spec: TransformerSpec, rows: int, capacity: int, element: int = 4) -> int:
    """Bytes of the key-value cache: 2 · L · rows · K · E · capacity numbers of `element` bytes."""
    return 2 * spec.layers * rows * spec.key_heads * spec.head_width * capacity * element


def scoring_bytes(spec: TrainedSpec, vocabulary: int, sequence: int, *, tokens: int = 8192) -> int:
    """Bytes alive at the peak of reading texts in windows of `sequence` tokens, about `tokens` at once, to score them:
    an estimate, in float32, weights not counted.

    For each token: what one block makes (`_kept`), the states before and after it, and those whose logits are asked
    for (3 D); logits of as many tokens as make 2^26, or of one token, twice. For each pair of tokens of a window: the
    distance between them twice, three tables of who sees whom and one of what is added to scores, 31 bytes, once for
    all rows; where attention is the formula written out, three scores a head in each row; where distances have biases,
    three of these a head.
    """
    rows = max(1, tokens // sequence)
    read = rows * sequence
    logits = 2 * vocabulary * min(read, max(1, (1 << 26) // vocabulary))
    if not isinstance(spec, TransformerSpec):
        return int(4 * (read * (_layers(spec) + 3 * spec.d_model) + logits))
    formula = spec.attention_softcap is not None or isinstance(spec.position, RelativePositions)
    biased = spec.position.kind in ("alibi", "t5")
    pairs = (31 + 12 * spec.heads * (biased + rows * formula)) * sequence**2
    return int(4 * (read * (_kept(spec, 0) + 3 * spec.d_model) + logits) + pairs)


def activation_bytes(
    spec: TrainedSpec,
    vocabulary: int,
    batch: int,
    sequence: int,
    *,
    element: int = 4,
    checkpointing: bool = False,
    loss_chunk: int | None = None,
    still: int = 0,
) -> int:
    """Bytes alive at the peak of a training step besides weights, gradients and optimiser state.

    For each token: what the blocks keep for the backward pass (`_kept`), the last norm and the output layer's
    input (2 D), and three rows of V where the loss is worked out (logits, their log-softmax and the gradient),
    for all tokens or for `loss_chunk` of them at once. With `checkpointing` a block keeps its input only, and
    one block at a time keeps all; what `recomputed_blocks` lets the others keep is gone when the peak comes.
    `element`: bytes of a number; `still`: the first blocks, which have no gradient to make, so keep nothing. Working
    space of kernels is not counted.
    """
    if not isinstance(spec, TransformerSpec):
        return _recurrent_activation_bytes(
            spec,
            vocabulary,
            batch,
            sequence,
            element=element,
            checkpointing=checkpointing,
            loss_chunk=loss_chunk,
        )
    tokens = batch * sequence
    stacks = [(number - still, _kept(spec, sequence, crossed)) for number, crossed in blocks(spec)]
    if checkpointing:
        kept = sum(number for number, _ in stacks) * spec.d_model + max(each for _, each in stacks)
    else:
        kept = sum(number * each for number, each in stacks)
    body = tokens * (kept + 2 * spec.d_model * len(stacks))
    head = 3 * vocabulary * min(tokens, loss_chunk or tokens)
    return int(element * (body + head))


def recomputed_blocks(
    spec: TransformerSpec,
    vocabulary: int,
    batch: int,
    sequence: int,
    *,
    element: int = 4,
    loss_chunk: int | None,
) -> int:
    """How many blocks, from the first, must be recomputed for the lowest peak of a training step.

    What the last blocks keep is let go before the gradients of the first ones are made. So beside the logits (and
    as much again to work out their sum) blocks may keep what the float32 gradients of all blocks and one recomputed
    block take, and the peak, at the end of the backward pass, is no higher.
    """
    tokens = batch * sequence
    number, crossed = sum(count for count, _ in blocks(spec)), any(crossed for _, crossed in blocks(spec))
    kept = element * tokens * _kept(spec, sequence, crossed)
    logits = 2 * element * vocabulary * min(tokens, loss_chunk or tokens)
    room = 4 * matrices(spec) + kept - logits
    return number - min(number, max(0, int(room / kept)))


def _kept(spec: TransformerSpec, sequence: int, crossed: bool = False) -> float:
    """Numbers a token's passage through one block keeps for the backward pass (training on a CPU).

    4 D: the input and output of both norms. (H + 2K)·E: queries, keys and values. H·E: what attention mixed.
    Feed-forward: its inside before and after the activation, 2 F, or 3 F when gated (ReLU keeps one F).
    Attention to a source (crossed) keeps 2 D, its queries, keys and values and what it mixed once more.
    """
    heads, width = spec.heads, spec.head_width
    qkv = (heads + 2 * spec.key_heads) * width
    total = 4.0 * spec.d_model + qkv + heads * width + (3 if spec.gated else 2) * spec.d_ff
    if crossed:
        total += 2.0 * spec.d_model + qkv + heads * width
    if spec.activation == "relu":
        total -= spec.d_ff
    if spec.qk_norm:
        total += (heads + spec.key_heads) * width  # normed and rotated, beside what they were
    if spec.placement == "sandwich":
        total += 2 * spec.d_model
    if spec.dropout:
        total += 2 * spec.d_model / 4  # one byte a feature
    by_formula = spec.attention_softcap is not None or isinstance(spec.position, RelativePositions)
    if by_formula:  # keys and values of every head; T weights a head, and T scores after tanh
        total += 2 * heads * width + heads * sequence * (1 + (spec.attention_softcap is not None))
    return total


def _recurrent_flops_per_token(spec: _Recurrent, vocabulary: int, sequence: int) -> int:
    """Floating-point operations of one token's forward and backward pass.

    6 · (matrix entries) as `flops_per_token` counts, and for attention 12 · W · T, or 18 · W · T where
    scores are additive: their hyperbolic tangents count as one operation. Of a sequence-to-sequence model a token is
    one of the target, and the source is as long as the target.
    """
    if isinstance(spec, RecurrentSpec):
        a_position = 12 if spec.attention else 0
    else:
        a_position = {"none": 0, "additive": 18}.get(spec.attention, 12)
    return 6 * (matrices(spec) + vocabulary * spec.d_model) + a_position * spec.width * sequence


def _recurrent_activation_bytes(
    spec: _Recurrent,
    vocabulary: int,
    batch: int,
    sequence: int,
    *,
    element: int = 4,
    checkpointing: bool = False,
    loss_chunk: int | None = None,
) -> int:
    """Bytes alive at the peak of a training step besides weights, gradients and optimiser state: an estimate.

    For each token: what recurrent layers keep for the backward pass (`_layers`), what attention keeps, token vectors
    and what the output layer reads (3 D), and three rows of V where the loss is worked out, for all tokens or for
    `loss_chunk` of them at once. Of a sequence-to-sequence model tokens are those of the target, and the source is as
    long. `checkpointing` changes nothing: recurrent layers are one call of a kernel and keep what they need.
    """
    tokens, width = batch * sequence, spec.width
    head = 3 * vocabulary * min(tokens, loss_chunk or tokens)
    if isinstance(spec, RecurrentSpec):
        kept = _layers(spec) + 3 * spec.d_model + (6 * width if spec.attention else 0)
        return int(element * (tokens * kept + head))
    kept = _layers(spec) + _layers(spec, by_token=bool(spec.fed_width)) + 5 * spec.d_model
    if spec.attention != "none":
        kept += 5 * width + 3 * sequence + (width * sequence if spec.attention == "additive" else 0)
    return int(element * (tokens * kept + head))


def _layers(spec: _Recurrent, *, by_token: bool = False) -> float:
    """Numbers a token's passage through all layers of one side keeps, as PyTorch's kernels do on a CPU.

    GRU 8 W: three gates, the new state's two parts, the state. LSTM 17 W: oneDNN keeps its gates and its working space;
    14 W where a cell is called for each token. Dropout keeps a mask and its result.
    """
    per_layer = 8 if spec.cell == "gru" else 14 if by_token else 17
    return spec.layers * spec.width * (per_layer + (1.25 if spec.dropout else 0))
