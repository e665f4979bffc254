"""The program of a process that makes units (see base/confined.py): it may whatever we may, and dies with us, so that
nobody writes once whoever asked is gone."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from textmill.base.errors import ChangedError, TextmillError
from textmill.text.corpus import units


def begin(setting: str) -> Callable[[list[int]], dict[str, Any] | None]:
    """setting: the folder of the plan. Jobs are [phase, unit]; answers are None, or what went wrong."""
    parts = Path(setting)
    plan = units.load(parts)

    def make(job: list[int]) -> dict[str, Any] | None:
        try:
            units.make(parts, plan, *job)
        except TextmillError as error:
            changed = isinstance(error, ChangedError)
            return {"what": error.what, "where": error.where, "advice": error.advice, "changed": changed}
        except Exception as error:
            traceback.print_exc()
            return {
                "what": f"{type(error).__name__}: {error}",
                "where": f"preparing {units.place(parts, *job).name}",
                "advice": "report this bug",
                "changed": False,
            }
        return None

    return make
