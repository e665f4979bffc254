"""llama.cpp reads what is written here, and computes what is computed here: every architecture, both packings."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from textmill.data.batch import IGNORE, Batch
from textmill.interop import load
from textmill.interop.gguf import adapter as gguf_adapter
from textmill.interop.gguf import model as gguf_write
from textmill.models import adapters
from textmill.specs.model import DecoderSpec
from textmill.specs.position import Llama3Scaling, RotaryPositions, YarnScaling
from textmill.specs.recipe import TokenizerSpec
from textmill.specs.tuning import LoRATuning
from textmill.tokenization import load as pretrained
from textmill.tokenization.training import train

_HERE = Path(__file__).parent
llama_cpp = SimpleNamespace(**runpy.run_path(str(_HERE / "llama_cpp.py")))
shapes = SimpleNamespace(**runpy.run_path(str(_HERE.parent / "interop/gguf/shapes.py")))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(llama_cpp.python() is None, reason="llama.cpp is not here (pip install xllamacpp)"),
]
SIZES = shapes.sizes(layers=3, context=128)
SPECS = shapes.specs(layers=3, context=128) | {
    "llama, stretched": DecoderSpec(
        **SIZES, position=RotaryPositions(theta=500000.0, scaling=Llama3Scaling(original_context=8192))
    ),
    "llama, yarn": DecoderSpec(
        **SIZES, position=RotaryPositions(scaling=YarnScaling(factor=4.0, original_context=32))
    ),
}
TEXTS = [
    "the mill turns water into flour and flour into bread",
    "It didn't turn on Sundays, in 1897 or 2024; why?\n\n  Nobody knew.",
    "磨坊流水面粉 and bread\t\n",
    "naïve café 42 € 👩‍🔬 <|endoftext|> end",
]


@pytest.fixture(scope="module")
def words():
    return shapes.small_tokenizer()


def published(spec, tokenizer):
    return shapes.pretrained(spec, tokenizer, louder=2.0)


def log_probabilities(model, ids):
    with torch.inference_mode():
        inputs = torch.tensor([ids])
        return model(Batch(inputs, torch.full_like(inputs, IGNORE)))[0].float().log_softmax(-1)


@pytest.mark.parametrize("kind", ["f16", "q8_0"])
@pytest.mark.parametrize("case", SPECS)
def test_the_same_probabilities(tmp_path, words, case, kind):
    path = tmp_path / "m.gguf"
    gguf_write.write_gguf(path, published(SPECS[case], words), kind)
    ids = words.encode("the mill turns water into flour while wind moves over grain and bread 磨坊").tolist()
    prompts = [ids, ids[:5], ids[3:17], ids[8:]]
    answer = llama_cpp.ask(path, prompts=prompts, tokens=4, probabilities=words.vocabulary, texts=TEXTS)
    model = load.load(path).model
    pairs = [pair for pair in zip(prompts, answer["prompts"], strict=True) if pair[1]["first"]]
    assert pairs
    for prompt, found in pairs:
        theirs = torch.full((words.vocabulary,), float("nan"))
        for number, value in found["first"].items():
            theirs[int(number)] = value
        ours = log_probabilities(model, prompt)[-1]
        # llama.cpp rounds what it multiplies with: to float16, or to 8 bits.
        assert float((theirs - ours).abs().max()) < (0.02 if kind == "f16" else 0.15)
    for text, found in zip(TEXTS, answer["texts"], strict=True):
        assert words.decode(found) == text
    assert answer["texts"][0] == words.encode(TEXTS[0]).tolist()


@pytest.mark.parametrize("targets", [("q", "v", "up", "down"), ("qkv",), ("all-linear",)])
@pytest.mark.parametrize("case", ["llama", "qwen2", "gemma3", "gpt2"])
def test_the_same_probabilities_with_an_adapter(tmp_path, words, case, targets):
    """Of its base as one file, and of the adapter as another: queries and keys are laid in pairs in both."""
    pretrained = published(SPECS[case], words)
    gguf_write.write_gguf(tmp_path / "base.gguf", pretrained, "f16")
    model = adapters.adapt(pretrained.model, LoRATuning(targets=targets, rank=4)).eval()
    with torch.no_grad():
        for tensor in adapters.tensors(model).values():
            tensor.add_(torch.randn_like(tensor) * 0.1)
    gguf_adapter.write_adapter(tmp_path / "lora.gguf", model, pretrained.model)
    ids = words.encode("the mill turns water into flour while wind moves over grain").tolist()
    asked = {"prompts": [ids, ids[:5], ids[3:17], ids[8:]], "probabilities": words.vocabulary}
    answer = llama_cpp.ask(tmp_path / "base.gguf", lora=str(tmp_path / "lora.gguf"), **asked)
    pairs = [pair for pair in zip(asked["prompts"], answer["prompts"], strict=True) if pair[1]["first"]]
    assert pairs
    for prompt, found in pairs:
        theirs = torch.full((words.vocabulary,), float("nan"))
        for number, value in found["first"].items():
            theirs[int(number)] = value
        with torch.no_grad():
            ours, base = (log_probabilities(each, prompt)[-1] for each in (model, pretrained.model))
        assert float((theirs - ours).abs().max()) < 0.02
        assert float((theirs - base).abs().max()) > 0.05


def sentencepiece_tokenizer(prefix):
    """A small Llama 2: byte tokens, and pieces that are made of others."""
    pieces = [
        "▁",
        *"abcdefghijklmnopqrstuvwxyz磨坊",
        "th",
        "▁th",
        "▁the",
        "in",
        "▁m",
        "ill",
        "il",
        "▁mill",
        "er",
    ]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *pieces]
    types = [2, 3, 3, *[6] * 256, *[1] * len(pieces)]
    scores = [0.0] * 259 + [-float(number) for number in range(len(pieces))]
    from textmill.tokenization.json_build import sentencepiece_bpe

    data = sentencepiece_bpe(tokens, scores, types, add_prefix=prefix, prefix=[1])
    said = pretrained.Settings(tokens={"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"})
    return pretrained.of(data, "made", said)


@pytest.mark.parametrize("prefix", [True, False])
def test_the_same_ids_of_sentencepiece(tmp_path, prefix):
    tokenizer = sentencepiece_tokenizer(prefix)
    path = tmp_path / "m.gguf"
    report = gguf_write.write_gguf(path, published(SPECS["llama"], tokenizer))
    assert report["notes"] == []
    texts = ["the mill thinner", " the  mill", "磨坊 é\n<s> </s>", "there"]
    found = llama_cpp.ask(path, texts=texts)["texts"]
    assert found == [tokenizer.encode(text).tolist() for text in texts]
    again = load.load(path).tokenizer
    assert again.prefix == (1,)
    assert again.end == tokenizer.end
    assert [again.encode(text).tolist() for text in texts] == found


def test_the_same_ids_of_known_cuts(tmp_path):
    """Each way to cut that has a name: nothing to note, and llama.cpp's ids are ours."""
    base = train(TokenizerSpec(vocabulary=330), [" ".join(TEXTS) * 20])
    model = json.loads(base.data)["model"]
    tokens = [token for token, _ in sorted(model["vocab"].items(), key=lambda item: item[1])]
    merges = [" ".join(merge) for merge in model["merges"]]
    from textmill.tokenization.json_build import PRE, byte_level_bpe

    tokens += ["<|endoftext|>"]
    for pre in PRE:
        data = byte_level_bpe(tokens, merges, [len(tokens) - 1], pre)
        tokenizer = pretrained.of(data, "made")
        path = tmp_path / f"{pre}.gguf"
        report = gguf_write.write_gguf(path, published(SPECS["llama"], tokenizer))
        assert report["notes"] == []
        plain = [text for text in TEXTS if "<|" not in text]
        found = llama_cpp.ask(path, texts=plain)["texts"]
        assert found == [tokenizer.encode(text).tolist() for text in plain], pre
