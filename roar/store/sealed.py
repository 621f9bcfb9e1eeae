"""JSON that notices damage: an object whose first key is the hash of all the bytes that follow it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from roar.errors import DamagedArtifactError
from roar.store.files import Files

MOST = 2**28  # bytes of a sealed file: a plan of a million trainings has half as many
_SEAL = 64  # hexadecimal digits of SHA-256
_START = b'{"sha256": "'


def canonical_json(value: Any) -> bytes:
    """The same bytes for equal values, whatever the order of their keys."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def seal(body: Mapping[str, Any], indent: int | None = None) -> bytes:
    """An object as JSON, with its seal; one line unless it is indented."""
    rest = json.dumps(body, indent=indent, allow_nan=False).encode()[1:]
    return _start(rest) + rest


def unseal(data: bytes) -> dict[str, Any]:
    """Undo ``seal``.

    Raises:
        ValueError: one byte is not what was written, or this never was a sealed object.
    """
    try:
        body = json.loads(data)
        if not isinstance(body, dict):
            raise ValueError("not an object")
        del body["sha256"]
        rest = data[len(_start(b"")):]
        if data != _start(rest) + rest:
            raise ValueError("not what was sealed")
    except (RecursionError, KeyError):
        raise ValueError("nested too deeply, or without a checksum") from None
    return body


def _start(rest: bytes) -> bytes:
    return _START + hashlib.sha256(rest).hexdigest().encode() + b'",'


def read_sealed(files: Files, path: str) -> dict[str, Any]:
    """A sealed file's object.

    In object storage a read asks for the size first and then for as many bytes: where another process replaces the
    object in between, part of it arrives. So it is damaged only when it reads the same twice.

    Raises:
        DamagedArtifactError: it is not what was written.
        StoreError: it has more bytes than any such file.
    """
    data = files.read(path, MOST)
    while True:
        try:
            return unseal(data)
        except ValueError:
            before, data = data, files.read(path, MOST)
            if data == before:
                raise DamagedArtifactError(damage(files.location, path, "is not what was written")) from None


def sealed_archive(data: bytes) -> bytes:
    """A zip archive without a comment (``.npz``) with a seal: its comment is the hash of all before it."""
    body = data[:-2] + _SEAL.to_bytes(2, "little")  # the last two bytes are the length of the comment
    return body + hashlib.sha256(body).hexdigest().encode()


def is_whole_archive(data: bytes) -> bool:
    """Whether a sealed archive is what was written."""
    return data[-_SEAL:] == hashlib.sha256(data[:-_SEAL]).hexdigest().encode()


def damage(location: str, path: str, state: str) -> str:
    """The sentence about a damaged file."""
    return f"'{location}/{path}' {state}; `roar verify --repair` makes it again."
