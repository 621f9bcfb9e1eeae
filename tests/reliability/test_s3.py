"""A store in object storage, end to end against a real server process, also when that fails now and then."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from object_storage import Faults, environment, failing_proxy
from roar_processes import JOBS, files_of, finish, rows_of, start

from roar.errors import StoreError
from roar.store import remote as remote_files
from roar.store.artifacts import ARTIFACTS
from roar.store.compaction import compact
from roar.store.integrity import damages, missing
from roar.store.merge import merge
from roar.store.results import compacted_files, finished_jobs, single_files
from roar.store.store import open_store

pytest.importorskip("moto.server", reason="the S3 server of moto[server] is not installed")


def assert_same_far_away(url: str, store: Path) -> None:
    far, near = open_store(url), files_of(store)
    paths = [path for kind in ARTIFACTS for path in far.files.list(kind)]
    assert set(paths) == set(near)
    assert [path for path in paths if far.files.read(path) != near[path]] == []
    pd.testing.assert_frame_equal(rows_of(far), rows_of(store))
    assert damages(far) == missing(far) == []


def test_a_run_end_to_end(s3: int, undisturbed: Path, tmp_path: Path) -> None:
    url, log = "s3://bucket/quiet", tmp_path / "log"
    assert finish(start(url, log=log, **environment(s3))) == 0, log.read_text()[-2000:]
    assert_same_far_away(url, undisturbed)
    again = start(url, "status", log=tmp_path / "status", **environment(s3))
    assert finish(again) == 0
    assert f"{JOBS} done, running not known, 0 failed, 0 missing, of {JOBS}" in (tmp_path / "status").read_text()


def test_a_run_against_a_server_that_fails_now_and_then(s3: int, undisturbed: Path, tmp_path: Path) -> None:
    url, log, faults = "s3://bucket/noisy", tmp_path / "log", Faults(every=90, in_a_row=5)  # more than pyarrow tries
    with failing_proxy(s3, faults) as proxy:
        assert finish(start(url, log=log, **environment(proxy)), 240) == 0, log.read_text()[-2000:]
    assert faults.injected > 20
    assert_same_far_away(url, undisturbed)


def test_two_runs_at_once_count_nothing_twice(s3: int, undisturbed: Path, tmp_path: Path) -> None:
    url, log = "s3://bucket/two", tmp_path / "log"
    together = [start(url, log=log, **environment(s3)) for _ in range(2)]
    assert [finish(process) for process in together] == [0, 0], log.read_text()[-2000:]
    assert_same_far_away(url, undisturbed)


def test_a_store_is_merged_into_a_bucket_and_compacted_there(s3: int, undisturbed: Path) -> None:
    far, near = open_store("s3://bucket/merged"), open_store(str(undisturbed))
    done = merge(far, near)
    assert (done.results, done.here) == (JOBS, 0)
    assert merge(open_store("s3://bucket/merged"), near).here == JOBS + done.artifacts
    assert_same_far_away("s3://bucket/merged", undisturbed)
    assert compact(far.files, at_least=1) == JOBS
    assert single_files(far.files) == []
    assert len(compacted_files(far.files)) == 1
    assert finished_jobs(far.files) == finished_jobs(near.files)
    assert_same_far_away("s3://bucket/merged", undisturbed)


def test_what_no_retry_can_mend_is_said_at_once(s3: int) -> None:
    with pytest.raises(StoreError, match=r"3 bytes, is refused .*NO_SUCH_BUCKET.* check the bucket"):
        open_store("s3://nowhere/prefix").files.write("a.bin", b"abc")


def test_a_server_that_is_not_there_is_said(s3: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROAR_TIMEOUT", "0.1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(StoreError, match=r"failed 1 times within 0\.1 s .*give more --timeout"):
        open_store("s3://bucket/prefix")


def test_a_file_system_that_is_no_object_store_gets_a_temporary_name_first() -> None:
    files = remote_files.RemoteFiles("mock:///store")
    files.write("a/b.bin", b"123")
    assert files.read("a/b.bin") == b"123"
    assert files.list("") == ["a/b.bin"]
    files.delete("a/b.bin")
    assert not files.exists("a/b.bin")
