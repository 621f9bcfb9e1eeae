"""Files below one place, on a local disk or elsewhere, with whole-file reads and atomic writes.

Paths are relative, with ``/`` between their parts. A reader sees a file whole or not at all: on a disk a file
is written beside its place, flushed and renamed; object stores publish an upload when it is complete.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import socket
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from roar.errors import StoreError, UsageError

TEMPORARY = ".tmp-"
_ABANDONED = 24 * 3600.0  # seconds after which an unfinished file of another machine is nobody's


class Files(Protocol):
    """What the store needs of a file system."""

    location: str

    def read(self, path: str) -> bytes: ...
    def write(self, path: str, data: bytes) -> None: ...
    def exists(self, path: str) -> bool: ...
    def size(self, path: str) -> int: ...
    def list(self, folder: str) -> list[str]: ...
    def delete(self, path: str) -> None: ...
    def __hash__(self) -> int: ...


def open_files(location: str) -> Files:
    """The files below a local path or a URL that pyarrow opens (``s3://``, ``gs://``, ``hdfs://``)."""
    if location.startswith("file://"):
        return LocalFiles(location.removeprefix("file://"))
    if re.match(r"^[a-z][a-z0-9+.-]+://", location):
        from roar.remote_files import RemoteFiles

        return RemoteFiles(location)
    return LocalFiles(location)


def checked(path: str) -> str:
    """A relative path that stays inside; names come from data and from configuration.

    Raises:
        UsageError: a part is empty, ``.`` or ``..``, or has a character that no name in a store has.
    """
    for part in path.split("/"):
        if part in ("", ".", "..") or not re.fullmatch(r"[A-Za-z0-9._,=+()#-]+", part):
            raise UsageError(f"A path in a store is made of plain names, and {path!r} is not; rename {part!r}.")
    return path


class LocalFiles:
    """Files below a folder of a disk."""

    def __init__(self, location: str) -> None:
        self.root = Path(location).expanduser()
        self.location = location

    def read(self, path: str) -> bytes:
        with _plain_errors(self.root / checked(path)):
            return (self.root / path).read_bytes()

    def write(self, path: str, data: bytes) -> None:
        with self._written_beside(path, data) as (temporary, target):
            temporary.replace(target)

    def create(self, path: str, data: bytes) -> None:
        """Write a file unless there is one: of two processes, one writes it."""
        with self._written_beside(path, data) as (temporary, target):
            try:
                os.link(temporary, target)
            except FileExistsError:
                pass
            except OSError:  # a disk without hard links
                if not target.exists():
                    temporary.replace(target)

    def exists(self, path: str) -> bool:
        with _plain_errors(self.root / checked(path)):
            return (self.root / path).is_file()

    def size(self, path: str) -> int:
        with _plain_errors(self.root / checked(path)):
            return (self.root / path).stat().st_size

    def list(self, folder: str) -> list[str]:
        """Every finished file below a folder, sorted; none where there is no folder."""
        return sorted(path for path in self._walk(folder) if not _is_temporary(path))

    def delete(self, path: str) -> None:
        with _plain_errors(self.root / checked(path), "cannot be removed", "mend the rights"):
            (self.root / path).unlink(missing_ok=True)

    def abandoned(self) -> Sequence[str]:
        """Unfinished files that nobody is writing: their process is gone, or has not touched them for a day."""
        return sorted(path for path in self._walk("") if _is_temporary(path) and self._is_abandoned(path))

    def _walk(self, folder: str) -> Iterator[str]:
        def stop(error: OSError) -> None:
            if not isinstance(error, FileNotFoundError):  # what another process just removed is not there
                raise error

        top = self.root / checked(folder) if folder else self.root
        with _plain_errors(top):
            for parent, _, names in os.walk(top, onerror=stop):
                below = Path(parent).relative_to(self.root).as_posix()
                yield from (f"{below}/{name}" if below != "." else name for name in names)

    @contextlib.contextmanager
    def _written_beside(self, path: str, data: bytes) -> Iterator[tuple[Path, Path]]:
        """The data on the disk, in a file beside its place that is removed unless it is renamed."""
        target = self.root / checked(path)
        temporary = target.with_name(f"{TEMPORARY}{_host()}-{os.getpid()}-{uuid.uuid4().hex[:12]}")
        with _plain_errors(target, f"needs {len(data):,} bytes and cannot be written",
                           "free space, mend the rights or give another --store"):
            _make_folder(target.parent)
            try:
                with temporary.open("wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                yield temporary, target
            finally:
                with contextlib.suppress(OSError):
                    temporary.unlink(missing_ok=True)
            _flush_folder(target.parent)

    def _is_abandoned(self, path: str) -> bool:
        host, _, rest = path.rsplit("/", 1)[-1].removeprefix(TEMPORARY).partition("-")
        process = rest.split("-")[0]
        if host == _host() and process.isdecimal():
            try:
                os.kill(int(process), 0)
            except (ProcessLookupError, OverflowError):
                return True
            except PermissionError:
                pass
        try:
            return time.time() - (self.root / path).stat().st_mtime > _ABANDONED
        except OSError:
            return False  # it was finished meanwhile


@contextlib.contextmanager
def _plain_errors(path: Path, failure: str = "cannot be read", remedy: str = "check the path and its rights",
                  ) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise StoreError(f"There is no file '{path}'; make it again.") from None
    except OSError as error:
        raise StoreError(f"'{path}' {failure} ({error.strerror or error}); {remedy}.") from None


def _make_folder(folder: Path) -> None:
    """A folder and those above it, each on the disk before anything is put into it."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    for place in reversed(missing):
        place.mkdir(exist_ok=True)
        _flush_folder(place.parent)


def _flush_folder(folder: Path) -> None:
    """Make a rename survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network disks cannot
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_temporary(path: str) -> bool:
    return path.rsplit("/", 1)[-1].startswith(TEMPORARY)


def _host() -> str:
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
