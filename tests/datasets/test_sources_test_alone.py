"""A source with a test split alone serves what trains nothing, and refuses the rest before any work."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from picture_files import encode, picture, write_folder, write_parquet

from roar import pipeline
from roar.datasets import arrays, channel_mean, normalization, open_source
from roar.datasets.adapters.arrays import Arrays
from roar.errors import UsageError
from roar.experiment import load_experiment
from roar.metrics.agreement.tasks import agreement
from roar.metrics.deletion.frames import read_deletion
from roar.metrics.deletion.tasks import delete
from roar.metrics.retraining.forecast import forecast
from roar.metrics.retraining.tasks import retrain
from roar.metrics.sanity.tasks import sanity
from roar.pipeline import Session
from roar.pipeline.door import Objects
from roar.pipeline.images import statistics
from roar.progress import Silent
from roar.report.activation import activate
from roar.report.heatmaps import show, strips
from roar.store.integrity import missing

SMALL: dict[str, Any] = {
    "estimators": {"names": ["gradient", "sobel", "random"], "shard_size": 25}, "degrade": {"thresholds": [30]},
    "train": {"epochs": 1}, "retrain": {"seeds": 1, "epochs": 1}, "compute": {"executor": "serial"},
}


class Said(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


def digits_alone() -> Arrays:
    test = open_source("digits", limit_test=60).test
    return arrays(test=(test.images, test.labels), class_names=list("0123456789"))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Those of a network that was trained where there was a training split."""
    store = tmp_path_factory.mktemp("trained")
    session = pipeline.prepare(load_experiment(None, {**SMALL, "source": {"name": "digits"}, "train": {"epochs": 4},
                                                      "store": str(store)}))
    pipeline.train(session)
    return store / session.models[0].folder / "weights.safetensors"


def alone(store: Path, weights: Path | None, reporter: Silent | None = None, **changes: Any) -> Session:
    asked = load_experiment(None, {**SMALL, "model": [{"weights": str(weights)} if weights else {}],
                                   "store": str(store), **changes})
    return pipeline.prepare(asked, reporter, Objects(source=digits_alone()))


def test_what_it_is() -> None:
    opened = open_source(digits_alone())
    assert opened.splits == ("test",)
    assert (len(opened.train), opened.train.images.shape, opened.train.labels.dtype) == (0, (0, 1, 8, 8), np.int64)
    assert opened.statistics_split is opened.test
    both = open_source(arrays(train=(opened.test.images, opened.test.labels),
                              test=(opened.test.images, opened.test.labels)))
    assert both.fingerprint != opened.fingerprint
    assert both.statistics_split is both.train


def test_folders_and_parquet_files(tmp_path: Path) -> None:
    data = [encode(picture(i)) for i in range(5)]
    write_folder(tmp_path / "folder", {"val/a": data[:3], "val/b": data[3:]})
    write_parquet(tmp_path / "parquet" / "test-0.parquet", data, [0, 0, 0, 1, 1], class_names=["a", "b"])
    for name in ("folder", "parquet"):
        opened = open_source(f"{name}:{tmp_path / name}", limit_test=4)
        assert (opened.splits, len(opened.test), opened.class_names) == (("test",), 4, ("a", "b"))
        assert opened.notes == [f"'{opened.name}' has a test split alone; fill and normalization are computed from it."]
    write_parquet(tmp_path / "unnamed" / "validation-0.parquet", data, [0, 2, 0, 1, 1])
    assert open_source(f"parquet:{tmp_path / 'unnamed'}").class_names == ("0", "1", "2")


def test_statistics_are_those_of_the_test_split(tmp_path: Path, weights: Path) -> None:
    images = open_source(digits_alone()).test.images
    for name, budget in (("whole", None), ("streamed", 1e-6)):
        session = alone(tmp_path / name, weights, compute={"executor": "serial", "image_budget": budget})
        mean, spread = statistics(session)
        assert np.array_equal(mean, channel_mean(images))
        assert spread == normalization(images)
        assert session.source.test.is_decoded == (name == "whole")


