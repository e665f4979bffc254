"""Repair by ftfy (Speer 2019, "ftfy", Zenodo 2591652), where a recipe asks for it."""

from __future__ import annotations

from functools import cache
from typing import Any

from textmill.base.errors import TextmillError

_ROUNDS = 8  # one repair may uncover another: an entity inside an entity, text misread again and again


def ftfy_repair(text: str) -> str:
    """Text repaired by ftfy until nothing changes: entities, wrong encodings, ligatures, line ends, controls.

    Quotation marks stay as they are written, full-width forms too (the `chinese` step knows about those), and
    the text stays in the normal form it is in. Lone surrogates go, since ftfy cannot encode them.
    Raises TextmillError when ftfy is missing.
    """
    fix, config = _ftfy()
    for _ in range(_ROUNDS):
        repaired = fix(text, config)
        if repaired == text:
            break
        text = repaired
    return text


@cache
def _ftfy() -> tuple[Any, Any]:
    try:
        import ftfy
    except ImportError as error:
        raise TextmillError(
            "needs ftfy", where="corpus.steps: ftfy", advice="pip install 'textmill[web]'"
        ) from error
    # `unescape_html=True`, since "auto" keeps entities in lines that hold a `<`, so that cutting a line elsewhere
    # would change the result; `max_decode_length` bounds one line, not the document.
    config = ftfy.TextFixerConfig(
        uncurl_quotes=False,
        fix_character_width=False,
        normalization=None,
        explain=False,
    )
    return ftfy.fix_text, config
