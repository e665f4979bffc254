"""What a generation_config.json asks for, beside transformers' own `generate` of the same directory."""

from __future__ import annotations

import json

import pytest
import torch

from helpers.published import BART, T5, shaken
from textmill.base.console import Silent
from textmill.base.errors import TextmillError
from textmill.decoding.decode import answers
from textmill.decoding.prompt import Prompt, of_text
from textmill.decoding.sampling import changed, strategies
from textmill.interop.huggingface import directory as huggingface
from textmill.interop.huggingface import generation
from textmill.models.build import build
from textmill.specs.model import DecoderSpec, EncoderDecoderSpec
from textmill.specs.recipe import GenerationSpec
from textmill.stages.use.model import LanguageModel
from textmill.stages.workspace.workspace import Workspace

transformers = pytest.importorskip("transformers")

SMALL = {"d_model": 32, "layers": 2, "heads": 4, "d_ff": 48, "context": 64}
NEW = {"max_new_tokens": 12}
CASES = {
    "nothing": NEW,
    "repetition": NEW | {"repetition_penalty": 1.4},
    "suppressed": NEW | {"suppress_tokens": list(range(40, 160))},
    "suppressed at the beginning": NEW | {"begin_suppress_tokens": list(range(150))},
    "banned runs": NEW | {"bad_words_ids": [[a, b] for a in range(250) for b in range(0, 250, 2)]},
    "banned words": NEW | {"bad_words_ids": [[number] for number in range(60, 200)]},
    "a banned end is none": NEW | {"bad_words_ids": [[0], [70], [71]]},
    "forced end": NEW | {"forced_eos_token_id": 97},
    "forced end of beams": NEW | {"forced_eos_token_id": [97], "num_beams": 3},
    "decay": NEW | {"exponential_decay_length_penalty": [3, 1.6]},
    "decay of beams": NEW | {"exponential_decay_length_penalty": [2, 0.9], "num_beams": 3},
    "no run of the prompt": NEW | {"encoder_no_repeat_ngram_size": 2},
    "no token of the prompt": NEW | {"encoder_no_repeat_ngram_size": 1, "num_beams": 2},
    "no run twice": NEW | {"no_repeat_ngram_size": 2, "min_new_tokens": 6},
    "all at once": NEW
    | {"no_repeat_ngram_size": 3, "encoder_no_repeat_ngram_size": 3, "suppress_tokens": [99, 100]}
    | {"forced_eos_token_id": 97, "bad_words_ids": [[70, 71], [72]], "num_beams": 3, "length_penalty": 0.7},
}
TARGET = {
    "forced first": {"forced_bos_token_id": 41, "max_length": 14, "min_length": 4},
    "and no more": NEW | {"forced_bos_token_id": 41, "begin_suppress_tokens": list(range(40, 240))},
}


@pytest.fixture(scope="module", params=["llama", "bart"])
def made(request, tmp_path_factory, tokenizer):
    """A directory that others could have published, and the model in it as both read it."""
    place = tmp_path_factory.mktemp("settings") / request.param
    spec = (
        DecoderSpec(**SMALL) if request.param == "llama" else EncoderDecoderSpec(**SMALL, **BART, dropout=0)
    )
    torch.manual_seed(5)
    ours = build(spec, tokenizer.vocabulary).eval()
    for parameter in ours.parameters():
        parameter.data.add_(torch.randn_like(parameter) * (0.3 if parameter.ndim == 2 else 0.0))
    huggingface.write_directory(place, ours, tokenizer, GenerationSpec(), {})
    (place / "textmill.json").unlink()
    family = (
        transformers.AutoModelForCausalLM if request.param == "llama" else transformers.AutoModelForSeq2SeqLM
    )
    theirs = family.from_pretrained(place, local_files_only=True).eval()
    theirs.generation_config = transformers.GenerationConfig()  # else it fills in what a file leaves out
    return place, ours, theirs


