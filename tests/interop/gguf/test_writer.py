"""Reading the header of a GGUF file: what is there, and whatever else somebody may have put there."""

from __future__ import annotations

import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from textmill.base.errors import DamagedError, TextmillError
from textmill.interop.gguf import reader as gguf
from textmill.interop.gguf import writer as gguf_file

METADATA = {
    "general.architecture": "llama",
    "a.number": 7,
    "a.share": 0.5,
    "a.flag": True,
    "some.texts": ["one", "", "磨坊"],
    "some.numbers": [3, -4],
    "some.shares": [0.25, 8.0],
    "some.flags": [True, False],
}


def outgoing(name, array, kind="F32"):
    return gguf_file.Outgoing(
        name, array.shape, kind, lambda: np.ascontiguousarray(array).view(np.uint8).reshape(-1)
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A small file and its bytes."""
    path = tmp_path_factory.mktemp("gguf") / "small.gguf"
    first = np.arange(6, dtype=np.float32).reshape(2, 3)
    second = np.arange(5, dtype=np.float16)
    packed = gguf_file.Outgoing("third", (2, 32), "Q8_0", lambda: np.arange(68, dtype=np.uint8))
    gguf_file.write_file(
        path, METADATA, [outgoing("first", first), outgoing("second", second, "F16"), packed]
    )
    return path, path.read_bytes()


def test_what_was_written_is_read(whole):
    path, data = whole
    file = gguf.read_file(path)
    assert {
        key: value for key, value in file.metadata.items() if key in ("a.number", "a.share", "a.flag")
    } == {
        "a.number": 7,
        "a.share": 0.5,
        "a.flag": True,
    }
    assert file.metadata["some.texts"] == ["one", "", "磨坊"]
    for key, kind in (("some.numbers", "i4"), ("some.shares", "f4"), ("some.flags", "?")):
        assert file.metadata[key].tolist() == METADATA[key]
        assert file.metadata[key].dtype == np.dtype(kind)
    entry = file.tensors["first"]
    assert (entry.shape, entry.type.name) == ((2, 3), "F32")
    assert np.array_equal(file.bytes_of("first").view("<f4"), np.arange(6))
    assert np.array_equal(file.bytes_of("third"), np.arange(68))
    assert file.tensors["third"].start % gguf.ALIGNMENT == 0
    assert file.tensors["third"].stop <= len(data)


def test_the_reference_reader_reads_it(whole):
    reader = pytest.importorskip("gguf").GGUFReader(whole[0])
    assert reader.fields["some.texts"].contents() == ["one", "", "磨坊"]
    assert reader.fields["a.share"].contents() == 0.5
    assert [(tensor.name, tensor.shape.tolist()) for tensor in reader.tensors] == [
        ("first", [3, 2]),
        ("second", [5]),
        ("third", [32, 2]),
    ]
    assert np.array_equal(reader.tensors[0].data, np.arange(6).reshape(2, 3))


def test_every_type_of_value_is_read(tmp_path):
    """Also the types that are never written here, and arrays of arrays, as the reference writer makes them."""
    package = pytest.importorskip("gguf")
    path = tmp_path / "kinds.gguf"
    writer = package.GGUFWriter(path, "llama")
    writer.add_uint8("u8", 200)
    writer.add_int8("i8", -100)
    writer.add_uint16("u16", 60000)
    writer.add_int16("i16", -30000)
    writer.add_int32("i32", -(2**31))
    writer.add_uint64("u64", 2**63)
    writer.add_int64("i64", -(2**62))
    writer.add_float64("f64", 0.1)
    writer.add_array("nested", [[1, 2], [3]])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    found = gguf.read_file(path).metadata
    plain = {"u8": 200, "i8": -100, "u16": 60000, "i16": -30000, "i32": -(2**31), "u64": 2**63}
    plain |= {"i64": -(2**62), "f64": 0.1}
    assert {key: found[key] for key in plain} == plain
    assert [row.tolist() for row in found["nested"]] == [[1, 2], [3]]


def header(tensors=0, keys=0, body=b"", version=3):
    return b"GGUF" + struct.pack("<IQQ", version, tensors, keys) + body


def text(value):
    return struct.pack("<Q", len(value)) + value


def key(name, kind, value):
    return text(name) + struct.pack("<I", kind) + value


def tensor(name, shape, kind=0, offset=0):
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


DEEP = struct.pack("<IQ", 9, 1) * 40
HOSTILE = {
    "nothing": (b"", "truncated"),
    "another format": (b"PK\x03\x04" + bytes(40), "not a GGUF"),
    "a version to come": (header(version=9), "version 9"),
    "big-endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian"),
    "2^64 tensors": (header(tensors=2**64 - 1), "says it has"),
    "2^64 keys": (header(keys=2**64 - 1), "says it has"),
    "keys that are not there": (header(keys=5), "truncated"),
    "an endless text": (header(keys=1, body=key(b"a", 8, struct.pack("<Q", 2**63))), "inconsistent"),
    "a text beyond the end": (header(keys=1, body=key(b"a", 8, struct.pack("<Q", 2**20))), "truncated"),
    "an endless array": (header(keys=1, body=key(b"a", 9, struct.pack("<IQ", 0, 2**60))), "inconsistent"),
    "an array beyond the end": (
        header(keys=1, body=key(b"a", 9, struct.pack("<IQ", 8, 10**6))),
        "truncated|cut short",
    ),
    "arrays without end": (header(keys=1, body=key(b"a", 9, DEEP)), "truncated|cut short|deeper"),
    "a type of value there is not": (header(keys=1, body=key(b"a", 99, bytes(8))), "type 99"),
    "a key twice": (header(keys=2, body=key(b"a", 0, b"1") * 2), "twice"),
    "a key that is no text": (header(keys=1, body=key(b"\xff\xfe", 0, b"1")), "not a valid name"),
    "a key with an escape": (header(keys=1, body=key(b"\x1b[2Ja", 0, b"1")), "not a valid name"),
    "a lying alignment": (
        header(keys=1, body=key(b"general.alignment", 4, struct.pack("<I", 33))),
        "power of two",
    ),
    "a tensor twice": (header(tensors=2, body=tensor(b"t", (1,)) * 2 + bytes(64)), "twice"),
    "a tensor beyond the end": (header(tensors=1, body=tensor(b"t", (2**40,))), "truncated"),
    "a shape whose size overflows": (
        header(tensors=1, body=tensor(b"t", (2**32, 2**32, 2**32))),
        "truncated",
    ),
    "a negative size": (header(tensors=1, body=tensor(b"t", (2**64 - 1,)) + bytes(64)), "truncated"),
    "no size at all": (header(tensors=1, body=tensor(b"t", (4, 0)) + bytes(64)), "impossible shape"),
    "half a block": (header(tensors=1, body=tensor(b"t", (33,), 8) + bytes(64)), "impossible shape"),
    "too many dimensions": (header(tensors=1, body=tensor(b"t", (1,) * 9) + bytes(64)), "9 dimensions"),
    "a type of tensor there is not": (header(tensors=1, body=tensor(b"t", (1,), 77) + bytes(64)), "type 77"),
    "an offset that is not aligned": (
        header(tensors=1, body=tensor(b"t", (1,), 0, 5) + bytes(64)),
        "inconsistent",
    ),
    "an offset beyond the end": (
        header(tensors=1, body=tensor(b"t", (1,), 0, 2**62) + bytes(64)),
        "inconsistent",
    ),
    "tensors in one place": (
        header(tensors=2, body=tensor(b"t", (8,)) + tensor(b"u", (8,)) + bytes(99)),
        "share bytes",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_are_refused(tmp_path, case):
    data, message = HOSTILE[case]
    path = tmp_path / "hostile.gguf"
    path.write_bytes(data)
    with pytest.raises(TextmillError, match=message) as caught:
        gguf.read_file(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 800
    assert str(caught.value).isprintable()


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(TextmillError, match="cannot be read"):
        gguf.read_file(tmp_path)


def test_every_truncation_is_noticed(whole, tmp_path):
    path, data = tmp_path / "cut.gguf", whole[1]
    needed = gguf.read_file(whole[0]).tensors["third"].stop
    for length in range(needed):
        path.write_bytes(data[:length])
        with pytest.raises(DamagedError):
            gguf.read_file(path)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=8),
    insertion=st.binary(max_size=12),
    place=st.integers(0, 10**6),
)
def test_any_change_is_read_or_refused(whole, tmp_path, changes, insertion, place):
    """Never another exception, and never more memory than a file of this size can fill."""
    data = bytearray(whole[1])
    for at, value in changes:
        data[at % len(data)] = value
    place %= len(data)
    data[place:place] = insertion
    path = tmp_path / "changed.gguf"
    path.write_bytes(data)
    tracemalloc.start()
    try:
        file = gguf.read_file(path)
    except TextmillError:
        pass
    else:
        for name, entry in file.tensors.items():
            assert len(file.bytes_of(name)) == entry.stop - entry.start
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 1 << 20
