"""The rules of C4 (Raffel et al. 2020, section 2.2, and what its published code adds to it).

Line by line, and a line that fails is dropped:
- reference marks such as `[12]`, `[edit]`, `[citation needed]` go, and spaces at the ends;
- a line with a word of over 1000 characters goes;
- a line that does not end in a terminal mark or a closing quotation mark goes (`terminal`), and so does one that
  ends in `...` or in a single `…`, which is how teasers end; the Chinese `……` ends a sentence;
- a line of too few words goes (`line_words`); hanzi and kana count as words each;
- a line with `javascript` or with a phrase about terms, privacy or cookies goes.

Of the lines that came so far, one with `lorem ipsum` (`lorem_ipsum`) or with `{` (`curly`) sets the whole document
aside, and so does it when they hold too few sentences (`sentences`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from textmill.specs.cleaning import C4Step
from textmill.text.document import Document, Item, Rejected, Step, reject, rewritten
from textmill.text.lines import TERMINAL, lines_lost
from textmill.text.step import Reject
from textmill.text.words import ALONE_CHARACTERS

LONGEST_WORD = 1000  # characters
POLICY = (
    "terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies",
    "使用条款", "服务条款", "隐私政策", "隐私条款", "使用條款", "服務條款", "隱私政策", "隱私權政策",
)  # fmt: skip
_ENDS = TERMINAL | frozenset("\"'”’」』")
_REFERENCE = re.compile(r"\[(?:\d*|edit|citation needed)\]")
_HANZI = re.compile(f"[{ALONE_CHARACTERS}]")
_WORD = re.compile(f"[{ALONE_CHARACTERS}]|[^\\W{ALONE_CHARACTERS}]+")  # beside hanzi, punctuation is no word
# A full stop is no end of a sentence behind an initial or a title; Chinese marks need no space behind them.
_SENTENCE = re.compile(
    r"(?:(?<!\b[A-Z])(?<!\bMr)(?<!\bDr)(?<!\bSt)(?<!\bMrs)\.|[!?])[.!?]*[\"'”’)\]]*(?=\s|$)"
    r"|[。！？｡；][。！？｡；]*[”’」』）]*|……[”’」』）]*"
)


def step(spec: C4Step) -> Step:
    """Drop lines that are no prose; skip documents that fail a rule, with the reason."""

    def each(items: Iterable[Item]) -> Iterator[Item]:
        for item in items:
            yield item if isinstance(item, Rejected) else _cleaned(item, spec)

    return each


def _cleaned(document: Document, spec: C4Step) -> Item:
    texts = clean(document.texts, spec)
    if isinstance(texts, Reject):
        return reject(document, "c4", texts.reason, texts.detail)
    if texts == document.texts:
        return document
    return rewritten(document, texts, "c4", lines_lost(document.texts, texts))


def clean(texts: Mapping[str, str], spec: C4Step) -> dict[str, str] | Reject:
    """The lines of a document's texts that are prose, or why it is skipped as a whole."""
    prose: dict[str, list[str]] = {}
    for role, text in texts.items():
        lines = _prose(text, spec)
        if isinstance(lines, Reject):
            return lines
        prose[role] = lines
    kept = [line for lines in prose.values() for line in lines]
    if not kept:
        return Reject("has no line of prose")
    if len(kept) < spec.sentences and (many := sum(map(sentences, kept))) < spec.sentences:
        return Reject("has too few sentences", f"{many} < {spec.sentences}")
    return {role: "\n".join(lines) for role, lines in prose.items()}


def _prose(text: str, spec: C4Step) -> list[str] | Reject:
    """The lines of a text that are prose, or what it holds that sets the document aside."""
    lowered = text.lower()
    policy = tuple(phrase for phrase in POLICY if phrase in lowered)
    if "javascript" in lowered:
        policy += ("javascript",)
    lorem = spec.lorem_ipsum and "lorem ipsum" in lowered
    curly = spec.curly and "{" in text
    references = "[" in text
    kept = []
    for raw in text.splitlines():
        line = raw.strip()
        if references:
            line = _REFERENCE.sub("", line).strip()
            if _REFERENCE.search(line):  # marks within marks: nobody writes that
                continue
        if not _is_prose(line, spec):
            continue
        if lorem and "lorem ipsum" in line.lower():
            return Reject("holds lorem ipsum")
        if curly and "{" in line and not (policy and "javascript" in line.lower()):
            return Reject("holds a curly bracket")
        if policy:
            small = line.lower()
            if any(phrase in small for phrase in policy):
                continue
        kept.append(line)
    return kept


def _is_prose(line: str, spec: C4Step) -> bool:
    """Whether a line ends as a sentence does, and has enough words, none of them endless."""
    if spec.terminal and line[-1:] not in _ENDS and not line.endswith("……"):
        return False
    if spec.terminal and line.endswith("..."):
        return False
    words = line.split()
    long = len(line) > LONGEST_WORD
    if not line.isascii() and _HANZI.search(line):
        long = long and any(len(part) > LONGEST_WORD for part in _HANZI.sub(" ", line).split())
        words = _WORD.findall(line)
    else:
        long = long and any(len(word) > LONGEST_WORD for word in words)
    return len(words) >= spec.line_words and not long


def sentences(line: str) -> int:
    """How many sentences a line holds, at least one; quicker and rougher than a tokenizer's rules."""
    return max(1, len(_SENTENCE.findall(line)))
