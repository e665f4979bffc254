"""A messy folder as people have them, made here: many records, and faults planted at places that are known."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import random
import tarfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

_WORDS = [
    "river",
    "mill",
    "stands",
    "below",
    "hill",
    "wheel",
    "turns",
    "slowly",
    "people",
    "bring",
    "corn",
    "from",
]
_WORDS += [
    "every",
    "farm",
    "around",
    "ground",
    "into",
    "flour",
    "for",
    "bread",
    "that",
    "feeds",
    "towns",
    "roads",
]
_HANZI = "磨坊在河边山下水车慢慢地转动人们从各个农场带来谷物磨成面粉做面包供应沿路的城镇过去马车常常经过这里"


@dataclass
class Planted:
    """What a folder holds: sound documents, and the place of everything that must be skipped."""

    sound: int = 0
    faults: set[str] = field(default_factory=set)
    duplicates: set[str] = field(default_factory=set)  # places that repeat an earlier document


def make(folder: Path, *, records: int, faults: int, seed: int = 0) -> Planted:
    """Write `records` records in JSON lines, CSV and TSV, English and Chinese, `faults` of them faulty, and
    beside them every kind of file fault below; the folder must exist."""
    draw, planted = random.Random(seed), Planted()
    faulty = set(draw.sample(range(records), faults))
    per_file = max(1, -(-records // 10))
    sound: dict[str, list[str]] = {"records": [], "table": []}  # records are read before tables
    for number in range(0, records, per_file):
        write = (_json_lines, _json_lines, _csv, _json_lines, _tsv)[number // per_file % 5]
        rows = range(number, min(records, number + per_file))
        write(folder, number // per_file, rows, faulty, draw, sound, planted)
    _files(folder, planted)
    _archives(folder, planted)
    return planted


def sentence(draw: random.Random, number: int) -> str:
    """A text nobody else has."""
    if number % 3 == 0:
        return f"第{number}号" + "".join(draw.choices(_HANZI, k=draw.randrange(20, 60))) + "。"
    return f"Record {number}: " + " ".join(draw.choices(_WORDS, k=draw.randrange(12, 40))) + "."


# --- records ------------------------------------------------------------------------------------------------------
def _json_lines(folder, number, rows, faulty, draw, sound, planted):
    name = f"{folder.name}/records-{number:02}.jsonl"
    lines = []
    for line, row in enumerate(rows, 1):
        text = sentence(draw, row)
        place = f"{name}:line {line}"
        good = json.dumps({"text": text, "n": row}, ensure_ascii=row % 2 == 0).encode()
        if row not in faulty:
            sound["records"].append(text)
            planted.sound += 1
            lines.append(good)
            continue
        kind = draw.randrange(9)
        planted.faults.add(place)
        if kind == 8 and sound["records"]:
            planted.duplicates.add(place)
            lines.append(json.dumps({"text": draw.choice(sound["records"])}).encode())
        else:
            lines.append(
                (
                    good[:-3],  # cut short
                    b'{"text": "' + b"\xff\xfe broken bytes" + b'"}',
                    json.dumps({"body": text}).encode(),  # no text
                    json.dumps({"text": row}).encode(),  # not text
                    json.dumps({"text": ""}).encode(),
                    json.dumps([text]).encode(),
                    b"just a line " + text.encode(),
                    b"[" * 5000,
                    json.dumps({"text": None}).encode(),
                )[kind]
            )
    (folder / f"records-{number:02}.jsonl").write_bytes(b"\n".join(lines) + b"\n")


def _table(folder, number, rows, faulty, draw, sound, planted, *, ending, delimiter):
    name = f"{folder.name}/table-{number:02}.{ending}"
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
    writer.writerow(["n", "text"])
    for line, row in enumerate(rows, 2):
        text = sentence(draw, row)
        if row not in faulty:
            sound["table"].append(text)
            planted.sound += 1
            writer.writerow([row, text])
            continue
        place = f"{name}:line {line}"
        planted.faults.add(place)
        kind = draw.randrange(3)
        earlier = sound["records"] + sound["table"]
        if kind == 0 and earlier:
            planted.duplicates.add(place)
            writer.writerow([row, draw.choice(earlier)])
        elif kind == 1:
            writer.writerow([row, ""])
        else:
            writer.writerow([row])  # a column is missing
    (folder / f"table-{number:02}.{ending}").write_text(out.getvalue(), encoding="utf-8")


def _csv(*arguments):
    _table(*arguments, ending="csv", delimiter=",")


def _tsv(*arguments):
    _table(*arguments, ending="tsv", delimiter="\t")


# --- whole files --------------------------------------------------------------------------------------------------
def _files(folder: Path, planted: Planted) -> None:
    """Sound files in several encodings, and files that cannot be read."""
    sound = {
        "notes.txt": b"Notes of the miller.\n",
        "bom.txt": "\ufeffWith a byte order mark.\n".encode(),
        "utf16.txt": "Sixteen bits wide: 磨坊。\n".encode("utf-16"),
        "windows.txt": ("Café crème à la carte, déjà vu. " * 8).encode("cp1252"),
        "gb.txt": ("磨坊在河边，山下的水车慢慢地转动。人们从各个农场带来谷物。" * 8).encode("gb18030"),
        "page.html": b"<html><head><title>T</title><script>x()</script></head><body><h1>Mill</h1>"
        b"<p>A page about the mill and its wheel.</p></body></html>",
        "packed.txt.gz": gzip.compress(b"Packed once.\n"),
        "packed.txt.bz2": bz2.compress(b"Packed another way.\n"),
        "code.py": b"def grind(corn):\n    return corn.flour()\n",
    }
    faulty = {
        "picture.png": b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4,
        "program.bin": bytes(2000),
        "cut.txt.gz": gzip.compress(b"A text that is cut short. " * 500)[:-30],
        "not-really.gz": b"this is no gzip file",
        "broken.docx": b"PK\x03\x04 not a document",
        "broken.pdf": b"%PDF-1.7\nno objects here",
        "broken.epub": b"not a book",
        "broken.parquet": b"PAR1 nothing PAR1",
        "nul.md": b"# A title\n\nA line with \x00\x00\x00\x00 NULs in it.\n",
        "broken.ipynb": b'{"cells": [',
        "broken.zip": b"PK\x05\x06",
        "empty.txt": b"",
        "repeat.txt": b"Notes of the miller.\n",
    }
    for name, data in (sound | faulty).items():
        (folder / name).write_bytes(data)
    planted.sound += len(sound)
    planted.faults |= {f"{folder.name}/{name}" for name in faulty}
    planted.duplicates.add(f"{folder.name}/repeat.txt")
    (folder / "deeper").mkdir()
    (folder / "deeper" / "last.txt").write_text("Deep down.\n")
    planted.sound += 1
    (folder / "link").symlink_to("deeper")
    planted.faults.add(f"{folder.name}/link")


# --- archives -----------------------------------------------------------------------------------------------------
def _archives(folder: Path, planted: Planted) -> None:
    """Archives whose members point outside, are links or devices, or unpack to far too much."""
    with zipfile.ZipFile(folder / "mixed.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("good.txt", "A sound member.\n")
        archive.writestr("../outside.txt", "points outside")
        archive.writestr("/absolute.txt", "absolute")
        archive.writestr("bomb.txt", b"\0" * (8 << 20))
        link = zipfile.ZipInfo("link.txt")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        inner = io.BytesIO()
        with zipfile.ZipFile(inner, "w") as nested:
            nested.writestr("nested.txt", "A member of a member.\n")
            nested.writestr("nested.jsonl", '{"text": "Sound, nested."}\n{"text": 7}\n')
        archive.writestr("inner.zip", inner.getvalue())
    planted.sound += 3
    place = f"{folder.name}/mixed.zip!"
    planted.faults |= {
        f"{place}{name}" for name in ("../outside.txt", "/absolute.txt", "bomb.txt", "link.txt")
    }
    planted.faults.add(f"{place}inner.zip!nested.jsonl:line 2")
    with tarfile.open(folder / "mixed.tar.gz", "w:gz") as archive:
        _member(archive, "tar-good.txt", b"A sound member of a tar.\n")
        _member(archive, "../../escape.txt", b"points outside")
        for name, kind in (("link", tarfile.SYMTYPE), ("device", tarfile.CHRTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    planted.sound += 1
    planted.faults |= {
        f"{folder.name}/mixed.tar.gz!{name}" for name in ("../../escape.txt", "link", "device")
    }


def _member(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))
