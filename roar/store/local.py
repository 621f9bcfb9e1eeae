"""Files below a folder of a local disk."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import socket
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

from roar.errors import StoreError
from roar.store.below import flush_folder, folder_below, open_file, status, walk
from roar.store.files import LARGEST, TEMPORARY, checked, is_strange, is_temporary, too_large

_ABANDONED = 24 * 3600.0  # seconds after which an unfinished file of another machine belongs to no process


class LocalFiles:
    """Files below a folder of a disk; what leads out of it is refused (see ``roar/store/below.py``)."""

    def __init__(self, location: str) -> None:
        self.root = Path(location).expanduser()
        self.location = location
        self._inode: tuple[int, int] | None = None  # of the root when it was first opened

    def read(self, path: str, most: int = LARGEST) -> bytes:
        with self._place(path) as (folder, name, place):
            descriptor = open_file(folder, name, place)
            try:
                size = os.fstat(descriptor).st_size
                if size > most:
                    raise too_large(self.location, path, size, most)
                return _read(descriptor, size)
            finally:
                os.close(descriptor)

    def write(self, path: str, data: bytes) -> None:
        with self._written_beside(path, data) as (folder, temporary, name):
            os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)

    def create(self, path: str, data: bytes) -> None:
        """Write a file unless there is one: of two processes, one writes it."""
        with self._written_beside(path, data) as (folder, temporary, name):
            try:
                os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
            except FileExistsError:
                pass
            except OSError:  # a disk without hard links
                if status(folder, name, self.root / path) is None:
                    os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)

    def exists(self, path: str) -> bool:
        return self._status(path) is not None

    def size(self, path: str) -> int:
        found = self._status(path)
        if found is None:
            raise _no_file(self.root / path)
        return found.st_size

    def list(self, folder: str) -> list[str]:
        """Every finished file below a folder, sorted; none where there is no folder."""
        return sorted(path for path in self._walk(folder) if not is_strange(path))

    def strangers(self) -> Sequence[str]:
        """Files whose names are none that roar gives; it leaves them alone."""
        return sorted(path for path in self._walk("") if is_strange(path) and not is_temporary(path))

    def delete(self, path: str) -> None:
        with (contextlib.suppress(_GoneError),
              self._place(path, "cannot be removed", "mend the rights") as (folder, name, place)):
            if status(folder, name, place) is not None:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=folder)

    def move(self, path: str, to: str) -> None:
        """Give a file another place, where nothing may be; what is gone meanwhile stays gone."""
        *parts, last = checked(to).split("/")
        with (contextlib.suppress(_GoneError),
              self._place(path, "cannot be moved", "mend the rights") as (folder, name, place),
              self._below(parts, make=True) as other):
            status(folder, name, place)
            os.rename(name, last, src_dir_fd=folder, dst_dir_fd=other)
            flush_folder(other)
            flush_folder(folder)

    def abandoned(self) -> Sequence[str]:
        """Unfinished files that nobody is writing: their process is gone, or has not touched them for a day."""
        return sorted(path for path in self._walk("") if is_temporary(path) and self._is_abandoned(path))

    @contextlib.contextmanager
    def folder(self, path: str, make: bool = False) -> Iterator[int]:
        """A descriptor of a folder in the store.

        Raises:
            StoreError: a link is in the way.
            OSError: it cannot be opened or made.
        """
        with self._below(checked(path).split("/"), make) as descriptor:
            yield descriptor

    @contextlib.contextmanager
    def _below(self, parts: Sequence[str], make: bool = False) -> Iterator[int]:
        """A descriptor of a folder below the root, which is the one that was opened first.

        A store that is moved or unmounted while a run is at work would be made anew at its old place.
        """
        if make and self._inode is not None and not self.root.exists():
            raise self._moved()
        with folder_below(self.root, parts, make, self._check) as descriptor:
            yield descriptor

    def _check(self, root: int) -> None:
        found = os.fstat(root)
        if self._inode not in (None, (found.st_dev, found.st_ino)):
            raise self._moved()
        self._inode = found.st_dev, found.st_ino

    def _moved(self) -> StoreError:
        return StoreError(f"'{self.root}' is not the folder any more that it was when this command began; if it was "
                          "moved or unmounted, put it back, and give the command again.")

    def _walk(self, folder: str) -> Iterator[str]:
        parts = checked(folder).split("/") if folder else []
        above = f"{folder}/" if folder else ""
        with (contextlib.suppress(_GoneError), _plain_errors(self.root / folder),
              self._below(parts) as descriptor):
            yield from walk(descriptor, self.root / folder, above)

    def _status(self, path: str) -> os.stat_result | None:
        *parts, name = checked(path).split("/")
        with (_plain_errors(self.root / path), contextlib.suppress(FileNotFoundError, NotADirectoryError),
              self._below(parts) as folder):
            return status(folder, name, self.root / path)
        return None

    @contextlib.contextmanager
    def _place(self, path: str, failure: str = "cannot be read", remedy: str = "check the path and its rights",
               ) -> Iterator[tuple[int, str, Path]]:
        """The folder that a file lies in, its name there, and its path for messages."""
        *parts, name = checked(path).split("/")
        with _plain_errors(self.root / path, failure, remedy), self._below(parts) as folder:
            yield folder, name, self.root / path

    @contextlib.contextmanager
    def _written_beside(self, path: str, data: bytes) -> Iterator[tuple[int, str, str]]:
        """The data on the disk, in a file beside its place that is removed unless it is renamed.

        Gives the folder's descriptor, the temporary name and the file's.
        """
        *parts, name = checked(path).split("/")
        temporary = f"{TEMPORARY}{_place_of_processes()}-{os.getpid()}-{uuid.uuid4().hex[:12]}"
        with (_plain_errors(self.root / path, f"needs {len(data):,} bytes and cannot be written",
                            "free space, mend the rights or give another --store"),
              self._below(parts, make=True) as folder):
            status(folder, name, self.root / path)  # a link is not replaced
            try:
                _write(folder, temporary, data)
                yield folder, temporary, name
            finally:
                with contextlib.suppress(OSError):
                    os.unlink(temporary, dir_fd=folder)
            flush_folder(folder)

    def _is_abandoned(self, path: str) -> bool:
        place, _, rest = path.rsplit("/", 1)[-1].removeprefix(TEMPORARY).partition("-")
        process = rest.split("-")[0]
        if place == _place_of_processes() and process.isdecimal():
            try:
                os.kill(int(process), 0)
            except (ProcessLookupError, OverflowError):
                return True
            except PermissionError:
                pass
        found = self._status(path)
        return found is not None and time.time() - found.st_mtime > _ABANDONED  # else it was finished meanwhile


class _GoneError(StoreError):
    """There is no such file."""


def _no_file(place: Path) -> _GoneError:
    return _GoneError(f"There is no file '{place}'; make it again.")


@contextlib.contextmanager
def _plain_errors(path: Path, failure: str = "cannot be read", remedy: str = "check the path and its rights",
                  ) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise _no_file(path) from None
    except OSError as error:
        raise StoreError(f"'{path}' {failure} ({error.strerror or error}); {remedy}.") from None


def _read(descriptor: int, size: int) -> bytes:
    data = os.read(descriptor, size)
    if len(data) == size:
        return data
    parts = [data]
    while size > (have := sum(map(len, parts))) and (data := os.read(descriptor, size - have)):
        parts.append(data)
    return b"".join(parts)


def _write(folder: int, name: str, data: bytes) -> None:
    """A new file with the data, on the disk."""
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666,
                         dir_fd=folder)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest):]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@functools.cache
def _place_of_processes() -> str:
    """Where a process id means a process: of this machine since its start and, on Linux, of this container."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:8]
