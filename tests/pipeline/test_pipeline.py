"""The whole line on real digits: what is made, what is kept, what is repeated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from roar import pipeline
from roar.datasets import open_source
from roar.datasets.degradation import degrade, replaced_count
from roar.datasets.statistics import channel_mean
from roar.errors import EstimatorError, ExperimentError, SourceError
from roar.estimators import ESTIMATORS
from roar.experiment import Experiment, load_experiment
from roar.metrics.retraining.tasks import retrain
from roar.pipeline import Session, plan
from roar.report.view import Results
from roar.store.shards import read_ranks

SMALL: dict[str, Any] = {
    "source": {"limit_train": 200, "limit_test": 60},
    "estimators": {"names": ["gradient", "vargrad", "random", "sobel"], "shard_size": 80, "samples": 3},
    "degrade": {"thresholds": [50, 90]},
    "train": {"epochs": 3, "batch_size": 20}, "retrain": {"seeds": 2, "epochs": 3, "batch_size": 20},
}


def experiment(store: Path, **compute: Any) -> Experiment:
    return load_experiment(None, {**SMALL, "compute": compute or {"executor": "serial"}, "store": str(store)})


def finished(store: Path, **compute: Any) -> Session:
    session = pipeline.prepare(experiment(store, **compute))
    retrain(session)
    return session


def ranks_on_disk(store: Path) -> dict[str, bytes]:
    return {path.relative_to(store).as_posix(): path.read_bytes() for path in store.rglob("part-*.parquet")}


def what_was_found(session: Session) -> pd.DataFrame:
    return Results(session.store).results().drop(columns="train_seconds")


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return finished(tmp_path_factory.mktemp("serial") / "store")


def test_every_job_has_one_row(serial: Session) -> None:
    results = Results(serial.store).results()
    assert len(results) == 2 + 4 * 2 * 2
    assert set(results["status"]) == {"ok"}
    assert results["accuracy"].between(0, 1).all()
    assert results["n_test"].eq(60).all()
    cells = results.groupby(["estimator", "threshold"]).size()
    assert cells.eq(2).all()
    assert ("reference", 0.0) in cells.index


def test_seeds_differ_and_cells_differ(serial: Session) -> None:
    results = Results(serial.store).results()
    assert results["accuracy"].nunique() > 3
    assert results["job"].is_unique


def test_shards_follow_the_images(serial: Session) -> None:
    for folder in sorted(Path(serial.store.location).glob("rankings/*/*/*/train")):
        tables = [pq.read_table(part) for part in sorted(folder.glob("part-*.parquet"))]
        assert [len(table) for table in tables] == [80, 80, 40]
        index = np.concatenate([table["index"].to_numpy() for table in tables])
        label = np.concatenate([table["label"].to_numpy() for table in tables])
        assert np.array_equal(index, serial.source.train.indices)
        assert np.array_equal(label, serial.source.train.labels)
        ranks = read_ranks(serial.store, folder.relative_to(serial.store.location).as_posix())
        assert ranks.dtype == np.uint8
        assert np.array_equal(np.sort(ranks, axis=1), np.tile(np.arange(64), (200, 1)))


def test_a_second_run_makes_nothing(serial: Session) -> None:
    root = Path(serial.store.location)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file() and "plans" not in path.parts}
    finished(root)
    after = {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file() and "plans" not in path.parts}
    assert before == after


@pytest.mark.parametrize("workers", [1, 2])
def test_ray_with_any_number_of_workers_gives_the_same_bytes(serial: Session, workers: int, tmp_path: Path) -> None:
    on_ray = finished(tmp_path / "store", executor="ray", workers=workers, tensorboard=str(tmp_path / "events"),
                      callback=[{"name": "ray.tune.logger:JsonLoggerCallback"}])
    assert list((tmp_path / "events" / "retrain").glob("events.out.*"))
    assert ranks_on_disk(tmp_path / "store") == ranks_on_disk(Path(serial.store.location))
    pd.testing.assert_frame_equal(what_was_found(on_ray), what_was_found(serial))


@pytest.mark.parametrize(("name", "arguments"), [("ray.tune:NoSuchCallback", {}), ("nothing", {}), ("pathlib:Path", {}),
                                                 ("ray.tune.logger:JsonLoggerCallback", {"color": "red"})])
def test_a_callback_that_is_none_is_refused(name: str, arguments: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=r"compute\.callback"):
        finished(tmp_path / "store", executor="ray", callback=[{"name": name, "arguments": arguments}])


def test_what_is_deleted_is_made_again_and_nothing_else(serial: Session, tmp_path: Path) -> None:
    session = finished(tmp_path / "store")
    root = tmp_path / "store"
    shard = sorted(root.glob("rankings/*/*/vargrad-*/train"))[0]
    (shard / "manifest.json").unlink()
    (shard / "part-00001.parquet").unlink()
    kept = (shard / "part-00000.parquet").stat().st_mtime_ns
    result = sorted((root / "results").glob("*.json"))[3]
    result.unlink()
    untouched = {path: path.stat().st_mtime_ns for path in (root / "results").glob("*.json")}
    again = finished(root)
    assert (shard / "part-00000.parquet").stat().st_mtime_ns == kept
    assert {path: path.stat().st_mtime_ns for path in untouched} == untouched
    assert ranks_on_disk(root) == ranks_on_disk(Path(serial.store.location))
    pd.testing.assert_frame_equal(what_was_found(again), what_was_found(serial))
    assert Results(session.store).results()["job"].is_unique


def test_a_written_data_set_is_what_a_retrained_network_sees(serial: Session) -> None:
    import torch

    folders = pipeline.degrade(serial)
    assert len(folders) == 4 * 2
    mean = torch.from_numpy(channel_mean(serial.source.train.images))
    for ranking in pipeline.rank(serial):
        for threshold in (50.0, 90.0):
            folder = next(f for f in folders if ranking.estimator + "-" in f and f"-{threshold:g}-" in f
                          and ranking.key in f)
            written = open_source(f"parquet:{serial.store.location}/{folder}")
            for split in ("train", "test"):
                original = getattr(serial.source, split)
                ranks = torch.from_numpy(read_ranks(serial.store, f"{ranking.folder}/{split}"))
                view = degrade(torch.from_numpy(original.images), ranks, threshold, "roar", mean).numpy()
                on_disk = getattr(written, split)
                assert np.array_equal(on_disk.images, view)
                assert np.array_equal(on_disk.labels, original.labels)
                changed = (view != original.images).any(axis=1).reshape(len(view), -1).sum(axis=1)
                assert (changed <= replaced_count(threshold, 64)).all()


def test_a_training_that_fails_is_a_row_and_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from roar.jobs.training import resume as resuming

    honest = resuming.train

    def diverging(network: Any, images: Any, labels: Any, recipe: Any, normalization: Any, seed: int,
                  **rest: Any) -> Any:
        if diverging.calls == 3:
            diverging.calls += 1
            raise FloatingPointError("loss is not a number")
        diverging.calls += 1
        return honest(network, images, labels, recipe, normalization, seed, **rest)

    diverging.calls = 0  # type: ignore[attr-defined]
    monkeypatch.setattr(resuming, "train", diverging)
    results = Results(finished(tmp_path / "store", executor="serial", pack=1).store).results()
    failed = results[results["status"] == "failed"]
    assert len(results) == 18
    assert len(failed) == 1
    assert failed["accuracy"].isna().all()
    assert "FloatingPointError" in failed["message"].iloc[0]
    assert "loss is not a number" in failed["message"].iloc[0]
    assert Results(finished(tmp_path / "store").store).results()["status"].eq("ok").all()


def test_scores_that_are_not_finite_leave_no_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from roar.jobs import rank_shard

    honest, calls = rank_shard.rank_images, []

    def broken(*arguments: Any, **rest: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise EstimatorError("'vargrad' gave 3 scores that are not finite for image 7; check the network.")
        return honest(*arguments, **rest)

    monkeypatch.setattr(rank_shard, "rank_images", broken)
    session = pipeline.prepare(experiment(tmp_path / "store"))
    with pytest.raises(EstimatorError, match="image 7"):
        pipeline.rank(session)
    assert not list((tmp_path / "store").glob("rankings/*/simplecnn*/*/*/*"))


def test_models_that_differ_have_folders_that_differ(tmp_path: Path) -> None:
    def folder(**model: Any) -> str:
        asked = load_experiment(None, {**SMALL, "model": model, "store": str(tmp_path / "store")})
        return pipeline.prepare(asked).models[0].folder

    assert len({folder(), folder(seed=1), folder(name="resnet20")}) == 3
    assert folder() == folder(seed=0)


def test_modes_and_models_share_what_is_the_same(tmp_path: Path) -> None:
    asked = load_experiment(None, {**SMALL, "store": str(tmp_path / "store"), "compute": {"executor": "serial"},
                                   "degrade": {"thresholds": [50], "modes": ["roar", "kar"]},
                                   "model": [{"seed": 0}, {"seed": 1}]} | {"retrain": {"seeds": 1, "epochs": 1}})
    session = pipeline.prepare(asked)
    jobs = retrain(session)
    # Per model 2 estimators x 2 modes; shared by both: 2 controls x 2 modes and the reference.
    assert len(jobs) == 2 * 2 * 2 + 2 * 2 + 1
    assert Results(session.store).results()["mode"].value_counts().to_dict() == {"roar": 7, "kar": 6}


def test_one_network_seen_through_two_normalizations_is_two_rankings(tmp_path: Path) -> None:
    def ranking(mean: list[float] | None) -> tuple[str, str]:
        model = {} if mean is None else {"normalize_mean": mean, "normalize_std": [0.5]}
        session = pipeline.prepare(load_experiment(None, {**SMALL, "model": model, "store": str(tmp_path / "store")}))
        found, control = (plan.ranking(session.experiment, session.source, ESTIMATORS.find(name), session.models[0],
                                       "w" * 64) for name in ("gradient", "sobel"))
        return found.key, control.key

    keys = [ranking(None), ranking([0.5]), ranking([0.4])]
    assert len({explained for explained, _ in keys}) == 3
    assert len({control for _, control in keys}) == 1


def test_a_fill_that_needs_color_is_refused_before_any_work(tmp_path: Path) -> None:
    asked = load_experiment(None, {**SMALL, "degrade": {"fill": "random-color"}, "store": str(tmp_path / "store")})
    with pytest.raises(SourceError, match="random-color"):
        pipeline.prepare(asked)
