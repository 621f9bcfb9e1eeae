"""Whatever a file of settings or of a store says: an error of the hierarchy or success, never a traceback."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roar.errors import ExperimentError, RoarError, UsageError
from roar.experiment import Experiment, load_experiment
from roar.store.artifacts import FORMAT, MANIFEST, file_entry, key_of, manifest_bytes
from roar.store.catalog import entries
from roar.store.integrity import damages, missing
from roar.store.results import COLUMNS, read_result, read_results, result_file
from roar.store.sealed import seal, unseal
from roar.store.status import read_status
from roar.store.store import Store, open_store

numbers = st.integers() | st.integers(min_value=10**300, max_value=10**301) | st.floats()
scalars = st.none() | st.booleans() | numbers | st.text(max_size=20)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner,
                                                                                         max_size=4), max_leaves=12)
names = st.sampled_from(["name", "seed", "seeds", "limit_train", "thresholds", "modes", "fill", "names", "epochs",
                         "recipe", "weights", "shard_size", "regularizer", "executor", "workers", "batch_size", "unit"])
tables = st.dictionaries(names | st.text(max_size=8), values, max_size=4)
sections = st.sampled_from([*Experiment.model_fields, "sorce"])
experiments = st.dictionaries(sections, tables | values | st.lists(tables, max_size=2), max_size=5)
bounded = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@bounded
@given(experiments)
def test_any_settings_are_an_experiment_or_one_sentence(given_tables: dict[str, Any]) -> None:
    try:
        assert isinstance(load_experiment(None, given_tables), Experiment)
    except UsageError as error:
        assert "\n" not in str(error)


@bounded
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode)
       | st.integers(1, 3000).map(lambda depth: b"a = " + b"[" * depth + b"]" * depth)
       | st.integers(1, 3000).map(lambda depth: b"a = " + b"{b = " * depth + b"1" + b"}" * depth)
       | st.integers(1, 6000).map(lambda digits: b"seed = " + b"9" * digits))
def test_any_bytes_are_an_experiment_file_or_one_sentence(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "experiment.toml"
    path.write_bytes(data)
    try:
        load_experiment(path)
    except UsageError as error:
        assert isinstance(error, ExperimentError) or "is not a key" in str(error)


def store_with(root: Path, path: str, data: bytes) -> Store:
    """A store that holds one file besides its description."""
    shutil.rmtree(root, ignore_errors=True)
    (root / path).parent.mkdir(parents=True)
    (root / "store.json").write_bytes(seal({"format": FORMAT, "id": "0" * 32}))
    (root / path).write_bytes(data)
    return open_store(str(root))


def look_everywhere(store: Store) -> None:
    """Everything that a command does to know what is in a store."""
    for look in (damages, missing, read_status, entries, lambda store: read_results(store.files)):
        try:
            look(store)  # type: ignore[operator]
        except RoarError as error:
            assert "\n" not in str(error)


identity = {"a": 1}
folder = f"models/m-{key_of(identity)}"
honest_manifest = json.loads(manifest_bytes("model", identity, {"w.bin": file_entry(b"123")}, {"x": 1}))


@bounded
@given(st.dictionaries(st.sampled_from([*honest_manifest, "other"]), values, max_size=4), st.booleans(), st.booleans())
def test_any_manifest_is_read_or_refused(tmp_path: Path, changes: dict[str, Any], sealed: bool, first: bool) -> None:
    body = {**honest_manifest, **changes}
    del body["sha256"]
    if first:
        body["format"] = 1
    try:
        data = seal(body) if sealed else json.dumps(body).encode()
    except ValueError:  # what is not JSON was never written
        return
    store = store_with(tmp_path / "store", f"{folder}/{MANIFEST}", data)
    look_everywhere(store)
    for name in ("w.bin", "../w.bin"):
        with pytest.raises(RoarError):
            store.read_file(folder, name)


@bounded
@given(st.dictionaries(st.sampled_from(["row", "identity", "format", "other"]), values, max_size=3),
       st.dictionaries(st.sampled_from(list(COLUMNS)), scalars, max_size=2), st.booleans())
def test_any_result_is_read_or_refused(tmp_path: Path, changes: dict[str, Any], cells: dict[str, Any],
                                       sealed: bool) -> None:
    kinds = {"string": "", "int64": 1, "float64": 0.5, "object": None}
    row = {column: kinds[kind] for column, kind in COLUMNS.items()}
    path, data = result_file(key_of(identity), {**row, "job": key_of(identity), "status": "ok"}, identity)
    try:
        body = unseal(data)
        body = {**body, "row": {**body["row"], **cells}, **changes}
        data = seal(body) if sealed else json.dumps(body).encode()
    except ValueError:
        return
    store = store_with(tmp_path / "store", path, data)
    look_everywhere(store)
    try:
        assert read_result(store.files, path)["row"]["job"] == key_of(identity)
    except RoarError as error:
        assert "results/" in str(error)


@bounded
@given(st.dictionaries(st.sampled_from(["jobs", "artifacts", "stage", "experiment", "store", "format", "class_names"]),
                       values), st.booleans(), st.booleans())
def test_any_plan_is_read_or_refused(tmp_path: Path, body: dict[str, Any], sealed: bool, first: bool) -> None:
    if first:
        body["format"] = 1
    try:
        data = seal(body) if sealed else json.dumps(body).encode()
    except ValueError:
        return
    store = store_with(tmp_path / "store", "plans/0123456789ab.json", data)
    look_everywhere(store)
    assert {damage.path for damage in damages(store)} == {"plans/0123456789ab.json"}  # no such plan has this name's key


@bounded
@given(st.binary(max_size=300) | values.map(lambda value: json.dumps(value).encode())
       | st.integers(1, 200_000).map(lambda depth: b"[" * depth))
def test_any_bytes_in_the_place_of_json_are_refused(tmp_path: Path, data: bytes) -> None:
    for path in (f"{folder}/{MANIFEST}", "results/0123456789ab.json", "results/compacted/0123.jsonl",
                 "plans/0123456789ab.json"):
        store = store_with(tmp_path / "store", path, data)
        assert [damage.path for damage in damages(store)] == [path]
        look_everywhere(store)
    (tmp_path / "store" / "store.json").write_bytes(data)
    with pytest.raises(RoarError):
        open_store(str(tmp_path / "store"))
