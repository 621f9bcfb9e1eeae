"""Runs of roar in processes that can be killed, each forked from one server that has imported everything once."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pandas as pd

from roar.report.view import Results
from roar.store.store import Store, open_store

TOML = """
[source]
limit_train = 60
limit_test = 30
[train]
epochs = 2
batch_size = 20
[estimators]
names = ["gradient", "vargrad", "random", "sobel"]
shard_size = 25
samples = 2
[degrade]
thresholds = [30, 70]
[retrain]
seeds = 2
epochs = 2
batch_size = 20
[compute]
executor = "serial"
pack = 4
"""
JOBS = 2 * (1 + 4 * 2)  # seeds x (the reference + estimators x thresholds)

_LOADED = ["roar.cli.commands", "roar.pipeline", "roar.jobs.serial", "roar.jobs.train_model", "roar.jobs.rank_shard",
           "roar.metrics.retraining.worker", "roar.metrics.deletion.worker", "roar.analysis.figures",
           "roar.report.page",
           "sklearn.datasets"]


def start(store: Path | str, *words: str, log: Path, trained: Path | None = None, **environment: str) -> BaseProcess:
    """``roar run`` of the experiment above in a process group of its own; its output goes to ``log``.

    ``trained`` is a file that gets a line for every job at the moment when its training starts.
    """
    os.environ["OMP_NUM_THREADS"] = "1"
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_LOADED)
    config = log.with_name("experiment.toml")
    if not config.exists():
        config.write_text(TOML)
    asked = [*(words or ("run",)), "--config", str(config), "--store", str(store)]
    process = context.Process(target=_run, args=(asked, log, trained, environment))
    process.start()
    return process


def kill(process: BaseProcess) -> None:
    """SIGKILL to the whole process group."""
    assert process.pid is not None
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:  # it has no group yet, or has ended
        process.kill()
    process.join()


def finish(process: BaseProcess, seconds: float = 120.0) -> int:
    """The exit status."""
    process.join(seconds)
    assert process.exitcode is not None, "the run does not end"
    return process.exitcode


def _run(words: list[str], log: Path, trained: Path | None, environment: dict[str, str]) -> None:
    os.setpgid(0, 0)
    os.environ.update(environment)
    sink = log.open("a")
    os.dup2(sink.fileno(), 1)
    os.dup2(sink.fileno(), 2)
    if trained is not None:
        _note_trainings(trained)
    from roar.cli.commands import main

    sys.argv = ["roar", *words]
    main()


def _note_trainings(trained: Path) -> None:
    from roar.metrics.retraining.worker import Retrainer

    honest = Retrainer.__call__

    def noting(self: Any, work: Any, desk: Any) -> Any:
        with trained.open("a") as file:
            file.write("".join(f"{job.key}\n" for job in work.jobs))
        return honest(self, work, desk)

    Retrainer.__call__ = noting  # type: ignore[method-assign]


def files_of(store: Path) -> dict[str, bytes]:
    """Every file of the finished artifacts, by its path."""
    return {path.relative_to(store).as_posix(): path.read_bytes()
            for kind in ("models", "rankings", "metrics", "degraded") for path in sorted((store / kind).rglob("*"))
            if path.is_file() and not path.name.startswith(".tmp-")}


def rows_of(store: Store | Path) -> pd.DataFrame:
    """The results, without what differs from run to run."""
    opened = store if isinstance(store, Store) else open_store(str(store))
    return Results(opened).results().drop(columns="train_seconds")


def assert_same(store: Path, other: Path) -> None:
    """Byte for byte in what is computed before the trainings, row for row in the results."""
    ours, theirs = files_of(store), files_of(other)
    assert ours.keys() == theirs.keys()
    assert [path for path in ours if ours[path] != theirs[path]] == []
    pd.testing.assert_frame_equal(rows_of(store), rows_of(other))


def wait_for(condition: Any, process: BaseProcess | None = None, seconds: float = 60.0) -> bool:
    """Whether a condition came true before the time was over and before the process ended."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        if process is not None and not process.is_alive():
            return bool(condition())
        time.sleep(0.002)
    return False
