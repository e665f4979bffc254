"""The program of a process that makes units (see base/confined.py): it may whatever we may, and dies with us, so that
nobody writes once whoever asked is gone."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path

from textmill.base.errors import TextmillError
from textmill.text.corpus import units


def begin(setting: str) -> Callable[[list[int]], dict[str, str] | None]:
    """setting: the folder of the plan. Jobs are [phase, unit]; answers are None, or what went wrong."""
    parts = Path(setting)
    plan = units.load(parts)

    def make(job: list[int]) -> dict[str, str] | None:
        try:
            units.make(parts, plan, *job)
        except TextmillError as error:
            return {"what": error.what, "where": str(error.where), "advice": error.advice}
        except Exception as error:
            traceback.print_exc()
            return {
                "what": f"{type(error).__name__}: {error}",
                "where": f"preparing {units.place(parts, *job).name}",
                "advice": "report this",
            }
        return None

    return make