def test_it_serves_what_trains_nothing(tmp_path: Path, weights: Path) -> None:
    reporter = Said()
    session = alone(tmp_path / "store", weights, reporter)
    rankings = pipeline.rank(session)
    assert [ranking.estimator for ranking in rankings] == ["gradient", "sobel", "random"]
    for ranking in rankings:
        manifest = session.store.manifest(f"{ranking.folder}/test")
        assert manifest is not None
        assert manifest["facts"]["images"] == 60
        assert not session.store.files.list(f"{ranking.folder}/train")
    assert [estimator.name for estimator in pipeline.ranked_estimators(session)] == ["gradient", "random", "sobel"]
    assert len(delete(session)) == 3
    curves = read_deletion(session.store)
    assert set(curves["threshold"]) == {0, 30}
    assert curves.loc[curves["threshold"] == 0, "accuracy"].min() > 0.5
    assert len(agreement(session)) == 1
    kinds = {folder.rsplit("/", 1)[-1].partition("-")[0] for folder in sanity(session)}
    assert kinds == {"cascading", "independent"}
    assert len(show(session, [0, 3])) == 4
    assert activate(session, ["classes"], [], 1)
    (folder, *_) = pipeline.degrade(session)
    degraded = open_source(f"parquet:{session.store.location}/{folder}")
    assert (degraded.splits, len(degraded.test)) == (("test",), 60)
    said = "has a test split alone; fill and normalization are computed from it."
    assert [line for line in reporter.lines if said in line] == [f"'images' {said}"]
    assert len([line for line in reporter.lines if "no network is trained on shuffled labels" in line]) == 1
    assert not list(missing(session.store))


def test_a_ranking_does_not_depend_on_the_other_split(tmp_path: Path, weights: Path) -> None:
    """The test images of a source with both splits are ranked and shown as they are where they are alone."""
    test = open_source("digits", limit_test=60).test
    both = arrays(train=(test.images, test.labels), test=(test.images, test.labels))
    settings = {**SMALL, "model": [{"weights": str(weights)}]}
    asked = load_experiment(None, {**settings, "store": str(tmp_path / "both")})
    whole = pipeline.prepare(asked, objects=Objects(source=both))
    single = alone(tmp_path / "alone", weights)
    here, there = strips(single, [5])[5], strips(whole, [5])[5]
    for name in ("gradient", "sobel", "random"):
        np.testing.assert_array_equal(here.columns[0].scores[name], there.columns[0].scores[name])
        np.testing.assert_array_equal(here.columns[0].degraded[name], there.columns[0].degraded[name])


@pytest.mark.parametrize("run, message", [
    (pipeline.train, r"Training simplecnn needs a training split, and 'images' has a test split alone; give its"),
    (pipeline.rank, "Training simplecnn needs a training split"),
    (delete, "Training simplecnn needs a training split"),
    (retrain, "Retraining needs a training split, and 'images' has a test split alone; take a source with both"),
    (forecast, "Retraining needs a training split")])
def test_it_refuses_to_train(tmp_path: Path, run: Callable[[Session], Any], message: str) -> None:
    session = alone(tmp_path / "store", None)
    with pytest.raises(UsageError, match=message):
        run(session)
    assert not session.store.files.list("models")
    assert not session.store.files.list("rankings")


def test_it_refuses_shuffled_labels_and_matched_spectra(tmp_path: Path, weights: Path) -> None:
    session = alone(tmp_path / "store", weights, sanity={"kinds": ["cascading", "labels"]})
    with pytest.raises(UsageError, match=r"shuffled labels needs a training split, .*; leave labels out of "):
        sanity(session)
    assert not session.store.files.list("rankings")
    with pytest.raises(UsageError, match=r"'random-blurred\(gradient\)' has the spectrum of a training split's "):
        alone(tmp_path / "store", weights, estimators={"names": ["random-blurred(gradient)"]})


def test_an_oracle_needs_the_truth_of_the_splits_that_there_are(tmp_path: Path, weights: Path) -> None:
    with pytest.raises(UsageError, match="oracle"):
        alone(tmp_path / "store", weights, estimators={"names": ["oracle"]})


@pytest.mark.slow
def test_photographs_of_imagenet(roar: Callable[..., Any], tmp_path: Path, imagenet: tuple[Path, Path]) -> None:
    """1,000 classes, a network of timm's with published weights, and no training split."""
    images, published = imagenet
    words = ["--source", f"parquet:{images}", "--model", "timm/tf_efficientnet_lite0", "--weights", published,
             "--normalize-mean", ".5,.5,.5", "--normalize-std", ".5,.5,.5", "--image-size", "224", "--limit-test", "8",
             "--executor", "serial", "--estimator", "gradient,sobel,random", "--store", tmp_path / "store"]
    for command, *more in (["rank"], ["delete", "--threshold", "50"], ["agreement", "--threshold", "50"],
                           ["show", "--threshold", "50", "--index", "0,7"]):
        said = roar(command, *words, *more)
        assert said.code == 0, said.err
    assert len(list((tmp_path / "store" / "reports").glob("show-*.png"))) == 2
    (manifest,) = (tmp_path / "store" / "models").rglob("manifest.json")
    assert json.loads(manifest.read_text())["facts"]["test_accuracy"] >= 0.75  # 85.7 % on the first 300
    refused = roar("retrain", *words)
    assert refused.code == 2
    assert "Retraining needs a training split" in refused.err
