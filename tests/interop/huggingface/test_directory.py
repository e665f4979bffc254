"""The standard directory: what is written comes back, what is damaged or foreign is refused by name."""

import dataclasses
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from helpers.published import GPT2, shaken
from textmill.base.errors import DamagedError, TextmillError
from textmill.data.batch import Batch
from textmill.interop.huggingface import directory as huggingface
from textmill.models.build import build
from textmill.nn import position
from textmill.specs.model import DecoderSpec
from textmill.specs.position import (
    AlibiPositions,
    LearnedPositions,
    LinearScaling,
    Llama3Scaling,
    NoPositions,
    RelativePositions,
    RotaryPositions,
    T5Positions,
    YarnScaling,
)
from textmill.specs.recipe import GenerationSpec

SMALL = {"d_model": 32, "layers": 2, "heads": 4, "d_ff": 48, "context": 32}
SCALED = RotaryPositions(theta=5e5, scaling=Llama3Scaling(factor=4.0, original_context=16))
PUBLISHED = {
    "llama": {},
    "llama-grouped-scaled": {"kv_heads": 2, "position": SCALED, "tied": False},
    "llama-linear": {"position": RotaryPositions(scaling=LinearScaling(factor=2.0))},
    "llama-yarn": {"position": RotaryPositions(scaling=YarnScaling(factor=2.0, original_context=16))},
    "llama-yarn-loud": {"position": RotaryPositions(scaling=YarnScaling(attention_factor=1.2))},
    "llama-biased": {"bias": "all", "activation": "geglu"},
    "mistral": {"window": 5, "kv_heads": 1},
    "qwen2": {"bias": "qkv", "tied": False},
    "qwen3": {"qk_norm": True, "kv_heads": 2, "head_dim": 16},
    "gpt2": GPT2 | {"dropout": 0.1},
    "gpt2-untied-relu": GPT2 | {"tied": False, "activation": "relu"},
}
ORPHANS = {
    "position = rotary (theta = 10000), not alibi": {"position": AlibiPositions()},
    "not t5 (buckets = 32, max_distance = 128)": {"position": T5Positions()},
    "not relative (clip = 16)": {"position": RelativePositions()},
    "not none": {"position": NoPositions()},
    "placement = pre, not sandwich": {"placement": "sandwich"},
    "placement = pre, not post and final_norm = true, not false": {"placement": "post"},
    "norm = rmsnorm, not batchnorm": {"norm": "batchnorm"},
    "has logit_softcap = none, not 5": {"logit_softcap": 5.0},
    "has attention_softcap = none, not 5": {"attention_softcap": 5.0},
    "llama, has activation = swiglu, not gelu": {"activation": "gelu"},
    "llama, has qk_norm = false, not true": {"qk_norm": True, "bias": "all"},
    "gpt2, has activation = gelu_tanh, not swiglu": GPT2 | {"activation": "swiglu"},
    "gpt2, has bias = all, not qkv": GPT2 | {"bias": "qkv"},
    "kv_heads = 4, not 2": GPT2 | {"kv_heads": 2},
}


def make(tokenizer, **more):
    spec = DecoderSpec(**(SMALL | more))
    return shaken(build(spec, tokenizer.vocabulary, seed=1), 0.2)


def batch():
    x = torch.arange(24).view(2, 12)
    return Batch(inputs=x, targets=x)


@pytest.mark.parametrize("name", [*PUBLISHED, *ORPHANS])
def test_what_is_written_comes_back_to_the_bit(tmp_path, tokenizer, name):
    model = make(tokenizer, **(PUBLISHED | ORPHANS)[name])
    generation = GenerationSpec(tokens=7, temperature=0.5, top_k=3, presence_penalty=0.25, stop=("END",))
    about = huggingface.write_directory(
        tmp_path / "model", model, tokenizer, generation, {"task": "generation", "steps": 3}
    )
    config = json.loads((tmp_path / "model/config.json").read_text())
    if name in PUBLISHED:
        assert about["architecture"] == config["model_type"] == name.split("-")[0]
        assert about["reason"] is None
    else:
        assert about["architecture"] is None
        assert name in about["reason"]
    assert huggingface.is_published(config) == (name in PUBLISHED)
    back = huggingface.read_directory(tmp_path / "model")
    assert back.spec == model.spec
    assert back.generation == generation
    assert back.info == {"task": "generation", "steps": 3}
    assert back.tokenizer.id == tokenizer.id
    assert not back.model.training
    with torch.no_grad():
        assert torch.equal(back.model(batch()), model(batch()))


