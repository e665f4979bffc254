"""Directories that lie: each gives an error of one screen, before memory is taken and without anything being run."""

import json
import os
import struct
import tracemalloc

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from textmill.base.errors import DamagedError, TextmillError
from textmill.interop.huggingface import directory as huggingface
from textmill.interop.huggingface import headers
from textmill.models.build import build
from textmill.specs.model import DecoderSpec
from textmill.specs.recipe import GenerationSpec

SPEC = DecoderSpec(d_model=16, layers=2, heads=2, d_ff=24, context=32)


@pytest.fixture
def directory(tmp_path, tokenizer):
    model = build(SPEC, tokenizer.vocabulary, seed=1).eval()
    huggingface.write_directory(tmp_path / "model", model, tokenizer, GenerationSpec(), {})
    (tmp_path / "model/textmill.json").unlink()
    return tmp_path / "model"


def split(path):
    """The header of a file, as a table, and its data."""
    raw = path.read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    return json.loads(raw[8 : 8 + length]), raw[8 + length :]


def join(path, header, data):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def refused(directory, message):
    """The error of reading, which fits on a screen and took no memory to speak of."""
    tracemalloc.start()
    with pytest.raises(TextmillError, match=message) as caught:
        huggingface.read_directory(directory)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(str(caught.value)) < 1500
    assert peak < 64 << 20
    return caught.value


NORM = "model.norm.weight"
EMBEDDING = "model.embed_tokens.weight"


def lie(entry, **changes):
    def change(header, data):
        header[entry] = header[entry] | changes
        return header, data

    return change


def overlap(header, data):
    begin, end = header[NORM]["data_offsets"]
    first = min(header.values(), key=lambda e: e.get("data_offsets", [1 << 60])[0] if e else 0)
    header[NORM]["data_offsets"] = [
        first["data_offsets"][0],
        first["data_offsets"][0] + end - begin,
    ]
    return header, data


def twice(header, data):
    text = json.dumps(header)[:-1] + f', "{NORM}": ' + json.dumps(header[NORM]) + "}"
    return text.encode(), data


LIES = {
    "absurd shape": (lie(EMBEDDING, shape=[1 << 60, 1 << 60]), "has the shape|bytes, and has"),
    "shape past 64 bits": (lie(EMBEDDING, shape=[10**30]), "has the shape"),
    "negative shape": (lie(NORM, shape=[-16]), "has the shape"),
    "shape of other size": (lie(NORM, shape=[17]), "bytes, and has 64"),
    "shape no list": (lie(NORM, shape="16"), "has the shape"),
    "true for a number": (lie(NORM, shape=[True]), "has the shape"),
    "unknown dtype": (lie(NORM, dtype="F4096"), "unknown dtype"),
    "dtype of other size": (lie(NORM, dtype="F64"), "bytes, and has 64"),
    "past the end": (lie(NORM, data_offsets=[1 << 40, (1 << 40) + 64]), "leaves a gap|overlaps"),
    "backwards": (lie(NORM, data_offsets=[64, 0]), "lies at"),
    "overlap": (overlap, "overlaps|leaves a gap"),
    "name twice": (twice, "is there twice"),
    "data after the end": (lambda header, data: (header, data + b"\0" * 64), "tensors end at"),
    "data missing": (lambda header, data: (header, data[:-4]), "tensors end at"),
    "no table": (lambda header, data: (b"[1, 2]", data), "not a table"),
    "no JSON": (lambda header, data: (b"{" * 40, data), "not JSON"),
    "endless nesting": (lambda header, data: (b"[" * 200_000, data), "not JSON"),
    "no UTF-8": (lambda header, data: (b'{"\xff": 1}', data), "not JSON"),
    "entry no table": (lambda header, data: (header | {"x": 3}, data), "no dtype, shape"),
    "metadata of numbers": (lambda header, data: (header | {"__metadata__": {"a": 1}}, data), "__metadata__"),
}


@pytest.mark.parametrize("name", LIES)
def test_lying_headers(name, directory):
    change, message = LIES[name]
    path = directory / "model.safetensors"
    join(path, *change(*split(path)))
    assert isinstance(refused(directory, message), DamagedError)


@pytest.mark.parametrize("length", [0, 1, 1 << 20, 1 << 40, (1 << 64) - 1])
def test_lying_lengths(length, directory):
    path = directory / "model.safetensors"
    path.write_bytes(struct.pack("<Q", length) + path.read_bytes()[8:])
    refused(directory, "a header of|not JSON|not a table")


