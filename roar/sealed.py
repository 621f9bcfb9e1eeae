"""JSON that notices damage: an object whose first key is the hash of all the bytes that follow it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

_START = b'{"sha256": "'


def canonical_json(value: Any) -> bytes:
    """The same bytes for equal values, whatever the order of their keys."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def seal(body: Mapping[str, Any], indent: int | None = None) -> bytes:
    """An object as JSON, with its seal; one line unless it is indented."""
    rest = json.dumps(body, indent=indent, allow_nan=False).encode()[1:]
    return _start(rest) + rest


def unseal(data: bytes) -> dict[str, Any]:
    """Undo ``seal``. What a store of format 1 holds has no seal over its bytes, and is read as it was then.

    Raises:
        ValueError: one byte is not what was written, or this never was a sealed object.
    """
    try:
        body = json.loads(data)
        if not isinstance(body, dict):
            raise ValueError("not an object")
        digest, rest = body.pop("sha256", None), data[len(_start(b"")):]
        if data != _start(rest) + rest and not _is_first_format(body, digest):
            raise ValueError("not what was sealed")
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return body


def _is_first_format(body: dict[str, Any], digest: object) -> bool:
    """Format 1 hashed a result's values and gave nothing else a checksum."""
    if body.get("format", 1) != 1:
        return False
    return digest is None or digest == hashlib.sha256(canonical_json(body)).hexdigest()


def _start(rest: bytes) -> bytes:
    return _START + hashlib.sha256(rest).hexdigest().encode() + b'",'
