"""The counts of a store: every kind of artifact by itself, metrics of an installed package too."""

from __future__ import annotations

from pathlib import Path

from roar.store.artifacts import MANIFEST
from roar.store.requests import Plan, write_plan
from roar.store.status import read_status
from roar.store.store import Store, open_store

RANKING = "rankings/digits/simplecnn/gradient-1"


def store_with(folder: Path, *manifests: str) -> Store:
    store = open_store(str(folder / "store"))
    _ = store.description  # makes the store
    for artifact in manifests:
        store.files.write(f"{artifact}/{MANIFEST}", b"{}")
    return store


def plan(stage: str, *artifacts: str) -> Plan:
    return Plan(stage, "digits", "f", (), {"stage": stage}, artifacts)


def test_no_store_has_nothing(tmp_path: Path) -> None:
    status = read_status(open_store(str(tmp_path / "none")))
    assert status.artifacts == {"models": (0, 0), "rankings": (0, 0)}
    assert "There is no store" in status.text()


def test_every_kind_is_counted_and_no_metric_is_known_by_name(tmp_path: Path) -> None:
    store = store_with(tmp_path, "models/digits/simplecnn-1", "metrics/somebody-elses/digits/simplecnn/a-1",
                       "metrics/deletion/digits/simplecnn/a-1")
    assert read_status(store).artifacts == {"models": (1, 0), "rankings": (0, 0), "deletion": (1, 0),
                                            "somebody-elses": (1, 0)}
    text = read_status(store).text()
    assert "  models               1 done\n" in text
    assert "  somebody-elses       1 done\n" in text
    assert "missing, of 0" in text


def test_what_a_plan_asks_for_and_is_not_there_is_missing(tmp_path: Path) -> None:
    store = store_with(tmp_path, "metrics/deletion/digits/simplecnn/a-1")
    write_plan(store, plan("delete", "metrics/deletion/digits/simplecnn/a-1", "metrics/deletion/digits/simplecnn/b-1"))
    write_plan(store, plan("sanity", "metrics/sanity/digits/simplecnn/labels-1"))
    status = read_status(store)
    assert status.artifacts["deletion"] == (1, 1)
    assert status.artifacts["sanity"] == (0, 1)
    assert "  deletion        1 done, 1 missing\n" in status.text()


def test_a_ranking_is_done_when_both_splits_that_were_asked_for_are(tmp_path: Path) -> None:
    store = store_with(tmp_path, f"{RANKING}/test")
    assert read_status(store).artifacts["rankings"] == (1, 0)
    write_plan(store, plan("rank", f"{RANKING}/train", f"{RANKING}/test"))
    assert read_status(store).artifacts["rankings"] == (0, 1)
    store.files.write(f"{RANKING}/train/{MANIFEST}", b"{}")
    assert read_status(store).artifacts["rankings"] == (1, 0)
