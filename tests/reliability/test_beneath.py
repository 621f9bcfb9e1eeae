"""Faults beneath a run: a disk that fails, a store that is moved, others at work, a server that never answers."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from object_storage import environment

from roar import pipeline
from roar.errors import StoreError, UsageError
from roar.experiment import load_experiment
from roar.jobs.stage import Desk, Product, Task, perform
from roar.pipeline.running import StageWatcher
from roar.store import local
from roar.store.claims import (
    CLEANING,
    claim,
    holder,
    is_claimed,
    left_behind,
    remove_left_behind,
    running,
)
from roar.store.clean import alone
from roar.store.local import LocalFiles
from roar.store.location import open_files
from roar.store.store import open_store

SMALL: dict[str, Any] = {
    "source": {"limit_train": 40, "limit_test": 20}, "train": {"epochs": 1, "batch_size": 20},
    "estimators": {"names": ["random"], "shard_size": 20}, "degrade": {"thresholds": [50]},
    "compute": {"executor": "serial"},
}


def nothing(share: float, text: str) -> None:
    pass


# -- the disk ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "said"), [(errno.EIO, True), (errno.ENOSPC, True), (errno.EROFS, True),
                                              (errno.EINVAL, False), (errno.ENOTSUP, False), (errno.EBADF, False)])
def test_a_folder_that_cannot_be_flushed_is_said_unless_its_disk_never_can(number: int, said: bool, tmp_path: Path,
                                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    honest = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        honest(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    files = LocalFiles(str(tmp_path / "store"))
    if said:
        with pytest.raises(StoreError, match="cannot be written"):
            files.write("a/b.bin", b"x")
    else:
        files.write("a/b.bin", b"x")
        assert files.read("a/b.bin") == b"x"


@pytest.mark.parametrize("number", [errno.EIO, errno.EROFS, errno.EACCES, errno.ESTALE])
def test_a_file_that_cannot_be_removed_is_one_sentence(number: int, tmp_path: Path,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    files = LocalFiles(str(tmp_path / "store"))
    files.write("a/b.bin", b"x")

    def unlink(*arguments: Any, **named: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "unlink", unlink)
    with pytest.raises(StoreError, match=r"b\.bin' cannot be removed \(.*\); mend the rights"):
        files.delete("a/b.bin")
    with claim(files, "task") as mine:  # its file stays, and the lock goes with its owner
        assert mine
    assert not is_claimed(files, "task")


def test_a_store_that_becomes_unwritable_stops_the_run_with_a_sentence(tmp_path: Path,
                                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    files = LocalFiles(str(tmp_path / "store"))
    files.write("a.bin", b"")

    def worker(work: Any, desk: Desk) -> Product:
        monkeypatch.setattr(os, "open", refuse)
        return Product({"models/x.bin": b"x"})

    honest = os.open

    def refuse(path: Any, flags: int, *arguments: Any, **named: Any) -> int:
        if flags & os.O_CREAT:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return honest(path, flags, *arguments, **named)

    outcome = perform(worker, Task("task", None), nothing, files)
    assert outcome.halts
    assert "Read-only file system" in str(outcome.error)


@pytest.mark.parametrize("left", ["nothing", "an empty folder", "another store"])
def test_a_store_that_is_moved_while_a_run_is_at_work_is_not_made_anew(left: str, tmp_path: Path) -> None:
    root = tmp_path / "store"
    store = open_store(str(root))
    _ = store.description

    def worker(work: Any, desk: Desk) -> Product:
        root.rename(tmp_path / "elsewhere")
        if left == "an empty folder":
            root.mkdir()
        elif left == "another store":
            shutil.copytree(tmp_path / "elsewhere", root)
        return Product({"models/x.bin": b"x"})

    outcome = perform(worker, Task("task", None), nothing, store.files)
    assert outcome.halts
    assert "is not the folder any more that it was when this command began; if it was moved" in str(outcome.error)
    assert not (root / "models").exists()
    if left == "nothing":
        assert not root.exists()


# -- others at work ------------------------------------------------------------------------------------------------


def test_looking_at_a_claim_takes_it_from_nobody(tmp_path: Path) -> None:
    files, stop = LocalFiles(str(tmp_path)), threading.Event()
    with claim(files, "task"):
        (path,) = (tmp_path / "claims").iterdir()
    path.write_bytes(b"")  # as a killed owner leaves it

    def look() -> None:
        mine = LocalFiles(str(tmp_path))
        while not stop.is_set():
            is_claimed(mine, "task")
            running(mine)

    lookers = [threading.Thread(target=look) for _ in range(3)]
    for thread in lookers:
        thread.start()
    try:
        for _ in range(300):
            with claim(files, "task") as mine:
                assert mine
    finally:
        stop.set()
        for thread in lookers:
            thread.join()


HOLDER = """
import sys, time
from pathlib import Path
from roar.store.claims import claim, left_behind, remove_left_behind
from roar.store.local import LocalFiles
files, end, held, cleaner = LocalFiles(sys.argv[1]), time.monotonic() + 3, 0, sys.argv[2] == "clean"
inside = Path(sys.argv[1]) / "inside"
while time.monotonic() < end:
    if cleaner:
        for path in left_behind(files):
            remove_left_behind(files, path)
        continue
    with claim(files, "task") as mine:
        if mine:
            inside.mkdir()       # fails if another one is inside
            inside.rmdir()
            held += 1
