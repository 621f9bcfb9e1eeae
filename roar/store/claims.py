"""Who works on what, so that two runs on one store divide the work.

A claim is a file below ``claims/`` that its owner holds an advisory lock on. The system drops the lock when the
process ends, however it ends, so a claim of a killed process is free at once. Where there are no such locks (an
object store, some network disks) every claim is granted: work may be done twice, and since files are written
whole and named by their content, nothing is counted twice.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from roar.store.files import Files
from roar.store.local import LocalFiles

FOLDER = "claims"


@contextmanager
def claim(files: Files, key: str) -> Iterator[bool]:
    """Hold a task for the length of a ``with`` block; ``False`` where another process holds it."""
    if not isinstance(files, LocalFiles):
        yield True
        return
    path = _path(files, key)
    descriptor = _lock(path)
    if descriptor is None:
        yield False
        return
    try:
        if descriptor >= 0:
            with suppress(OSError):  # for people only; a full disk is told by whoever writes the work
                os.write(descriptor, json.dumps({"host": socket.gethostname(), "pid": os.getpid()}).encode())
        yield True
    finally:
        if descriptor >= 0:
            path.unlink(missing_ok=True)  # before the lock goes: whoever opened the file meanwhile notices
            os.close(descriptor)


def is_claimed(files: Files, key: str) -> bool:
    """Whether a process holds the task at this moment."""
    return isinstance(files, LocalFiles) and _is_held(_path(files, key))


def running(files: Files) -> int:
    """How many tasks are held at this moment."""
    if not isinstance(files, LocalFiles):
        return 0
    return sum(_is_held(path) for path in (files.root / FOLDER).glob("*.lock"))


def left_behind(files: Files) -> list[str]:
    """Files of claims that nobody holds: their owner was killed. They hinder nobody."""
    if not isinstance(files, LocalFiles):
        return []
    return [f"{FOLDER}/{path.name}" for path in sorted((files.root / FOLDER).glob("*.lock")) if not _is_held(path)]


def _path(files: LocalFiles, key: str) -> Path:
    return files.root / FOLDER / f"{hashlib.sha256(key.encode()).hexdigest()[:20]}.lock"


def _lock(path: Path) -> int | None:
    """An open descriptor that holds the lock; ``None`` where another holds it, -1 where there are no locks."""
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError:
            return -1  # writing the work itself will say what is wrong with the disk
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError:
            os.close(descriptor)
            return -1
        if os.fstat(descriptor).st_nlink:
            return descriptor
        os.close(descriptor)  # its former owner removed it between our open and our lock


def _is_held(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False
