"""A run that is interrupted at each of its uploads to object storage: an object is there whole or not at all."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from object_storage import Faults, environment, failing_proxy

from roar import pipeline
from roar.errors import StoreError
from roar.experiment import load_experiment
from roar.metrics.retraining.tasks import retrain
from roar.store.artifacts import ARTIFACTS
from roar.store.integrity import damages, missing
from roar.store.remote import RemoteFiles
from roar.store.status import read_status
from roar.store.store import open_store

pytest.importorskip("moto.server", reason="the S3 server of moto[server] is not installed")

SMALL: dict[str, Any] = {
    "source": {"limit_train": 30, "limit_test": 20}, "train": {"epochs": 1, "batch_size": 30},
    "estimators": {"names": ["random"], "shard_size": 20}, "degrade": {"thresholds": [50]},
    "retrain": {"seeds": 2, "epochs": 1, "batch_size": 30}, "compute": {"executor": "serial", "pack": 2},
}


@pytest.fixture
def terminated() -> Iterator[None]:
    """SIGTERM is heard as the command hears it."""
    def end(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    yield
    signal.signal(signal.SIGTERM, before)


class Interrupting:
    """A file system that calls ``strike`` at its n-th upload: when the stream is open and nothing is written."""

    def __init__(self, system: Any, count: list[int], at: int, strike: Callable[[], None]) -> None:
        self.system, self.count, self.at, self.strike = system, count, at, strike

    def __getattr__(self, name: str) -> Any:
        return getattr(self.system, name)

    def open_output_stream(self, place: str) -> Any:
        stream = self.system.open_output_stream(place)
        self.count[0] += 1
        if self.count[0] == self.at:
            self.strike()
        return stream


def run(url: str) -> None:
    retrain(pipeline.prepare(load_experiment(None, {**SMALL, "store": url})))


def objects(url: str) -> dict[str, bytes]:
    files = RemoteFiles(url)
    return {path: files.read(path) for kind in (*ARTIFACTS, "results") for path in files.list(kind)}


@pytest.fixture
def interrupting(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], None]], list[int]]:
    honest = RemoteFiles.__init__

    def install(at: int, strike: Callable[[], None]) -> list[int]:
        count = [0]

        def opened(self: RemoteFiles, location: str) -> None:
            honest(self, location)
            self._system = Interrupting(self._system, count, at, strike)

        monkeypatch.setattr(RemoteFiles, "__init__", opened)
        return count
    return install


@pytest.mark.timeout(600)
def test_nothing_is_published_that_was_not_written_whole(
        s3: int, terminated: None, interrupting: Callable[[int, Callable[[], None]], list[int]],
        monkeypatch: pytest.MonkeyPatch) -> None:
    count = interrupting(0, lambda: None)
    run("s3://bucket/whole")
    uploads = count[0]
    assert uploads > 10
    whole = objects("s3://bucket/whole")
    for at in range(1, uploads + 1):
        number = (signal.SIGINT, signal.SIGTERM)[at % 2]
        url = f"s3://bucket/interrupted-{at}"
        interrupting(at, lambda number=number: os.kill(os.getpid(), number))  # type: ignore[misc]
        with pytest.raises(KeyboardInterrupt):
            run(url)
        monkeypatch.undo()
        for name, value in environment(s3).items():
            monkeypatch.setenv(name, value)
        sizes = {info.path: info.size for info in all_objects(url)}
        assert 0 not in sizes.values(), sizes
        run(url)
        assert objects(url).keys() == whole.keys()
        store = open_store(url)
        assert damages(store) == missing(store) == []


def all_objects(url: str) -> list[Any]:
    from pyarrow import fs

    system, root = fs.FileSystem.from_uri(url)
    return [info for info in system.get_file_info(fs.FileSelector(root, recursive=True, allow_not_found=True))
            if info.type == fs.FileType.File]


class At(Faults):
    """One request fails, so often that no attempt succeeds; ``0``: none does."""

    def __init__(self) -> None:
        super().__init__(every=1, in_a_row=1)
        self.at = 0

    def next(self) -> str:
        with self.lock:
            self.requests += 1
            return "error" if self.at and self.requests >= self.at else "pass"


@pytest.mark.parametrize("size", [3, 12 * 2**20])
def test_an_upload_whose_requests_fail_publishes_nothing(s3: int, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROAR_TIMEOUT", "0.4")
    faults = At()
    with failing_proxy(s3, faults) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy}")
        files = RemoteFiles(f"s3://bucket/uploads-{size}")
        files.write("whole.bin", b"x" * size)
        requests = faults.requests
        for at in range(1, requests):  # the last one only looks at what was published
            faults.requests, faults.at = 0, at
            with pytest.raises(StoreError, match="bytes, failed"):
                files.write(f"{at}.bin", b"x" * size)
            faults.at = 0
            assert not files.exists(f"{at}.bin")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{s3}")
    assert [info.size for info in all_objects(f"s3://bucket/uploads-{size}")] == [size]


def test_a_result_without_a_byte_is_not_done(s3: int) -> None:
    """An upload that another program began, and left, is an empty object."""
    from pyarrow import fs

    url = "s3://bucket/empty"
    run(url)
    store = open_store(url)
    path = next(path for path in store.files.list("results") if path.endswith(".json"))
    system, root = fs.FileSystem.from_uri(url)
    with system.open_output_stream(f"{root}/{path}"):
        pass
    assert not store.files.exists(path)
    assert (read_status(store).done, read_status(store).missing) == (3, 1)
    run(url)
    assert read_status(store).done == 4
    assert damages(store) == []
