"""Repair by ftfy (Speer 2019, "ftfy", Zenodo 2591652), where a recipe asks for it."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any

from textmill.base.errors import TextmillError

_ROUNDS = 8  # one repair may uncover another: text misread again and again
_ODD = re.compile(r"[^\t -~]|&")  # without one of these a line has nothing that ftfy changes


def ftfy_step() -> Callable[[str], str]:
    """What the step does to a text. Raises TextmillError when ftfy is missing."""
    _ftfy()
    return ftfy_repair


def ftfy_repair(text: str) -> str:
    """Text repaired by ftfy until nothing changes: entities, wrong encodings, ligatures, line ends, controls.

    Quotation marks stay as they are written, full-width forms too (the `chinese` step knows about those), and
    the text stays in the normal form it is in. Entities are left alone in a document that holds a `<`, where they
    may be markup. Raises TextmillError when ftfy is missing.
    """
    fix, markup, plain = _ftfy()
    config = markup if "<" in text else plain
    text = text.replace("\r\n", "\n")
    for _ in range(_ROUNDS):
        # ftfy goes line by line too, and most lines need no look.
        lines = text.split("\n")
        repaired = "\n".join([fix(line, config) if _ODD.search(line) else line for line in lines])
        if repaired == text:
            break
        text = repaired
    return text


@cache
def _ftfy() -> tuple[Any, Any, Any]:
    """ftfy's function, and how it is to treat text with markup and without."""
    try:
        import ftfy
    except ImportError as error:
        raise TextmillError(
            "needs ftfy", where="corpus.steps: ftfy", advice="pip install 'textmill[web]'"
        ) from error
    markup = ftfy.TextFixerConfig(
        unescape_html=False, uncurl_quotes=False, fix_character_width=False, normalization=None, explain=False
    )
    return ftfy.fix_text, markup, markup._replace(unescape_html=True)
