"""Which rules a published architecture goes by, and how else its names are spelt."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from textmill.interop.huggingface.rules.rule import Rule, both, gate_rows, key_value_rows, qkv_rows
from textmill.specs.model import TransformerSpec

_PLAIN = both("head", "classifier")
_SPAN = both("head", "qa_outputs")
_LIKE_LLAMA = {"classify": (Rule("head.weight", ("score.weight",)),), "tag": both("head", "score")}
HEADS: Mapping[str, Mapping[str, tuple[Rule, ...]]] = {
    "bert": {"classify": _PLAIN, "tag": _PLAIN, "answer": _SPAN},
    "roberta": {
        "classify": (*both("head.dense", "classifier.dense"), *both("head", "classifier.out_proj")),
        "tag": _PLAIN,
        "answer": _SPAN,
    },
    "distilbert": {
        "classify": (*both("head.dense", "pre_classifier"), *_PLAIN),
        "tag": _PLAIN,
        "answer": _SPAN,
    },
    "gpt2": {"classify": _LIKE_LLAMA["classify"], "tag": _PLAIN},
    "llama": _LIKE_LLAMA,
    "mistral": _LIKE_LLAMA,
    "qwen2": _LIKE_LLAMA,
    "qwen3": _LIKE_LLAMA,
}


def head_rules(kind: str, head: str) -> tuple[Rule, ...]:
    """The rules of a head (`regress` is stored as `classify` is) on a published kind; () where it has none."""
    return HEADS.get(kind, {}).get("classify" if head == "regress" else head, ())


_BART_ROWS = 2  # its tables of positions begin with rows that are never read


def _before(_config: Mapping[str, Any]) -> int:
    return _BART_ROWS


def _crossed(side: str) -> tuple[str, str]:
    return f"{side}.blocks.{{i}}.cross_attention.", f"model.{side}.layers.{{i}}.encoder_attn."


def _bart_side(side: str) -> tuple[Rule, ...]:
    ours, theirs = f"{side}.blocks.{{i}}.", f"model.{side}.layers.{{i}}."
    attention, published = ours + "attention.", theirs + "self_attn."
    crossed, crossing = _crossed(side)
    return (
        Rule(f"{side}.position_embedding.weight", (f"model.{side}.embed_positions.weight",), front=_before),
        *both(f"{side}.embedding_norm", f"model.{side}.layernorm_embedding"),
        *both(attention + "qkv", *(published + f"{part}_proj" for part in "qkv"), rows=qkv_rows),
        *both(attention + "output", published + "out_proj"),
        *both(ours + "attention_norm", theirs + "self_attn_layer_norm"),
        *both(crossed + "query", crossing + "q_proj"),
        *both(crossed + "keys_values", crossing + "k_proj", crossing + "v_proj", rows=key_value_rows),
        *both(crossed + "output", crossing + "out_proj"),
        *both(ours + "cross_attention_norm", theirs + "encoder_attn_layer_norm"),
        *both(ours + "feedforward.up", theirs + "fc1"),
        *both(ours + "feedforward.down", theirs + "fc2"),
        *both(ours + "feedforward_norm", theirs + "final_layer_norm"),
    )


BART = (  # also Marian, whose positions are sinusoids
    Rule(
        "embedding.weight",
        ("model.shared.weight",),
        also=("model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight"),
    ),
    *_bart_side("encoder"),
    *_bart_side("decoder"),
    Rule("output.weight", ("lm_head.weight",)),
    Rule("output_bias", ("final_logits_bias",), flat=True),
)


def _t5_side(side: str, last: int, feedforward: tuple[str, ...]) -> tuple[Rule, ...]:
    """`last`: place of the feed-forward layer among the sublayers; `feedforward`: what its first part is called."""
    ours, theirs = f"{side}.blocks.{{i}}.", f"{side}.block.{{i}}.layer."
    return (
        Rule(
            f"{side}.position_bias.weight",
            (f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight",),
        ),
        Rule(
            ours + "attention.qkv.weight",
            tuple(f"{theirs}0.SelfAttention.{part}.weight" for part in "qkv"),
            rows=qkv_rows,
        ),
        Rule(ours + "attention.output.weight", (theirs + "0.SelfAttention.o.weight",)),
        Rule(ours + "attention_norm.weight", (theirs + "0.layer_norm.weight",)),
        Rule(ours + "cross_attention.query.weight", (theirs + "1.EncDecAttention.q.weight",)),
        Rule(
            ours + "cross_attention.keys_values.weight",
            tuple(f"{theirs}1.EncDecAttention.{part}.weight" for part in "kv"),
            rows=key_value_rows,
        ),
        Rule(ours + "cross_attention.output.weight", (theirs + "1.EncDecAttention.o.weight",)),
        Rule(ours + "cross_attention_norm.weight", (theirs + "1.layer_norm.weight",)),
        Rule(
            ours + "feedforward.up.weight",
            tuple(f"{theirs}{last}.DenseReluDense.{name}.weight" for name in feedforward),
            rows=gate_rows,
        ),
        Rule(ours + "feedforward.down.weight", (f"{theirs}{last}.DenseReluDense.wo.weight",)),
        Rule(ours + "feedforward_norm.weight", (f"{theirs}{last}.layer_norm.weight",)),
        Rule(f"{side}.norm.weight", (f"{side}.final_layer_norm.weight",)),
    )


def _t5(*feedforward: str) -> tuple[Rule, ...]:
    return (
        Rule(
            "embedding.weight",
            ("shared.weight",),
            also=("encoder.embed_tokens.weight", "decoder.embed_tokens.weight"),
        ),
        *_t5_side("encoder", 1, feedforward),
        *_t5_side("decoder", 2, feedforward),
        Rule("output.weight", ("lm_head.weight",)),
    )


T5 = _t5("wi")
T5_GATED = _t5("wi_0", "wi_1")


_A, _F = "blocks.{i}.attention.", "blocks.{i}.feedforward."


def after_padding(config: Mapping[str, Any]) -> int:
    """RoBERTa counts positions from the id of padding (1, where none is said) and one on; the rows before are never
    read."""
    return int(config.get("pad_token_id", 1)) + 1


def _body(name: str, front: Any = None) -> tuple[Rule, ...]:
    """What BERT and RoBERTa share."""
    layer, embeddings = f"{name}.encoder.layer.{{i}}.", f"{name}.embeddings."
    return (
        Rule("embedding.weight", (embeddings + "word_embeddings.weight",)),
        Rule("position_embedding.weight", (embeddings + "position_embeddings.weight",), front=front),
        Rule("segment_embedding.weight", (embeddings + "token_type_embeddings.weight",)),
        *both("embedding_norm", embeddings + "LayerNorm"),
        *both(
            _A + "qkv",
            *(layer + f"attention.self.{part}" for part in ("query", "key", "value")),
            rows=qkv_rows,
        ),
        *both(_A + "output", layer + "attention.output.dense"),
        *both("blocks.{i}.attention_norm", layer + "attention.output.LayerNorm"),
        *both(_F + "up", layer + "intermediate.dense"),
        *both(_F + "down", layer + "output.dense"),
        *both("blocks.{i}.feedforward_norm", layer + "output.LayerNorm"),
        *both("pooler", f"{name}.pooler.dense", head=True),
        # RoBERTa has no such layer. Who reads RoBERTa passes it over, and we lose nothing.
        *both("sentences", "cls.seq_relationship", head=True),
    )


BERT = (
    *_body("bert"),
    *both("transform", "cls.predictions.transform.dense", head=True),
    *both("transform_norm", "cls.predictions.transform.LayerNorm", head=True),
    Rule("output.weight", ("cls.predictions.decoder.weight",), head=True),
    Rule(
        "output_bias",
        ("cls.predictions.decoder.bias",),
        also=("cls.predictions.bias",),
        copied=True,
        head=True,
    ),
)
ROBERTA = (
    *_body("roberta", after_padding),
    *both("transform", "lm_head.dense", head=True),
    *both("transform_norm", "lm_head.layer_norm", head=True),
    Rule("output.weight", ("lm_head.decoder.weight",), head=True),
    Rule("output_bias", ("lm_head.decoder.bias",), also=("lm_head.bias",), copied=True, head=True),
)
_D = "distilbert.transformer.layer.{i}."
DISTILBERT = (
    Rule("embedding.weight", ("distilbert.embeddings.word_embeddings.weight",)),
    Rule("position_embedding.weight", ("distilbert.embeddings.position_embeddings.weight",)),
    *both("embedding_norm", "distilbert.embeddings.LayerNorm"),
    *both(_A + "qkv", *(_D + f"attention.{part}_lin" for part in "qkv"), rows=qkv_rows),
    *both(_A + "output", _D + "attention.out_lin"),
    *both("blocks.{i}.attention_norm", _D + "sa_layer_norm"),
    *both(_F + "up", _D + "ffn.lin1"),
    *both(_F + "down", _D + "ffn.lin2"),
    *both("blocks.{i}.feedforward_norm", _D + "output_layer_norm"),
    *both("transform", "vocab_transform", head=True),
    *both("transform_norm", "vocab_layer_norm", head=True),
    Rule("output.weight", ("vocab_projector.weight",), head=True),
    Rule("output_bias", ("vocab_projector.bias",), head=True),
)


_A, _F, _T = "blocks.{i}.attention.", "blocks.{i}.feedforward.", "model.layers.{i}."
_MATRICES = (
    Rule("embedding.weight", ("model.embed_tokens.weight",)),
    *both(_A + "qkv", *(_T + f"self_attn.{name}_proj" for name in "qkv"), rows=qkv_rows),
    *both(_A + "output", _T + "self_attn.o_proj"),
    *both(_F + "up", _T + "mlp.gate_proj", _T + "mlp.up_proj", rows=gate_rows),
    *both(_F + "down", _T + "mlp.down_proj"),
    Rule("output.weight", ("lm_head.weight",)),
)
LLAMA = (  # also Mistral, Qwen2 (biases of queries, keys and values) and Qwen3 (their norms)
    *_MATRICES,
    Rule("blocks.{i}.attention_norm.weight", (_T + "input_layernorm.weight",)),
    Rule(_A + "q_norm.weight", (_T + "self_attn.q_norm.weight",)),
    Rule(_A + "k_norm.weight", (_T + "self_attn.k_norm.weight",)),
    Rule("blocks.{i}.feedforward_norm.weight", (_T + "post_attention_layernorm.weight",)),
    Rule("norm.weight", ("model.norm.weight",)),
)
GEMMA3 = (  # its norms multiply by 1 + weight
    *_MATRICES,
    Rule("blocks.{i}.attention_norm.weight", (_T + "input_layernorm.weight",), added=1.0),
    Rule("blocks.{i}.attention_norm_after.weight", (_T + "post_attention_layernorm.weight",), added=1.0),
    Rule(_A + "q_norm.weight", (_T + "self_attn.q_norm.weight",), added=1.0),
    Rule(_A + "k_norm.weight", (_T + "self_attn.k_norm.weight",), added=1.0),
    Rule("blocks.{i}.feedforward_norm.weight", (_T + "pre_feedforward_layernorm.weight",), added=1.0),
    Rule("blocks.{i}.feedforward_norm_after.weight", (_T + "post_feedforward_layernorm.weight",), added=1.0),
    Rule("norm.weight", ("model.norm.weight",), added=1.0),
)
_H = "transformer.h.{i}."
GPT2 = (
    Rule("embedding.weight", ("transformer.wte.weight",)),
    Rule("position_embedding.weight", ("transformer.wpe.weight",)),
    *both("blocks.{i}.attention_norm", _H + "ln_1"),
    *both(_A + "qkv", _H + "attn.c_attn", transposed=True),
    *both(_A + "output", _H + "attn.c_proj", transposed=True),
    *both("blocks.{i}.feedforward_norm", _H + "ln_2"),
    *both(_F + "up", _H + "mlp.c_fc", transposed=True),
    *both(_F + "down", _H + "mlp.c_proj", transposed=True),
    *both("norm", "transformer.ln_f"),
    Rule("output.weight", ("lm_head.weight",)),
)


_RULES: Mapping[str, tuple[Rule, ...]] = {
    "llama": LLAMA,
    "mistral": LLAMA,
    "qwen2": LLAMA,
    "qwen3": LLAMA,
    "gemma3_text": GEMMA3,
    "gpt2": GPT2,
    "bert": BERT,
    "roberta": ROBERTA,
    "distilbert": DISTILBERT,
    "bart": BART,
    "marian": BART,
    "t5": T5,
}
_GATED: Mapping[str, tuple[Rule, ...]] = {"t5": T5_GATED}
# A body alone is saved without its prefix, and Gemma 3 with images has another one.
_PREFIXES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "llama": (("model.", ""),),
    "mistral": (("model.", ""),),
    "qwen2": (("model.", ""),),
    "qwen3": (("model.", ""),),
    "gemma3_text": (
        ("model.", "language_model.model."),
        ("model.", "model.language_model."),
        ("lm_head.", "language_model.lm_head."),
        ("model.", ""),
    ),
    "gpt2": (("transformer.", ""),),
    "bert": (("bert.", ""),),
    "roberta": (("roberta.", ""),),
    "distilbert": (("distilbert.", ""),),
    "bart": (("model.", ""),),
    "marian": (("model.", ""),),
}
# BERT's first files call the parts of norms otherwise.
_ENDINGS = ((".LayerNorm.weight", ".LayerNorm.gamma"), (".LayerNorm.bias", ".LayerNorm.beta"))
# What some files hold though it follows from the configuration: counts, masks, frequencies, sinusoids.
_COMPUTED = re.compile(r"(?:^|\.)(?:position_ids|inv_freq|masked_bias|attn\.bias)$")
_SINUSOIDS = re.compile(r"(?:^|\.)embed_positions\.weight$")


def computed(kind: str, name: str) -> bool:
    """Whether a stored tensor of this name follows from the configuration."""
    return bool(_COMPUTED.search(name)) or (kind == "marian" and bool(_SINUSOIDS.search(name)))


def rules(kind: str, spec: TransformerSpec) -> tuple[Rule, ...]:
    """The rules of a published kind, for a model of this spec."""
    return _GATED[kind] if kind in _GATED and spec.gated else _RULES[kind]


def spellings(kind: str, name: str) -> Iterator[str]:
    """A published name, and what else it may be called in files of that kind; the likeliest first."""
    stems = [name]
    stems += [new + name.removeprefix(old) for old, new in _PREFIXES.get(kind, ()) if name.startswith(old)]
    for stem in stems:
        yield stem
        for usual, older in _ENDINGS:
            if stem.endswith(usual):
                yield stem.removesuffix(usual) + older
