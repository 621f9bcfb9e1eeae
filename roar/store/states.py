"""States of tasks that are not done: what an interrupted training or chain goes on from.

A file is the hash of the task's key (which its name begins with), the hash of that and of the state, and the state.
"""

from __future__ import annotations

import hashlib

from roar.store.artifacts import CHECKPOINTS

_HASH = 32  # bytes


def state_path(key: bytes) -> str:
    """Where the state of a task lies, from the hash of its key."""
    return f"{CHECKPOINTS}/{key.hex()[:20]}"


def sealed_state(key: bytes, state: bytes) -> bytes:
    """The bytes of a state's file."""
    return key + hashlib.sha256(key + state).digest() + state


def state_of(data: bytes, path: str) -> bytes | None:
    """The state in a file; ``None`` where it is not what was written there."""
    key, digest, state = data[:_HASH], data[_HASH:2 * _HASH], data[2 * _HASH:]
    whole = len(key) == _HASH and path == state_path(key) and digest == hashlib.sha256(key + state).digest()
    return state if whole else None
