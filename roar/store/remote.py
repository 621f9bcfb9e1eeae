"""Files below a URL, through pyarrow's file systems; endpoint and credentials come from the usual environment.

For S3 that is ``AWS_ENDPOINT_URL``, ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, ``AWS_REGION``,
``AWS_PROFILE`` and the files below ``~/.aws``. A request that fails is tried again, later each time, for as long as
``ROAR_TIMEOUT`` says (60 s): that is the time of all attempts together, those of pyarrow among them.

An object store publishes what an upload holds when its stream is closed, and pyarrow closes a stream that an exception
leaves. So an upload runs in a thread, which no signal interrupts, and an object without a byte counts as absent.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from roar.errors import StoreError
from roar.store.files import LARGEST, TEMPORARY, checked, is_strange, is_temporary, too_large

T = TypeVar("T")

TIMEOUT = "ROAR_TIMEOUT"  # the environment's name for the seconds that one request may take, all attempts together
DEFAULT_TIMEOUT = 60.0
FIRST_PAUSE = 0.2  # seconds; doubles with every further attempt
LONGEST_PAUSE = 5.0
_PUBLISHED_WHOLE = {"s3", "gcs", "abfs"}  # an object is seen when its upload is complete
_HOPELESS = re.compile("ACCESS_DENIED|INVALID_ACCESS_KEY_ID|INVALID_CLIENT_TOKEN_ID|SIGNATURE_DOES_NOT_MATCH|"
                       "NO_SUCH_BUCKET|MISSING_AUTHENTICATION_TOKEN|EXPIRED_TOKEN|HTTP status 40[13]")


class RemoteFiles:
    """Files in object storage or on a distributed file system."""

    def __init__(self, location: str) -> None:
        from pyarrow import fs

        self.location = location.rstrip("/")
        try:
            system, self._root = fs.FileSystem.from_uri(self.location)
            self._seconds = _seconds()
            self._system = _impatient(system, self._seconds)
        except (OSError, ValueError) as error:
            raise StoreError(f"'{location}' cannot be opened ({_first_line(error)}); "
                             "give a path or a URL such as s3://bucket/prefix.") from None

    def read(self, path: str, most: int = LARGEST) -> bytes:
        def request() -> bytes:
            with self._system.open_input_file(self._full(path)) as file:
                if file.size() > most:
                    raise too_large(self.location, path, file.size(), most)
                return bytes(file.read())
        return self._again(path, request)

    def write(self, path: str, data: bytes) -> None:
        full = self._full(path)
        whole = self._system.type_name in _PUBLISHED_WHOLE
        place = full if whole else f"{full.rpartition('/')[0]}/{TEMPORARY}{uuid.uuid4().hex}"

        def request() -> None:
            if not whole:
                self._system.create_dir(place.rpartition("/")[0], recursive=True)
            _uninterrupted(lambda: self._publish(place, data))
            if self._system.get_file_info(place).size != len(data):
                raise OSError("fewer bytes arrived than were sent")
            if not whole:
                self._system.move(place, full)
        self._again(path, request, len(data))

    def exists(self, path: str) -> bool:
        full = self._full(path)
        return bool(self._again(path, lambda: _is_written(self._system.get_file_info(full))))

    def size(self, path: str) -> int:
        full = self._full(path)
        return int(self._again(path, lambda: self._system.get_file_info(full).size) or 0)

    def list(self, folder: str) -> list[str]:
        return sorted(path for path in self._walk(folder) if not is_strange(path))

    def strangers(self) -> Sequence[str]:
        return sorted(path for path in self._walk("") if is_strange(path) and not is_temporary(path))

    def delete(self, path: str) -> None:
        full = self._full(path)

        def request() -> None:
            with contextlib.suppress(FileNotFoundError):
                self._system.delete_file(full)
        self._again(path, request)

    def move(self, path: str, to: str) -> None:
        self.write(to, self.read(path))
        self.delete(path)

    def _walk(self, folder: str) -> Sequence[str]:
        from pyarrow import fs

        selector = fs.FileSelector(self._full(folder) if folder else self._root, recursive=True, allow_not_found=True)
        infos = self._again(folder, lambda: self._system.get_file_info(selector))
        start = len(self._root) + 1
        return [info.path[start:] for info in infos if _is_written(info)]

    def _publish(self, place: str, data: bytes) -> None:
        with self._system.open_output_stream(place) as file:
            file.write(data)

    def _full(self, path: str) -> str:
        return f"{self._root}/{checked(path)}"

    def _again(self, path: str, request: Callable[[], T], size: int = 0) -> T:
        end, pause, attempts = time.monotonic() + self._seconds, FIRST_PAUSE, 0
        while True:
            attempts += 1
            try:
                return request()
            except FileNotFoundError:
                raise StoreError(f"There is no file '{self.location}/{path}'; make it again.") from None
            except OSError as error:
                reason, need = _first_line(error), f", {size:,} bytes," if size else ""
                if _HOPELESS.search(reason):
                    raise StoreError(f"'{self.location}/{path}'{need} is refused ({reason}); check the bucket, the "
                                     "credentials and AWS_ENDPOINT_URL.") from None
            if time.monotonic() + pause >= end:
                raise StoreError(f"'{self.location}/{path}'{need} failed {attempts} times within {self._seconds:g} s "
                                 f"({reason}); check the network and the address, or give more --timeout.")
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)


def _uninterrupted(put: Callable[[], None]) -> None:
    """Call it in a thread and wait for its end: Python raises what a signal asks for in the main thread alone."""
    with ThreadPoolExecutor(1, "upload") as pool:
        pool.submit(put).result()


def _is_written(info: Any) -> bool:
    """Whether it is a file with a byte in it: no file of a store is empty."""
    from pyarrow import fs

    return bool(info.type == fs.FileType.File and info.size != 0)


def _seconds() -> float:
    """The time that a request may take; what is no number is the default."""
    try:
        return max(0.1, float(os.environ[TIMEOUT]))
    except (KeyError, ValueError):
        return DEFAULT_TIMEOUT


def _impatient(system: Any, seconds: float) -> Any:
    """The same file system, which gives up an attempt in time for others, and leaves trying again to us."""
    if system.type_name != "s3":
        return system
    from pyarrow import fs

    _, (settings,) = system.__reduce__()  # all that it was made with
    attempt = max(0.1, seconds / 4)
    return fs.S3FileSystem(**{**settings, "request_timeout": attempt, "connect_timeout": min(attempt, 5.0),
                              "allow_delayed_open": True,  # one request puts a small file
                              "retry_strategy": fs.AwsStandardS3RetryStrategy(max_attempts=1)})


def _first_line(error: Any) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
