"""Tables of metrics that are sealed and cannot be: types, ranges and vocabulary are part of what a row is."""

from __future__ import annotations

import io
import math
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from roar import pipeline
from roar.errors import DamagedArtifactError
from roar.experiment import load_experiment
from roar.metrics import METRICS, kept_tables
from roar.registry import load
from roar.store.artifacts import artifact_files
from roar.store.frames import finished_folders
from roar.store.integrity import damages
from roar.store.merge import merge
from roar.store.parquet import parquet_bytes
from roar.store.rows import read_rows_of
from roar.store.store import Store, open_store

SMALL: dict[str, Any] = {
    "source": {"name": "planted", "limit_train": 60, "limit_test": 20}, "train": {"epochs": 1, "batch_size": 30},
    "estimators": {"names": ["gradient", "random"], "seeds": 2}, "degrade": {"thresholds": [50]},
    "sanity": {"steps": 2}, "compute": {"executor": "serial"},
}
MEASURED = ("agreement", "deletion", "pointing-game", "sanity")
NUMBERS = (math.nan, math.inf, -math.inf, 1e308, -1e300)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the tables of every metric that keeps some."""
    place = tmp_path_factory.mktemp("measured") / "store"
    session = pipeline.prepare(load_experiment(None, {**SMALL, "store": str(place)}))
    for name in MEASURED:
        METRICS.find(name).run(session)
    return place


@pytest.fixture
def store(measured: Path, tmp_path: Path) -> Store:
    shutil.copytree(measured, tmp_path / "store")
    return open_store(str(tmp_path / "store"))


def sealed_anew(store: Store, where: str, change: Callable[[pa.Table], pa.Table]) -> str:
    """Change a metric's table, as a stranger does: with manifest, hashes and seals that fit."""
    metric, _, name = where.rpartition("/")
    folder = finished_folders(store, metric)[0]
    manifest = store.manifest(folder)
    assert manifest is not None
    files = {part: store.read_file(folder, part) for part in manifest["files"]}
    table = pq.read_table(io.BytesIO(files[name]))
    files[name] = parquet_bytes(change(table))
    for path, data in artifact_files(manifest["kind"], folder, manifest["identity"], files, manifest["facts"]).items():
        store.files.write(path, data)
    return f"{folder}/{name}"


def first_row(name: str, value: object) -> Callable[[pa.Table], pa.Table]:
    """The table with another value, or another type, in the first row of a column."""
    def change(table: pa.Table) -> pa.Table:
        values, kind = table.column(name).to_pylist(), table.schema.field(name).type
        alike = value is None or type(value) is type(values[0])
        column = pa.array([value, *values[1:]], kind) if alike else pa.array([value] * len(values))
        return table.set_column(table.column_names.index(name), name, column)
    return change


def wrong_values(where: str) -> Mapping[str, list[object]]:
    """Of every column what it cannot hold."""
    found: dict[str, list[object]] = {}
    for name, values in kept_tables()[where].columns.items():
        if values.kind == "text":
            found[name] = [None, 5, b"x", "x" * 200_000, *(["sideways"] if values.words else [])]
        elif values.kind == "truth":
            found[name] = [None, 1, "yes", 0.5]
        elif values.kind == "whole":
            found[name] = [None, -5, 2**63 - 1, "1", 0.5, True]
        else:
            outside = [number for number in (*NUMBERS, values.low - 0.1, values.high + 0.1)
                       if not values.low <= number <= values.high and not (values.missing and math.isnan(number))]
            found[name] = [None, *outside, "0.5", True]
    return found


def refused(store: Store, path: str) -> None:
    """One sentence from whatever reads it, and never a value."""
    metric = next(metric for metric in METRICS.all() if path.startswith(f"metrics/{metric.name}/"))
    if not path.endswith("images.parquet") or metric.name == "deletion":
        with pytest.raises(DamagedArtifactError) as raised:
            for table in metric.tables:
                load(table.read)(store)
        assert path in str(raised.value)
        assert "\n" not in str(raised.value)
    assert [damage.path for damage in damages(store, kept_tables())] == [path]


def test_every_table_that_is_read_says_what_it_may_hold(measured: Path) -> None:
    store = open_store(str(measured))
    assert damages(store, kept_tables()) == []
    assert {where.split("/")[1] for where in kept_tables()} == set(MEASURED)
    for metric in MEASURED:
        for table in METRICS.find(metric).tables:
            assert len(table.frame(store)), table.name


@pytest.mark.parametrize("where", sorted(kept_tables()))
def test_a_row_that_cannot_be_is_not_believed(where: str, store: Store) -> None:
    metric, _, file = where.rpartition("/")
    table = pq.read_table(io.BytesIO(store.read_file(finished_folders(store, metric)[0], file)))
    wrong = wrong_values(where)
    assert sorted(wrong) == sorted(table.column_names)
    for name, values in wrong.items():
        for value in values:
            with pytest.raises(DamagedArtifactError, match=rf"^'x' has values that cannot be in its column '{name}'; "):
                read_rows_of(parquet_bytes(first_row(name, value)(table)), "x", kept_tables()[where])
    name, values = next(iter(wrong.items()))
    refused(store, sealed_anew(store, where, first_row(name, values[1])))


CURVES, IMAGES = "metrics/deletion/curves.parquet", "metrics/deletion/images.parquet"
SANITY, PAIRS = "metrics/sanity/averages.parquet", "metrics/agreement/pairs.parquet"


@pytest.mark.parametrize(("where", "change"), [
    (CURVES, lambda table: pa.concat_tables([table, table])),
    (IMAGES, lambda table: pa.concat_tables([table, table])),
    (IMAGES, lambda table: table.slice(1)),
    (CURVES, lambda table: table.drop_columns(["accuracy"])),
    (CURVES, lambda table: table.append_column("more", table["accuracy"])),
    (PAIRS, first_row("threshold", 50.0)),
    (PAIRS, first_row("n", 0)),
    (PAIRS, first_row("ci_low", 1.0)),
    (SANITY, first_row("ci_high", -1.0)),
    (SANITY, first_row("step", 1000)),
    ("metrics/pointing-game/points.parquet", first_row("count", 21)),
])
def test_rows_that_contradict_each_other_are_not_believed(where: str, change: Callable[[pa.Table], pa.Table],
                                                          store: Store) -> None:
    refused(store, sealed_anew(store, where, change))


def test_such_a_table_is_not_merged_and_is_made_again(store: Store, measured: Path, tmp_path: Path,
                                                      roar: Callable[..., Any]) -> None:
    path = sealed_anew(store, CURVES, first_row("accuracy", 1e308))
    with pytest.raises(DamagedArtifactError, match="has values that cannot be in its column 'accuracy'"):
        merge(open_store(str(tmp_path / "mine")), store, kept_tables())
    assert roar("verify", "--repair", "--store", store.location).code == 0
    assert store.files.read(path) == (measured / path).read_bytes()
