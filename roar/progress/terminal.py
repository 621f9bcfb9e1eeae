"""Progress on a terminal: a bar per stage with rate and time left; plain lines where there is no terminal."""

from __future__ import annotations

import math
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from roar.errors import shown

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
    started: float = field(default_factory=time.monotonic)
    logged: float = 0.0
    progress: Progress | None = None
    task: Any = None

    def __post_init__(self) -> None:
        if self.console.is_terminal:
            self.progress = Progress(TextColumn("{task.description}", markup=False), BarColumn(), _Count(), _Rate(),
                                     TimeRemainingColumn(),
                                     TextColumn("{task.fields[note]}", style="dim", markup=False),
                                     console=self.console)
            self.task = self.progress.add_task(shown(self.title), total=self.total, note="", unit=self.unit)
            self.progress.start()

    def advance(self, amount: float, text: str = "") -> None:
        self.done += amount
        if self.progress is not None:
            self.progress.update(self.task, advance=amount, note=shown(text))
        elif time.monotonic() - max(self.logged, self.started + _QUIET - _EVERY) > _EVERY:
            self.logged = time.monotonic()
            self._log(text)

    def close(self) -> None:
        if self.progress is not None:
            self.progress.stop()
        elif time.monotonic() - self.started > _QUIET:
            self._log("")

    def _log(self, text: str) -> None:
        seconds = max(1e-9, time.monotonic() - self.started)
        rate = self.done / seconds
        left = f", {(self.total - self.done) / rate:.0f} s left" if 0 < self.done < self.total else ""
        self.console.print(f"{shown(self.title)}: {_whole(self.done)} of {self.total:,.0f} {self.unit}, "
                           f"{_speed(rate)}{seconds:.0f} s{left}" + (f"; {shown(text)}" if text else ""),
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
        return Text(f"{_whole(task.completed)}/{task.total or 0:,.0f} {task.fields['unit']}")


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(_speed(speed or 0.0).rstrip(", "), style="dim")
