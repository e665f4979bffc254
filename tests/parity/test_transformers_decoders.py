"""Our decoder against transformers, the same weights in both: logits, gradients, decoding, the pipeline."""

import pytest
import torch

from helpers.published import GPT2, shaken
from textmill.data.batch import Batch
from textmill.interop.huggingface import directory as huggingface
from textmill.models.build import build
from textmill.specs.model import DecoderSpec
from textmill.specs.position import (
    LinearScaling,
    Llama3Scaling,
    RotaryPositions,
    YarnScaling,
)
from textmill.specs.recipe import GenerationSpec

transformers = pytest.importorskip("transformers")

SMALL = {"d_model": 32, "layers": 2, "heads": 4, "d_ff": 48, "context": 64}
SCALED = RotaryPositions(theta=5e5, scaling=Llama3Scaling(factor=4.0, original_context=16))
LINEAR = RotaryPositions(scaling=LinearScaling(factor=3.0))
YARN = RotaryPositions(scaling=YarnScaling(factor=4.0, original_context=24, beta_fast=2.0, beta_slow=0.5))
LOUD = RotaryPositions(scaling=YarnScaling(factor=2.0, original_context=4096, attention_factor=1.3))
SPECS = {
    "llama": DecoderSpec(**SMALL),
    "llama-scaled": DecoderSpec(**SMALL, kv_heads=2, position=SCALED, tied=False),
    "llama-linear-biased": DecoderSpec(**SMALL, position=LINEAR, bias="all", activation="geglu"),
    "mistral": DecoderSpec(**SMALL, window=5, kv_heads=2),
    "llama-yarn-loud": DecoderSpec(**SMALL, position=LOUD),
    "qwen2-yarn": DecoderSpec(**SMALL, bias="qkv", position=YARN),
    "qwen2": DecoderSpec(**SMALL, bias="qkv", tied=False, kv_heads=1),
    "qwen3": DecoderSpec(**SMALL, qk_norm=True, kv_heads=2, head_dim=16),
    "gpt2": DecoderSpec(**SMALL, **GPT2),
    "gpt2-relu": DecoderSpec(**SMALL, **(GPT2 | {"activation": "relu", "tied": False})),
}


def make(spec, tokenizer, dtype=torch.float32):
    return shaken(build(spec, tokenizer.vocabulary, dtype=dtype))


@pytest.fixture(params=SPECS)
def pair(request, tmp_path, tokenizer):
    """(spec, ours, theirs, directory) of one random model, theirs loaded from the published directory."""
    ours = make(SPECS[request.param], tokenizer)
    huggingface.write_directory(tmp_path / "model", ours, tokenizer, GenerationSpec(temperature=0.0), {})
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "model", dtype=torch.float32, local_files_only=True
    ).eval()
    return SPECS[request.param], ours, theirs, tmp_path / "model"


def random_batch(rows=2, length=20, **more):
    x = torch.randint(0, 250, (rows, length))
    return Batch(inputs=x, targets=x, **more)


def test_logits_and_gradients(pair):
    _, ours, theirs, _ = pair
    batch = random_batch()
    logits, reference = ours(batch), theirs(batch.inputs).logits
    torch.testing.assert_close(logits, reference, rtol=0, atol=1e-4)
    weights = torch.randn_like(logits) / 100
    (logits * weights).sum().backward()
    (reference * weights).sum().backward()
    # The published names of our gradients, against theirs.
    from textmill.interop.huggingface import config as configuration
    from textmill.interop.huggingface.weights import published

    mine = {name: parameter.grad for name, parameter in ours.named_parameters()}
    renamed = published(configuration.published_architecture(ours.spec)[0], ours.spec, mine)
    found = dict(theirs.named_parameters())
    assert set(renamed) == set(found)
    for name, gradient in renamed.items():
        torch.testing.assert_close(gradient, found[name].grad, rtol=1e-4, atol=1e-5)


