"""What a person sees while the work goes on. Logs go to stderr, results to stdout.

Stages never print: they tell a Reporter. This plain one writes a line now and then, as suits a log file; the
command line puts a live screen in its place on a terminal.
"""

from __future__ import annotations

import contextlib
import json
import math
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

from textmill.base.language import bracketed, fill, padded, say

_QUIET_SECONDS = 5.0  # between two lines about the same work
_QUICK_SECONDS = 1.0  # work that takes no longer is not told of
Item = TypeVar("Item")


@dataclass(frozen=True)
class TrainingStatus:
    """Where a training run stands after a step. Losses in nats per token, `rate` the learning rate of the
    optimiser's first group, times in seconds."""

    step: int
    steps: int
    loss: float
    smoothed: float
    learning_rate: float
    grad_norm: float
    tokens_per_second: float
    mfu: float | None  # of this machine's measured matrix-multiplication peak
    validation: float | None
    seconds_left: float


class Reporter:
    """Plain lines on stderr."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}
        self._told: set[str] = set()
        self.noted: set[str] = set()  # what `note_once` has said

    def note(self, text: str) -> None:
        """Something a person should know."""
        print(say(text), file=sys.stderr, flush=True)

    def note_once(self, text: str) -> None:
        """The same, of what a result may say, too: whoever shows one looks whether it is in `noted`."""
        self.note(text)
        self.noted.add(text)

    def warn(self, text: str) -> None:
        """Something a person should act on."""
        self.note(f"warning: {text}")

    def stage(self, name: str, state: str, why: str = "") -> None:
        """A stage is up to date, begins or ends, and why. What was said of it is not said again."""
        if state == "up to date" and name in self._told:
            return
        self._told.add(name)
        self._stage(name, state, why)

    def _stage(self, name: str, state: str, why: str) -> None:
        self.note(f"{padded(say(name), 10)} {say(state)}{bracketed(say(why))}")

    def progress(self, label: str, done: int, total: int | None = None, unit: str = "") -> None:
        """Work that can be counted goes on."""
        if self._due(label) or done == total:
            shown = fill("{} of {}", f"{done:,}", f"{total:,}") if total else f"{done:,}"
            self.note(fill("{}: {}", say(label), f"{shown} {say(unit)}".rstrip()))

    def bytes(self, label: str, done: int, total: int) -> None:
        """Work that is counted in bytes goes on."""
        self.progress(label, done // 1000, total // 1000, "kB")

    def training(self, status: TrainingStatus) -> None:
        """A training step was made."""
        if self._due("training") or status.step == status.steps:
            mfu = f"  MFU {status.mfu:.0%}" if status.mfu is not None else ""
            validation = f"  validation {status.validation:.4f}" if status.validation is not None else ""
            self.note(
                f"step {status.step:>6}/{status.steps}  loss {status.loss:.4f}  smoothed {status.smoothed:.4f}"
                f"{validation}  learning rate {status.learning_rate:.2e}  {status.tokens_per_second:,.0f} tokens/s"
                f"  {duration(status.seconds_left)} left{mfu}"
            )

    def close(self) -> None:
        """The work is over; give the terminal back."""

    def _due(self, label: str) -> bool:
        now = time.monotonic()
        if now - self._last.get(label, -_QUIET_SECONDS) < _QUIET_SECONDS:
            return False
        self._last[label] = now
        return True


_listener: ContextVar[Reporter | None] = ContextVar("listener", default=None)


@contextlib.contextmanager
def listening(reporter: Reporter) -> Iterator[None]:
    """Within the block this reporter is told by `tracked`, in this thread."""
    token = _listener.set(reporter)
    try:
        yield
    finally:
        _listener.reset(token)


def tracked(
    items: Iterable[Item], label: str, total: int | None = None, unit: str = "", *, slow: bool = False
) -> Iterator[Item]:
    """The items, while whoever listens is told how many of them are done: for work on a floor that knows no reporter.
    What is over within a second is not worth a line; `slow` says at once that it begins, since each item takes long."""
    reporter, began, done = _listener.get(), time.monotonic(), 0
    for item in items:
        if reporter is not None and (slow or time.monotonic() - began > _QUICK_SECONDS):
            reporter.progress(label, done, total, unit)
        yield item
        done += 1
    if reporter is not None and time.monotonic() - began > _QUICK_SECONDS:
        reporter.progress(label, done, total, unit)


def told(text: str) -> None:
    """Something a person should know is said once, by whoever listens: for a floor that knows no reporter."""
    reporter = _listener.get()
    if reporter is not None and text not in reporter.noted:
        reporter.note(text)
        reporter.noted.add(text)


class Silent(Reporter):
    """Warnings and errors only."""

    def note_once(self, text: str) -> None:
        """Nothing is said, so that a result says it."""

    def note(self, text: str) -> None:
        if text.startswith("warning: "):
            super().note(text)


def duration(seconds: float) -> str:
    """Seconds as a person says them: `45 s`, `3 min 20 s`, `2 h 05 min`."""
    seconds = int(seconds + 0.5)
    if seconds < 60:
        return fill("{} s", seconds)
    if seconds < 3600:
        return fill("{} min {} s", seconds // 60, f"{seconds % 60:02d}")
    return fill("{} h {} min", seconds // 3600, f"{seconds % 3600 // 60:02d}")


def amount(number: float, unit: str = "") -> str:
    """A large number with its decimal prefix: `1.23 M`, `4.56 GB`."""
    for size, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= size:
            return f"{number / size:.3g} {prefix}{unit}"
    return f"{number:.3g} {unit}".rstrip()


def counted(number: int, what: str) -> str:
    """A number of things: `1 document`, `1,234 documents`."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def print_json(value: Mapping[str, Any]) -> None:
    """One JSON object on stdout, as the standard has it (RFC 8259): a figure that is not finite is null, and what the
    stream's encoding lacks is escaped."""
    ascii_only = "utf" not in (sys.stdout.encoding or "utf-8").lower()
    try:
        text = json.dumps(value, ensure_ascii=ascii_only, indent=2, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(value), ensure_ascii=ascii_only, indent=2, allow_nan=False)
    print(text)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, (list, tuple)) else value
