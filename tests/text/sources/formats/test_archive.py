"""Archives: what is inside is read, what is hostile is skipped, and the rest is still read."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib

import pyarrow as pa
import pytest

from textmill.specs.corpus import FilesSource, LimitSpec
from textmill.text.document import Document, Rejected
from textmill.text.sources.table import read_documents


def tar(members, mode="w"):
    """A tar of (name or TarInfo, bytes)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        for name, data in members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def zipped(members):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return out.getvalue()


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def collect(folder, name, data, limits=None, field="text"):
    """Documents as {source: text} and what was skipped as {source: Rejected}."""
    (folder / name).write_bytes(data)
    items = list(
        read_documents(FilesSource(paths=(name,), text_fields=(field,)), limits or LimitSpec(), folder)
    )
    kept = {item.source: item.text for item in items if isinstance(item, Document)}
    aside = {item.source: item for item in items if isinstance(item, Rejected)}
    assert len(kept) + len(aside) == len(items)
    return kept, aside


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("a.txt.gz", gzip.compress),
        ("a.txt.bz2", bz2.compress),
        ("a.txt.xz", lzma.compress),
        ("a.txt.lzma", lambda data: lzma.compress(data, lzma.FORMAT_ALONE)),
        ("a.txt.zst", lambda data: bytes(pa.compress(data, "zstd"))),
    ],
)
def test_single_compressed_files(tmp_path, name, pack):
    kept, aside = collect(tmp_path, name, pack("héllo\n".encode() * 5000))
    assert (kept, aside) == ({name: "héllo\n" * 5000}, {})


def test_compressed_streams_one_after_another(tmp_path):
    for name, pack in (("a.gz", gzip.compress), ("a.bz2", bz2.compress), ("a.xz", lzma.compress)):
        assert collect(tmp_path, name, pack(b"one ") + pack(b"two"))[0] == {name: "one two"}
    padded = lzma.compress(b"one ") + bytes(8) + lzma.compress(b"two") + bytes(4)
    assert collect(tmp_path, "a.xz", padded)[0] == {"a.xz": "one two"}


@pytest.mark.parametrize(
    ("name", "mode"),
    [("a.tar", "w"), ("a.tar.gz", "w:gz"), ("a.tgz", "w:gz"), ("a.tar.bz2", "w:bz2"), ("a.tar.xz", "w:xz")],
)
def test_tar_in_every_wrapping(tmp_path, name, mode):
    data = tar([("b/c.txt", b"one"), ("rows.jsonl", b'{"text": "two"}\n{"text": 3}\n')], mode)
    kept, aside = collect(tmp_path, name, data)
    assert kept == {f"{name}!b/c.txt": "one", f"{name}!rows.jsonl:line 1": "two"}
    assert list(aside) == [f"{name}!rows.jsonl:line 2"]


def test_archives_within_archives_up_to_a_depth(tmp_path):
    inner = tar([("deep.txt", b"deep")], "w:gz")
    kept, _ = collect(
        tmp_path, "a.zip", zipped([("in.tar.gz", inner), ("in.zip", zipped([("x.txt", b"x")]))])
    )
    assert kept == {"a.zip!in.tar.gz!deep.txt": "deep", "a.zip!in.zip!x.txt": "x"}
    data = b"bottom"
    for _ in range(6):
        data = zipped([("in.zip", data), ("beside.txt", b"beside")])
    kept, aside = collect(tmp_path, "b.zip", data)
    assert len(kept) == 4
    assert [item.reason for item in aside.values()] == ["is nested too deeply"]


def test_hostile_tar_members_are_set_aside_and_the_rest_is_read(tmp_path):
    data = tar(
        [
            ("../outside.txt", b"x"),
            ("/etc/absolute.txt", b"x"),
            ("a/../../b.txt", b"x"),
            (special("soft", tarfile.SYMTYPE, "/etc/passwd"), b""),
            (special("hard", tarfile.LNKTYPE, "good.txt"), b""),
            (special("device", tarfile.CHRTYPE), b""),
            (special("pipe", tarfile.FIFOTYPE), b""),
            ("C:\\windows.txt", b"x"),
            ("..\\windows.txt", b"x"),
            ("good.txt", b"good"),
        ]
    )
    kept, aside = collect(tmp_path, "a.tar", data)
    assert kept == {"a.tar!good.txt": "good"}
    assert len(aside) == 9
    assert "points outside" in aside["a.tar!../outside.txt"].reason
    assert "absolute" in aside["a.tar!/etc/absolute.txt"].reason
    assert "link" in aside["a.tar!soft"].reason
    assert "link" in aside["a.tar!hard"].reason
    assert "device" in aside["a.tar!device"].reason


