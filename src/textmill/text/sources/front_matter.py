"""The YAML header of a README, as data set cards have one. Everything in it is text."""

from __future__ import annotations

from typing import Any

import yaml

_LONGEST = 1 << 20  # characters of a header that are read
_DEPTH = 32
_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # neither makes anything but text, lists and mappings


def header(text: str) -> dict[str, Any]:
    """The mapping between the two `---` lines a text begins with; empty where there is none.

    Dates, numbers and `no` stay as they are written, anchors are not followed, and of a header that is no YAML
    from some line on, or deeper than any card is, what stands before that is read.

    >>> header("---\\nlicense: mit\\nlanguage: [en, zh]\\n---\\nWords")
    {'license': 'mit', 'language': ['en', 'zh']}
    """
    lines = text[:_LONGEST].removeprefix("\ufeff").split("\n")
    if lines[0].rstrip() != "---":
        return {}
    for end, line in enumerate(lines[1:], 1):
        if line.rstrip() in ("---", "..."):
            return _mapping("\n".join(lines[1:end]))
    return {}


def _mapping(source: str) -> dict[str, Any]:
    """The mapping a document of YAML is, built of its parts as they come, so that no value is ever copied."""
    open_: list[list[Any]] = [[]]  # what the collections around a part hold so far, keys and values in turn
    try:
        for part in yaml.parse(source, Loader=_LOADER):
            if isinstance(part, yaml.CollectionStartEvent):
                if len(open_) > _DEPTH:
                    break
                open_.append([])
            elif isinstance(part, yaml.CollectionEndEvent):
                held = open_.pop()
                open_[-1].append(_paired(held) if isinstance(part, yaml.MappingEndEvent) else held)
            elif isinstance(part, yaml.ScalarEvent):
                open_[-1].append(part.value)
            elif isinstance(part, yaml.AliasEvent):
                open_[-1].append(f"*{part.anchor}")
    except (yaml.YAMLError, ValueError):
        pass
    root = open_[0][0] if open_[0] else _paired(open_[1]) if len(open_) > 1 else {}
    return root if isinstance(root, dict) else {}


def _paired(held: list[Any]) -> dict[str, Any]:
    return {key: value for key, value in zip(held[::2], held[1::2], strict=False) if isinstance(key, str)}
