"""Several runs on one store at the same moment divide the work."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from roar_processes import JOBS, assert_same, finish, kill, rows_of, start, wait_for

from roar.errors import StoreError
from roar.store.claims import running
from roar.store.clean import refuse_while_running
from roar.store.integrity import damages, missing
from roar.store.store import open_store


def test_four_processes_do_nothing_twice(undisturbed: Path, tmp_path: Path) -> None:
    store, log, trained = tmp_path / "store", tmp_path / "log", tmp_path / "trained"
    together = [start(store, log=log, trained=trained) for _ in range(4)]
    assert [finish(process) for process in together] == [0, 0, 0, 0], log.read_text()[-2000:]
    assert_same(store, undisturbed)
    assert Counter(trained.read_text().split()) == Counter(rows_of(undisturbed)["job"])  # each job began once
    assert damages(open_store(str(store))) == missing(open_store(str(store))) == []
    assert not list(store.rglob(".tmp-*"))


def test_what_a_killed_run_held_is_taken_over(undisturbed: Path, tmp_path: Path) -> None:
    store, log, trained = tmp_path / "store", tmp_path / "log", tmp_path / "trained"
    first = start(store, log=log, trained=trained)
    assert wait_for(lambda: trained.exists() and running(open_store(str(store)).files), first), log.read_text()[-2000:]
    with pytest.raises(StoreError, match="A run is at work"):
        refuse_while_running(open_store(str(store)))
    second = start(store, log=log, trained=trained)
    kill(first)
    assert finish(second) == 0, log.read_text()[-2000:]
    assert_same(store, undisturbed)
    assert len(trained.read_text().split()) <= JOBS + 4  # what was in flight, one pack
