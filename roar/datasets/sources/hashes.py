"""The hashes of many files: every byte is read once, and again only of a file that has changed since.

What is known is kept in the user's cache and not beside the images or in a store, which may be somebody else's. A file
counts as unchanged while its size, its times of content and of status, its inode and its device do, as for git; what
was changed within the seconds before it was read is read again the next time, since such a time may hide a second
change.
"""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from roar import machine
from roar.datasets.sources.pictures import reading

AT_LEAST = 1_000  # files, whose hashes are worth keeping
SETTLED = 2_000_000_000  # nanoseconds after which a change has a time of its own on any disk
_HASH = 32  # bytes


def user_cache() -> Path | None:
    """``$XDG_CACHE_HOME/roar``, else ``~/.cache/roar``; ``None`` for a user without a home."""
    cache = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(cache) if cache else Path.home() / ".cache") / "roar"
    except RuntimeError:
        return None


def hashes(folder: Path, names: Sequence[str]) -> list[bytes]:
    """The SHA-256 of the contents of each file.

    Args:
        names: relative to the folder.

    Raises:
        SourceError: a file cannot be read.
    """
    cache = user_cache() if len(names) >= AT_LEAST else None
    place = cache and cache / "hashes" / hashlib.sha256(os.fsencode(folder)).hexdigest()[:20]
    known = _read(place) if place else {}
    with ThreadPoolExecutor(machine.cpus()) as pool:
        found = list(pool.map(lambda name: reading(folder / name, lambda path: _hash(path, name, known)), names))
    if place and any(settled and stamp not in known for stamp, _, settled in found):
        mine = {stamp: digest for stamp, digest, settled in found if settled}
        _keep(place, {**known, **mine} if len(known) <= 2 * len(found) else mine)
    return [digest for _, digest, _ in found]


def _hash(path: Path, name: str, known: dict[bytes, bytes]) -> tuple[bytes, bytes, bool]:
    """The stamp of a file, its hash, and whether its last change was long enough ago for the stamp to be kept."""
    with path.open("rb") as file:
        now, told = time.time_ns(), os.fstat(file.fileno())
        stamp = hashlib.sha256(os.fsencode(name) + repr((
            told.st_size, told.st_mtime_ns, told.st_ctime_ns, told.st_ino, told.st_dev)).encode()).digest()
        digest = known.get(stamp) or hashlib.file_digest(file, "sha256").digest()
    return stamp, digest, max(told.st_mtime_ns, told.st_ctime_ns) < now - SETTLED


def _read(place: Path) -> dict[bytes, bytes]:
    """Hashes by stamps; none where the file is not there or is not what was written."""
    try:
        data = place.read_bytes()
    except OSError:
        return {}
    data, seal = data[:-_HASH], data[-_HASH:]
    return dict(_pairs(data)) if hashlib.sha256(data).digest() == seal else {}


def _pairs(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    for start in range(0, len(data), 2 * _HASH):
        yield data[start:start + _HASH], data[start + _HASH:start + 2 * _HASH]


def _keep(place: Path, found: dict[bytes, bytes]) -> None:
    data = b"".join(stamp + digest for stamp, digest in found.items())
    beside = place.with_name(f".{place.name}-{uuid.uuid4().hex}")
    with suppress(OSError):  # it saves time and nothing else
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        beside.write_bytes(data + hashlib.sha256(data).digest())
        beside.replace(place)
