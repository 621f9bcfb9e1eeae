"""A stage of work: tasks, the worker that does them, and what every worker reads.

A worker is opened once per process and then given task after task. It returns files and facts and writes
nothing into the store itself: they are delivered here, in their order, so a manifest comes last. Its desk takes
what it has to say meanwhile: progress, and the state from which a long task could go on.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from roar.errors import ClusterError, RoarError, StoreError, UsageError
from roar.store.claims import claim, wait_for_cleaning
from roar.store.files import Files
from roar.store.results import FOLDER as RESULTS
from roar.store.results import is_done
from roar.store.states import sealed_state, state_of, state_path
from roar.store.store import Store

Tell = Callable[[float, str], None]
"""``tell(share, text)``: which share of the task is done, 0 to 1, and a word about it."""

CHECKPOINT_EVERY = 30.0  # seconds; a task that is done sooner leaves none


@dataclass(frozen=True)
class Product:
    """What a task made: the files to deliver, by path in the store, and facts to show."""

    files: Mapping[str, bytes]
    facts: Mapping[str, Any] = field(default_factory=dict)


class Desk:
    """Where a task reports while it runs."""

    def __init__(self, files: Files, key: str, tell: Tell) -> None:
        self.tell = tell
        self._files = files
        self._key = hashlib.sha256(key.encode()).digest()
        self._path = state_path(self._key)
        self._last = time.monotonic()
        self._kept = False

    def saved(self) -> bytes | None:
        """The state that an interrupted run of this very task kept last; a damaged one is worth nothing."""
        self._kept = self._files.exists(self._path)
        data = self._files.read(self._path) if self._kept else b""
        return state_of(data, self._path) if data.startswith(self._key) else None

    def save(self, state: Callable[[], bytes]) -> None:
        """Keep a state to go on from, now and then: ``state`` is called when it is time to."""
        if time.monotonic() - self._last > CHECKPOINT_EVERY:
            data = state()
            self._files.write(self._path, sealed_state(self._key, data))
            self._kept, self._last = True, time.monotonic()

    def artifact(self, folder: str, name: str) -> bytes:
        """A file of a finished artifact, for what is too large to be shared with every worker.

        Raises:
            StoreError: it is not there or is not what was written.
        """
        return Store(self._files).read_file(folder, name)

    def clear(self) -> None:
        """Remove what was kept; the task has ended."""
        if self._kept:
            self._files.delete(self._path)


class Worker(Protocol):
    def __call__(self, work: Any, desk: Desk) -> Product: ...


class Shared(Protocol):
    """What every worker reads, by name; an array reaches a node once."""

    def __call__(self, name: str) -> Any: ...


@dataclass(frozen=True)
class Task:
    """One unit of work; ``work`` is a small frozen dataclass that travels to the worker.

    ``makes`` are the files whose presence in the store means that the task is done.
    """

    key: str
    work: Any
    makes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stage:
    """All tasks of one kind.

    ``open_worker(shared, device)`` is a module's function, so that it can travel; ``shared`` maps names to
    functions that load; ``cpus`` is the number of threads a task computes with.
    """

    name: str
    open_worker: Callable[[Shared, str], Worker]
    shared: Mapping[str, Callable[[], Any]]
    tasks: Sequence[Task]
    cpus: float = 1.0


@dataclass(frozen=True)
class Outcome:
    """How a task ended; ``error`` is one sentence, ``None`` where all went well.

    ``elsewhere``: another run on the same store has done the task, or is at it now. ``halts``: the store or the
    cluster failed, so no other task can do better.
    """

    key: str
    facts: Mapping[str, Any]
    error: str | None = None
    elsewhere: bool = False
    halts: bool = False


def check_fits(asked: tuple[float, float], nodes: Sequence[tuple[float, float]], place: str) -> None:
    """Refuse jobs that fit on no node, for which a cluster would wait for ever.

    Args:
        asked: CPUs and GPUs of a job.
        nodes: CPUs and GPUs of each node.
        place: what has these nodes, in words.

    Raises:
        UsageError: no node has as many CPUs and GPUs as a job asks for.
    """
    if any(cpus >= asked[0] and gpus >= asked[1] for cpus, gpus in nodes):
        return
    has = " or ".join(dict.fromkeys(_resources(*node) for node in sorted(nodes, reverse=True)))
    has = f"{has} on each node" if len(nodes) > 1 else has or "no node"
    raise UsageError(f"A job asks for {_resources(*asked)}, and {place} has {has}; give --cpus-per-job and "
                     "--gpus-per-job that fit.")


def _resources(cpus: float, gpus: float) -> str:
    """``2 CPUs and no GPU``."""
    return f"{cpus:g} CPU{'s' * (cpus != 1)} and {f'{gpus:g}' if gpus else 'no'} GPU{'s' * (gpus > 1)}"


class Watcher(Protocol):
    """Who is told of outcomes and of progress (share of a task done, a word about it)."""

    def outcome(self, outcome: Outcome) -> None: ...
    def progress(self, shares: Mapping[str, tuple[float, str]]) -> None: ...


def perform(worker: Worker, task: Task, tell: Tell, files: Files) -> Outcome:
    """Do one task unless another run has it, and deliver what it made."""
    with claim(files, task.key) as mine:
        wait_for_cleaning(files)
        if not mine or _is_done(task, files):
            return Outcome(task.key, {}, elsewhere=True)
        return _perform(worker, task, Desk(files, task.key, tell), files)


def _is_done(task: Task, files: Files) -> bool:
    return bool(task.makes) and all(is_done(files, path) for path in task.makes)


def _perform(worker: Worker, task: Task, desk: Desk, files: Files) -> Outcome:
    """Whatever goes wrong inside becomes the outcome's sentence."""
    try:
        desk.tell(0.0, "")  # the workers are open, and the work begins
        product = worker(task.work, desk)
        if _is_done(task, files):  # by another run, where there are no locks
            return Outcome(task.key, {}, elsewhere=True)
        for path, data in product.files.items():
            if not (path.startswith(f"{RESULTS}/") and is_done(files, path)):  # a row is never written again
                files.write(path, data)
        desk.clear()
    except (StoreError, ClusterError) as error:  # is no fault of the task
        return Outcome(task.key, {}, str(error), halts=True)
    except RoarError as error:
        return Outcome(task.key, {}, str(error))
    except MemoryError:
        return Outcome(task.key, {}, "The task ran out of memory; give jobs fewer workers or smaller batches.")
    except Exception as error:  # the boundary: a task's failure is a row and never stops the others
        where = _innermost(error)
        return Outcome(task.key, {}, f"{type(error).__name__} at {where}: {' '.join(str(error).split())[:500]}")
    return Outcome(task.key, product.facts)


def _innermost(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "an unknown place"
    return f"{trace.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno}"