def test_left_padding(pair):
    _, ours, theirs, _ = pair
    real = torch.ones(2, 12, dtype=torch.bool)
    real[1, :5] = False
    batch = random_batch(2, 12, mask=real)
    places = (real.long().cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
        reference = theirs(batch.inputs, attention_mask=real.long(), position_ids=places).logits
        torch.testing.assert_close(ours(batch)[real], reference[real], rtol=0, atol=1e-4)


@torch.no_grad()
def test_greedy_decoding_takes_the_same_tokens(pair, tokenizer):
    _, ours, theirs, _ = pair
    batch = random_batch(2, 8)
    ends = {"eos_token_id": None, "pad_token_id": tokenizer.pad}
    reference = theirs.generate(batch.inputs, max_new_tokens=24, do_sample=False, **ends)
    logits, state = ours.begin(batch, capacity=32)
    answer = [logits.argmax(-1)]
    while len(answer) < 24:
        logits, state = ours.step(answer[-1][:, None], state)
        answer.append(logits[:, -1].argmax(-1))
    assert torch.equal(torch.stack(answer, 1), reference[:, 8:])


def test_tokenizer_gives_the_same_ids(pair, tokenizer):
    _, _, _, directory = pair
    theirs = transformers.AutoTokenizer.from_pretrained(directory, local_files_only=True)
    for text in ("plain words", "naïve café — 你好，世界", "<|endoftext|> is only text here", "\t\n  x", ""):
        assert theirs(text, split_special_tokens=True)["input_ids"] == tokenizer.encode(text).tolist()
        assert theirs.decode(tokenizer.encode(text).tolist()) == text
    assert theirs("<|endoftext|>")["input_ids"] == [tokenizer.end]  # as it must be, in a chat template
    assert theirs.eos_token_id == tokenizer.end
    assert theirs.pad_token_id == tokenizer.pad


def test_pipeline_continues_the_text(tmp_path, tokenizer):
    model = make(SPECS["llama"], tokenizer)
    huggingface.write_directory(
        tmp_path / "m", model, tokenizer, GenerationSpec(temperature=0.0, tokens=6), {}
    )
    pipeline = transformers.pipeline("text-generation", model=str(tmp_path / "m"), device="cpu")
    answer = pipeline("a few words", return_tensors=True)[0]["generated_token_ids"]
    ids = tokenizer.encode("a few words").tolist()
    x = torch.tensor([ids])
    logits, state = model.begin(Batch(inputs=x, targets=x), capacity=len(ids) + 6)
    want = list(ids)
    for _ in range(6):
        want.append(int(logits.reshape(-1, logits.shape[-1])[-1].argmax()))
        if want[-1] == tokenizer.end:
            break
        logits, state = model.step(torch.tensor([[want[-1]]]), state)
    assert list(answer) == want


@torch.no_grad()
@pytest.mark.parametrize("name", ["gpt2", "llama", "qwen3", "qwen2"])
def test_float64(name, tmp_path, tokenizer, monkeypatch):
    """To 1e-10, with the one place where transformers falls back to float32 (RMSNorm) told not to."""

    def rms_norm(self, x):
        return self.weight * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.variance_epsilon)

    for module, kind in (("llama", "Llama"), ("qwen3", "Qwen3"), ("qwen2", "Qwen2")):
        modeling = getattr(transformers.models, module)
        monkeypatch.setattr(
            getattr(modeling, f"modeling_{module}").__dict__[f"{kind}RMSNorm"], "forward", rms_norm
        )
    ours = make(SPECS[name], tokenizer, torch.float64)
    huggingface.write_directory(tmp_path / "m", ours, tokenizer, GenerationSpec(), {})
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "m", dtype=torch.float64).eval()
    batch = random_batch()
    torch.testing.assert_close(ours(batch), theirs(batch.inputs).logits, rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "qwen2", "qwen3", "mistral"])
def test_what_transformers_saves_is_read(kind, tmp_path, tokenizer):
    """A model made and saved by transformers alone: its spelling of config.json, its names, its layouts."""
    small = {"vocab_size": tokenizer.vocabulary, "bos_token_id": 0, "eos_token_id": 0}
    if kind == "gpt2":
        config = transformers.GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=64, **small)
    else:
        shape = {"hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4}
        rope = {"rope_type": "llama3", "rope_theta": 5e5, "factor": 4.0, "low_freq_factor": 1.0}
        rope |= {"high_freq_factor": 4.0, "original_max_position_embeddings": 16}
        more = {"llama": {"rope_parameters": rope}, "mistral": {"sliding_window": 7}}.get(kind, {})
        config = transformers.AutoConfig.for_model(
            kind, num_key_value_heads=2, max_position_embeddings=64, head_dim=8, **shape, **small, **more
        )
    theirs = transformers.AutoModelForCausalLM.from_config(config).eval()
    theirs.save_pretrained(tmp_path)
    tokenizer.save(tmp_path / "tokenizer.json")
    published = huggingface.read_directory(tmp_path)
    batch = random_batch()
    with torch.no_grad():
        logits = published.model(batch)
        torch.testing.assert_close(logits, theirs(batch.inputs).logits, rtol=0, atol=1e-4)
    assert published.info == {}
