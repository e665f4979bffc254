"""Mathematics in pages as one line of text: its TeX where the page has it, and otherwise its MathML written out."""

from __future__ import annotations

import io
import re
from html import unescape

from textmill.text.sources.formats.math import mathml
from textmill.text.sources.formats.stream import Deadline, SetAside
from textmill.text.sources.formats.xml_events import tree

_TEX = re.compile(
    r"<(?:[\w-]+:)?annotation\b[^>]*encoding\s*=\s*[\"']?(?:application/x-tex|TeX|LaTeX)\b[^>]*>(.*?)</",
    re.IGNORECASE | re.DOTALL,
)
_STYLE = re.compile(r"\{\s*\\(?:displaystyle|textstyle)\s(.*)\}", re.DOTALL)
_TAG = re.compile(r"<[^>]*>")
# Characters of MathML that are never shown (MathML 3 §3.2.5.5).
_INVISIBLE = {ord("\u2061"): " ", **dict.fromkeys(map(ord, "\u2062\u2063\u2064\u200b"))}


def tex(source: str) -> str:
    """TeX without the wrapping that Wikipedia and others put around it."""
    source = source.strip()
    match = _STYLE.fullmatch(source)
    return " ".join((match[1] if match else source).split())


def text(markup: str, alternative: str, deadline: Deadline) -> str:
    """The formula of a `math` element: its TeX, or its presentation written out, or what it says in its place.

    markup: what stands inside the element, as the tree of a page writes it; alternative: its `alttext`.
    """
    if match := _TEX.search(markup):
        return tex(unescape(match[1]))
    whole = f"<math>{markup.replace('&nbsp;', ' ')}</math>"
    try:
        shown = mathml(tree(io.BytesIO(whole.encode("utf-8", "replace")), deadline))
    except SetAside:  # a tree no formula has
        deadline.check()
        shown = unescape(_TAG.sub("", markup))
    return " ".join(shown.translate(_INVISIBLE).split()) or tex(alternative)
