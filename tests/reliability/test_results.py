"""Ten thousand results: read in no time, compacted while others read and write, counted once whatever happens."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from roar.errors import DamagedArtifactError, StoreError
from roar.recipes import Recipe
from roar.store import compaction
from roar.store.artifacts import key_of
from roar.store.compaction import compact, write_compacted
from roar.store.local import LocalFiles
from roar.store.results import (
    COLUMNS,
    all_results,
    compacted_files,
    finished_jobs,
    is_done,
    read_results,
    result_file,
    single_files,
)

MANY = 10_000
ROW = {"source": "digits", "model": "simplecnn", "regularizer": "none", "retrainer": "simplecnn", "estimator": "sobel",
       "mode": "roar", "fill": "mean", "threshold": 50.0, "seed": 0, "status": "ok", "accuracy": 0.5, "n_test": 10,
       "epochs": 1, "train_seconds": 1.0, "device": "cpu", "protocol": "p1", "ranking": "r1", "message": "",
       "family": "control", "base": "sobel", "ensemble": "base", "control_of": "", "control_of_ranking": "",
       "architecture": "simplecnn", "model_seed": 0, "variant": "scratch",
       "class_accuracy": [0.5] * 10}


def result(seed: int, **changes: Any) -> tuple[str, bytes]:
    """A result of the size that real ones have."""
    identity = {"artefact": "job", "seed": seed, "recipe": Recipe().model_dump(), "source": "0" * 64}
    key = key_of(identity)
    return result_file(key, {**ROW, "seed": seed, "job": key, **changes}, identity)


@pytest.fixture
def files(tmp_path: Path) -> LocalFiles:
    return LocalFiles(str(tmp_path))


def put(files: LocalFiles, count: int) -> None:
    for seed in range(count):
        path, data = result(seed)
        (files.root / path).parent.mkdir(exist_ok=True)
        (files.root / path).write_bytes(data)


def seconds(read: Callable[[], Any]) -> float:
    """The processor's, so that a busy machine does not count."""
    started = time.process_time()
    read()
    return time.process_time() - started


def test_ten_thousand_results_are_read_in_two_seconds(files: LocalFiles) -> None:
    put(files, MANY)
    import pandas as pd  # not to be counted

    alone = seconds(lambda: read_results(files))
    before = read_results(files)
    assert compact(files) == MANY
    together = seconds(lambda: read_results(files))
    print(f"{MANY} results: {alone:.2f} s as {MANY} files, {together:.2f} s as one")
    pd.testing.assert_frame_equal(read_results(files), before)
    assert len(before) == MANY
    assert list(before.columns) == list(COLUMNS)
    assert together < 2
    assert single_files(files) == []
    assert len(compacted_files(files)) == 1
    assert len(finished_jobs(files)[0]) == MANY


def test_few_results_are_left_alone(files: LocalFiles) -> None:
    put(files, 5)
    assert compact(files) == 0
    assert len(single_files(files)) == 5
    assert compact(files, at_least=5) == 5
    assert compact(files, at_least=1) == 0


def test_a_compacted_result_is_done(files: LocalFiles) -> None:
    put(files, 3)
    compact(files, at_least=1)
    assert is_done(files, result(1)[0])
    assert not is_done(files, result(7)[0])
    assert not is_done(files, "models/nothing/manifest.json")


@pytest.mark.parametrize("crash", range(1, 8))
def test_a_crash_at_any_step_loses_and_doubles_nothing(files: LocalFiles, crash: int,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    put(files, 3)
    compact(files, at_least=1)
    for seed in range(3, 6):
        files.write(*result(seed))
    steps = []

    def counted(step: Callable[..., None]) -> Callable[..., None]:
        def run(*arguments: Any) -> None:
            steps.append(1)
            if len(steps) == crash:
                raise KeyboardInterrupt
            step(*arguments)
        return run

    with monkeypatch.context() as patched:
        patched.setattr(files, "write", counted(files.write))
        patched.setattr(files, "delete", counted(files.delete))
        try:
            compact(files, at_least=1)
        except KeyboardInterrupt:
            assert len(steps) == crash
    assert read_results(files)["seed"].tolist() == list(range(6))
    compact(files, at_least=1)
    assert read_results(files)["seed"].tolist() == list(range(6))


def test_readers_see_every_row_while_files_are_compacted(files: LocalFiles) -> None:
    put(files, 60)
    stop, seen = threading.Event(), []

    def read() -> None:
        mine = LocalFiles(str(files.root))
        while not stop.is_set():
            seen.append((len(all_results(mine)), len(finished_jobs(mine)[0])))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for seed in range(60, 90):
        files.write(*result(seed))
        compact(files, at_least=1)
    stop.set()
    for reader in readers:
        reader.join()
    assert len(seen) > 5
    assert all(60 <= count <= 90 for pair in seen for count in pair)
    assert len(all_results(files)) == 90


def test_two_compactions_at_once_lose_nothing(files: LocalFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on an object store, where there are no claims: the second one starts before the first one removes."""
    put(files, 4)
    honest = write_compacted

    def interrupted(*arguments: Any) -> int:
        with monkeypatch.context() as patched:
            patched.setattr(compaction, "write_compacted", honest)
            patched.setattr(compaction, "claim", granted)
            files.write(*result(4))
            compact(files, at_least=1)
        return honest(*arguments)

    from contextlib import nullcontext

    def granted(*arguments: Any) -> Any:
        return nullcontext(True)

    monkeypatch.setattr(compaction, "write_compacted", interrupted)
    compact(files, at_least=1)
    assert read_results(files)["seed"].tolist() == list(range(5))


def test_a_failure_that_was_made_good_goes(files: LocalFiles) -> None:
    files.write(*result(0, status="failed", accuracy=None))
    files.write(*result(0))
    files.write(*result(1, status="failed", accuracy=None))
    compact(files, at_least=1)
    assert [path.endswith(".failed.json") for path in single_files(files)] == [True]
    assert read_results(files)["status"].tolist() == ["ok", "failed"]


def test_two_results_of_one_job_count_once_and_always_the_same_one(files: LocalFiles) -> None:
    path, data = result(0, accuracy=0.25)
    files.write(path, data)
    compact(files, at_least=1)
    files.write(*result(0, accuracy=0.75))
    first = read_results(files)["accuracy"].tolist()
    assert len(first) == 1
    compact(files, at_least=1)
    assert read_results(files)["accuracy"].tolist() == first


def test_a_damaged_result_is_left_where_it_is(files: LocalFiles) -> None:
    put(files, 3)
    broken = files.root / result(1)[0]
    broken.write_bytes(broken.read_bytes()[:-1])
    assert compact(files, at_least=1) == 2
    assert single_files(files) == [result(1)[0]]
    with pytest.raises(DamagedArtifactError):
        read_results(files)


def test_a_result_that_is_gone_for_good_is_an_error(files: LocalFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    put(files, 1)
    monkeypatch.setattr(files, "read", lambda path, most: (_ for _ in ()).throw(StoreError("it cannot be read")))
    with pytest.raises(StoreError, match="cannot be read"):
        read_results(files)
