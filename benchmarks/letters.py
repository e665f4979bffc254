"""Make the tables by which bytes of unknown encoding are read: how common letters and pairs of letters are.

    python benchmarks/letters.py WORDFREQ LINGUA > src/textmill/text/sources/formats/letters.json

WORDFREQ and LINGUA are unpacked wheels of `wordfreq` 3.1 (frequencies of words; the lists are CC BY-SA 4.0) and of
`lingua-language-detector` 1.3 (frequencies of pairs of letters; Apache 2.0). Also needs brotli, msgpack and opencc.
What is written are counts of letters in them, rounded: costs in half bits, a character for each.

`pairs`: a language's letters, and row by row -log2 P(letter | letter before it), the first of row and column being the
edge of a word. `characters`: for languages of many characters, the characters of each whole cost in bits.
"""

from __future__ import annotations

import gzip
import itertools
import json
import math
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import brotli
import msgpack
import opencc

EDGE = " "
LISTED = "bg ca cs da de el en es fi fr he hu is it lt lv mk nb nl pl pt ro ru sh sk sl sv tr uk vi ar"
ONLY_PAIRS = "be et sq sr th"
TONES = "\u0300\u0301\u0303\u0309\u0323"  # Windows-1258 writes the tones of Vietnamese as marks of their own
RAREST = 1e-4  # of its letters: a rarer one is foreign to the language
HIGHEST = 30  # half bits
COMMON = 5  # bits of the most common characters


def listed(root: Path, language: str) -> Iterator[tuple[str, float]]:
    """(word, share) of a list of wordfreq."""
    path = next(root.glob(f"wordfreq/data/large_{language}.*"), None) or next(
        root.glob(f"wordfreq/data/small_{language}.*")
    )
    buckets = msgpack.unpackb(gzip.decompress(path.read_bytes()), raw=False)[1:]
    for centibels, words in enumerate(buckets):
        for word in words:
            yield word, 10 ** (-centibels / 100)


def paired(root: Path, language: str) -> Counter[str]:
    """Shares of pairs of letters of lingua's: they stand within words."""
    folder = root / "lingua/language-models" / language

    def table(name: str) -> dict[str, float]:
        rows = json.loads(brotli.decompress((folder / f"{name}.json.br").read_bytes()))["ngrams"]
        return {gram: float(Fraction(share)) for share, grams in rows.items() for gram in grams.split(" ")}

    single = table("unigrams")
    pairs: Counter[str] = Counter()
    for pair, share in table("bigrams").items():
        pairs[pair] += single.get(pair[0], 0) * share
    return pairs


def both(words: Counter[str], inside: Counter[str]) -> Counter[str]:
    """Pairs within words by both sources alike; edges by the words, or guessed for letters that those lack."""
    shares: Counter[str] = Counter()
    for pair, share in words.items():
        shares[pair[1]] += share
    known = {c for c, share in shares.items() if share > RAREST} | {"ß"}
    if words:  # the pairs come from the web, with what was read wrongly there
        inside = Counter({pair: share for pair, share in inside.items() if known.issuperset(pair)})
    within = sum(share for pair, share in words.items() if EDGE not in pair) or 5 / 7
    whole = sum(inside.values())
    halves = 2 if words else 1
    pairs = Counter({pair: share if EDGE in pair else share / 2 for pair, share in words.items()})
    for pair, share in inside.items():
        pairs[pair] += share / whole / halves * within
        for edge in (EDGE + pair[0], pair[1] + EDGE):
            if not words[edge]:
                pairs[edge] += share / whole / halves * within / 6
    return pairs


