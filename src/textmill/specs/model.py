"""What a model is, as plain data: enough to build it, count it and export it. No tensor library needed."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, get_args

from textmill.base.errors import RecipeError
from textmill.base.schema import About
from textmill.specs.position import LearnedPositions, Positions, RotaryPositions, SinusoidalPositions

GATED = ("swiglu", "geglu", "geglu_tanh")  # activations whose feed-forward has a third matrix
Activation = Literal["relu", "relu2", "gelu", "gelu_tanh", "silu", "swiglu", "geglu", "geglu_tanh"]
Norm = Literal["rmsnorm", "layernorm", "batchnorm"]
Placement = Literal["pre", "post", "sandwich"]
Bias = Literal["none", "qkv", "all"]
_LONGEST_ORDER = 16  # of n-grams of words, characters or tokens


class _Family:
    """What may be asked of the spec of any model; a family that has it declares a field of the name."""

    @property
    def start(self) -> int | None:
        """The id a target begins with, where the model says one."""
        return None

    @property
    def window(self) -> int | None:
        """How many of the last tokens a token sees; None: all."""
        return None

    @property
    def segments(self) -> int:
        """Kinds of segments told apart."""
        return 0

    @property
    def pooler(self) -> bool:
        """Whether there is a layer over the first token, which stands for the whole text."""
        return False


@dataclass(frozen=True, kw_only=True)
class TransformerSpec(_Family):
    """The shape of Transformer blocks, whatever they are stacked into. The defaults are those of a llama."""

    kind: str = ""
    d_model: Annotated[int, About("width of the residual stream", "features", ge=1)] = 256
    layers: Annotated[int, About("number of blocks", ge=1)] = 6
    heads: Annotated[int, About("number of query heads", ge=1)] = 4
    kv_heads: Annotated[
        int | None, About("number of key and value heads; left out: as many as heads", ge=1)
    ] = None
    head_dim: Annotated[int | None, About("width of a head; left out: d_model / heads", "features", ge=1)] = (
        None
    )
    d_ff: Annotated[int, About("inner width of the feed-forward layer", "features", ge=1)] = 688
    context: Annotated[int, About("longest sequence the model reads", "tokens", ge=1)] = 512
    position: Annotated[Positions, About("position encoding")] = RotaryPositions()
    norm: Annotated[Norm, About("normalisation")] = "rmsnorm"
    norm_eps: Annotated[float, About("added to the variance in a norm", gt=0, lt=1)] = 1e-6
    placement: Annotated[
        Placement, About("norm before each sublayer, after its residual sum, or both sides")
    ] = "pre"
    activation: Annotated[Activation, About("feed-forward non-linearity")] = "swiglu"
    bias: Annotated[Bias, About("which linear layers have a bias")] = "none"
    qk_norm: Annotated[bool, About("RMS-normalise queries and keys by head (Qwen3)")] = False
    tied: Annotated[bool, About("input embedding and output layer share one matrix")] = True
    dropout: Annotated[
        float, About("probability of dropping embeddings and sublayer outputs", ge=0, lt=1)
    ] = 0.0
    window: Annotated[
        int | None,
        About("sliding-window attention: each token sees this many tokens, itself included", "tokens", ge=1),
    ] = None
    full_every: Annotated[
        int | None, About("with a window: every n-th block sees everything (Gemma 3: 6)", ge=1)
    ] = None
    window_theta: Annotated[
        float | None, About("with a window: rotary base of the blocks with a window (Gemma 3)", gt=1)
    ] = None
    attention_scale: Annotated[
        float | None, About("attention scores are multiplied by this; left out: 1 / sqrt(head_dim)", gt=0)
    ] = None
    attention_softcap: Annotated[
        float | None, About("softcap of attention scores s: cap·tanh(s/cap)", gt=0)
    ] = None
    logit_softcap: Annotated[float | None, About("softcap of logits x: cap·tanh(x/cap)", gt=0)] = None
    logit_scale: Annotated[float | None, About("logits are multiplied by this (T5, tied)", gt=0)] = None
    output_bias: Annotated[bool, About("the output layer has a bias (BART, BERT)")] = False
    scaled_embedding: Annotated[
        bool,
        About("token vectors are multiplied by sqrt(d_model); with sinusoidal positions they always are"),
    ] = False
    embedding_norm: Annotated[bool, About("a norm after the embeddings (BERT, BART)")] = False
    final_norm: Annotated[
        bool | None, About("a norm after the last block; left out: unless placement is post")
    ] = None
    base_width: Annotated[
        int | None,
        About(
            "µP: width at which the learning rate was tuned; initial scale and learning rates follow d_model",
            ge=1,
        ),
    ] = None

    def __post_init__(self) -> None:
        if self.head_dim is None and self.d_model % self.heads:
            raise RecipeError(
                f"{self.d_model} cannot be divided among {self.heads} heads",
                where="d_model",
                advice="make d_model a multiple of heads, or give head_dim",
            )
        if self.heads % self.key_heads:
            raise RecipeError(
                f"{self.key_heads} does not divide heads ({self.heads})",
                where="kv_heads",
                advice="each key head serves the same number of query heads",
            )
        if self.position.kind in ("rotary", "sinusoidal"):
            width = self.head_width if self.position.kind == "rotary" else self.d_model
            if width % 2:
                name = "head_dim" if self.position.kind == "rotary" else "d_model"
                raise RecipeError(f"{width} is odd: {self.position.kind} positions need pairs", where=name)
        for name in ("full_every", "window_theta"):
            if getattr(self, name) is not None and self.window is None:
                raise RecipeError("goes with a window", where=name, advice="give window too")

    @property
    def key_heads(self) -> int:
        """Number of key and value heads."""
        return self.kv_heads or self.heads

    @property
    def head_width(self) -> int:
        """Width of one head."""
        return self.head_dim or self.d_model // self.heads

    @property
    def gated(self) -> bool:
        """Whether the feed-forward layer has a gate."""
        return self.activation in GATED

    @property
    def last_norm(self) -> bool:
        """Whether a norm follows the last block."""
        return self.placement != "post" if self.final_norm is None else self.final_norm

    def of_block(self, layer: int) -> Self:
        """The spec as a block, counted from 0, has it: with its own window and rotary base."""
        if self.full_every is None and self.window_theta is None:
            return self
        common = {"full_every": None, "window_theta": None}
        if self.full_every is not None and (layer + 1) % self.full_every == 0:
            return dataclasses.replace(self, window=None, **common)
        position = self.position
        if self.window_theta is not None:
            position = RotaryPositions(theta=self.window_theta)
        return dataclasses.replace(self, position=position, **common)


@dataclass(frozen=True, kw_only=True)
class DecoderSpec(TransformerSpec):
    """A GPT-type decoder. The defaults are exactly a Hugging Face `llama`."""

    kind: Literal["decoder"] = "decoder"


@dataclass(frozen=True, kw_only=True)
class EncoderSpec(TransformerSpec):
    """A BERT-type encoder: every token sees every token. The defaults are those of BERT, but small."""

    kind: Literal["encoder"] = "encoder"
    d_ff: int = 1024
    position: Positions = LearnedPositions()
    norm: Norm = "layernorm"
    norm_eps: float = 1e-12
    placement: Placement = "post"
    activation: Activation = "gelu"
    bias: Bias = "all"
    dropout: float = 0.1
    output_bias: bool = True
    embedding_norm: bool = True
    segments: Annotated[int, About("segment (token type) embeddings; 0: none", ge=0)] = 2
    pooler: Annotated[
        bool, About("a pooler: a tanh layer over the first token, which represents the whole text")
    ] = True
    token_dropout: Annotated[
        float, About("probability of dropping all of a token's vector, its n-grams included", ge=0, lt=1)
    ] = 0.0
    ngrams: Annotated[
        tuple[int, ...],
        About(
            "n-gram embeddings: orders of the n-grams of tokens that have vectors of their own; none: no such"
        ),
    ] = ()
    ngram_places: Annotated[
        Literal["last", "any"],
        About("n-grams whose vectors a token has: those that end in it, or all that hold it, by its place"),
    ] = "last"
    ngram_rows: Annotated[
        int, About("rows of the table of n-gram embeddings, which n-grams share by their hash", ge=1)
    ] = 65_536

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ngrams and (min(self.ngrams) < 2 or max(self.ngrams) > _LONGEST_ORDER):
            raise RecipeError(
                f"{self.ngrams} are no orders of n-grams of tokens",
                where="ngrams",
                advice=f"give orders from 2 to {_LONGEST_ORDER}",
            )


@dataclass(frozen=True, kw_only=True)
class EncoderDecoderSpec(TransformerSpec):
    """An encoder-decoder Transformer. The defaults are those of Vaswani et al. 2017, but small."""

    kind: Literal["encoder-decoder"] = "encoder-decoder"
    layers: Annotated[int, About("number of blocks of the encoder", ge=1)] = 3
    decoder_layers: Annotated[
        int | None, About("number of blocks of the decoder; left out: as many as the encoder", ge=1)
    ] = None
    d_ff: int = 1024
    position: Positions = SinusoidalPositions()
    norm: Norm = "layernorm"
    norm_eps: float = 1e-5
    placement: Placement = "post"
    activation: Activation = "relu"
    bias: Bias = "all"
    dropout: float = 0.1
    start: Annotated[int | None, About("id a target begins with; left out: the tokenizer's start", ge=0)] = (
        None
    )

    @property
    def decoder_depth(self) -> int:
        """Number of blocks of the decoder."""
        return self.decoder_layers or self.layers


Cell = Literal["gru", "lstm"]
GATES: dict[Cell, int] = {"gru": 3, "lstm": 4}  # or what is computed like one: matrices for input and state


@dataclass(frozen=True, kw_only=True)
class CellsSpec(_Family):
    """Layers of recurrent cells, whatever they are made into."""

    kind: str = ""
    cell: Annotated[Cell, About("gated recurrent unit, or long short-term memory")] = "gru"
    d_model: Annotated[int, About("width of the token embeddings", "features", ge=1)] = 256
    hidden: Annotated[int | None, About("width of a state; left out: d_model", "features", ge=1)] = None
    layers: Annotated[int, About("number of recurrent layers", ge=1)] = 2
    context: Annotated[int, About("longest sequence the model reads", "tokens", ge=1)] = 512
    dropout: Annotated[float, About("probability of dropping inputs and outputs of layers", ge=0, lt=1)] = 0.0

    @property
    def width(self) -> int:
        """Width of a state."""
        return self.hidden or self.d_model


@dataclass(frozen=True, kw_only=True)
class RecurrentSpec(CellsSpec):
    """A recurrent language model: a GRU or an LSTM, with self-attention over its states if wanted."""

    kind: Literal["recurrent"] = "recurrent"
    attention: Annotated[
        bool, About("causal self-attention over the states, added to them before the output layer")
    ] = False
    heads: Annotated[int, About("number of heads of that attention", ge=1)] = 4
    tied: Annotated[
        bool, About("input embedding and output layer share one matrix (a projection fits the widths)")
    ] = True

    def __post_init__(self) -> None:
        if self.attention and self.width % self.heads:
            raise RecipeError(f"{self.width} cannot be divided among {self.heads} heads", where="heads")

    @property
    def key_heads(self) -> int:
        """Number of key and value heads of the self-attention."""
        return self.heads

    @property
    def head_width(self) -> int:
        """Width of one head of the self-attention."""
        return self.width // self.heads


@dataclass(frozen=True, kw_only=True)
class RecurrentEncoderDecoderSpec(CellsSpec):
    """A recurrent sequence-to-sequence model with attention (Bahdanau et al. 2015; Luong et al. 2015)."""

    kind: Literal["recurrent-encoder-decoder"] = "recurrent-encoder-decoder"
    cell: Cell = "lstm"
    layers: Annotated[int, About("recurrent layers of the encoder, and of the decoder", ge=1)] = 2
    context: Annotated[int, About("longest sequence the model reads or writes", "tokens", ge=1)] = 512
    dropout: float = 0.1
    bidirectional: Annotated[bool, About("bidirectional encoder, half of the width each way")] = True
    attention: Annotated[
        Literal["additive", "dot", "general", "none"],
        About("additive (Bahdanau), or a product with (general) or without (dot) a matrix (Luong)"),
    ] = "general"
    input_feeding: Annotated[
        bool, About("the last attentional state is read beside the token (Luong et al. 2015, section 3.3)")
    ] = True
    bridge: Annotated[
        bool, About("a trained layer between the encoder's last states and the decoder's first")
    ] = True
    tied: Annotated[bool, About("source, target and output embeddings share one matrix")] = True

    def __post_init__(self) -> None:
        if self.bidirectional and self.width % 2:
            raise RecipeError(
                f"{self.width} is odd: each direction has half of it", where="hidden", advice="make it even"
            )

    @property
    def fed_width(self) -> int:
        """Width of what the decoder reads beside a token; 0 without input feeding, or attention to feed it from."""
        return self.width if self.input_feeding and self.attention != "none" else 0


@dataclass(frozen=True, kw_only=True)
class NGramSpec(_Family):
    """A statistical language model: what followed the last tokens in the training text, counted and smoothed."""

    kind: Literal["ngram"] = "ngram"
    order: Annotated[
        int,
        About(
            "longest n-gram, the predicted token included; only infinity smoothing looks further", ge=1, le=32
        ),
    ] = 5
    smoothing: Annotated[
        Literal["add-k", "witten-bell", "katz", "kneser-ney", "modified-kneser-ney", "infinity"],
        About(
            "smoothing of unseen n-grams; infinity: modified Kneser-Ney, and over it every longer context seen"
        ),
    ] = "modified-kneser-ney"
    k: Annotated[float, About("add-k: added to every count", gt=0)] = 0.01
    discount: Annotated[
        float | None,
        About(
            "kneser-ney: discount subtracted from every count; left out: estimated for each order", gt=0, lt=1
        ),
    ] = None
    cache: Annotated[
        float, About("weight of a cache of the tokens read last (Kuhn & De Mori 1990); 0: none", ge=0, lt=1)
    ] = 0.0
    cache_window: Annotated[int, About("tokens the cache holds", "tokens", ge=1)] = 500
    context: Annotated[int, About("longest sequence the model reads", "tokens", ge=1)] = 1024

    def __post_init__(self) -> None:
        if self.order > self.context:
            raise RecipeError(f"{self.order} is more than the model reads (context)", where="order")
        if self.cache and self.cache_window > self.context:
            raise RecipeError(
                f"{self.cache_window} is more than the model reads (context)", where="cache_window"
            )


@dataclass(frozen=True, kw_only=True)
class LinearSpec(_Family):
    """A linear model of a text's n-grams of words and characters, hashed: trained in seconds, all at once."""

    kind: Literal["linear"] = "linear"
    words: Annotated[
        tuple[int, ...], About("orders of the word n-grams (each hanzi is a word); none: no words")
    ] = (1, 2, 3)
    characters: Annotated[tuple[int, ...], About("orders of the character n-grams; none: no characters")] = ()
    bits: Annotated[int, About("hash bits: n-grams are told apart by so many", "bits", ge=8, le=28)] = 22
    weighting: Annotated[
        Literal["tf-idf", "naive-bayes", "binary"],
        About(
            "n-grams weighted by how rare they are (tf-idf), by their naive Bayes log-count ratio (Wang & Manning "
            "2012), or all alike (binary)"
        ),
    ] = "tf-idf"
    penalty: Annotated[
        float | None,
        About("L2 penalty: loss + penalty/2 · |weights|²; left out: chosen on held-out texts", gt=0),
    ] = None
    context: Annotated[int, About("longest text the model reads", "tokens", ge=1)] = 1 << 20

    def __post_init__(self) -> None:
        orders = (*self.words, *self.characters)
        if not orders or min(orders) < 1 or max(orders) > _LONGEST_ORDER:
            raise RecipeError(
                f"{orders} are no orders of n-grams",
                where="words",
                advice=f"give orders from 1 to {_LONGEST_ORDER} of words, of characters, or both",
            )


