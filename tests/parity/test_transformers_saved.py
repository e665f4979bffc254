"""Directories that transformers alone made and saved: its configurations, its names, its layouts."""

import pytest
import torch

from textmill.base.errors import TextmillError
from textmill.data.batch import Batch
from textmill.interop.huggingface import directory

transformers = pytest.importorskip("transformers")

LIKE_BERT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
}
LIKE_BART = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 1,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "max_position_embeddings": 40,
    "pad_token_id": 1,
    "decoder_start_token_id": 2,
    "eos_token_id": 2,
}
LIKE_T5 = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 0}
LIKE_GEMMA = {
    "hidden_size": 32,
    "num_hidden_layers": 7,
    "num_attention_heads": 4,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "intermediate_size": 48,
    "sliding_window": 6,
    "max_position_embeddings": 64,
    "query_pre_attn_scalar": 24,
}
MADE = {
    "gemma3_text": ("Gemma3ForCausalLM", "Gemma3TextConfig", LIKE_GEMMA),
    "gemma3_text-stretched": (
        "Gemma3ForCausalLM",
        "Gemma3TextConfig",
        LIKE_GEMMA
        | {"rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6}}},
    ),
    "bert": ("BertForPreTraining", "BertConfig", LIKE_BERT),
    "bert-masked": ("BertForMaskedLM", "BertConfig", LIKE_BERT | {"hidden_act": "gelu_new"}),
    "roberta": ("RobertaForMaskedLM", "RobertaConfig", LIKE_BERT | {"type_vocab_size": 1}),
    "roberta-pad-3": ("RobertaForMaskedLM", "RobertaConfig", LIKE_BERT | {"pad_token_id": 3}),
    "distilbert": (
        "DistilBertForMaskedLM",
        "DistilBertConfig",
        {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48, "max_position_embeddings": 40},
    ),
    "t5": ("T5ForConditionalGeneration", "T5Config", LIKE_T5),
    "t5-gated": (
        "T5ForConditionalGeneration",
        "T5Config",
        LIKE_T5 | {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    ),
    "mt5": ("MT5ForConditionalGeneration", "MT5Config", LIKE_T5),
    "bart": ("BartForConditionalGeneration", "BartConfig", LIKE_BART),
    "marian": (
        "MarianMTModel",
        "MarianConfig",
        LIKE_BART | {"scale_embedding": True, "activation_function": "swish"},
    ),
}


def make(name, tokenizer, **more):
    """A model far from its beginning, where nothing is symmetric and no bias is zero."""
    model, config, shape = MADE[name]
    cls = getattr(transformers, model)
    made = cls(getattr(transformers, config)(vocab_size=tokenizer.vocabulary, **shape | more)).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
        for table in ("embeddings.position_embeddings", "embeddings.word_embeddings"):
            if hasattr(made.base_model, "embeddings"):
                made.base_model.get_submodule(table).weight.add_(0.05)
    return made


def compare(published, theirs, atol=1e-4):
    inputs = torch.randint(5, 250, (2, 11))
    spec = published.spec
    with torch.no_grad():
        if spec.kind == "encoder-decoder":
            source = torch.randint(5, 250, (2, 13))
            logits = published.model(Batch(inputs, inputs, source=source))
            reference = theirs(input_ids=source, decoder_input_ids=inputs).logits
        else:
            logits = published.model(Batch(inputs, inputs))
            answer = theirs(input_ids=inputs)
            reference = answer.prediction_logits if hasattr(answer, "prediction_logits") else answer.logits
    torch.testing.assert_close(logits, reference, rtol=0, atol=atol)


@pytest.mark.parametrize("name", MADE)
def test_what_transformers_saves_is_read(name, tmp_path, tokenizer):
    theirs = make(name, tokenizer)
    theirs.save_pretrained(tmp_path)
    tokenizer.save(tmp_path / "tokenizer.json")
    published = directory.read_directory(tmp_path)
    compare(published, theirs)
    assert published.missing == published.ignored == ()
    directory.write_directory(
        tmp_path / "again", published.model, published.tokenizer, published.generation, {}
    )
    compare(directory.read_directory(tmp_path / "again"), theirs)


def test_in_several_files(tmp_path, tokenizer):
    theirs = make("bart", tokenizer)
    theirs.save_pretrained(tmp_path, max_shard_size="20KB")
    tokenizer.save(tmp_path / "tokenizer.json")
    assert len(list(tmp_path.glob("*.safetensors"))) > 3
    compare(directory.read_directory(tmp_path), theirs)


def test_an_output_layer_of_its_own_is_believed_whatever_the_configuration_says(tmp_path, tokenizer):
    theirs = make("t5", tokenizer)
    theirs.lm_head.weight = torch.nn.Parameter(torch.randn_like(theirs.lm_head.weight))
    theirs.config.tie_word_embeddings = True
    state = {name: t.clone() for name, t in theirs.state_dict().items() if "embed_tokens" not in name}
    from safetensors.torch import save_file

    theirs.save_pretrained(tmp_path)
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    tokenizer.save(tmp_path / "tokenizer.json")
    published = directory.read_directory(tmp_path)
    assert not published.spec.tied
    compare(published, theirs)


@pytest.mark.parametrize("name", ["bert", "roberta", "distilbert"])
def test_a_body_alone_has_states_and_no_guesses(name, tmp_path, tokenizer):
    """As sentence encoders are published: no layer that predicts hidden tokens, names without a prefix."""
    theirs = make(name, tokenizer)
    body = theirs.base_model.eval()
    body.save_pretrained(tmp_path / "body")
    tokenizer.save(tmp_path / "body/tokenizer.json")
    published = directory.read_directory(tmp_path / "body")
    assert "transform.weight" in published.missing
    assert published.ignored == ()
    inputs = torch.randint(5, 250, (2, 11))
    batch = Batch(inputs, inputs)
    with torch.no_grad():
        states = published.model.hidden(batch)
        torch.testing.assert_close(states, body(inputs).last_hidden_state, rtol=0, atol=1e-4)
        with pytest.raises(TextmillError, match="no layer that predicts"):
            published.model(batch)
    directory.write_directory(tmp_path / "again", published.model, tokenizer, published.generation, {})
    again = directory.read_directory(tmp_path / "again")
    assert again.missing == published.missing
    with torch.no_grad():
        assert torch.equal(again.model.hidden(batch), states)
        loaded = transformers.AutoModel.from_pretrained(tmp_path / "again").eval()
        torch.testing.assert_close(loaded(inputs).last_hidden_state, states, rtol=0, atol=1e-4)


def test_gemma_with_eyes_is_read_as_the_language_model_in_it(tmp_path, tokenizer):
    text = transformers.Gemma3TextConfig(vocab_size=tokenizer.vocabulary, **LIKE_GEMMA)
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision |= {"image_size": 32, "patch_size": 16, "model_type": "siglip_vision_model"}
    config = transformers.Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4)
    theirs = transformers.Gemma3ForConditionalGeneration(config).eval()
    theirs.save_pretrained(tmp_path)
    tokenizer.save(tmp_path / "tokenizer.json")
    published = directory.read_directory(tmp_path)
    compare(published, theirs)
    assert published.ignored
    assert all("vision" in name or "multi_modal" in name for name in published.ignored)