def test_hostile_zip_members_are_set_aside_and_the_rest_is_read(tmp_path):
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    data = zipped([("../out.txt", b"x"), ("/abs.txt", b"x"), (link, b"/etc/passwd"), ("good.txt", b"good")])
    kept, aside = collect(tmp_path, "a.zip", data)
    assert kept == {"a.zip!good.txt": "good"}
    assert sorted(aside) == ["a.zip!../out.txt", "a.zip!/abs.txt", "a.zip!link"]


def test_a_zip_bomb_is_refused_alone(tmp_path):
    data = zipped([("bomb.txt", b" " * 20_000_000), ("good.txt", b"good"), ("bomb2.txt", b"a" * 20_000_000)])
    kept, aside = collect(tmp_path, "a.zip", data)
    assert kept == {"a.zip!good.txt": "good"}
    assert all("limits.ratio" in item.reason for item in aside.values())
    assert len(aside) == 2


def test_a_zip_that_lies_about_its_sizes(tmp_path):
    data = bytearray(zipped([("bomb.txt", b" " * 5_000_000)]))
    real = (5_000_000).to_bytes(4, "little")
    assert data.count(real) == 2
    data = bytes(data).replace(real, (10).to_bytes(4, "little"))
    kept, aside = collect(tmp_path, "a.zip", data)
    assert not kept
    assert len(aside) == 1


def test_a_compressed_bomb_ends_its_archive_only(tmp_path):
    data = tar([("first.txt", b"first"), ("bomb.txt", b" " * 20_000_000), ("last.txt", b"last")], "w:gz")
    kept, aside = collect(tmp_path, "a.tar.gz", data)
    assert kept == {"a.tar.gz!first.txt": "first"}
    assert list(aside) == ["a.tar.gz"]
    assert "rest is not read" in aside["a.tar.gz"].reason
    assert "ratio" in collect(tmp_path, "b.txt.xz", lzma.compress(b" " * 20_000_000))[1]["b.txt.xz"].reason


def test_nested_bombs_share_one_budget(tmp_path):
    level = zipped([(f"{i}.txt", bytes([97 + i]) * 150_000) for i in range(10)])
    data = zipped([(f"{i}.zip", level) for i in range(40)])  # 60 MB, each member within reason
    kept, aside = collect(tmp_path, "a.zip", data, LimitSpec(ratio=50))
    assert sum(map(len, kept.values())) <= max(1 << 20, 50 * len(data))
    assert "rest is not read" in aside["a.zip"].reason


def test_caps_on_bytes_and_members(tmp_path):
    words = " ".join(map(str, range(300_000))).encode()
    members = [(f"{i}.txt", words[i * 200_000 : (i + 1) * 200_000]) for i in range(10)]
    limits = LimitSpec(archive_bytes=500_000)
    for name, data in (("a.zip", zipped(members)), ("a.tar", tar(members)), ("a.tgz", tar(members, "w:gz"))):
        kept, aside = collect(tmp_path, name, data, limits)
        assert 1 <= len(kept) <= 2
        assert "limits.archive_bytes" in aside[name].reason
        kept, aside = collect(tmp_path, name, data, LimitSpec(members=3))
        assert len(kept) == 3
        assert "limits.members" in aside[name].reason
        big = [("big.txt", words[:300_000]), ("small.txt", b"small")]
        again = zipped(big) if name == "a.zip" else tar(big, "w:gz" if name == "a.tgz" else "w")
        kept, aside = collect(tmp_path, name, again, LimitSpec(file_bytes=250_000))
        assert kept == {f"{name}!small.txt": "small"}
        assert "limits.file_bytes" in aside[f"{name}!big.txt"].reason


def test_a_tar_header_cannot_fill_the_memory(tmp_path):
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 1 << 40
    kept, aside = collect(
        tmp_path,
        "a.tar",
        tar([("first.txt", b"first")])[:1024] + info.tobuf(tarfile.GNU_FORMAT) + b"x" * 10_000,
    )
    assert kept == {"a.tar!first.txt": "first"}
    assert "hostile" in aside["a.tar"].reason


def test_an_xz_header_cannot_fill_the_memory(tmp_path):
    data = bytearray(lzma.compress(b"some text " * 100, lzma.FORMAT_ALONE))
    data[1:5] = b"\xff\xff\xff\xff"  # a dictionary of 4 GiB
    _, aside = collect(tmp_path, "a.lzma", bytes(data))
    assert "emory" in aside["a.lzma"].detail


