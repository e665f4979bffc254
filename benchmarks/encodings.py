"""Real text in every encoding that can write it: how much is read, how much is skipped, and that none is read wrongly.

    python benchmarks/encodings.py [FOLDER] [--texts FOLDER] [--each 6]

FOLDER holds the shared data (default: ../shared/data). Every text is cut into pieces of 1, 5, 20 and 60 kB, and each
piece is written in every encoding of Python that has all of its characters. A piece whose bytes are ASCII or UTF-8
tests nothing and is left out. `--texts` adds the *.txt files of a folder, each named by its language, as `ru.x.txt`.
Prints one row for each language and encoding, and ends with 1 if anything was read wrongly.
"""

from __future__ import annotations

import argparse
import functools
import gzip
import itertools
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from textmill.text.sources.formats import charset
from textmill.text.sources.formats.encoding import decode
from textmill.text.sources.formats.stream import SetAside

SIZES = (1_000, 5_000, 20_000, 60_000)
ENCODINGS = (
    "cp1250 cp1251 cp1252 cp1253 cp1254 cp1255 cp1256 cp1257 cp1258 cp874 latin-1 iso8859-2 iso8859-3 iso8859-4 "
    "iso8859-5 iso8859-6 iso8859-7 iso8859-8 iso8859-9 iso8859-10 iso8859-13 iso8859-14 iso8859-15 iso8859-16 koi8-r "
    "koi8-u cp437 cp737 cp775 cp850 cp852 cp855 cp857 cp858 cp860 cp861 cp862 cp863 cp864 cp865 cp866 cp869 mac-roman "
    "mac-cyrillic mac-greek mac-latin2 mac-turkish mac-iceland mac-croatian mac-romanian cp037 cp500 cp1140 "
    "gb18030 gbk gb2312 big5 cp950 big5hkscs euc_jp shift_jis cp932 iso2022_jp euc_kr cp949 johab hz "
    "utf-16 utf-16-le utf-16-be utf-32 utf-32-le"
)


def texts(root: Path) -> Iterator[tuple[str, str]]:
    """(language, text) of the shared data."""

    def stored(name: str) -> str:
        data = (root / name).read_bytes()
        return (gzip.decompress(data) if name.endswith(".gz") else data).decode("utf-8")

    for language in ("de", "fr", "en"):
        yield language, stored(f"multi30k/val.{language}.txt")
        yield language, stored(f"multi30k/train.{language}.txt.gz")[-400_000:]
    for language in ("de", "en", "zh"):
        articles = json.loads(stored(f"xquad/{language}.dev.json"))["data"]
        yield language, "\n".join(part["context"] for article in articles for part in article["paragraphs"])
    for line in stored("english-novels/train.jsonl.gz").splitlines()[::4]:
        yield "en", json.loads(line)["text"][20_000:220_000]
    classics = [
        stored(f"chinese-classics/{name}.txt.gz")[:200_000] for name in ("hongloumeng", "sanguoyanyi")
    ]
    poems = [
        "\n".join(
            " ".join(map(str, json.loads(line).values()))
            for line in stored(f"chinese-poetry/{name}.valid.jsonl").splitlines()
        )
        for name in ("tang", "songci")
    ]
    tatoeba = "\n".join(line.split("\t")[1] for line in stored("tatoeba-en-zh/valid.tsv").splitlines()[1:])
    for text in (*classics, *poems, tatoeba):
        yield "zh", text
    try:
        from opencc import OpenCC
    except ImportError:
        return
    for text in (*classics, *poems):
        yield "zh-hant", OpenCC("s2t").convert(text[:100_000])


def pieces(text: str, each: int) -> Iterator[tuple[int, str]]:
    """Up to `each` pieces of each size (in bytes of UTF-8, about), spread over a text."""
    size = max(1, len(text.encode("utf-8")))
    for length in SIZES:
        characters = length * len(text) // size
        starts = range(0, max(1, len(text) - characters), max(1, characters, len(text) // each))
        if characters <= len(text):
            yield from ((length, text[at : at + characters]) for at in itertools.islice(starts, each))


def outcome(piece: str, encoding: str) -> str:
    """`read`, `skipped` or `wrong`; empty where the encoding cannot write it, or only ASCII comes of it."""
    try:
        data = piece.encode(encoding)
        data.decode("utf-8")
    except UnicodeEncodeError:
        return ""
    except UnicodeDecodeError:
        pass
    else:
        if encoding not in ("hz", "iso2022_jp") or (data.isascii() and piece.isascii()):
            return ""
    # What browsers make of it counts as well: they read more characters of some encodings than Python writes.
    same = {piece, charset.decoded(data, charset.named(encoding) or encoding).removeprefix("\ufeff")}
    text = read(data)
    return "skipped" if text is None else "read" if text in same else "wrong"


@functools.lru_cache(maxsize=64)
def read(data: bytes) -> str | None:
    """What is made of bytes: many code pages write the same ones."""
    try:
        return decode(data)[0]
    except SetAside:
        return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--texts", type=Path)
    parser.add_argument("--each", type=int, default=6)
    options = parser.parse_args()
    every = list(texts(options.folder)) if options.folder.is_dir() else []
    if options.texts:
        every += [(path.name.split(".")[0], path.read_text()) for path in sorted(options.texts.glob("*.txt"))]
    counts: dict[tuple[str, str], Counter[tuple[int, str]]] = {}
    for language, text in every:
        for length, piece in pieces(text, options.each):
            for encoding in ENCODINGS.split():
                if result := outcome(piece, encoding):
                    counts.setdefault((language, encoding), Counter())[length, result] += 1
                if result == "wrong":
                    data = piece.encode(encoding)
                    print(
                        "WRONG",
                        language,
                        encoding,
                        length,
                        decode(data)[1],
                        repr(piece[:60]),
                        file=sys.stderr,
                    )
    total: Counter[str] = Counter()
    print("language  encoding      " + "".join(f"{size // 1000:>3} kB read/skip/wrong " for size in SIZES))
    for (language, encoding), row in sorted(counts.items()):
        cells = []
        for size in SIZES:
            numbers = [row[size, name] for name in ("read", "skipped", "wrong")]
            cells.append("/".join(f"{number:>4}" for number in numbers) if any(numbers) else "")
            total.update(dict(zip(("read", "skipped", "wrong"), numbers, strict=True)))
        print(f"{language:8}  {encoding:12}" + "".join(f"{cell:>24}" for cell in cells))
    print(dict(total))
    return 1 if total["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