@pytest.mark.parametrize("name", PUBLISHED)
def test_other_peoples_directories_need_no_textmill_json(tmp_path, tokenizer, name):
    model = make(tokenizer, **PUBLISHED[name])
    huggingface.write_directory(tmp_path / "model", model, tokenizer, GenerationSpec(), {})
    (tmp_path / "model/textmill.json").unlink()
    back = huggingface.read_directory(tmp_path / "model")
    assert dataclasses.replace(back.spec, kv_heads=None, head_dim=None) == dataclasses.replace(
        model.spec, kv_heads=None, head_dim=None
    )
    assert back.generation == GenerationSpec(tokens=200)
    with torch.no_grad():
        assert torch.equal(back.model(batch()), model(batch()))


def test_weights_train_on_and_reload_in_another_dtype(tmp_path, tokenizer):
    model = make(tokenizer, kv_heads=2)
    huggingface.write_directory(tmp_path / "model", model.to(torch.bfloat16), tokenizer, GenerationSpec(), {})
    assert json.loads((tmp_path / "model/config.json").read_text())["torch_dtype"] == "bfloat16"
    back = huggingface.read_directory(tmp_path / "model")
    assert {p.dtype for p in back.model.parameters()} == {torch.float32}
    assert {
        p.dtype for p in huggingface.read_directory(tmp_path / "model", torch.bfloat16).model.parameters()
    } == {torch.bfloat16}
    back.model(batch()).sum().backward()
    torch.optim.SGD(back.model.parameters(), lr=0.1).step()
    again = huggingface.read_directory(tmp_path / "model")  # the file is not written through the map
    assert not torch.equal(again.model.embedding.weight, back.model.embedding.weight)


def test_tied_weights_are_stored_once_and_extra_files_beside(tmp_path, tokenizer):
    huggingface.write_directory(
        tmp_path / "model",
        make(tokenizer),
        tokenizer,
        GenerationSpec(),
        {},
        extra={"README.md": "# A card\n"},
    )
    names = set(load_file(tmp_path / "model/model.safetensors"))
    assert "lm_head.weight" not in names
    assert "model.embed_tokens.weight" in names
    assert (tmp_path / "model/README.md").read_text() == "# A card\n"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".partial")]


@pytest.fixture
def directory(tmp_path, tokenizer):
    huggingface.write_directory(tmp_path / "model", make(tokenizer), tokenizer, GenerationSpec(), {})
    return tmp_path / "model"


def change(path, **values):
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | values))


def test_weights_in_several_files(directory):
    want = huggingface.read_directory(directory).model(batch())
    tensors = load_file(directory / "model.safetensors")
    names = sorted(tensors)
    parts = {"a.safetensors": names[:5], "b.safetensors": names[5:]}
    for file, part in parts.items():
        save_file({name: tensors[name] for name in part}, directory / file)
    (directory / "model.safetensors").unlink()
    index = {"weight_map": {name: file for file, part in parts.items() for name in part}}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    assert torch.equal(huggingface.read_directory(directory).model(batch()), want)
    (directory / "model.safetensors.index.json").write_text(
        '{"weight_map": {"x": "../../elsewhere.safetensors"}}'
    )
    with pytest.raises(DamagedError, match="outside its directory"):
        huggingface.read_directory(directory)


@pytest.mark.parametrize("keep", [0, 4, 100, -1, -1000])
def test_cut_short(directory, keep):
    path = directory / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DamagedError, match="not a whole safetensors file"):
        huggingface.read_directory(directory)


def test_missing_and_misshapen_tensors(directory):
    path = directory / "model.safetensors"
    tensors = load_file(path)
    gone = dict(tensors)
    del gone["model.layers.1.mlp.up_proj.weight"]
    save_file(gone, path)
    with pytest.raises(DamagedError, match=r"holds no tensor model\.layers\.1\.mlp\.up_proj\.weight"):
        huggingface.read_directory(directory)
    tensors["model.layers.1.self_attn.k_proj.weight"] = torch.zeros(16, 32)
    save_file(tensors, path)
    with pytest.raises(
        DamagedError, match=r"k_proj\.weight has the shape \(16, 32\), .* asks for \(32, 32\)"
    ):
        huggingface.read_directory(directory)


@pytest.mark.parametrize(
    "given",
    [
        {"rope_type": "yarn", "factor": 2.0},
        {
            "type": "yarn",
            "factor": 2.0,
            "original_max_position_embeddings": 8,
            "beta_fast": 8,
            "beta_slow": 2,
        },
        {"rope_type": "yarn", "factor": 3.0, "mscale": 1.4, "mscale_all_dim": 0.7},
    ],
)
def test_spellings_of_yarn_mean_what_transformers_makes_of_them(directory, given):
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    (directory / "textmill.json").unlink()
    change(directory / "config.json", rope_scaling=given)
    model = huggingface.read_directory(directory).model
    theirs = LlamaConfig.from_pretrained(directory)
    rates, gain = ROPE_INIT_FUNCTIONS["yarn"](theirs, torch.device("cpu"))
    scheme = model.spec.position
    mine = position.rotary_frequencies(
        model.spec.head_width, scheme.theta, scheme.scaling, torch.device("cpu")
    )
    torch.testing.assert_close(mine, rates)
    assert scheme.scaling.gain == pytest.approx(gain)


