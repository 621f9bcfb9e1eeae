"""Keys, manifests, results and plans."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from analysis_results import ROW
from hypothesis import given
from hypothesis import strategies as st

from roar.errors import DamagedArtifactError, StoreError
from roar.report.view import Results
from roar.store.artifacts import FORMAT, MANIFEST, file_entry, key_of, manifest_bytes
from roar.store.results import COLUMNS, finished_jobs, read_result, result_file
from roar.store.sealed import read_sealed, seal
from roar.store.shards import read_ranks, shard_bytes, shard_name, whole_shard
from roar.store.store import Store, open_store
from roar.store.tables import read_table


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


MODEL = f"models/m-{key_of({'a': 1})}"


def job(name: str) -> str:
    return key_of({"job": name})


def put(store: Store, name: str, **changes: Any) -> str:
    path, data = result_file(job(name), {**ROW, "job": job(name), **changes}, {"job": name})
    store.files.write(path, data)
    return path


def artifact(store: Store, folder: str, facts: dict[str, Any] | None = None, **contents: bytes) -> None:
    for name, data in contents.items():
        store.files.write(f"{folder}/{name}", data)
    entries = {name: file_entry(data) for name, data in contents.items()}
    store.files.write(f"{folder}/{MANIFEST}", manifest_bytes("thing", {"a": 1}, entries, facts or {}))


json_values = st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
                           | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)


@given(st.dictionaries(st.text(min_size=1), json_values))
def test_a_key_depends_on_content_and_not_on_order(identity: dict[str, Any]) -> None:
    assert key_of(identity) == key_of(dict(reversed(identity.items())))
    assert key_of({**identity, "extra": 1}) != key_of({**identity, "extra": 2})


def test_a_store_says_what_it_is_and_a_newer_one_is_refused(store: Store) -> None:
    assert store.description["format"] == FORMAT
    assert open_store(store.location).description == store.description
    store.files.write("store.json", seal({"format": FORMAT + 1, "id": "x"}))
    with pytest.raises(StoreError, match=f"has format {FORMAT + 1} .* install a newer roar-bench"):
        open_store(store.location)


def test_a_store_that_is_none_is_refused(store: Store) -> None:
    store.files.write("store.json", b"[]")
    with pytest.raises(StoreError):
        open_store(store.location)


def test_an_artifact_is_done_when_its_manifest_is_there(store: Store) -> None:
    store.files.write(f"{MODEL}/weights.bin", b"123")
    assert store.manifest(MODEL) is None
    artifact(store, MODEL, **{"weights.bin": b"123"})
    assert store.read_file(MODEL, "weights.bin") == b"123"


@pytest.mark.parametrize("damage", [b"124", b"12", b"", None])
def test_damage_is_noticed_and_named(store: Store, damage: bytes | None) -> None:
    artifact(store, MODEL, **{"weights.bin": b"123"})
    if damage is None:
        store.files.delete(f"{MODEL}/weights.bin")
    else:
        store.files.write(f"{MODEL}/weights.bin", damage)
    with pytest.raises(DamagedArtifactError, match=r"models/m-\w+/weights\.bin"):
        store.read_file(MODEL, "weights.bin")


def test_an_object_that_is_replaced_while_it_is_read_is_read_again(store: Store) -> None:
    old, new = seal({"jobs": {}}), seal({"jobs": {"a": [1], "b": [2]}})
    answers = [new[:len(old)], old + b" ", new]  # of the new bytes as many as the old had, and the other way round

    class Replaced(type(store.files)):  # type: ignore[misc]
        def read(self, path: str, most: int = 0) -> bytes:
            return answers.pop(0)

    assert read_sealed(Replaced(store.location), "plans/p.json") == {"jobs": {"a": [1], "b": [2]}}
    answers += [new[:-1], new[:-1]]
    with pytest.raises(DamagedArtifactError, match="is not what was written"):
        read_sealed(Replaced(store.location), "plans/p.json")


def test_results_are_one_frame_with_the_promised_columns(store: Store) -> None:
    put(store, "b", seed=1, accuracy=0.75)
    put(store, "a", seed=0)
    put(store, "c", seed=2, status="failed", accuracy=None, message="it diverged")
    frame = Results(store).results()
    assert list(frame.columns) == list(COLUMNS)
    assert frame["seed"].tolist() == [0, 1, 2]
    assert frame["accuracy"].tolist()[:2] == [0.5, 0.75]
    assert math.isnan(frame["accuracy"].iloc[2])
    assert finished_jobs(store.files) == ({job("a"), job("b")}, {job("c")})
    curve = Results(store).curves()
    assert curve["n"].tolist() == [2]
    assert curve["mean"].iloc[0] == pytest.approx(0.625)


def test_two_settings_of_one_estimator_and_of_its_control_are_told_apart(store: Store) -> None:
    """``control_of`` is the name of the one setting that the control belongs to; the facts stay as they are."""
    ranked = {"family": "gradient", "base": "gradient", "ensemble": "vargrad", "control_of": "",
              "control_of_ranking": "", "estimator": "vargrad"}
    control = {"family": "matched-spectrum", "base": "random-blurred", "ensemble": "base", "control_of": "vargrad",
               "estimator": "random-blurred(vargrad)"}
    for key, other in (("3f2a19000000", "111111000000"), ("aa11bb000000", "222222000000")):
        put(store, f"ranked {key}", **ranked, ranking=key)
        put(store, f"control {key}", **control, ranking=other, control_of_ranking=key)
    frame = Results(store).results().set_index("estimator")
    assert frame["control_of"].to_dict() == {
        "vargrad (3f2a19)": "", "vargrad (aa11bb)": "",
        "random-blurred(vargrad) (111111)": "vargrad (3f2a19)", "random-blurred(vargrad) (222222)": "vargrad (aa11bb)"}
    assert frame["ensemble"].tolist().count("vargrad") == 2
    assert set(frame["base"]) == {"gradient", "random-blurred"}


def test_a_control_names_one_of_two_settings_where_the_other_has_rows_alone(store: Store) -> None:
    put(store, "ranked", estimator="vargrad", ranking="3f2a19000000")
    put(store, "control", estimator="random-blurred(vargrad)", ranking="1", control_of="vargrad",
        control_of_ranking="aa11bb000000")
    frame = Results(store).results().set_index("estimator")
    assert frame["control_of"].to_dict() == {"vargrad (3f2a19)": "", "random-blurred(vargrad)": "vargrad (aa11bb)"}


def test_an_empty_store_has_an_empty_frame(store: Store) -> None:
    assert Results(store).results().empty
    assert list(Results(store).results().columns) == list(COLUMNS)


def test_a_job_that_succeeds_after_it_failed_counts_once(store: Store) -> None:
    put(store, "a", status="failed", accuracy=None)
    put(store, "a")
    assert Results(store).results()["status"].tolist() == ["ok"]


def test_two_protocols_and_two_settings_of_one_estimator_are_told_apart(store: Store) -> None:
    put(store, "a", protocol="1" * 12)
    put(store, "b", protocol="2" * 12)
    assert set(Results(store).results()["source"]) == {"digits (111111)", "digits (222222)"}
    put(store, "b", protocol="1" * 12, ranking="9" * 12)
    assert set(Results(store).results()["estimator"]) == {"sobel (r1)", "sobel (999999)"}


def test_a_changed_result_is_noticed(store: Store) -> None:
    path = put(store, "a")
    store.files.write(path, store.files.read(path).replace(b'"accuracy": 0.5', b'"accuracy": 0.9'))
    with pytest.raises(DamagedArtifactError, match=r"results/\w+\.json"):
        Results(store).results()
    store.files.write(path, b"{")
    with pytest.raises(DamagedArtifactError):
        read_result(store.files, path)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.uint32])
def test_a_shard_holds_ranks_exactly_and_says_what_it_is(kind: type[np.unsignedinteger[Any]]) -> None:
    random = np.random.default_rng(0)
    ranks = random.permuted(np.tile(np.arange(200, dtype=kind), (7, 1)), axis=1)
    index = np.arange(7) * 3
    data = shard_bytes(index, np.arange(7), np.full(7, -1), ranks, {"tied_share": 0.5})
    table = read_table(data, "x")
    assert table.column_names == ["index", "label", "target", "rank"]
    assert [str(table.schema.field(name).type) for name in ("index", "label", "target")] == ["int64", "int32", "int32"]
    assert table["index"].to_pylist() == index.tolist()
    assert np.array_equal(np.array(table["rank"].to_pylist()), ranks)
    assert whole_shard(data) == {"tied_share": 0.5}
    assert shard_bytes(index, np.arange(7), np.full(7, -1), ranks, {"tied_share": 0.5}) == data


def test_a_flipped_bit_in_a_shard_is_noticed() -> None:
    ranks = np.tile(np.arange(1024, dtype=np.uint16), (50, 1))
    data = bytearray(shard_bytes(np.arange(50), np.arange(50), np.arange(50), ranks, {}))
    data[len(data) // 3] ^= 1
    with pytest.raises(DamagedArtifactError, match="part-x"):
        read_table(bytes(data), "part-x")


def test_ranks_are_read_in_the_order_of_the_images(store: Store) -> None:
    ranks = np.stack([np.roll(np.arange(64, dtype=np.uint8), shift) for shift in range(25)])
    parts = {shard_name(n): shard_bytes(np.arange(10 * n, min(10 * n + 10, 25)), np.zeros(len(part)),
                                        np.zeros(len(part)), part, {})
             for n, part in enumerate(np.split(ranks, [10, 20]))}
    folder = f"rankings/r-{key_of({'a': 1})}/train"
    artifact(store, folder, {"split": "train"}, **parts)
    read = read_ranks(store, folder)
    assert read.dtype == np.uint8
    assert np.array_equal(read, ranks)
