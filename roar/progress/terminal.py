"""Progress on a terminal: a bar per stage with rate and time left; plain lines where there is no terminal."""

from __future__ import annotations

import math
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from roar.errors import shown
from roar.progress import Pace, failures

_QUIET = 2.0  # seconds that a stage may take before a log without a terminal says anything of it
_EVERY = 30.0  # seconds between a log's lines


class Tolerant:
    """A stream that may be closed, or full: progress is for the eye and never costs work."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self.stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


class Terminal:
    """Draws on standard error, so that standard output holds only what was asked for."""

    def __init__(self) -> None:
        self.console = Console(file=Tolerant(sys.stderr))  # type: ignore[arg-type]

    def say(self, text: str) -> None:
        self.console.print(shown(text), style="dim", highlight=False, markup=False)

    def begin(self, title: str, total: float, unit: str) -> TerminalBar:
        return TerminalBar(self.console, title, total, unit)

    def end(self, bar: Any) -> None:
        bar.close()


@dataclass(eq=False)
class TerminalBar:
    """One stage's bar."""

    console: Console
    title: str
    total: float
    unit: str
    done: float = 0.0
    failed: float = 0.0
    pace: Pace = field(default_factory=Pace)
    started: float = field(default_factory=time.monotonic)
    logged: float = 0.0
    progress: Progress | None = None
    task: Any = None

    def __post_init__(self) -> None:
        if self.console.is_terminal:
            self.progress = Progress(TextColumn("{task.description}", markup=False), BarColumn(), _Count(), _Rate(self),
                                     TextColumn("{task.fields[note]}", style="dim", markup=False),
                                     console=self.console)
            self.task = self.progress.add_task(shown(self.title), total=self.total, note="", unit=self.unit,
                                               failed=0.0)
            self.progress.start()

    def advance(self, amount: float, text: str = "") -> None:
        if not self.failed:
            self.pace.work(self.done + amount)
        self.done += amount
        if self.progress is not None:
            self.progress.update(self.task, advance=amount, note=shown(text))
        elif time.monotonic() - max(self.logged, self.started + _QUIET - _EVERY) > _EVERY:
            self.logged = time.monotonic()
            self._log(text)

    def fail(self, amount: float, text: str = "") -> None:
        self.failed += amount
        if self.progress is not None:
            self.progress.update(self.task, advance=amount, failed=self.failed)
        self.advance(0.0, text)

    def close(self) -> None:
        if self.progress is not None:
            self.progress.stop()
        elif time.monotonic() - self.started > _QUIET:
            self._log("")

    @property
    def rate(self) -> float:
        return self.pace.rate(self.done + self.failed)

    @property
    def left(self) -> str:
        """The time that the rest will take; nothing in the first seconds."""
        seconds = self.pace.left(self.done + self.failed, self.total)
        return "" if seconds is None else f", {seconds:,.0f} s left"

    def _log(self, text: str) -> None:
        seconds = time.monotonic() - self.started
        self.console.print(f"{shown(self.title)}: {_whole(self.done)} of {self.total:,.0f} {self.unit}"
                           f"{failures(self.failed)}, {_speed(self.rate)}{seconds:.0f} s{self.left}"
                           + (f"; {shown(text)}" if text else ""),
                           highlight=False, markup=False, soft_wrap=True)


def _whole(done: float) -> str:
    """Only what is finished counts; the parts of a task add up to one but for rounding."""
    return f"{math.floor(done + 1e-6):,}"


def _speed(rate: float) -> str:
    """How fast, in words that end in a comma; of what takes over a second, how long one takes."""
    if rate <= 0:
        return ""
    return f"{rate:,.1f} per second, " if rate >= 1 else f"{1 / rate:,.1f} s each, "


class _Count(ProgressColumn):
    def render(self, task: Task) -> Text:
        failed = task.fields["failed"]
        done, total = _whole(task.completed - failed), f"{task.total or 0:,.0f}"
        return Text(f"{done}/{total} {task.fields['unit']}{failures(failed)}")


class _Rate(ProgressColumn):
    def __init__(self, bar: TerminalBar) -> None:
        super().__init__()
        self.bar = bar

    def render(self, task: Task) -> Text:
        return Text((_speed(self.bar.rate).rstrip(", ") + self.bar.left).removeprefix(", "), style="dim")
