"""Weights as others keep them: tied ones once, under whichever name; and bodies alone."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file, save_model

from textmill.base.errors import DamagedError, TextmillError
from textmill.data.batch import Batch
from textmill.interop import formats, parity
from textmill.interop.huggingface import directory
from textmill.stages.use import embed

transformers = pytest.importorskip("transformers")

LLAMA = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
BERT = {name: value for name, value in LLAMA.items() if name != "num_key_value_heads"}
BART = {"d_model": 32, "encoder_layers": 2, "decoder_layers": 1, "max_position_embeddings": 64}
BART |= {f"{side}_attention_heads": 4 for side in ("encoder", "decoder")}
BART |= {f"{side}_ffn_dim": 48 for side in ("encoder", "decoder")}
SHAPES = {
    "Llama": LLAMA,
    "Mistral": LLAMA,
    "Qwen2": LLAMA,
    "Qwen3": LLAMA | {"head_dim": 8},
    "Gemma3Text": LLAMA | {"head_dim": 8, "sliding_window": 8, "query_pre_attn_scalar": 8},
    "GPT2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64},
    "Bert": BERT,
    "Roberta": BERT,
    "DistilBert": {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48, "max_position_embeddings": 64},
    "Bart": BART,
    "Marian": BART | {"scale_embedding": True},
    "T5": {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4},
}
WHOLE = {
    "Gemma3Text": "Gemma3ForCausalLM",
    "GPT2": "GPT2LMHeadModel",
    "Bart": "BartForConditionalGeneration",
    "Marian": "MarianMTModel",
    "T5": "T5ForConditionalGeneration",
} | {name: f"{name}ForMaskedLM" for name in ("Bert", "Roberta", "DistilBert")}
TIED = ("GPT2", "Bart", "Marian")  # always
SOURCES = ("Bart", "Marian", "T5")


def made(stem, tokenizer, *, body=False, **more):
    """A model of transformers', far from its beginning."""
    start = {"decoder_start_token_id": 1, "pad_token_id": 0, "eos_token_id": 2}
    config = getattr(transformers, f"{stem}Config")(
        vocab_size=tokenizer.vocabulary, **SHAPES[stem], **(start if stem in SOURCES else {}), **more
    )
    name = f"{stem}Model" if body else WHOLE.get(stem, f"{stem}ForCausalLM")
    torch.manual_seed(0)
    model = getattr(transformers, name)(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:  # sinusoids stay what they are
                weight.add_(torch.randn_like(weight) * 0.15)
    return model


def inputs():
    return torch.randint(5, 250, (2, 12), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
@pytest.mark.parametrize("stem", SHAPES)
def test_tied_weights_are_kept_once_under_whichever_name(stem, tmp_path, tokenizer):
    theirs = made(stem, tokenizer, tie_word_embeddings=True)
    theirs.save_pretrained(tmp_path)
    save_model(theirs, str(tmp_path / "model.safetensors"), metadata={"format": "pt"})
    tokenizer.save(tmp_path / "tokenizer.json")
    read, ids = directory.read_directory(tmp_path), inputs()
    source = ids if stem in SOURCES else None
    wanted = theirs(ids, decoder_input_ids=ids) if source is not None else theirs(ids)
    torch.testing.assert_close(read.model(Batch(ids, ids, source=source)), wanted.logits, rtol=0, atol=1e-4)
    assert read.missing == read.ignored == () or stem == "Bert"


@torch.no_grad()
@pytest.mark.parametrize(
    ("stem", "tied"), [(stem, tied) for stem in SHAPES for tied in (False, True) if tied or stem not in TIED]
)
def test_a_body_is_read_as_a_body(stem, tied, tmp_path, tokenizer):
    theirs = made(stem, tokenizer, body=True, tie_word_embeddings=tied)
    theirs.save_pretrained(tmp_path / "theirs")
    tokenizer.save(tmp_path / "theirs" / "tokenizer.json")
    read, ids = directory.read_directory(tmp_path / "theirs"), inputs()
    source = ids if stem in SOURCES else None
    wanted = theirs(ids, decoder_input_ids=ids) if source is not None else theirs(ids)
    states = read.model.hidden(Batch(ids, ids, source=source))
    torch.testing.assert_close(states, wanted.last_hidden_state, rtol=0, atol=1e-4)
    assert read.model.bare == (not tied or read.spec.kind == "encoder")
    vectors = embed.embed(read, ["the mill", "a river"], embed.settings(tmp_path / "theirs"))
    assert vectors.vectors.shape == (2, 32)
    if read.model.bare:
        assert not read.writes
        with pytest.raises(TextmillError, match="output layer|predicts masked tokens"):
            read.model(Batch(ids, ids, source=source))


@torch.no_grad()
@pytest.mark.parametrize("stem", ["Llama", "T5", "Roberta"])
def test_a_body_is_written_as_a_body(stem, tmp_path, tokenizer):
    theirs = made(stem, tokenizer, body=True, tie_word_embeddings=False)
    theirs.save_pretrained(tmp_path / "theirs")
    tokenizer.save(tmp_path / "theirs" / "tokenizer.json")
    directory.write(tmp_path / "ours", directory.read_directory(tmp_path / "theirs"))
    report = parity.verify(tmp_path / "ours", ["The mill stood where", "two streams met"])
    assert report.ok, report
    if stem == "Llama":
        with pytest.raises(TextmillError, match="without its output layer"):
            formats.FORMATS["gguf"].write(directory.read_directory(tmp_path / "ours"), tmp_path / "m.gguf")


def test_a_file_without_an_output_layer_is_no_body_unless_it_says_so(tmp_path, tokenizer):
    made("Llama", tokenizer, tie_word_embeddings=False).save_pretrained(tmp_path)
    tokenizer.save(tmp_path / "tokenizer.json")
    path = tmp_path / "model.safetensors"
    held = load_file(path)
    held.pop("lm_head.weight")
    save_file(held, path)
    with pytest.raises(DamagedError, match=r"holds no tensor lm_head\.weight"):
        directory.read_directory(tmp_path)
