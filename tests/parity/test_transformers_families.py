"""Every published architecture but the llamas, written by us and read by transformers.

Logits, hidden states, gradients, padding on either side, one row as in many, cached decoding; float64 to 1e-10.
"""

import dataclasses

import pytest
import torch

from helpers.published import BART, MARIAN, T5, shaken
from textmill.data.batch import Batch
from textmill.interop.huggingface import config as configuration
from textmill.interop.huggingface import directory as huggingface
from textmill.interop.huggingface.weights import published
from textmill.models.build import build
from textmill.specs.model import DecoderSpec, EncoderDecoderSpec, EncoderSpec
from textmill.specs.position import RotaryPositions
from textmill.specs.recipe import GenerationSpec

transformers = pytest.importorskip("transformers")

SMALL = {"d_model": 32, "layers": 2, "heads": 4, "d_ff": 48, "context": 64, "dropout": 0.0}
GEMMA = {
    "placement": "sandwich",
    "qk_norm": True,
    "scaled_embedding": True,
    "activation": "geglu_tanh",
    "kv_heads": 2,
    "position": RotaryPositions(theta=1e6),
    "attention_scale": 0.25,
}
SPECS = {
    "gemma3_text": DecoderSpec(**SMALL | GEMMA | {"layers": 4}, window=5, full_every=3, window_theta=1e4),
    "gemma3_text-full-capped": DecoderSpec(**SMALL, **GEMMA, head_dim=16, logit_softcap=4.0, tied=False),
    "gemma3_text-silu": DecoderSpec(**SMALL | GEMMA | {"activation": "swiglu"}),
    "bert": EncoderSpec(**SMALL),
    "bert-tanh-no-pooler": EncoderSpec(**SMALL, activation="gelu_tanh", pooler=False, tied=False),
    "roberta": EncoderSpec(**SMALL, segments=1, pooler=False),
    "distilbert": EncoderSpec(**SMALL, segments=0, pooler=False),
    "distilbert-silu": EncoderSpec(**SMALL, segments=0, pooler=False, activation="silu"),
    "t5": EncoderDecoderSpec(**SMALL, **T5, decoder_layers=3, logit_scale=32**-0.5),
    "t5-gated": EncoderDecoderSpec(**SMALL, **T5, activation="geglu_tanh", tied=False, head_dim=4),
    "bart": EncoderDecoderSpec(**SMALL, **BART, decoder_layers=1, scaled_embedding=True),
    "bart-relu": EncoderDecoderSpec(**SMALL | BART | {"activation": "relu"}),
    "marian": EncoderDecoderSpec(**SMALL, **MARIAN),
}


def make(spec, tokenizer, dtype=torch.float32):
    """A model far from its beginning, where nothing is symmetric."""
    return shaken(build(spec, tokenizer.vocabulary)).to(dtype)


def theirs_of(directory, dtype=torch.float32):
    """Whatever class config.json names, its weights loaded without a word missing."""
    config = transformers.AutoConfig.from_pretrained(directory)
    cls = getattr(transformers, config.architectures[0])
    model, told = cls.from_pretrained(directory, dtype=dtype, local_files_only=True, output_loading_info=True)
    assert not told["missing_keys"]
    assert not told["mismatched_keys"]
    return model.eval()


@pytest.fixture(params=SPECS)
def pair(request, tmp_path, tokenizer):
    """(spec, ours, theirs, directory) of one random model, theirs loaded from the published directory."""
    ours = make(SPECS[request.param], tokenizer)
    about = huggingface.write_directory(
        tmp_path / "model", ours, tokenizer, GenerationSpec(temperature=0.0), {}
    )
    assert about["architecture"] == request.param.split("-")[0]
    return SPECS[request.param], ours, theirs_of(tmp_path / "model"), tmp_path / "model"


def random_batch(spec, rows=2, length=14):
    inputs = torch.randint(0, 250, (rows, length))
    batch = Batch(inputs, inputs)
    if spec.kind == "encoder-decoder":
        return dataclasses.replace(batch, source=torch.randint(0, 250, (rows, length + 3)))
    if spec.kind == "encoder" and spec.segments > 1:
        return dataclasses.replace(batch, segments=(torch.arange(length) > 5).long().expand(rows, -1))
    return batch


def asked(spec, batch):
    """A batch as transformers wants it."""
    if spec.kind == "encoder-decoder":
        given = {"input_ids": batch.source, "decoder_input_ids": batch.inputs}
        mask = batch.source_mask
    else:
        given, mask = {"input_ids": batch.inputs}, batch.mask
        if batch.segments is not None:
            given["token_type_ids"] = batch.segments
    return given if mask is None else given | {"attention_mask": mask.long()}


def logits_of(answer):
    return getattr(answer, "prediction_logits", None) if not hasattr(answer, "logits") else answer.logits


def test_logits_and_gradients(pair):
    spec, ours, theirs, _ = pair
    batch = random_batch(spec)
    answer = theirs(**asked(spec, batch))
    hidden = ours.hidden(batch)
    logits, reference = ours.logits(hidden), logits_of(answer)
    torch.testing.assert_close(logits, reference, rtol=0, atol=1e-4)
    weights = torch.randn_like(logits) / 100
    loss, other = (logits * weights).sum(), (reference * weights).sum()
    if spec.kind == "encoder" and spec.pooler:
        sentences = ours.next_sentence(hidden)
        torch.testing.assert_close(sentences, answer.seq_relationship_logits, rtol=0, atol=1e-4)
        loss, other = loss + sentences.square().sum(), other + answer.seq_relationship_logits.square().sum()
    loss.backward()
    other.backward()
    mine = {name: p.grad for name, p in ours.named_parameters()}
    kind = configuration.published_architecture(spec)[0]
    renamed = published(kind, spec, {n: g for n, g in mine.items() if g is not None}, {"pad_token_id": 256})
    found = dict(theirs.named_parameters())
    compared = 0
    for name, gradient in renamed.items():
        if name in found and "norm" not in name.lower() and found[name].grad is not None:
            rows = found[name].grad.shape[0] - gradient.shape[0]
            torch.testing.assert_close(gradient, found[name].grad[max(0, rows) :], rtol=1e-4, atol=1e-4)
            compared += 1
    assert compared >= len(found) // 2


