"""What a bar says: failures are no successes, and the time left is that of the work."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from roar.jobs.stage import Outcome
from roar.pipeline.running import StageWatcher
from roar.progress import Pace, terminal
from roar.progress.terminal import TerminalBar


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr("time.monotonic", found.monotonic)
    return found


def bar(total: float, wide: bool = False) -> tuple[TerminalBar, io.StringIO]:
    stream = io.StringIO()
    return TerminalBar(Console(file=stream, force_terminal=wide, width=150), "retrain", total, "trainings", started=0.0,
                       pace=Pace(began=0.0)), stream


def test_a_failed_task_is_not_counted_as_done(clock: Clock) -> None:
    shown, stream = bar(3)
    watcher = StageWatcher(shown, sizes={"pack": 2.0})
    clock.now = 10.0
    watcher.progress({"a": (0.5, "epoch 5")})
    watcher.outcome(Outcome("a", {}, "The loss became NaN."))
    watcher.outcome(Outcome("pack", {"errors": ["The loss became NaN."], "accuracy": 0.5}))
    assert (shown.done, shown.failed) == (1.0, 2.0)
    shown.close()
    assert "retrain: 1 of 3 trainings, 2 failed, " in stream.getvalue()


def test_a_bar_on_a_terminal_counts_failures_apart(clock: Clock) -> None:
    shown, stream = bar(1, wide=True)
    StageWatcher(shown).outcome(Outcome("a", {}, "The loss became NaN."))
    shown.close()
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())
    assert "0/1 trainings, 1 failed" in plain
    assert "1/1" not in plain


def test_the_start_of_the_workers_is_no_part_of_the_time_left(clock: Clock) -> None:
    """Workers need 20 s to start, and each of 100 trainings 1 s."""
    shown, stream = bar(100)
    clock.now = 20.0
    shown.advance(0.0)
    clock.now = 21.0
    shown.advance(1.0)
    assert shown.left == ""  # one second of work says nothing
    clock.now = 25.0
    shown.advance(4.0)
    assert shown.left == ", 95 s left"
    assert shown.rate == pytest.approx(1.0)
    clock.now = terminal._EVERY + 30.0
    shown.advance(35.0)
    assert "retrain: 40 of 100 trainings, 1.0 per second, 60 s, 60 s left" in stream.getvalue()