def test_a_sparse_file_of_a_terabyte(directory):
    """A header said to be as long as the file allows is not read when it is longer than any."""
    path = directory / "model.safetensors"
    with open(path, "wb") as handle:
        handle.write(struct.pack("<Q", 1 << 39))
        handle.truncate(1 << 40)
    refused(directory, "a header of")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_hidden_layers": 1_000_000}, "asks for 1000000 blocks"),
        ({"num_hidden_layers": 10**12}, "is not a configuration"),
        ({"hidden_size": 2**40, "head_dim": 8}, "is not a configuration"),
        ({"intermediate_size": 10**7}, "has the shape"),
        ({"vocab_size": 10**9}, "is not a configuration"),
        ({"vocab_size": 9_000_000}, "has the shape"),
        ({"vocab_size": -1}, "is not a configuration"),
        ({"num_attention_heads": 0}, "is not a configuration|must be"),
        ({"rms_norm_eps": float("nan")}, "norm_eps"),
        ({"rope_scaling": "linear"}, "is not a configuration"),
        ({"model_type": ["llama"]}, "not supported"),
        (
            {"model_type": "phi3", "auto_map": {"AutoModel": "evil.Model"}},
            "'phi3' is not supported; there is llama",
        ),
    ],
)
def test_lying_configurations(values, message, directory):
    path = directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    refused(directory, message)


@pytest.mark.parametrize("text", ["", "[]", "3", "{" * 100_000, '{"a": ' * 100_000, "\x00"])
def test_what_is_no_configuration(text, directory):
    (directory / "config.json").write_text(text)
    refused(directory, "config.json")


def test_code_in_a_directory_is_never_run(directory, tmp_path):
    mark = tmp_path / "run"
    (directory / "evil.py").write_text(f"open({str(mark)!r}, 'w')\nclass Model: pass\n")
    path = directory / "config.json"
    path.write_text(
        json.dumps(json.loads(path.read_text()) | {"auto_map": {"AutoModelForCausalLM": "evil.Model"}})
    )
    huggingface.read_directory(directory)
    assert not mark.exists()


def test_quantised_weights_are_not_taken_for_weights(directory):
    path = directory / "model.safetensors"
    tensors = load_file(path)
    tensors[NORM] = torch.zeros(16, dtype=torch.int8)
    save_file(tensors, path)
    refused(directory, "is stored as I8")


def test_one_tensor_in_two_files(directory):
    tensors = load_file(directory / "model.safetensors")
    (directory / "model.safetensors").unlink()
    save_file(tensors, directory / "a.safetensors")
    save_file({NORM: tensors[NORM]}, directory / "b.safetensors")
    index = {"weight_map": dict.fromkeys(tensors, "a.safetensors") | {"x": "b.safetensors"}}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(directory, "another file holds too")


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ({"weight_map": {"x": "/etc/passwd"}}, "outside its directory"),
        ({"weight_map": {"x": "../model/model.safetensors"}}, "outside its directory"),
        ({"weight_map": {"x": ".."}}, "outside its directory"),
        ({"weight_map": {"x": 3}}, "holds no weight_map"),
        ({"weight_map": ["a.safetensors"]}, "holds no weight_map"),
        ({"weight_map": {}}, "outside its directory"),
        ({"weight_map": {"x": "gone.safetensors"}}, "it is missing"),
        ([], "holds no table"),
    ],
)
def test_lying_indices(index, message, directory):
    (directory / "model.safetensors").unlink()
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(directory, message)


def test_a_pipe_is_no_file(directory):
    (directory / "model.safetensors").unlink()
    os.mkfifo(directory / "model.safetensors")
    refused(directory, "it is not a file")


def test_links_are_followed(directory, tmp_path):
    """As a hub's cache keeps its files."""
    moved = tmp_path / "blob"
    (directory / "model.safetensors").rename(moved)
    (directory / "model.safetensors").symlink_to(moved)
    huggingface.read_directory(directory)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_changed_bytes_are_refused_or_read(data, tmp_path_factory):
    """Whatever is done to a header: DamagedError, or tensors that lie inside the file."""
    path = tmp_path_factory.mktemp("fuzz") / "model.safetensors"
    save_file({"a": torch.ones(3, 2), "b": torch.ones(5, dtype=torch.bfloat16)}, path)
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(raw) - 1))
        raw[place] = data.draw(st.integers(0, 255))
    raw = raw[: data.draw(st.integers(0, len(raw)))] if data.draw(st.booleans()) else raw
    path.write_bytes(raw)
    try:
        entries = headers.read(path)
    except DamagedError:
        return
    assert all(entry.end <= len(raw) for entry in entries.values())
