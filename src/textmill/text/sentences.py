"""Where the sentences of a text stand, in Western and Chinese writing: rules, no model.

A sentence ends behind a terminal mark and the quotation marks and brackets that close there. Those of Chinese, and
question and exclamation marks before a space, always end one; a full stop does not

- inside a number, an address or a name (`3.14`, `example.org`): a space, a line end or the end must follow;
- behind an initial or a title that a name follows (`J. Smith`, `Dr. Who`), or an abbreviation (`e.g.`, `Fig.`);
- before a small letter, or a mark that goes on (`et al., 2019`).

An empty line always ends a sentence. A line end does, unless the next line goes on in small letters, as in text that
was wrapped.
"""

from __future__ import annotations

import re

_CLOSING = "\"'”’»›」』）)】\\]〉》"
_ALWAYS = "。！？｡．‼⁇⁈⁉︒﹒﹖﹗।॥؟۔"
# A set comes first, so that `re` looks only where one of its characters stands; what each begins is told behind it.
_BOUNDARY = re.compile(
    rf"[{_ALWAYS}!?.…\n](?:"
    rf"(?<=[{_ALWAYS}])(?P<always>[{_ALWAYS}!?]*[{_CLOSING}]*)"
    rf"|(?<=…)(?P<dots>…[{_CLOSING}]*)"
    rf"|(?<=[!?])(?P<loud>[.!?]*[{_CLOSING}]*)(?=\s|$)"
    rf"|(?<=\.)(?P<stop>\.*[{_CLOSING}]*)(?=\s|$)"
    rf"|(?<=…)(?P<more>[{_CLOSING}]*)(?=\s|$)"
    r"|(?<=\n)(?P<paragraph>[^\S\n]*\n\s*)"
    r"|(?<=\n)(?P<line>)(?!\s*[a-z])"  # a wrapped line; `_ends` knows other small letters too
    r")"
)
# In small letters, without the last full stop.
_ABBREVIATIONS = frozenset(
    """
    mr mrs ms dr prof st rev gen col lt sgt capt sen rep gov hon pres messrs mt ft
    vs v e.g i.e eg ie cf viz approx ca resp incl esp al
    bzw d.h z.b u.a evtl ggf vgl nr str sog usw inkl zzgl
    """.split()  # noqa: SIM905
)
_COUNTED = frozenset(  # only before a number
    """
    p pp no nos fig figs eq eqs eqn sec secs sect ch chap vol vols ref refs tab thm def lem prop cor alg app art
    """.split()  # noqa: SIM905
)
_WORD_BEFORE = re.compile(r"[^\W_](?:[\w.’'-]*[^\W_])?$")
_INITIALS = re.compile(r"(?:[^\W\d_]\.)+[^\W\d_]")  # `U.S`, `e.g`
_SAID = re.compile(r"\S")
_ENUMERATION = re.compile(r"(?:^|\n)\s*(?:\d{1,3}|[A-Za-z])$")  # `1.` at the beginning of a line


def sentences(text: str) -> list[tuple[int, int]]:
    """(start, end) of each sentence, without the space around it. Together they hold everything but space.

    >>> text = "Dr. Who won 3.5 to 2. Did he? 他赢了。真的！"
    >>> [text[start:end] for start, end in sentences(text)]
    ['Dr. Who won 3.5 to 2.', 'Did he?', '他赢了。', '真的！']
    """
    found: list[tuple[int, int]] = []
    start = 0
    for match in _BOUNDARY.finditer(text):
        if match.end() > start and _ends(text, match):
            _add(found, text, start, match.end())
            start = match.end()
    _add(found, text, start, len(text))
    return found


def _add(found: list[tuple[int, int]], text: str, start: int, end: int) -> None:
    """A stretch without the space around it, where anything is left. Marks alone belong to the sentence before."""
    part = text[start:end]
    if not part.strip():
        return
    start, end = start + len(part) - len(part.lstrip()), start + len(part.rstrip())
    if found and not any(map(str.isalnum, part)) and "\n" not in text[found[-1][1] : start]:
        start = found.pop()[0]
    found.append((start, end))


def _ends(text: str, match: re.Match[str]) -> bool:
    """Whether a sentence ends with what may end one."""
    kind, following = match.lastgroup, _SAID.search(text, match.end())
    after = following.group() if following else ""
    if kind in ("always", "dots", "paragraph"):
        return True
    if kind == "line":
        return not after.islower()
    if after.islower() or after in tuple(",;:"):
        return False
    if kind == "loud" or match.group().startswith(("..", "…")):
        return True
    before = text[max(0, match.start() - 40) : match.start()].removesuffix("\n")
    word = None if before[-1:].isspace() else _WORD_BEFORE.search(before.rpartition(" ")[2])
    if word is None:
        return True
    said = word.group()
    small = said.lower()
    initial = len(said) == 1 and said.isupper() and said != "I"
    initials = "." in said and _INITIALS.fullmatch(said) is not None
    counted = small in _COUNTED and after.isdecimal()
    enumerated = len(said) <= 3 and _ENUMERATION.search(before) is not None
    return not (initial or initials or counted or small in _ABBREVIATIONS or enumerated)