@torch.no_grad()
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_and_rows(pair, side):
    """A padded row is what it is alone, and what transformers makes of it."""
    spec, ours, theirs, _ = pair
    batch = random_batch(spec, rows=3)
    source = batch.source if spec.kind == "encoder-decoder" else batch.inputs
    real = torch.ones_like(source, dtype=torch.bool)
    real[1, :4] = False
    real[2, :7] = False
    if side == "right":
        real = real.flip(1)
    name = "source_mask" if spec.kind == "encoder-decoder" else "mask"
    padded = dataclasses.replace(batch, **{name: real})
    logits = ours(padded)
    keep = torch.ones_like(batch.inputs, dtype=torch.bool) if spec.kind == "encoder-decoder" else real
    for row in range(3):
        alone = {"inputs": batch.inputs[row : row + 1]}
        if spec.kind == "encoder-decoder":
            alone["source"] = batch.source[row][real[row]][None]
        else:
            alone["inputs"] = batch.inputs[row][real[row]][None]
            if batch.segments is not None:
                alone["segments"] = batch.segments[row][real[row]][None]
        one = ours(Batch(targets=alone["inputs"], **alone))
        torch.testing.assert_close(logits[row][keep[row]], one[0], rtol=0, atol=1e-4)
    if side == "right" or spec.kind == "decoder":
        more = {"position_ids": (real.long().cumsum(1) - 1).clamp(min=0)} if spec.kind == "decoder" else {}
        reference = logits_of(theirs(**asked(spec, padded), **more))
        torch.testing.assert_close(logits[keep], reference[keep], rtol=0, atol=1e-4)


@torch.no_grad()
def test_hidden_states(pair):
    spec, ours, theirs, _ = pair
    batch = random_batch(spec)
    body = (
        theirs.base_model if spec.kind != "encoder-decoder" or not hasattr(theirs, "model") else theirs.model
    )
    if spec.kind == "encoder-decoder":
        reference = theirs.get_encoder()(input_ids=batch.source).last_hidden_state
        torch.testing.assert_close(ours.encode(batch.source), reference, rtol=0, atol=1e-4)
    else:
        reference = body(**asked(spec, batch)).last_hidden_state
        torch.testing.assert_close(ours.hidden(batch), reference, rtol=0, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("pair", [name for name in SPECS if SPECS[name].kind != "encoder"], indirect=True)
def test_greedy_decoding_takes_the_same_tokens(pair, tokenizer):
    spec, ours, theirs, _ = pair
    batch = random_batch(spec, 2, 8)
    if spec.kind == "encoder-decoder":
        batch = dataclasses.replace(batch, inputs=torch.full((2, 1), theirs.config.decoder_start_token_id))
    ends = {"eos_token_id": None, "pad_token_id": tokenizer.pad}
    reference = theirs.generate(
        **asked(spec, batch), max_new_tokens=20, do_sample=False, use_cache=False, **ends
    )
    begun = batch.inputs.shape[1]
    logits, state = ours.begin(batch, capacity=begun + 20)
    answer = [logits.argmax(-1)]
    while len(answer) < 20:
        logits, state = ours.step(answer[-1][:, None], state)
        answer.append(logits[:, -1].argmax(-1))
    assert torch.equal(torch.stack(answer, 1), reference[:, begun:])


@torch.no_grad()
def test_what_is_written_comes_back_to_the_bit(pair):
    spec, ours, _, directory = pair
    batch = random_batch(spec)
    back = huggingface.read_directory(directory)
    assert back.spec == spec
    assert back.missing == back.ignored == ()
    assert torch.equal(back.model(batch), ours(batch))
    (directory / "textmill.json").unlink()
    assert torch.equal(huggingface.read_directory(directory).model(batch), ours(batch))


def _in_full(monkeypatch):
    """Where transformers falls back to float32 (RMSNorm, rounded constants), let it not."""

    def t5_norm(self, x):
        return self.weight * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.variance_epsilon)

    def gemma_norm(self, x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * (1.0 + self.weight)

    def embed(self, ids):
        return torch.nn.functional.embedding(ids, self.weight) * self.scalar_embed_scale

    gemma = transformers.models.gemma3.modeling_gemma3
    monkeypatch.setattr(transformers.models.t5.modeling_t5.T5LayerNorm, "forward", t5_norm)
    monkeypatch.setattr(gemma.Gemma3RMSNorm, "forward", gemma_norm)
    monkeypatch.setattr(gemma.Gemma3TextScaledWordEmbedding, "forward", embed)


@torch.no_grad()
@pytest.mark.parametrize("name", SPECS)
def test_float64(name, tmp_path, tokenizer, monkeypatch):
    _in_full(monkeypatch)
    spec = SPECS[name]
    ours = make(spec, tokenizer, torch.float64)
    huggingface.write_directory(tmp_path / "m", ours, tokenizer, GenerationSpec(), {})
    theirs = theirs_of(tmp_path / "m", torch.float64)
    batch = random_batch(spec)
    torch.testing.assert_close(ours(batch), logits_of(theirs(**asked(spec, batch))), rtol=0, atol=1e-10)
