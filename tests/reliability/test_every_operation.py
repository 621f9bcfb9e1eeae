"""Every file operation of a run fails once, and every request: one sentence or none, nothing wrong kept, same end.

What continuous integration has time for is a part, spread evenly over the run; ``make faults`` takes all of it.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from object_storage import Faults, environment, failing_proxy, s3_server

from roar import pipeline
from roar.errors import RoarError
from roar.experiment import load_experiment
from roar.metrics.deletion.tasks import delete
from roar.metrics.retraining.tasks import retrain
from roar.store.artifacts import ARTIFACTS
from roar.store.compaction import compact
from roar.store.integrity import damages, missing
from roar.store.results import read_results
from roar.store.store import Store, open_store

EVERYTHING = bool(os.environ.get("ROAR_EVERY_FAULT"))
SHARE = 40  # operations that fail in turn where not all do
REQUESTS = 6
SMALL: dict[str, Any] = {
    "source": {"limit_train": 30, "limit_test": 20}, "train": {"epochs": 1, "batch_size": 30},
    "estimators": {"names": ["random"], "shard_size": 20}, "degrade": {"thresholds": [50]},
    "retrain": {"seeds": 2, "epochs": 1, "batch_size": 30}, "compute": {"executor": "serial", "pack": 2},
}
OPERATIONS = ("open", "read", "write", "fsync", "rename", "link", "unlink", "mkdir", "scandir", "stat", "fstat",
              "ftruncate", "fchmod")
NUMBERS = (errno.EIO, errno.ENOSPC, errno.EACCES, errno.EROFS, errno.ESTALE)


class Failing:
    """The module ``os`` whose n-th operation on files fails; a write is done half before."""

    def __init__(self, at: int) -> None:
        self.at, self.done = at, Counter[str]()

    def __getattr__(self, name: str) -> Any:
        honest = getattr(os, name)
        if name not in OPERATIONS:
            return honest

        def operation(*arguments: Any, **named: Any) -> Any:
            self.done[name] += 1
            if self.done.total() == self.at:
                if name == "write":
                    honest(arguments[0], arguments[1][:len(arguments[1]) // 2])
                raise OSError(NUMBERS[self.at % len(NUMBERS)], os.strerror(NUMBERS[self.at % len(NUMBERS)]))
            return honest(*arguments, **named)
        return operation


def run(location: str) -> None:
    """All that keeps something in a store, but the report's figures."""
    session = pipeline.prepare(load_experiment(None, {**SMALL, "store": location}))
    pipeline.degrade(session)
    retrain(session)
    delete(session)
    compact(session.store.files, at_least=1)


def kept(store: Store) -> dict[str, bytes]:
    return {path: store.files.read(path) for kind in ARTIFACTS for path in store.files.list(kind)}


def rows(store: Store) -> pd.DataFrame:
    return read_results(store.files).drop(columns="train_seconds")


def check(location: str, undisturbed: Store) -> None:
    """Nothing wrong is kept, and the same command ends as if nothing had happened."""
    store = open_store(location)  # unless there is none yet
    whole = kept(undisturbed)
    assert not store.exists or damages(store) == []
    assert store.exists or not store.files.list("")
    assert all(data == whole[path] for path, data in kept(store).items())
    run(location)
    assert kept(open_store(location)) == whole
    pd.testing.assert_frame_equal(rows(store), rows(undisturbed))
    assert damages(store) == missing(store) == []


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Store:
    place = tmp_path_factory.mktemp("undisturbed") / "store"
    run(str(place))
    return open_store(str(place))


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], Failing]]:
    """Have the n-th file operation of the store fail."""
    def install(at: int) -> Failing:
        found = Failing(at)
        for module in ("below", "local", "claims"):
            monkeypatch.setattr(f"roar.store.{module}.os", found)
        return found

    yield install
    monkeypatch.undo()


def turns(total: int, share: int) -> list[int]:
    """Which of so many operations fail, from 1 on: all, or an even share."""
    return list(range(1, total + 1)) if EVERYTHING else sorted({1 + i * total // share for i in range(share)})


@pytest.mark.timeout(7_200 if EVERYTHING else 600)
def test_every_file_operation_fails_once(undisturbed: Store, tmp_path: Path, failing: Callable[[int], Failing],
                                         monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "store"
    counted = failing(0)
    run(str(root))
    monkeypatch.undo()
    assert all(counted.done[name] for name in ("open", "read", "write", "fsync", "rename", "link", "unlink", "mkdir",
                                               "scandir", "stat"))
    ended: Counter[str] = Counter()
    for at in turns(counted.done.total(), SHARE):
        shutil.rmtree(root)
        failing(at)
        try:
            run(str(root))
            ended["nothing was said"] += 1
        except RoarError as error:
            assert "\n" not in str(error) and str(error).endswith("."), error
            ended["one sentence"] += 1
        monkeypatch.undo()
        check(str(root), undisturbed)
    print(f"of {counted.done.total()} operations: {dict(ended)}")
    assert ended["one sentence"] > 0.5 * ended.total(), ended


class From(Faults):
    """Requests fail from the n-th on, for so long that no attempt of that request can succeed."""

    def __init__(self, at: int) -> None:
        super().__init__(every=1, in_a_row=1)
        self.at = at

    def next(self) -> str:
        with self.lock:
            self.requests += 1
            if not self.at <= self.requests < self.at + 40:
                return "pass"
            self.injected += 1
            return ("error", "drop", "half")[self.at % 3]


@pytest.mark.timeout(7_200 if EVERYTHING else 600)
def test_every_request_fails_once(undisturbed: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("moto.server", reason="the S3 server of moto[server] is not installed")

    def through(port: int) -> None:
        for name, value in environment(port).items():
            monkeypatch.setenv(name, value)

    monkeypatch.setenv("ROAR_TIMEOUT", "0.6")
    with s3_server("bucket") as server:
        counting = Faults(every=10**9, in_a_row=0)
        with failing_proxy(server, counting) as proxy:
            through(proxy)
            run("s3://bucket/counted")
        ended: Counter[str] = Counter()
        for at in turns(counting.requests, REQUESTS):
            url = f"s3://bucket/{at}"
            with failing_proxy(server, From(at)) as proxy:
                through(proxy)
                try:
                    run(url)
                    ended["nothing was said"] += 1
                except RoarError as error:
                    assert "\n" not in str(error) and str(error).endswith("."), error
                    ended["one sentence"] += 1
            monkeypatch.setenv("ROAR_TIMEOUT", "60")
            through(server)
            check(url, undisturbed)
            monkeypatch.setenv("ROAR_TIMEOUT", "0.6")
        print(f"of {counting.requests} requests: {dict(ended)}")
        assert ended["one sentence"] > 0.5 * ended.total(), ended
