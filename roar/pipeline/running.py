"""A stage while it runs: its bar, its failures, and what another run on the same store is at."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from roar.errors import FailureError, StoreError
from roar.jobs.executor import run as run_stage
from roar.jobs.stage import Outcome, Stage, Task
from roar.pipeline.session import Session, tell_notes
from roar.progress import Bar
from roar.registry import load
from roar.store.claims import claim, holder, is_claimed, wait_for_cleaning
from roar.store.results import is_done

_WAIT = 0.5  # seconds between looks at what another run holds


@dataclass(eq=False)
class StageWatcher:
    """Turns outcomes and shares of tasks into a bar, and keeps the failures."""

    bar: Bar
    sizes: dict[str, float] = field(default_factory=dict)  # units of work in a task; 1 where not given
    on_success: Callable[[Outcome], None] = lambda outcome: None
    on_failure: Callable[[Outcome], None] = lambda outcome: None
    failures: list[Outcome] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)  # of parts of a task, whose other parts went well
    shown: dict[str, float] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    elsewhere: set[str] = field(default_factory=set)  # tasks that another run on this store does or has done

    def outcome(self, outcome: Outcome) -> None:
        if outcome.halts:
            raise StoreError(str(outcome.error))
        if outcome.key in self.ended:
            return
        if outcome.elsewhere:
            self.elsewhere.add(outcome.key)
            return
        self.ended.add(outcome.key)
        if outcome.error is None:
            self.on_success(outcome)
            failed = outcome.facts.get("errors", [])
            self.errors += failed
        else:
            self.failures.append(outcome)
            self.on_failure(outcome)
            failed = None
        self._end(outcome, failed)

    def _end(self, outcome: Outcome, errors: list[str] | None) -> None:
        """Count what a task made, and apart from it what it did not; ``None``: all of it failed."""
        size = self.sizes.get(outcome.key, 1.0)
        failed = size if errors is None else min(size, float(len(errors)))
        self.bar.advance(size - failed - self.shown.get(outcome.key, 0.0), _describe(outcome))
        self.shown[outcome.key] = size
        if failed:
            self.bar.fail(failed, _describe(outcome))

    def progress(self, shares: Mapping[str, tuple[float, str]]) -> None:
        for key, (share, text) in shares.items():
            if key not in self.ended:
                self.show(key, share, text)

    def show(self, key: str, share: float, text: str) -> None:
        amount = share * self.sizes.get(key, 1.0)
        self.bar.advance(max(0.0, amount - self.shown.get(key, 0.0)), text)
        self.shown[key] = max(amount, self.shown.get(key, 0.0))

    def raise_first(self, kind: type[FailureError]) -> None:
        if self.failures:
            raise kind(str(self.failures[0].error))


def _describe(outcome: Outcome) -> str:
    if outcome.error is not None:
        return "failed"
    accuracy = outcome.facts.get("accuracy", outcome.facts.get("test_accuracy"))
    return "" if accuracy is None else f"accuracy {100 * accuracy:.1f} %"


def execute(session: Session, stage: Stage, watcher: StageWatcher) -> None:
    """Run a stage; what another run holds is waited for, and done here if that run dies."""
    files, tasks, told = session.store.files, list(stage.tasks), False
    while tasks:
        run_stage(replace(stage, tasks=tasks), session.experiment.compute, session.store, watcher)
        tasks = [task for task in tasks if task.key in watcher.elsewhere - watcher.ended]
        while tasks:
            ready = {task.key for task in tasks if all(is_done(files, path) for path in task.makes)}
            for key in ready:
                watcher.ended.add(key)
                watcher.show(key, 1.0, "done by another run")
            tasks = [task for task in tasks if task.key not in ready]
            free = [task for task in tasks if not is_claimed(files, task.key)]
            if free or not tasks:
                tasks = [*free, *(task for task in tasks if task not in free)]
                break
            if not told:
                told = True
                _say_who(session, tasks[0].key, f"{len(tasks)} of these tasks")
            time.sleep(_WAIT)


@contextmanager
def claimed(session: Session, key: str) -> Iterator[None]:
    """Hold a task of this process for the length of a ``with`` block, when no other run does."""
    files, told = session.store.files, False
    while True:
        with claim(files, key) as mine:
            if mine:
                wait_for_cleaning(files)
                yield
                return
        if not told:
            told = True
            _say_who(session, key, "this task")
        time.sleep(_WAIT)


def _say_who(session: Session, key: str, what: str) -> None:
    who = holder(session.store.files, key)
    session.reporter.say(f"Another run on {session.store.location} is at {what}; waiting for it"
                         + (f" ({who})." if who else "."))


def make(session: Session, title: str, unit: str, tasks: Sequence[Task], worker: str,
         shared: Callable[[Sequence[Task]], Mapping[str, Callable[[], Any]]],
         failure: type[FailureError] = FailureError, cpus: float | None = None) -> list[str]:
    """Make those artifacts of a stage that are missing; each task's key is the folder of its artifact.

    Args:
        unit: of the progress bar, a task's in the plural.
        worker: ``module:function`` that opens one, imported when there is something to do.
        shared: loaders of what the workers read, for the tasks that are missing.
        failure: raised with the reason of the first task that failed, after the others are done.
        cpus: threads of a task; ``None``: ``compute.cpus_per_job``.

    Returns:
        the folders of all tasks.
    """
    missing = [task for task in tasks if session.store.manifest(task.key) is None]
    if missing:
        with running(session, title, len(missing), unit) as watcher:
            cpus = session.experiment.compute.cpus_per_job if cpus is None else cpus
            execute(session, Stage(title, load(worker), shared(missing), missing, cpus), watcher)
        watcher.raise_first(failure)
    return [task.key for task in tasks]


@contextmanager
def running(session: Session, title: str, total: float, unit: str) -> Iterator[StageWatcher]:
    tell_notes(session)
    bar = session.reporter.begin(title, total, unit)
    try:
        yield StageWatcher(bar)
    finally:
        session.reporter.end(bar)
        tell_notes(session)
