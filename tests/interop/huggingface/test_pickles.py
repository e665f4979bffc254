"""Pickles are read by a process of its own, which a hostile one does not get out of."""

import os

import pytest
import torch

from textmill.base.errors import TextmillError
from textmill.data.batch import Batch
from textmill.interop.huggingface import directory as huggingface
from textmill.interop.huggingface import pickles
from textmill.models.build import build
from textmill.specs.model import DecoderSpec
from textmill.specs.recipe import GenerationSpec

SPEC = DecoderSpec(d_model=32, layers=2, heads=4, d_ff=48, context=32)


@pytest.fixture
def directory(tmp_path, tokenizer):
    """A published model whose weights were made a pickle again."""
    model = build(SPEC, tokenizer.vocabulary, seed=1).eval()
    place = tmp_path / "model"
    huggingface.write_directory(place, model, tokenizer, GenerationSpec(), {})
    from safetensors.torch import load_file

    state = load_file(place / "model.safetensors")
    torch.save(state, place / "pytorch_model.bin")
    (place / "model.safetensors").unlink()
    (place / "modeling_own.py").write_text("raise SystemExit('code of a model was run')")
    return place, model, state


def test_a_pickle_is_converted_apart(directory, tmp_path):
    place, model, _ = directory
    with pytest.raises(TextmillError, match="textmill import .* --convert-pickle"):
        huggingface.read_directory(place)
    made = pickles.converted(place, tmp_path / "made")
    x = torch.arange(20).view(2, 10)
    with torch.no_grad():
        assert torch.equal(huggingface.read_directory(made).model(Batch(x, x)), model(Batch(x, x)))
    assert not list(made.glob("*.py"))
    assert pickles.converted(place, tmp_path / "made") == made


def test_the_command_the_refusal_names(directory, tmp_path, textmill):
    place, model, _ = directory
    refused = textmill("import", place, "new", check=False)
    assert refused.returncode == 1
    assert f"textmill import {place} NEW_DIRECTORY --convert-pickle" in refused.stderr
    textmill("import", place, "new", "--convert-pickle")
    x = torch.arange(20).view(2, 10)
    with torch.no_grad():
        assert torch.equal(
            huggingface.read_directory(tmp_path / "new").model(Batch(x, x)), model(Batch(x, x))
        )


def test_several_pickles_and_what_is_no_weights(directory, tmp_path):
    place, model, state = directory
    (place / "pytorch_model.bin").unlink()
    names = sorted(state)
    torch.save({"state_dict": {name: state[name] for name in names[:4]}}, place / "pytorch_model-1.bin")
    torch.save({name: state[name] for name in names[4:]}, place / "pytorch_model-2.bin")
    torch.save({"lr": 1.0}, place / "training_args.bin")
    made = pickles.converted(place, tmp_path / "made")
    x = torch.arange(20).view(2, 10)
    with torch.no_grad():
        assert torch.equal(huggingface.read_directory(made).model(Batch(x, x)), model(Batch(x, x)))


class Evil:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_a_hostile_pickle_is_refused_and_does_nothing(directory, tmp_path):
    place, _, state = directory
    torch.save(state | {"x": Evil(tmp_path / "run")}, place / "pytorch_model.bin")
    with pytest.raises(TextmillError, match="could not be read as tensors") as caught:
        pickles.converted(place, tmp_path / "made")
    assert len(str(caught.value).splitlines()) < 10
    assert not (tmp_path / "run").exists()
    assert not list((tmp_path / "made").iterdir())


@pytest.mark.parametrize("data", [b"", b"\x80\x04not a pickle", b"PK\x03\x04" + b"\0" * 200])
def test_what_is_no_pickle(directory, tmp_path, data):
    place, *_ = directory
    (place / "pytorch_model.bin").write_bytes(data)
    with pytest.raises(TextmillError, match="could not be read as tensors"):
        pickles.converted(place, tmp_path / "made")


def test_no_pickle_at_all(tmp_path):
    with pytest.raises(TextmillError, match="holds no pickle"):
        pickles.converted(tmp_path, tmp_path / "made")
