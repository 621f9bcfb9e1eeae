"""Files below a folder of a local disk."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

from roar.errors import StoreError
from roar.store.files import TEMPORARY, checked, is_temporary

_ABANDONED = 24 * 3600.0  # seconds after which an unfinished file of another machine belongs to no process


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
        return sorted(path for path in self._walk(folder) if not is_temporary(path))

    def delete(self, path: str) -> None:
        with _plain_errors(self.root / checked(path), "cannot be removed", "mend the rights"):
            (self.root / path).unlink(missing_ok=True)

    def abandoned(self) -> Sequence[str]:
        """Unfinished files that nobody is writing: their process is gone, or has not touched them for a day."""
        return sorted(path for path in self._walk("") if is_temporary(path) and self._is_abandoned(path))

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


def _host() -> str:
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
