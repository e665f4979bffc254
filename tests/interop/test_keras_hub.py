"""The scripts of the how-to on TensorFlow, run for real, on models whose weights are drawn at random.

TEXTMILL_KERAS names a Python that has keras-hub. It is left without a network: whatever tries gets a dead proxy.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from textmill.interop.huggingface import directory as huggingface
from textmill.models.build import build
from textmill.specs.model import DecoderSpec, EncoderDecoderSpec, EncoderSpec, RecurrentSpec
from textmill.specs.position import LearnedPositions, RotaryPositions
from textmill.specs.recipe import GenerationSpec

HOW_TO = Path(__file__).parents[2] / "docs/how-to/keras.md"
SCRIPT = re.compile(r"^cat > (\w+\.py) <<'PY'\n(.*?)^PY$", re.DOTALL | re.MULTILINE)
KERAS = os.environ.get("TEXTMILL_KERAS", "")
TOLERANCE = 1e-4
SMALL = {"d_model": 32, "layers": 2, "heads": 4, "context": 64}
GPT2 = {
    "position": LearnedPositions(),
    "norm": "layernorm",
    "norm_eps": 1e-5,
    "activation": "gelu_tanh",
    "bias": "all",
    "d_ff": 128,
}
GEMMA = {
    "layers": 7,
    "kv_heads": 1,
    "head_dim": 16,
    "position": RotaryPositions(theta=1e6),
    "window": 8,
    "full_every": 6,
    "window_theta": 1e4,
    "placement": "sandwich",
    "qk_norm": True,
    "activation": "geglu_tanh",
    "scaled_embedding": True,
}
BART = {
    "position": LearnedPositions(),
    "norm": "layernorm",
    "placement": "post",
    "activation": "gelu",
    "bias": "all",
    "embedding_norm": True,
}
TRANSFORMERS = {
    "llama": DecoderSpec(**SMALL, kv_heads=2, tied=False),
    "gpt2": DecoderSpec(**SMALL, **GPT2),
    "qwen2": DecoderSpec(**SMALL, bias="qkv", norm_eps=1e-5),
    "gemma3_text": DecoderSpec(**SMALL | GEMMA),
    "bert": EncoderSpec(**SMALL, activation="gelu_tanh"),
    "bart": EncoderDecoderSpec(**SMALL, **BART),
}
RECURRENT = {
    "gru": RecurrentSpec(d_model=12, layers=2, context=64),
    "lstm": RecurrentSpec(cell="lstm", d_model=12, hidden=20, layers=2, context=64, tied=False),
    "projected": RecurrentSpec(cell="lstm", d_model=12, hidden=20, layers=1, context=64),
}


def written(spec, tokenizer, directory):
    """A model's directory, its weights large enough to make a layer that is missing or turned round felt."""
    model = build(spec, tokenizer.vocabulary, seed=1).eval()
    draw = torch.Generator().manual_seed(2)
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape, generator=draw)
    return huggingface.write_directory(directory, model, tokenizer, GenerationSpec(), {})


@pytest.fixture
def run(tmp_path):
    """Runs one script of the how-to: run(python, name, *arguments)."""
    if not KERAS or not Path(KERAS).exists():
        pytest.skip("TEXTMILL_KERAS names no Python with keras-hub")
    for name, text in SCRIPT.findall(HOW_TO.read_text(encoding="utf-8")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}

    def _run(python, *arguments):
        return subprocess.run(
            [python, *arguments],
            cwd=tmp_path,
            env=os.environ | quiet | nowhere,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return _run


def agreed(done):
    """What a script of the how-to printed, which must be small."""
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["largest"] > 0.5  # else 1e-4 would say little
    assert len(said["difference"]) == 3
    assert max(said["difference"].values()) <= TOLERANCE
    return said


@pytest.mark.slow
@pytest.mark.parametrize("kind", TRANSFORMERS)
def test_a_directory_becomes_a_saved_model(kind, tokenizer, tmp_path, run):
    assert written(TRANSFORMERS[kind], tokenizer, tmp_path / "model")["architecture"] == kind
    ours = run(sys.executable, "expected.py", "model", "model.npz")
    assert ours.returncode == 0, ours.stderr
    assert agreed(run(KERAS, "saved_model.py", "model", "model.npz", "saved"))["model"] == kind
    assert (tmp_path / "saved/saved_model.pb").exists()


@pytest.mark.slow
def test_what_keras_hub_does_not_look_at_is_felt(tokenizer, tmp_path, run):
    """It gives every llama norm_eps = 1e-6; the script says that the outputs differ."""
    written(DecoderSpec(**SMALL, norm_eps=1e-3), tokenizer, tmp_path / "model")
    assert run(sys.executable, "expected.py", "model", "model.npz").returncode == 0
    done = run(KERAS, "saved_model.py", "model", "model.npz", "saved")
    assert done.returncode == 1, done.stderr
    assert min(json.loads(done.stdout.splitlines()[-1])["difference"].values()) > TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("name", RECURRENT)
def test_recurrent_layers_become_a_saved_model(name, tokenizer, tmp_path, run):
    written(RECURRENT[name], tokenizer, tmp_path / "model")
    ours = run(sys.executable, "layers.py", "model", "model.npz")
    assert ours.returncode == 0, ours.stderr
    agreed(run(KERAS, "recurrent.py", "model.npz", "saved"))
    assert (tmp_path / "saved/saved_model.pb").exists()