def test_damage_is_noticed_and_not_taken_for_the_end(tmp_path):
    members = [(f"{i}.txt", str(i).encode() * 2000) for i in range(4)]
    data = bytearray(tar(members))
    data[2 * (512 + 2048) + 148] ^= 0xFF  # the checksum in the third header
    kept, aside = collect(tmp_path, "a.tar", bytes(data))
    assert len(kept) == 2
    assert "damaged tar header" in aside["a.tar"].reason
    for name, cut in (("b.tar", tar(members)[:3000]), ("b.tgz", tar(members, "w:gz")[:80])):
        assert len(collect(tmp_path, name, cut)[1]) == 1
    broken = bytearray(zipped(members))
    broken[40] ^= 0xFF
    kept, aside = collect(tmp_path, "c.zip", bytes(broken))
    assert (len(kept), len(aside)) == (3, 1)
    for name in ("d.zip", "d.tar", "d.gz", "d.xz", "d.bz2", "d.zst", "d.tgz"):
        kept, aside = collect(tmp_path, name, b"this is no archive at all, whatever its name says")
        assert not kept
        assert len(aside) == 1


def test_an_encrypted_member(tmp_path):
    data = bytearray(zipped([("secret.txt", b"x"), ("good.txt", b"good")]))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    kept, aside = collect(tmp_path, "a.zip", bytes(data))
    assert kept == {"a.zip!good.txt": "good"}
    assert aside["a.zip!secret.txt"].reason == "is encrypted"


def test_member_names_are_told_by_all_of_them_together(tmp_path):
    def legacy(encoding, *members):
        """A zip file as programs write them that know neither UTF-8 nor its flag."""
        plain = [f"{at:06}.txt" for at in range(len(members))]
        data = zipped([(name, b"text") for name in plain])
        raw = [name.encode(encoding) for name in members]
        assert all(len(name) == 10 for name in raw)
        for name, other in zip(plain, raw, strict=True):
            data = data.replace(name.encode(), other)
        return data

    chinese = ["合同/甲1.t", "学生名单.x"]
    assert list(collect(tmp_path, "a.zip", legacy("gbk", *chinese))[0]) == [
        f"a.zip!{name}" for name in chinese
    ]
    japanese = ["患者/記.tt", "予定表の.a"]
    assert list(collect(tmp_path, "b.zip", legacy("cp932", *japanese))[0]) == [f"b.zip!{n}" for n in japanese]
    japanese = ["患者/契.tt", "契約書の.a"]  # the second half of 契 is `_`
    assert list(collect(tmp_path, "e.zip", legacy("cp932", *japanese))[0]) == [f"e.zip!{n}" for n in japanese]
    russian = ["отчёт1.txt", "письмо.txt"]
    assert list(collect(tmp_path, "c.zip", legacy("cp866", *russian))[0]) == [
        f"c.zip!{name}" for name in russian
    ]
    german = ["Grüße1.txt", "März12.txt"]
    assert list(collect(tmp_path, "d.zip", legacy("cp437", *german))[0]) == [
        f"d.zip!{name}" for name in german
    ]
    greek = ["τρία", "ένα2"]  # UTF-8 without its flag
    data = zipped([("00000000", b"text"), ("1111111", b"text")])
    data = data.replace(b"00000000", greek[0].encode()).replace(b"1111111", greek[1].encode())
    assert list(collect(tmp_path, "e.zip", data)[0]) == [f"e.zip!{name}" for name in greek]


def test_the_unicode_path_of_a_member_outranks_its_name(tmp_path):
    for checksum, name in ((zlib.crc32(b"name.txt"), "名前.txt"), (1, "name.txt")):
        info = zipfile.ZipInfo("name.txt")
        field = b"\x01" + checksum.to_bytes(4, "little") + "名前.txt".encode()
        info.extra = struct.pack("<HH", 0x7075, len(field)) + field
        kept, _ = collect(tmp_path, "a.zip", zipped([(info, b"text")]))
        assert list(kept) == [f"a.zip!{name}"]


def test_member_names_of_a_tar_in_another_encoding(tmp_path):
    raw = "合同第一份".encode("gbk").decode("utf-8", "surrogateescape")
    kept, _ = collect(
        tmp_path, "a.tar", tar([(tarfile.TarInfo(raw), b"x"), (tarfile.TarInfo("caf\udce9\n.txt"), b"y")])
    )
    assert all(source.encode("utf-8") for source in kept)  # each can be written
    assert next(iter(kept)) == "a.tar!合同第一份"


def test_what_macos_packs_beside_files_is_no_document(tmp_path):
    fork = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X"
    members = [("a.txt", b"text"), ("__MACOSX/._a.txt", fork), ("__MACOSX/sub/._b.txt", fork)]
    assert collect(tmp_path, "a.zip", zipped(members)) == ({"a.zip!a.txt": "text"}, {})
    kept, aside = collect(tmp_path, "a.tar", tar([("a.txt", b"text"), ("./._a.txt", fork)]))
    assert (kept, aside) == ({"a.tar!a.txt": "text"}, {})
