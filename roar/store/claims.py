"""Who works on what, so that two runs on one store divide the work.

A claim is a file below ``claims/`` that its owner holds an advisory lock on. The system drops the lock when the
process ends, however it ends, so a claim of a killed process is free at once. Where there are no such locks (an
object store, some network disks) every claim is granted: work may be done twice, and since files are written
whole and named by their content, nothing is counted twice.

The file of a claim is removed by whoever holds its lock and by nobody else. Whoever looks shares the lock for an
instant; so a claim is held where the lock can be neither taken nor shared.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import random
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from roar.errors import StoreError
from roar.store.below import open_file
from roar.store.files import Files
from roar.store.local import LocalFiles

FOLDER = "claims"
CLEANING = "clean up"  # the key of whoever cleans up, whom tasks wait for
_NO_LOCKS = -1
_MOST = 10_000  # bytes of a claim
_PATIENCE = 0.1  # seconds between looks at a claim
_SHORT = 0.002  # seconds that whoever only looks holds a lock for, at most


def wait_for_cleaning(files: Files) -> None:
    """Return when nobody cleans up. Whoever holds a task by then keeps others from beginning to."""
    while is_claimed(files, CLEANING):
        time.sleep(_PATIENCE)


@contextmanager
def claim(files: Files, key: str) -> Iterator[bool]:
    """Hold a task for the length of a ``with`` block; ``False`` where another process holds it.

    Raises:
        StoreError: the claim is another user's who lets nobody look at it, or a link is in its place.
    """
    if not isinstance(files, LocalFiles):
        yield True
        return
    name = _name(key)
    descriptor = _lock(files, name)
    if descriptor is None:
        yield False
        return
    try:
        if descriptor != _NO_LOCKS:
            with suppress(OSError):  # for people only; a full disk is told by whoever writes the work
                os.ftruncate(descriptor, 0)
                os.write(descriptor, json.dumps({"host": socket.gethostname(), "pid": os.getpid()}).encode())
        yield True
    finally:
        if descriptor != _NO_LOCKS:
            _remove(files, name, descriptor)


def is_claimed(files: Files, key: str) -> bool:
    """Whether a process holds the task at this moment."""
    return isinstance(files, LocalFiles) and _is_held(files, _name(key))


def holder(files: Files, key: str) -> str:
    """Who holds a task, for people: ``process 4711 on host``; empty where nobody says so."""
    if not isinstance(files, LocalFiles):
        return ""
    try:
        told = json.loads(files.read(f"{FOLDER}/{_name(key)}", _MOST))
        return f"process {int(told['pid'])} on {told['host']}"
    except (StoreError, ValueError, KeyError, TypeError, RecursionError):
        return ""


def running(files: Files) -> int | None:
    """How many tasks are held at this moment; ``None`` where there are no locks that tell."""
    if not isinstance(files, LocalFiles):
        return None
    return sum(_is_held(files, name) for name in _names(files) if name != _name(CLEANING))


def left_behind(files: Files) -> list[str]:
    """Files of claims that nobody holds: their owner was killed. They hinder nobody."""
    if not isinstance(files, LocalFiles):
        return []
    return [f"{FOLDER}/{name}" for name in _names(files) if not _is_held(files, name)]


def remove_left_behind(files: LocalFiles, path: str) -> None:
    """Remove the file of a claim unless somebody has taken it meanwhile."""
    name = path.rpartition("/")[2]
    try:
        descriptor = _open(files, name, make=False)
    except OSError:
        return
    try:
        mine = _taken(descriptor) and os.fstat(descriptor).st_nlink > 0
    except OSError:
        mine = False
    if mine:
        _remove(files, name, descriptor)
    else:
        os.close(descriptor)


def is_claim(path: str) -> bool:
    return path.startswith(f"{FOLDER}/")


def _name(key: str) -> str:
    return f"{hashlib.sha256(key.encode()).hexdigest()[:20]}.lock"


def _names(files: Files) -> list[str]:
    return [path.rpartition("/")[2] for path in files.list(FOLDER) if path.endswith(".lock")]


def _lock(files: LocalFiles, name: str) -> int | None:
    """An open descriptor that holds the lock; ``None`` where another holds it, -1 where there are no locks."""
    while True:
        try:
            descriptor = _open(files, name, make=True)
        except OSError:
            return _NO_LOCKS  # writing the work itself will say what is wrong with the disk
        try:
            if _taken(descriptor):
                if os.fstat(descriptor).st_nlink:
                    return descriptor  # else its former owner removed it between our open and our lock
            elif not _shared(descriptor):
                os.close(descriptor)
                return None
            else:  # somebody looks at this moment; nobody holds it
                time.sleep(random.uniform(0.0, _SHORT))
        except OSError:
            os.close(descriptor)
            return _NO_LOCKS
        os.close(descriptor)


def _is_held(files: LocalFiles, name: str) -> bool:
    try:
        descriptor = _open(files, name, make=False)
    except OSError:
        return False
    try:
        return not _shared(descriptor)
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _open(files: LocalFiles, name: str, make: bool) -> int:
    """A descriptor of a claim's file, which any user may lock whatever his umask.

    Raises:
        StoreError: the claim is another user's who lets nobody look at it, or a link is in its place.
        OSError: it is not there, or cannot be made.
    """
    place = files.root / FOLDER / name
    with files.folder(FOLDER, make) as folder:
        while True:
            with suppress(FileNotFoundError):
                try:
                    return open_file(folder, name, place, os.O_RDWR)
                except PermissionError:
                    with suppress(PermissionError):
                        return open_file(folder, name, place)
                    raise StoreError(f"The claim '{place}' is another user's and cannot be looked at; have it made "
                                     "readable or, if no run is at work, removed.") from None
            if not make:
                raise FileNotFoundError(str(place))
            with suppress(FileExistsError):  # another process just made it
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                descriptor = os.open(name, flags, 0o666, dir_fd=folder)
                with suppress(OSError):
                    os.fchmod(descriptor, 0o666)
                return descriptor


def _taken(descriptor: int) -> bool:
    return _locked(descriptor, fcntl.LOCK_EX)


def _shared(descriptor: int) -> bool:
    return _locked(descriptor, fcntl.LOCK_SH)


def _locked(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _remove(files: LocalFiles, name: str, descriptor: int) -> None:
    """Remove a claim's file before its lock goes: whoever opened it meanwhile notices."""
    with suppress(OSError, StoreError), files.folder(FOLDER) as folder:  # the lock is what counts
        os.unlink(name, dir_fd=folder)
    os.close(descriptor)
