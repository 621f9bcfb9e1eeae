"""What the store needs of a file system: whole-file reads and atomic writes below one location.

Paths are relative, with ``/`` between their parts. A reader sees a file whole or not at all: on a disk a file
is written beside its place, flushed and renamed; object stores publish an upload when it is complete.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

from roar.errors import StoreError, UsageError

TEMPORARY = ".tmp-"
LARGEST = 2**32  # bytes of a file: twice the weights of the largest networks there are


class Files(Protocol):
    """What the store needs of a file system.

    ``list`` gives every finished file below a folder, sorted; ``strangers`` those that are not roar's by their names,
    which it leaves alone. ``read`` refuses what has more than ``most`` bytes before it reads one.
    """

    location: str

    def read(self, path: str, most: int = LARGEST) -> bytes: ...
    def write(self, path: str, data: bytes) -> None: ...
    def exists(self, path: str) -> bool: ...
    def size(self, path: str) -> int: ...
    def list(self, folder: str) -> list[str]: ...
    def strangers(self) -> Sequence[str]: ...
    def delete(self, path: str) -> None: ...
    def move(self, path: str, to: str) -> None: ...
    def __hash__(self) -> int: ...


def checked(path: str) -> str:
    """A relative path that stays inside; names come from data and from configuration.

    Raises:
        UsageError: a part is empty, ``.`` or ``..``, or has a character that no name in a store has.
    """
    for part in path.split("/"):
        if not _is_plain(part):
            raise UsageError(f"A path in a store is made of plain names, and {path!r} is not; rename {part!r}.")
    return path


def _is_plain(part: str) -> bool:
    return part not in ("", ".", "..") and re.fullmatch(r"[A-Za-z0-9._,=+()#-]+", part) is not None


def is_temporary(path: str) -> bool:
    return path.rsplit("/", 1)[-1].startswith(TEMPORARY)


def is_strange(path: str) -> bool:
    """Whether a file's path has a name that roar gives to none: ``.DS_Store``, ``part-00000 (conflicted copy)``."""
    return not all(_is_plain(part) and not part.startswith(".") for part in path.split("/"))


def too_large(location: str, path: str, size: int, most: int) -> StoreError:
    return StoreError(f"'{location}/{path}' has {size:,} bytes and at most {most:,} were written; move it away and run "
                      "`roar verify --repair`.")
