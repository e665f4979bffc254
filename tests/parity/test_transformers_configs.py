"""Where published config.json files keep a key: each place is read as transformers reads it, or refused by its name."""

from __future__ import annotations

import json

import pytest
import torch

from textmill.base.errors import TextmillError
from textmill.data.batch import Batch
from textmill.interop.huggingface import directory

transformers = pytest.importorskip("transformers")

SMALL = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
GEMMA = SMALL | {"head_dim": 16, "num_hidden_layers": 7, "sliding_window": 6, "query_pre_attn_scalar": 24}
GONE = object()  # in place of a value: the key is taken out
YARN = {"type": "yarn", "factor": 4.0}
LLAMA3 = {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
LONG = {"short_factor": [1.0], "long_factor": [1.0]}
ORIGINAL = "original_max_position_embeddings"
OLD = {"rope_parameters": GONE}  # as transformers 4 wrote it
KEPT = {
    "new": ("llama", {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}}),
    "theta at the top": ("llama", OLD | {"rope_theta": 500.0}),
    "no theta": ("llama", OLD),
    "theta within the scaling": (
        "llama",
        OLD | {"rope_theta": 100.0, "rope_scaling": {"type": "linear", "factor": 2.0, "rope_theta": 500.0}},
    ),
    "both, and the scaling counts": (
        "llama",
        {
            "rope_parameters": {"rope_type": "default", "rope_theta": 500.0},
            "rope_scaling": YARN | {ORIGINAL: 16},
        },
    ),
    "scaling without a type": ("llama", OLD | {"rope_scaling": {"factor": 2.0}}),
    "scaling of null": ("qwen2", OLD | {"rope_scaling": None, "rope_theta": 1e6}),
    "yarn at the top": ("llama", OLD | {"rope_theta": 1e4, ORIGINAL: 16, "rope_scaling": YARN}),
    "yarn within": ("qwen2", OLD | {"rope_theta": 1e6, "rope_scaling": YARN | {ORIGINAL: 16}}),
    "yarn in both, and the top counts": (
        "qwen3",
        OLD | {"rope_theta": 1e6, ORIGINAL: 8, "rope_scaling": YARN | {ORIGINAL: 16}},
    ),
    "yarn in neither": ("mistral", OLD | {"rope_theta": 1e4, "rope_scaling": YARN}),
    "yarn, new, at the top": (
        "llama",
        {"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "rope_theta": 1e4}, ORIGINAL: 16},
    ),
    "yarn with two scales": (
        "llama",
        OLD
        | {"rope_theta": 1e4, ORIGINAL: 16, "rope_scaling": YARN | {"mscale": 1.2, "mscale_all_dim": 0.8}},
    ),
    "yarn without a factor": (
        "llama",
        OLD | {"rope_scaling": {"type": "yarn", "factor": None, ORIGINAL: 16}},
    ),
    "llama3 within": ("llama", OLD | {"rope_theta": 5e5, "rope_scaling": LLAMA3 | {ORIGINAL: 16}}),
    "llama3 at the top": ("llama", OLD | {"rope_theta": 5e5, ORIGINAL: 16, "rope_scaling": LLAMA3}),
    "head_dim": ("llama", {"head_dim": 6}),
    "head_dim of null": ("mistral", {"head_dim": None}),
    "no head_dim": ("qwen2", {"head_dim": GONE}),
    "qwen3 head_dim": ("qwen3", {"head_dim": 10}),
    "tied": ("llama", {"tie_word_embeddings": True}),
    "not said to be tied": ("llama", {"tie_word_embeddings": GONE}),
    "qwen2, not said to be tied": ("qwen2", {"tie_word_embeddings": GONE}),
    "gemma, not said to be tied": ("gemma3_text", {"tie_word_embeddings": GONE}),
    "gpt2, not said to be tied": ("gpt2", {"tie_word_embeddings": GONE}),
    "window": ("mistral", {"sliding_window": 4}),
    "no window said": ("mistral", {"sliding_window": GONE}),
    "no key heads said": ("mistral", {"num_key_value_heads": GONE, "num_attention_heads": 8}),
    "key heads of null": ("llama", {"num_key_value_heads": None}),
    "window of null": ("mistral", {"sliding_window": None}),
    "a window that is not used": (
        "qwen2",
        {"sliding_window": 4, "use_sliding_window": False, "layer_types": GONE},
    ),
    "layer types": (
        "gemma3_text",
        {"layer_types": ["sliding_attention", "full_attention"] * 3 + ["sliding_attention"]},
    ),
    "a pattern of layers": ("gemma3_text", {"layer_types": GONE, "sliding_window_pattern": 3}),
    "gemma, old": ("gemma3_text", OLD | {"rope_theta": 5e5, "rope_local_base_freq": 500.0}),
    "gemma, old and stretched": (
        "gemma3_text",
        OLD | {"rope_theta": 5e5, "rope_scaling": {"rope_type": "linear", "factor": 8.0}},
    ),
    "gemma, half said": (
        "gemma3_text",
        {"rope_parameters": {"full_attention": {"rope_type": "default"}}, "rope_theta": 777.0},
    ),
    "ends": ("llama", {"eos_token_id": [2, 3], "pad_token_id": None}),
    "dtype, old": ("llama", {"torch_dtype": "float32", "dtype": GONE}),
    "gpt2, by other names": (
        "gpt2",
        dict.fromkeys(("n_embd", "n_layer", "n_head", "n_positions"), GONE)
        | {
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": 64,
        },
    ),
    "distilbert, by other names": (
        "distilbert",
        dict.fromkeys(("dim", "n_layers", "n_heads"), GONE)
        | {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4},
    ),
    "roberta without padding": ("roberta", {"pad_token_id": GONE}),
    "bart by other names": (
        "bart",
        {"d_model": GONE, "encoder_layers": GONE, "hidden_size": 32, "num_hidden_layers": 2},
    ),
}
REFUSED = {
    "dynamic": ("llama", OLD | {"rope_scaling": {"type": "dynamic", "factor": 2.0}}),
    "longrope": (
        "llama",
        OLD | {"rope_scaling": LONG | {"rope_type": "longrope"}},
    ),
    "su": ("llama", OLD | {"rope_scaling": LONG | {"type": "su"}}),
    "mrope": ("qwen2", OLD | {"rope_scaling": {"type": "mrope", "mrope_section": [1, 1, 2]}}),
    "mrope_section": ("qwen2", OLD | {"rope_scaling": {"type": "default", "mrope_section": [1, 1, 2]}}),
    "partial_rotary_factor": ("llama", {"partial_rotary_factor": 0.5}),
    "use_sliding_window": (
        "qwen2",
        {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 0},
    ),
    "add_cross_attention": ("gpt2", {"add_cross_attention": True}),
    "truncate": ("llama", OLD | {ORIGINAL: 16, "rope_scaling": YARN | {"truncate": False}}),
}
MADE = {
    "llama": ("Llama", SMALL),
    "mistral": ("Mistral", SMALL),
    "qwen2": ("Qwen2", SMALL),
    "qwen3": ("Qwen3", SMALL | {"head_dim": 8}),
    "gemma3_text": ("Gemma3", GEMMA),
    "gpt2": ("GPT2", {"vocab_size": 300, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}),
    "distilbert": (
        "DistilBert",
        {
            "vocab_size": 300,
            "dim": 32,
            "n_layers": 2,
            "n_heads": 4,
            "hidden_dim": 48,
            "max_position_embeddings": 64,
        },
    ),
    "roberta": ("Roberta", SMALL | {"type_vocab_size": 1}),
    "bart": (
        "Bart",
        {
            "vocab_size": 300,
            "d_model": 32,
            "encoder_layers": 2,
            "decoder_layers": 1,
            "max_position_embeddings": 64,
        }
        | {
            f"{side}_{name}": value
            for side in ("encoder", "decoder")
            for name, value in (("attention_heads", 4), ("ffn_dim", 48))
        },
    ),
}
CLASSES = {"gpt2": "GPT2LMHeadModel", "bart": "BartForConditionalGeneration"}
CLASSES |= {name: f"{MADE[name][0]}ForMaskedLM" for name in ("distilbert", "roberta")}


def class_of(kind):
    return getattr(transformers, CLASSES.get(kind, f"{MADE[kind][0]}ForCausalLM"))


def kept(place, kind, changes, tokenizer):
    """A directory of transformers' with a config.json changed by hand, whose weights are those that such a file asks
    for, far from their beginning."""
    stem, shape = MADE[kind]
    config = getattr(transformers, {"gemma3_text": "Gemma3TextConfig"}.get(kind, f"{stem}Config"))(**shape)
    place.mkdir()
    config.architectures = [class_of(kind).__name__]
    config.save_pretrained(place)
    path = place / "config.json"
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: value for name, value in content.items() if value is not GONE}))
    torch.manual_seed(3)
    model = class_of(kind)(transformers.AutoConfig.from_pretrained(place)).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.2)
    written = path.read_text()
    model.save_pretrained(place)
    path.write_text(written)
    tokenizer.save(place / "tokenizer.json")
    return place


