"""An S3 server for the tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from object_storage import environment, s3_server


@pytest.fixture(scope="module")
def server() -> Iterator[int]:
    with s3_server("bucket") as port:
        yield port


@pytest.fixture
def s3(server: int, monkeypatch: pytest.MonkeyPatch) -> int:
    for name, value in environment(server).items():
        monkeypatch.setenv(name, value)
    return server
