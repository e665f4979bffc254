"""Keys of files that earlier versions wrote, under the names they have now. Those of recipes stand at their fields
(`About.was`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NAMES = {
    "endings": "extensions",
    "parts": "splits",
    "set_aside": "skipped",
    "set_aside_first": "skipped_first",
}


def current(data: Mapping[str, Any], names: Mapping[str, str] = NAMES) -> dict[str, Any]:
    """A table with its keys of before renamed; what it holds under them is as it was."""
    return {names.get(key, key): value for key, value in data.items()}