@torch.no_grad()
@pytest.mark.parametrize("name", KEPT)
def test_a_key_is_read_wherever_it_is_kept(name, tmp_path, tokenizer):
    kind, changes = KEPT[name]
    place = kept(tmp_path / "model", kind, changes, tokenizer)
    theirs = class_of(kind).from_pretrained(place).eval()
    ids = torch.randint(5, 250, (2, 40), generator=torch.Generator().manual_seed(1))
    source = ids if kind == "bart" else None
    wanted = theirs(ids, decoder_input_ids=ids).logits if kind == "bart" else theirs(ids).logits
    read = directory.read_directory(place)
    torch.testing.assert_close(read.model(Batch(ids, ids, source=source)), wanted, rtol=0, atol=1e-4)
    directory.write(tmp_path / "ours", read)
    again = class_of(kind).from_pretrained(tmp_path / "ours").eval()
    back = again(ids, decoder_input_ids=ids).logits if kind == "bart" else again(ids).logits
    torch.testing.assert_close(back, wanted, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_computed_here_is_refused_by_its_name(name, tmp_path, tokenizer):
    kind, changes = REFUSED[name]
    place = kept(tmp_path / "model", kind, {}, tokenizer)
    content = json.loads((place / "config.json").read_text()) | changes
    (place / "config.json").write_text(
        json.dumps({key: value for key, value in content.items() if value is not GONE})
    )
    with pytest.raises(TextmillError, match=name):
        directory.read_directory(place)