def spelt(word: str, language: str) -> str:
    word = word.lower()
    if language == "el" and word.endswith("σ"):  # the lists know no capital letters, nor what they would hide
        word = f"{word[:-1]}ς"
    if language == "vi":
        plain = unicodedata.normalize("NFD", word)
        base = unicodedata.normalize("NFC", "".join(c for c in plain if c not in TONES))
        tones = [(i, c) for i, c in enumerate(plain) if c in TONES]
        if not tones:
            return base
        out = []
        for c in unicodedata.normalize("NFC", word):
            parts = unicodedata.normalize("NFD", c)
            out.append(unicodedata.normalize("NFC", "".join(p for p in parts if p not in TONES)))
            out += [p for p in parts if p in TONES]
        return "".join(out)
    return unicodedata.normalize("NFC", word)


def pairs_of(words: Iterator[tuple[str, float]], language: str) -> Counter[str]:
    pairs: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    for raw, share in words:
        word = spelt(raw, language)
        if all(unicodedata.category(c) in ("Ll", "Lo", "Mn") for c in word):
            framed = f"{EDGE}{word}{EDGE}"
            for pair in map("".join, itertools.pairwise(framed)):
                pairs[pair] += share
                kinds[pair] += 1
    shares, each = sum(pairs.values()), sum(kinds.values())
    return Counter({pair: 0.7 * pairs[pair] / shares + 0.3 * kinds[pair] / each for pair in pairs})


def costs(pairs: Counter[str]) -> dict[str, object]:
    single: Counter[str] = Counter()
    for pair, share in pairs.items():
        single[pair[1]] += share
    whole = sum(share for letter, share in single.items() if letter != EDGE)
    letters = sorted(
        c for c, share in single.items() if c != EDGE and (share > RAREST * whole or c.isascii())
    )
    if any(c.isascii() for c in letters):  # a Latin script has all of these
        letters = sorted({*letters, *"abcdefghijklmnopqrstuvwxyz"})
        if sum(single[c] for c in letters if c.isascii()) < 0.3 * whole:
            letters = [c for c in letters if not c.isascii()]
    alphabet = [EDGE, *letters]
    total = sum(single[c] for c in alphabet)
    rows = []
    for first in alphabet:
        count = sum(pairs[first + second] for second in alphabet)
        row = ""
        for second in alphabet:
            share = pairs[first + second] / count if count else 0.0
            smooth = 0.998 * share + 0.002 * (single[second] / total) if count else single[second] / total
            row += chr(48 + min(HIGHEST, round(-2 * math.log2(max(smooth, 2**-15)))))
        rows.append(row)
    return {"letters": "".join(letters), "costs": rows}


def characters(counts: Counter[str]) -> list[str]:
    """The characters of each cost from COMMON bits on."""
    whole = sum(counts.values())
    rows: list[str] = []
    for character, count in counts.most_common():
        cost = max(COMMON, math.floor(-math.log2(count / whole) + 0.5))
        if cost > 18:
            break
        while len(rows) <= cost - COMMON:
            rows.append("")
        rows[cost - COMMON] += character
    return ["".join(sorted(row)) for row in rows]


def main(wordfreq: Path, lingua: Path) -> None:
    made: dict[str, dict[str, object]] = {"pairs": {}, "characters": {}}
    for language in sorted(f"{LISTED} {ONLY_PAIRS}".split()):
        words = pairs_of(listed(wordfreq, language), language) if language in LISTED.split() else Counter()
        inside = paired(lingua, {"sh": "hr"}.get(language, language)) if language != "vi" else Counter()
        pairs = both(words, inside) if inside else words
        made["pairs"][language] = costs(pairs)
    traditional = opencc.OpenCC("s2t")
    for name, language in {"zh": "zh", "zh-hant": "zh", "ja": "ja", "ko": "ko"}.items():
        counts: Counter[str] = Counter()
        for word, share in listed(wordfreq, language):
            for c in traditional.convert(word) if name == "zh-hant" else word:
                if not c.isascii() and c.isalpha():
                    counts[c] += share
        made["characters"][name] = characters(counts)
    json.dump(made, sys.stdout, ensure_ascii=False, indent=0)
    print()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