def test_pickles_are_never_read(directory):
    (directory / "model.safetensors").unlink()
    with pytest.raises(DamagedError, match=r"holds no model\.safetensors"):
        huggingface.read_directory(directory)
    (directory / "pytorch_model.bin").write_bytes(b"\x80\x04not to be read")
    with pytest.raises(TextmillError, match="is a pickle"):
        huggingface.read_directory(directory)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model_type": "mamba"}, "'mamba' is not supported; there is llama"),
        ({"hidden_act": "relu"}, "hidden_act = 'relu' is not supported"),
        ({"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}, "rope_type = 'dynamic' is not supported"),
        (
            {"rope_scaling": {"rope_type": "yarn", "factor": 2.0, "truncate": False}},
            "truncate = False is not supported",
        ),
        ({"rope_scaling": {"rope_type": "yarn"}}, "factor is missing"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor = 0.5 is not supported"),
        ({"attention_bias": True}, "attention_bias and mlp_bias"),
        ({"hidden_size": "wide"}, "is not a configuration|must be a whole number"),
        ({"num_attention_heads": 5}, "heads"),
        ({"vocab_size": None}, "is not a configuration"),
    ],
)
def test_configurations_that_cannot_be_kept_are_refused(directory, values, message):
    (directory / "textmill.json").unlink()
    change(directory / "config.json", **values)
    with pytest.raises(TextmillError, match=message):
        huggingface.read_directory(directory)


def test_a_missing_key_is_named(directory):
    (directory / "textmill.json").unlink()
    config = json.loads((directory / "config.json").read_text())
    del config["intermediate_size"]
    (directory / "config.json").write_text(json.dumps(config))
    with pytest.raises(DamagedError, match="intermediate_size is missing"):
        huggingface.read_directory(directory)


def test_two_descriptions_must_agree(directory):
    change(directory / "config.json", rope_theta=77.0)
    with pytest.raises(DamagedError, match="describes another model"):
        huggingface.read_directory(directory)


@pytest.mark.parametrize(
    ("file", "message"),
    [("config.json", r"config\.json.*is missing"), ("tokenizer.json", r"no tokenizer.*tokenizer\.json")],
)
def test_missing_files_are_named(directory, file, message):
    (directory / file).unlink()
    with pytest.raises(TextmillError, match=message):
        huggingface.read_directory(directory)


def test_no_directory(tmp_path):
    with pytest.raises(TextmillError, match="is not a directory"):
        huggingface.read_directory(tmp_path / "nowhere")


def test_a_later_writer_replaces_the_whole_directory(directory, tokenizer):
    (directory / "stale.txt").write_text("old")
    huggingface.write_directory(directory, make(tokenizer, **GPT2), tokenizer, GenerationSpec(), {})
    assert not (directory / "stale.txt").exists()
    assert huggingface.read_directory(directory).spec.position == LearnedPositions()


def test_a_copy_is_the_model(directory, tmp_path):
    shutil.copytree(directory, tmp_path / "copy")
    assert torch.equal(
        huggingface.read_directory(tmp_path / "copy").model(batch()),
        huggingface.read_directory(directory).model(batch()),
    )


@pytest.mark.parametrize(
    "spec",
    [
        GenerationSpec(temperature=0.0, tokens=7),
        GenerationSpec(tokens=9, temperature=0.5, top_k=4, top_p=0.5, min_p=0.1, repetition_penalty=1.2),
        GenerationSpec(
            temperature=0.0,
            beams=4,
            length_penalty=0.6,
            early_stopping="yes",
            no_repeat_ngram=3,
            min_tokens=2,
            suppressed_tokens=(7, 9),
        ),
        GenerationSpec(temperature=0.0, beams=2, early_stopping="never"),
    ],
)
def test_generation_defaults_come_back_without_our_own_file(directory, tokenizer, spec):
    huggingface.write_directory(directory, make(tokenizer), tokenizer, spec, {})
    (directory / "textmill.json").unlink()
    back = huggingface.read_directory(directory).generation
    # How tokens would be drawn is not written where none are: then it is as the format says.
    assert back == (spec if spec.temperature else dataclasses.replace(spec, top_k=50, top_p=1.0))


def test_a_template_is_kept(directory, tokenizer):
    huggingface.write_directory(
        directory, make(tokenizer), tokenizer, GenerationSpec(), {}, template="{{ messages }}"
    )
    assert huggingface.read_directory(directory).template == "{{ messages }}"