print(held)
"""


def test_cleaning_takes_no_claim_from_anybody(tmp_path: Path) -> None:
    started = [subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path), what], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True) for what in ("hold", "hold", "hold", "clean")]
    ended = [process.communicate() for process in started]
    assert [process.returncode for process in started] == [0, 0, 0, 0], ended
    assert sum(int(out) for out, _ in ended[:3]) > 100


def test_a_claim_that_is_taken_meanwhile_is_not_removed(tmp_path: Path) -> None:
    files = LocalFiles(str(tmp_path))
    with claim(files, "task"):
        (path,) = files.list("claims")
        remove_left_behind(files, path)
        assert files.exists(path)
        assert left_behind(files) == []


def test_the_claim_of_another_user_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = LocalFiles(str(tmp_path))
    before = os.umask(0o077)
    try:
        with claim(files, "task"):
            (path,) = (tmp_path / "claims").iterdir()
            assert stat.S_IMODE(path.stat().st_mode) == 0o666  # whoever else has the store may look and lock
            honest = os.open

            def other(name: Any, flags: int, *arguments: Any, **named: Any) -> int:
                if str(name).endswith(".lock") and flags & os.O_RDWR:
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
                return honest(name, flags, *arguments, **named)

            monkeypatch.setattr(os, "open", other)
            assert is_claimed(files, "task")
            with claim(files, "task") as mine:
                assert not mine

            def forbidden(name: Any, flags: int, *arguments: Any, **named: Any) -> int:
                if str(name).endswith(".lock"):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
                return honest(name, flags, *arguments, **named)

            monkeypatch.setattr(os, "open", forbidden)
            with pytest.raises(StoreError, match="is another user's and cannot be looked at; have it made readable"), \
                    claim(files, "task"):
                pass
            monkeypatch.undo()
    finally:
        os.umask(before)


def test_whoever_waits_is_told_for_whom(tmp_path: Path) -> None:
    files = LocalFiles(str(tmp_path))
    with claim(files, "task"):
        assert holder(files, "task") == f"process {os.getpid()} on {socket.gethostname()}"
    assert holder(files, "task") == ""


def test_a_task_waits_while_somebody_cleans_up(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    _ = store.description
    began = threading.Event()

    def worker(work: Any, desk: Desk) -> Product:
        began.set()
        return Product({})

    with alone(store):
        thread = threading.Thread(target=perform, args=(worker, Task("task", None), nothing, store.files))
        thread.start()
        assert not began.wait(0.5)
        with pytest.raises(StoreError, match="Somebody else cleans up"), alone(store):
            pass
    assert began.wait(5)
    thread.join()
    with claim(store.files, "task"), pytest.raises(StoreError, match="A run is at work"), alone(store):
        pass
    assert not is_claimed(store.files, CLEANING)


def test_two_that_degrade_at_once_do_nothing_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {**SMALL, "store": str(tmp_path / "store")}
    pipeline.rank(pipeline.prepare(load_experiment(None, settings)))
    from roar.pipeline import degraded

    written, honest = [], degraded.write_degraded

    def noting(*arguments: Any) -> Any:
        written.append(arguments[4])
        time.sleep(0.3)
        return honest(*arguments)

    monkeypatch.setattr(degraded, "write_degraded", noting)
    sessions = [pipeline.prepare(load_experiment(None, settings)) for _ in range(2)]
    threads = [threading.Thread(target=pipeline.degrade, args=(session,)) for session in sessions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(written) == 1


def test_a_task_done_by_another_run_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Bar:
        done = 0.0

        def fail(self, amount: float, text: str = "") -> None:
            self.advance(amount, text)

        def advance(self, amount: float, text: str = "") -> None:
            self.done += amount

    watcher = StageWatcher(Bar())
    watcher.progress({"task": (0.75, "half done when its worker was lost")})
    watcher.show("task", 1.0, "done by another run")
    assert watcher.bar.done == 1.0  # type: ignore[attr-defined]


def test_temporary_names_tell_containers_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    def place(boot: str, namespace: str) -> str:
        local._place_of_processes.cache_clear()
        monkeypatch.setattr(Path, "read_text", lambda path, *more, **named: boot)
        monkeypatch.setattr(Path, "readlink", lambda path: Path(namespace))
        return local._place_of_processes()

    try:
        names = {place(boot, namespace) for boot in "ab" for namespace in ("pid:[1]", "pid:[2]")}
        assert len(names) == 4
    finally:
        local._place_of_processes.cache_clear()


# -- far away ------------------------------------------------------------------------------------------------------


@pytest.fixture
def silent_server() -> Iterator[int]:
    """The port of a server that accepts and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(100)
        yield server.getsockname()[1]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("words", [["status"], ["report"], ["merge", "s3://bucket/other"]])
