"""The driver's desk on a cluster: an actor beside the driver that workers talk to."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import ray
from ray.exceptions import ObjectLostError, RayActorError, RaySystemError, RayTaskError

from roar.errors import ClusterError, RoarError, StoreError
from roar.store.files import LARGEST, Files
from roar.store.store import open_store


@ray.remote
class Desk:
    """On the driver's node: takes progress from the workers, and files from those that cannot see the store."""

    def __init__(self, location: str) -> None:
        self.store = open_store(location)
        self.shares: dict[str, tuple[float, str]] = {}

    def tell(self, key: str, share: float, text: str) -> None:
        self.shares[key] = (share, text)

    def sees(self, store_id: str) -> bool:
        """Whether this node sees the very store that the program sees."""
        return self.store.exists and self.store.description.get("id") == store_id

    def take_shares(self) -> dict[str, tuple[float, str]]:
        shares, self.shares = self.shares, {}
        return shares

    def files(self, verb: str, *arguments: Any) -> Any:
        return getattr(self.store.files, verb)(*arguments)


def fetch(reference: Any) -> Any:
    """What a reference stands for.

    A process that its node no longer serves ends, and so its task is done elsewhere: as an error of the task it
    would be a result, and the process, alive for seconds after its node is lost, would give one to task after task.

    Raises:
        ClusterError: this node lacks what is needed to read it.
    """
    try:
        return ray.get(reference)
    except RayTaskError:
        raise
    except RaySystemError as error:
        if error.traceback_str is None:  # of Ray itself, not of an object that cannot be unpickled
            _end(error)
        raise ClusterError(_lacking(error.client_exc)) from None
    except (OSError, ObjectLostError, RayActorError) as error:
        _end(error)


def _end(error: Exception) -> NoReturn:
    print(f"This worker is cut off from its cluster ({error}); it ends.", file=sys.stderr, flush=True)
    os._exit(1)


def _lacking(error: object) -> str:
    """The sentence about what this node cannot read."""
    node = socket.gethostname()
    if isinstance(error, ModuleNotFoundError):
        return f"The module '{error.name}' is missing on the node '{node}'; install it there as on the program's."
    return (f"The node '{node}' cannot read what the program sent ({type(error).__name__}: "
            f"{' '.join(str(error).split())[:200]}); install there the versions that the program has.")


def own_files(location: str, store_id: str) -> Files | None:
    """The store's files, where this process sees the very store that the driver sees."""
    try:
        store = open_store(location)
        if store.exists and store.description.get("id") == store_id:
            return store.files
    except StoreError:
        pass
    return None


class DeskFiles:
    """The store's files as a worker reaches them that does not see the driver's disk."""

    def __init__(self, location: str, desk: Any) -> None:
        self.location, self.desk = location, desk

    def read(self, path: str, most: int = LARGEST) -> bytes:
        return bytes(self._ask("read", path, most))

    def write(self, path: str, data: bytes) -> None:
        self._ask("write", path, data)

    def exists(self, path: str) -> bool:
        return bool(self._ask("exists", path))

    def size(self, path: str) -> int:
        return int(self._ask("size", path))

    def list(self, folder: str) -> list[str]:
        return list(self._ask("list", folder))

    def strangers(self) -> Sequence[str]:
        return list(self._ask("strangers"))

    def delete(self, path: str) -> None:
        self._ask("delete", path)

    def move(self, path: str, to: str) -> None:
        self._ask("move", path, to)

    def _ask(self, verb: str, *arguments: Any) -> Any:
        try:
            return fetch(self.desk.files.remote(verb, *arguments))
        except RayTaskError as error:
            if isinstance(error.cause, RoarError):
                raise error.cause from None
            raise
