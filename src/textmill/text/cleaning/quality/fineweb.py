"""The three rules FineWeb added to those of C4 and Gopher (Penedo et al. 2024, section 3.6).

Lines are those that are not empty. A line is short when it has at most 30 characters; hanzi, kana and other wide
characters count as two, since a Chinese sentence takes about half the characters of an English one. A line ends in
punctuation also when quotation marks or brackets stand behind the mark, as they do in dialogue.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from textmill.specs.cleaning import FineWebStep
from textmill.text.document import Document, Item, Rejected, Step, reject
from textmill.text.lines import ends_sentence, repeated
from textmill.text.step import Reject

SHORT = 30  # characters
_WIDE = re.compile("[\u3000-\u9fff\uac00-\ud7a3\uf900-\ufaff\uff01-\uff60\U00020000-\U0003fffd]")


def step(spec: FineWebStep) -> Step:
    """Set aside documents that fail a rule; the reason names it, the detail gives the share."""

    def each(items: Iterable[Item]) -> Iterator[Item]:
        for item in items:
            if isinstance(item, Rejected):
                yield item
            else:
                yield _judged(item, spec)

    return each


def _judged(document: Document, spec: FineWebStep) -> Item:
    verdict = judge(document.whole, spec)
    return document if verdict is None else reject(document, "fineweb", verdict.reason, verdict.detail)


def judge(text: str, spec: FineWebStep) -> Reject | None:
    """The first rule a text fails, or None."""
    lines = [line for line in text.split("\n") if line and not line.isspace()]
    many = len(lines)
    if not many:
        return Reject("has only blank lines")
    share = sum(map(ends_sentence, lines)) / many
    if share < spec.least_terminal:
        return Reject("has too few lines that end in punctuation", f"{share:.3f} < {spec.least_terminal}")
    share = sum(map(_short, lines)) / many
    if share > spec.most_short:
        return Reject("has too many short lines", f"{share:.3f} > {spec.most_short}")
    characters = repeated(lines)[1]
    if characters:
        share = characters / (len(text) - text.count("\n"))
        if share > spec.most_duplicated:
            return Reject(
                "has too many characters in repeated lines", f"{share:.3f} > {spec.most_duplicated}"
            )
    return None


def _short(line: str) -> bool:
    length = len(line)
    return length <= SHORT and (line.isascii() or length + len(_WIDE.findall(line)) <= SHORT)
