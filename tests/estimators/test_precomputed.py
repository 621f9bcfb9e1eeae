"""Attributions made elsewhere: formats, the order of the images, what is refused, and the ranks that follow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.numpy
import torch

from roar import pipeline
from roar.datasets import Source, open_source
from roar.errors import EstimatorError, UnknownNameError, UsageError
from roar.estimators import ESTIMATORS
from roar.estimators.methods.precomputed import Precomputed
from roar.estimators.ranks import rank_scores
from roar.estimators.units import pixel_scores
from roar.experiment import EstimatorSettings, load_experiment
from roar.metrics.retraining.tasks import retrain
from roar.report.view import Results
from roar.seeds.streams import derive
from roar.store.shards import read_ranks

LIMITS = {"limit_train": 60, "limit_test": 30}
SETTINGS = EstimatorSettings()


@pytest.fixture(scope="module")
def source() -> Source:
    return open_source("digits", **LIMITS)


def maps(count: int, seed: int = 0, channels: int | None = None) -> np.ndarray:
    shape = (count, 8, 8) if channels is None else (count, channels, 8, 8)
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def write(path: Path, values: np.ndarray, index: np.ndarray | None = None) -> None:
    path.parent.mkdir(exist_ok=True, parents=True)
    arrays = {"attributions": values, **({} if index is None else {"index": index})}
    if path.suffix == ".npy":
        np.save(path, values)
    elif path.suffix == ".npz":
        np.savez(path, **arrays)
    elif path.suffix == ".safetensors":
        safetensors.numpy.save_file(arrays, path)
    else:
        nested = {"attribution": values.tolist(), **({} if index is None else {"index": index})}
        pq.write_table(pa.table(nested), path)


def found(spelling: str) -> Precomputed:
    estimator = ESTIMATORS.find(spelling)
    assert isinstance(estimator, Precomputed)
    return estimator


def session(store: Path, spelling: str, **changes: Any) -> pipeline.Session:
    tables: dict[str, Any] = {
        "source": LIMITS, "train": {"epochs": 1, "batch_size": 20}, "estimators": {"names": [spelling]},
        "degrade": {"thresholds": [50]}, "retrain": {"seeds": 1, "epochs": 1, "batch_size": 20},
        "compute": {"executor": "serial"}, "store": str(store)}
    return pipeline.prepare(load_experiment(None, {**tables, **changes}))


# -- formats and order ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [None, 1])
@pytest.mark.parametrize("ending", ["npy", "npz", "safetensors", "parquet"])
def test_every_format_holds_the_same_maps(tmp_path: Path, source: Source, ending: str, channels: int | None) -> None:
    values = maps(30, channels=channels)
    write(tmp_path / f"test.{ending}", values)
    read = found(f"precomputed({tmp_path}/{{split}}.{ending})").reader(source, "test")
    where = np.array([7, 0, 29, 7])
    assert np.array_equal(read(where), values.reshape(30, 1, 8, 8)[where])
    assert read(where).dtype == np.float32


@pytest.mark.parametrize("ending", ["npz", "safetensors", "parquet"])
def test_an_index_gives_the_images_in_any_order_and_more_of_them(tmp_path: Path, source: Source, ending: str) -> None:
    indices = source.test.indices
    everything = np.random.default_rng(1).permutation(int(indices.max()) + 5)
    values = maps(len(everything))
    write(tmp_path / f"test.{ending}", values, everything)
    read = found(f"precomputed({tmp_path}/{{split}}.{ending})").reader(source, "test")
    place = {index: row for row, index in enumerate(everything.tolist())}
    expected = values[[place[index] for index in indices.tolist()]]
    assert np.array_equal(read(np.arange(30))[:, 0], expected)


def test_the_maps_of_a_whole_split_serve_a_part_of_it(tmp_path: Path, source: Source) -> None:
    values = maps(360)
    write(tmp_path / "test.npy", values)
    read = found(f"precomputed({tmp_path}/{{split}}.npy)").reader(source, "test")
    assert np.array_equal(read(np.arange(30))[:, 0], values[source.test.indices])


def test_an_npy_file_is_mapped_and_not_read(tmp_path: Path, source: Source) -> None:
    from roar.estimators.methods import precomputed

    write(tmp_path / "test.npy", maps(30))
    assert isinstance(precomputed._opened(str(tmp_path / "test.npy")).values, np.memmap)


# -- names and keys ------------------------------------------------------------------------------------------------


def test_name_key_and_spelling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "maps" / "test.npy", maps(30))
    first = found("precomputed(maps/{split}.npy)")
    assert (first.name, first.family, first.explains) == ("precomputed(maps)", "precomputed", False)
    named = found("precomputed(maps/{split}.npy, name=lime, model=simplecnn)")
    assert (named.name, named.of_model) == ("precomputed(lime)", "simplecnn")
    for one in (first, named):
        monkeypatch.chdir("/")
        again = found(one.spelling)
        assert (again.name, again.identity(SETTINGS)) == (one.name, one.identity(SETTINGS))
    monkeypatch.chdir(tmp_path)
    assert first.identity(SETTINGS) != first.identity(SETTINGS.model_copy(update={"unit": "max"}))
    assert first.identity(SETTINGS) == first.identity(SETTINGS.model_copy(update={"target": "label", "samples": 3}))
    write(tmp_path / "maps" / "test.npy", maps(30, seed=5))
    assert found("precomputed(maps/{split}.npy)").identity(SETTINGS) != first.identity(SETTINGS)


@pytest.mark.parametrize(("spelled", "said"), [
    ("precomputed(maps/test.npy)", r"takes a path with \{split\} that ends in \.npy"),
    ("precomputed(maps/{split}.txt)", r"takes a path with \{split\} that ends in"),
    ("precomputed(maps/{split}.npy, color=red)", "then name= and model="),
    ("precomputed(nowhere/{split}.npy)", r"finds neither '.*nowhere/train\.npy' nor '.*nowhere/test\.npy'"),
    ("precomputed", r"'precomputed' takes its parameter FILE in brackets.*write precomputed\(maps/\{split\}\.npy\)"),
    ("random-blurred(precomputed(maps/{split}.npy))", "takes an estimator that explains a network"),
])
def test_a_spelling_that_does_not_fit_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spelled: str,
                                                      said: str) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "maps" / "test.npy", maps(30))
    with pytest.raises(UsageError, match=said):
        ESTIMATORS.find(spelled)


def with_nan() -> np.ndarray:
    values = maps(30)
    values[3, 0, :2] = np.nan
    return values


@pytest.mark.parametrize(("values", "index", "said"), [
    (lambda: np.zeros((30, 4, 4)), None, r"holds an array \[30, 4, 4\], and the maps of 'digits' are \[N, 8, 8\]"),
    (lambda: np.zeros((30, 3, 8, 8)), None, r"or \[N, 1, 8, 8\]; give one value for every pixel"),
    (lambda: np.zeros((29, 8, 8)), None, "holds 29 maps and the test split has 30 images"),
    (lambda: maps(30), lambda indices: np.arange(29), r"has an 'index' \[29\] for 30 maps"),
    (lambda: maps(30), lambda indices: np.r_[indices[:29], indices[0]], "has two maps of image"),
    (lambda: maps(30), lambda indices: np.r_[indices[:29], 10**6], "has no map of 1 images of the test split"),
    (with_nan, None, "has 2 values that are not finite in the map of image"),
])
def test_arrays_that_do_not_fit_are_refused_before_any_work(
        tmp_path: Path, source: Source, values: Callable[[], np.ndarray], index: Any, said: str) -> None:
    write(tmp_path / "test.npz", values(), None if index is None else index(source.test.indices))
    with pytest.raises(UsageError, match=said):
        session(tmp_path / "store", f"precomputed({tmp_path}/{{split}}.npz)")
    assert not (tmp_path / "store" / "models").exists()


@pytest.mark.parametrize(("ending", "data"), [("npy", b"no array"), ("npz", b"PK"), ("safetensors", b"x" * 20),
                                              ("parquet", b"PAR1")])
def test_a_broken_file_is_one_sentence(tmp_path: Path, source: Source, ending: str, data: bytes) -> None:
    (tmp_path / f"test.{ending}").write_bytes(data)
    with pytest.raises(UsageError, match=rf"cannot be read as {ending} \(.*\); write the attributions again"):
        found(f"precomputed({tmp_path}/{{split}}.{ending})").check_source(source, ("test",))


def test_pickled_objects_are_never_loaded(tmp_path: Path, source: Source) -> None:
    np.save(tmp_path / "test.npy", np.array([object()] * 30), allow_pickle=True)
    with pytest.raises(UsageError, match="cannot be read as npy"):
        found(f"precomputed({tmp_path}/{{split}}.npy)").check_source(source, ("test",))


def test_a_split_that_is_not_there_is_refused_where_it_is_needed(tmp_path: Path) -> None:
    write(tmp_path / "test.npy", maps(30))
    opened = session(tmp_path / "store", f"precomputed({tmp_path}/{{split}}.npy)")
    with pytest.raises(UsageError, match=r"has no attributions of the train split: there is no file '.*/train\.npy'"):
        pipeline.rank(opened)
    assert not (tmp_path / "store" / "models").exists()
    (ranking,) = pipeline.rank(opened, ("test",))
    assert ranking.model is None


# -- ranks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("image_budget", [None, 1e-6])
@pytest.mark.parametrize("unit", ["sum", "max"])
def test_the_ranking_is_that_of_the_array(tmp_path: Path, unit: Any, image_budget: float | None) -> None:
    values = {"train": maps(60, 1), "test": maps(30, 2)}
    for split, array in values.items():
        write(tmp_path / f"{split}.npy", array)
    opened = session(tmp_path / "store", f"precomputed({tmp_path}/{{split}}.npy, name=elsewhere)",
                     estimators={"names": [f"precomputed({tmp_path}/{{split}}.npy, name=elsewhere)"], "unit": unit,
                                 "shard_size": 25},
                     compute={"executor": "serial", "image_budget": image_budget},
                     train={"epochs": 1, "batch_size": 20, "window": 20})
    (ranking,) = pipeline.rank(opened)
    assert ranking.folder.split("/")[2] == "precomputed"
    for split, array in values.items():
        scores = pixel_scores(torch.from_numpy(array)[:, None], unit, 1)
        expected, _ = rank_scores(scores, getattr(opened.source, split).indices, derive(0, "ties", split))
        assert np.array_equal(read_ranks(opened.store, f"{ranking.folder}/{split}"), expected)


def test_networks_share_the_maps_unless_they_belong_to_one(tmp_path: Path) -> None:
    for split, count in (("train", 60), ("test", 30)):
        write(tmp_path / f"{split}.npy", maps(count))
    spelled = f"precomputed({tmp_path}/{{split}}.npy, name=x"
    shared = session(tmp_path / "store", f"{spelled})", model=[{"seed": 0}, {"seed": 1}])
    jobs = retrain(shared)
    assert [job.row["estimator"] for job in jobs] == ["reference", "precomputed(x)"]
    assert set(Results(shared.store).results()["status"]) == {"ok"}
    one = session(tmp_path / "store", f"{spelled}, model=simplecnn#1)", model=[{"seed": 0}, {"seed": 1}])
    (ranking,) = pipeline.rank(one)
    assert ranking.model is not None and ranking.model.label == "simplecnn#1"
    with pytest.raises(UnknownNameError, match=r"'resnet20' is not a model of this experiment; .*belongs to it"):
        session(tmp_path / "store", f"{spelled}, model=resnet20)")


def test_a_node_without_the_file_says_so(tmp_path: Path, source: Source) -> None:
    write(tmp_path / "test.npy", maps(30))
    reader = found(f"precomputed({tmp_path}/{{split}}.npy)").reader(source, "test")
    (tmp_path / "test.npy").unlink()
    with pytest.raises(EstimatorError, match="which is not on this node; put it into a folder that every node sees"):
        reader(np.arange(2))