@dataclass(frozen=True, kw_only=True)
class MixtureSpec(_Family):
    """Several models of one tokenizer whose probabilities are added up. It is made of models, never by a recipe."""

    kind: Literal["mixture"] = "mixture"
    parts: Annotated[int, About("models in it", ge=1)] = 2
    context: Annotated[int, About("longest sequence that all of them read", "tokens", ge=1)] = 512


AtOnceSpec = NGramSpec | LinearSpec  # made in one step, without an optimiser's
ModelSpec = (  # told apart by `kind`; a table without one is a decoder's
    DecoderSpec
    | EncoderSpec
    | EncoderDecoderSpec
    | RecurrentSpec
    | RecurrentEncoderDecoderSpec
    | NGramSpec
    | LinearSpec
)
TrainedSpec = DecoderSpec | EncoderSpec | EncoderDecoderSpec | RecurrentSpec | RecurrentEncoderDecoderSpec
TRAINED = tuple(spec.kind for spec in get_args(TrainedSpec))  # the kinds of it: all but what is made at once
AT_ONCE = tuple(spec.kind for spec in get_args(AtOnceSpec))
READ_AND_WRITE = (
    "encoder-decoder",
    "recurrent-encoder-decoder",
)  # kinds that read a source and write a target
WHOLE = 1 << 62  # tokens of a source that has no longest
_TRAINING = ("dropout", "token_dropout", "base_width", "start")  # fields on which no logit depends


