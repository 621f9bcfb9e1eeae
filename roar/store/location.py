"""The files at a location: a local path or a URL."""

from __future__ import annotations

import re

from roar.errors import UsageError
from roar.store.files import Files
from roar.store.local import LocalFiles


def open_files(location: str) -> Files:
    """The files below a local path or a URL that pyarrow opens (``s3://``, ``gs://``, ``hdfs://``).

    Raises:
        UsageError: it names no place: an empty text, or a URL without one.
        StoreError: it is a URL of an unknown kind.
    """
    if not location.strip() or re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*:/*", location):
        raise UsageError(f"A store is kept at a path or at a URL such as s3://bucket/prefix, and '{location}' names "
                         "neither; give one with --store.")
    if location.startswith("file://"):
        return LocalFiles(location.removeprefix("file://"))
    if re.match(r"^[a-z][a-z0-9+.-]+://", location):
        from roar.store.remote import RemoteFiles

        return RemoteFiles(location)
    return LocalFiles(location)
