"""The files at a location: a local path or a URL."""

from __future__ import annotations

import re

from roar.store.files import Files
from roar.store.local import LocalFiles


def open_files(location: str) -> Files:
    """The files below a local path or a URL that pyarrow opens (``s3://``, ``gs://``, ``hdfs://``)."""
    if location.startswith("file://"):
        return LocalFiles(location.removeprefix("file://"))
    if re.match(r"^[a-z][a-z0-9+.-]+://", location):
        from roar.store.remote import RemoteFiles

        return RemoteFiles(location)
    return LocalFiles(location)