def longest_source(spec: ModelSpec | MixtureSpec) -> int:
    """Tokens of a source that a model reads: T5 tells tokens apart by their distance only, and reads any number."""
    return WHOLE if isinstance(spec, EncoderDecoderSpec) and spec.position.kind == "t5" else spec.context


def computed(spec: ModelSpec) -> dict[str, Any]:
    """What a model of this spec computes, by field: two specs give the same logits where this is equal.

    Defaults are spelt out, and what a field would change that is not there is left out: a theta of windows without
    a window, a period longer than the model.

    >>> computed(DecoderSpec(dropout=0.5)) == computed(DecoderSpec(kv_heads=4, head_dim=64, full_every=None))
    True
    """
    fields = {field.name: getattr(spec, field.name) for field in dataclasses.fields(spec)}
    fields = {name: value for name, value in fields.items() if name not in _TRAINING}
    if not isinstance(spec, TransformerSpec):
        return fields
    if isinstance(spec, EncoderDecoderSpec):
        fields["decoder_layers"] = spec.decoder_depth
    windowed = whole = spec.of_block(
        0
    )  # a block that has the window, if any has; and one that has none, if any
    if spec.full_every is not None and spec.full_every <= max(spec.layers, fields.get("decoder_layers", 0)):
        whole = spec.of_block(spec.full_every - 1)
    local = windowed.position if windowed.position != whole.position else None
    return fields | {
        "kv_heads": spec.key_heads,
        "head_dim": spec.head_width,
        "attention_scale": spec.attention_scale or spec.head_width**-0.5,
        "scaled_embedding": spec.scaled_embedding or isinstance(spec.position, SinusoidalPositions),
        "final_norm": spec.last_norm,
        "position": whole.position,
        "window": windowed.window,
        "full_every": spec.full_every if whole != windowed else None,
        "window_theta": local.theta if isinstance(local, RotaryPositions) else None,
    }