def test_a_server_that_never_answers_is_said_within_the_timeout(words: list[str], silent_server: int,
                                                                roar: Callable[..., Any],
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(silent_server).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ROAR_TIMEOUT", "unset by the command")
    started = time.monotonic()
    said = roar(*words, "--store", "s3://bucket/prefix", "--timeout", "2")
    assert time.monotonic() - started < 6
    assert said.code == 1
    assert "within 2 s" in said.err and "give more --timeout" in said.err


@pytest.mark.timeout(60)
def test_a_server_that_refuses_is_said_within_the_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(1).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ROAR_TIMEOUT", "3")
    started = time.monotonic()
    with pytest.raises(StoreError, match="within 3 s"):
        open_store("s3://bucket/prefix")
    assert time.monotonic() - started < 5


# -- small things --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("location", ["", " ", "s3://", "s3:///", "mock://", "gs:", "file://"])
def test_a_store_has_a_place(location: str, roar: Callable[..., Any]) -> None:
    with pytest.raises(UsageError, match="names neither; give one with --store"):
        open_files(location)
    assert roar("status", "--store", location).code == 2


@pytest.mark.timeout(240)
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_terminal_that_is_closed_ends_a_run_as_sigterm_does(number: signal.Signals, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "roar", "run", "--executor", "serial", "--estimator", "random"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env={**os.environ, "OMP_NUM_THREADS": "1"}) as process:
        while not list(tmp_path.glob("roar-store/models/*/*")):
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        process.send_signal(number)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 128 + number, said
    assert "Interrupted; what is finished is kept" in said
    assert "Traceback" not in said
