"""What the store needs of a file system: whole-file reads and atomic writes below one location.

Paths are relative, with ``/`` between their parts. A reader sees a file whole or not at all: on a disk a file
is written beside its place, flushed and renamed; object stores publish an upload when it is complete.
"""

from __future__ import annotations

import re
from typing import Protocol

from roar.errors import UsageError

TEMPORARY = ".tmp-"


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


def checked(path: str) -> str:
    """A relative path that stays inside; names come from data and from configuration.

    Raises:
        UsageError: a part is empty, ``.`` or ``..``, or has a character that no name in a store has.
    """
    for part in path.split("/"):
        if part in ("", ".", "..") or not re.fullmatch(r"[A-Za-z0-9._,=+()#-]+", part):
            raise UsageError(f"A path in a store is made of plain names, and {path!r} is not; rename {part!r}.")
    return path


def is_temporary(path: str) -> bool:
    return path.rsplit("/", 1)[-1].startswith(TEMPORARY)
