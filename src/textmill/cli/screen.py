"""The live screen on a terminal: one line a stage, one panel while a model trains."""

from __future__ import annotations

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from textmill.base.console import Reporter, TrainingStatus, duration
from textmill.base.language import fill, padded, say

_BARS = " ▁▂▃▄▅▆▇█"


def sparkline(values: list[float], width: int) -> str:
    """Values as a row of blocks, the lowest lowest; longer rows are thinned evenly."""
    if not values:
        return ""
    if len(values) > width:
        values = [values[i * (len(values) - 1) // (width - 1)] for i in range(width)]
    low, high = min(values), max(values)
    scale = (len(_BARS) - 2) / (high - low) if high > low else 0.0
    return "".join(_BARS[1 + round((value - low) * scale)] for value in values)


class Screen(Reporter):
    """Draws on stderr; the same calls as the plain Reporter."""

    def __init__(self, console: Console | None = None) -> None:
        super().__init__()
        self.console = console or Console(stderr=True)
        self._live: Live | None = None
        self._progress: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._losses: list[float] = []

    def note(self, text: str) -> None:
        style = "yellow" if text.startswith("warning: ") else None
        self.console.print(Text(say(text), style=style or ""))

    def _stage(self, name: str, state: str, why: str) -> None:
        self._end()
        colour = "green" if state in ("up to date", "done") else "cyan"
        reason = f"  {say(why)}" if why else ""
        line = Text.assemble((f"{padded(say(name), 10)} ", "bold"), (say(state), colour), (reason, "dim"))
        self.console.print(line)

    def progress(self, label: str, done: int, total: int | None = None, unit: str = "") -> None:
        if self._progress is None:
            self._end()
            columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
            self._progress = Progress(
                *columns,
                TextColumn("{task.fields[unit]}"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=self.console,
                transient=True,
            )
            self._progress.start()
        if label not in self._tasks:
            self._tasks[label] = self._progress.add_task(say(label), total=total, unit=say(unit))
        self._progress.update(self._tasks[label], completed=done, total=total)

    def training(self, status: TrainingStatus) -> None:
        self._losses.append(status.smoothed)
        if self._progress is not None:
            self._end()
        if self._live is None:
            self._live = Live(console=self.console, refresh_per_second=4, transient=True)
            self._live.start()
        self._live.update(self._panel(status))

    def _panel(self, status: TrainingStatus) -> Panel:
        table = Table.grid(padding=(0, 3))
        mfu = f"{status.mfu:.0%}" if status.mfu is not None else ""
        validation = f"{status.validation:.4f}" if status.validation is not None else say("not yet")
        table.add_row(
            say("step"),
            fill("{} of {}", f"{status.step:,}", f"{status.steps:,}"),
            say("time left"),
            duration(status.seconds_left),
        )
        table.add_row(
            say("loss"), fill("{} nats", f"{status.loss:.4f}"), say("smoothed"), f"{status.smoothed:.4f}"
        )
        table.add_row(say("validation"), validation, say("learning rate"), f"{status.learning_rate:.2e}")
        table.add_row(say("speed"), say(f"{status.tokens_per_second:,.0f} tokens/s"), "MFU", mfu)
        width = max(10, min(72, self.console.width - 8))
        done = round(width * status.step / max(1, status.steps))
        bar = Text("━" * done, style="green") + Text("━" * (width - done), style="dim")
        curve = Text(sparkline(self._losses, width), style="cyan")
        return Panel(
            Group(table, curve, bar),
            title=say("training"),
            subtitle=say("Ctrl-C saves and stops"),
            expand=False,
        )

    def close(self) -> None:
        self._end()

    def _end(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
        if self._progress is not None:
            self._progress.stop()
            self._progress, self._tasks = None, {}
