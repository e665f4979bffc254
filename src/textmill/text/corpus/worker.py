"""A process that makes units: `python -m textmill.text.corpus.worker PARTS`, jobs as JSON lines on standard input.

It answers each with a line: null, or what went wrong. It ends at once when its input does, so that nobody
writes once whoever asked is gone.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import traceback
from pathlib import Path

from textmill.base.errors import TextmillError
from textmill.text.corpus import units


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever asked decides when to stop
    parts = Path(sys.argv[1])
    answers = sys.stdout
    sys.stdout = sys.stderr  # a library that prints must not be taken for an answer
    plan = units.load(parts)
    jobs: queue.SimpleQueue[list[int]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(jobs,), daemon=True).start()
    while True:
        print(json.dumps(_answer(parts, plan, *jobs.get())), file=answers, flush=True)


def _listen(jobs: queue.SimpleQueue[list[int]]) -> None:
    for line in sys.stdin:
        jobs.put(json.loads(line))
    os._exit(0)


def _answer(parts: Path, plan: units.Plan, phase: int, unit: int) -> dict[str, str] | None:
    try:
        units.make(parts, plan, phase, unit)
    except TextmillError as error:
        return {"what": error.what, "where": str(error.where), "advice": error.advice}
    except Exception as error:
        traceback.print_exc()
        where = units.place(parts, phase, unit).name
        return {
            "what": f"{type(error).__name__}: {error}",
            "where": f"preparing {where}",
            "advice": "report this",
        }
    return None


if __name__ == "__main__":
    main()
