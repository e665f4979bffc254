"""How weights of decoders are called, and how they lie, in the files of each published architecture."""

from __future__ import annotations

from textmill.interop.rules.rule import Rule, both, gate_rows, qkv_rows

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