def _both(made, settings, tokenizer):
    place, ours, theirs = made
    ends = [0, *range(200, 215)]
    config = json.loads((place / "config.json").read_text())
    (place / generation.NAME).write_text(
        json.dumps(settings | {"eos_token_id": ends, "pad_token_id": tokenizer.pad, "bos_token_id": 0})
    )
    spec = generation.read_generation(place, config)
    rows = torch.randint(30, 200, (4, 9), generator=torch.Generator().manual_seed(1))
    own = transformers.GenerationConfig.from_pretrained(place, local_files_only=True)
    if config.get("is_encoder_decoder"):
        own.decoder_start_token_id = 5
        prompts = [Prompt([5], source=row) for row in rows.tolist()]
    else:
        prompts = rows.tolist()
    width = 1 if config.get("is_encoder_decoder") else 9
    out = theirs.generate(rows, attention_mask=torch.ones_like(rows), generation_config=own)[
        :, width:
    ].tolist()
    wanted = []
    for row in out:
        stop = next((place + 1 for place, one in enumerate(row) if one in ends), len(row))
        wanted.append(tuple(row[:stop]))
    found = answers(ours, prompts, spec, ends=ends, decoder=tokenizer.stream)
    return [best[0].ids for best in found], wanted, spec, generation.unfollowed(place, config)


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=pytest.mark.slow if "banned" in str(case) else ()) for case in CASES]
)
def test_the_same_answers_as_transformers(made, case, tokenizer):
    found, wanted, spec, unfollowed = _both(made, CASES[case], tokenizer)
    assert found == wanted
    assert spec.temperature == 0
    assert unfollowed == ()


@pytest.mark.parametrize("case", TARGET)
def test_what_only_a_target_has(made, case, tokenizer):
    if "llama" in str(made[0]):
        assert any("forced_bos" in one for one in _both(made, TARGET[case], tokenizer)[3])
        return
    found, wanted, _, unfollowed = _both(made, TARGET[case], tokenizer)
    assert found == wanted
    assert unfollowed == ()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"temperature": 0.7},
        {"top_k": 5},
        {"top_k": 0, "top_p": 0.6},
        {"min_p": 0.1},
        {"typical_p": 0.4},
        {"epsilon_cutoff": 0.02},
        {"eta_cutoff": 0.05},
        {"temperature": 1.5, "top_k": 20, "top_p": 0.9, "typical_p": 0.9, "epsilon_cutoff": 0.01},
    ],
)
def test_tokens_are_drawn_from_the_same_distribution(settings, tmp_path):
    """What a file leaves out is what transformers takes it to be: 50 tokens, whole, at temperature 1."""
    (tmp_path / generation.NAME).write_text(json.dumps({"do_sample": True} | settings))
    own = transformers.GenerationConfig.from_pretrained(tmp_path, local_files_only=True)
    tiny = transformers.LlamaConfig(
        vocab_size=300, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1
    )
    model = transformers.LlamaForCausalLM(tiny)
    own, _ = model._prepare_generation_config(own)
    own._eos_token_tensor = None
    processors = model._get_logits_processor(own, input_ids_seq_length=1, device="cpu")
    logits = torch.randn(6, 300, generator=torch.Generator().manual_seed(0)) * 2
    wanted = processors(torch.zeros(6, 1, dtype=torch.int64), logits.clone()).softmax(-1)
    spec = generation.read_generation(tmp_path, {})
    found = changed(logits, strategies(spec), None).softmax(-1)
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-5)


def test_a_t5_reads_all_of_a_source_as_transformers_does(tmp_path, tokenizer):
    """Whatever length its config names: it tells tokens apart by their distance alone."""
    torch.manual_seed(2)
    spec = EncoderDecoderSpec(**SMALL | {"context": 24}, **T5, dropout=0.0, logit_scale=32**-0.5)
    ours = shaken(build(spec, tokenizer.vocabulary), by=0.3)
    huggingface.write_directory(tmp_path / "t5", ours, tokenizer, GenerationSpec(temperature=0.0), {})
    theirs = transformers.AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "t5", local_files_only=True).eval()
    model = LanguageModel(Workspace(tmp_path / "work", Silent()), str(tmp_path / "t5"))
    text = "the mill stood where the two streams met " * 5
    read = of_text(tokenizer, text, start=model.pretrained.target_start).source
    assert len(read) > 100
    wanted = theirs.generate(torch.tensor([read]), do_sample=False, max_new_tokens=12)[0, 1:].tolist()
    [found] = model.generate(text, tokens=12)
    assert (found.cut, found.text) == (0, tokenizer.decode([one for one in wanted if one != tokenizer.end]))
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patch, pytest.raises(TextmillError, match="takes about .* of memory"):
        patch.setattr("textmill.training.memory.free_bytes", lambda device: 1000)
        model.generate(text, tokens=12)
