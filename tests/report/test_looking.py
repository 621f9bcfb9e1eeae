"""`roar show`, `roar activate` and `roar report --compare-regularizers`: what they compute, write and refuse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from ranked import maps, rank_images
from torch import nn

from roar import pipeline
from roar.analysis.figures.units import unit_grids
from roar.analysis.heatmaps import Column, HeatStrip
from roar.cli.flags import whole_numbers
from roar.datasets import channel_mean, open_source
from roar.datasets.degradation import replaced_count
from roar.datasets.statistics import Normalization
from roar.errors import AnalysisError, ExperimentError, ModelError, UnknownNameError
from roar.experiment import EstimatorSettings, load_experiment
from roar.metrics.retraining.tasks import retrain
from roar.models import create
from roar.models.activation import color_mixing, first_filters, layer_names, most_exciting, moved, painted
from roar.pipeline import Session
from roar.report.gallery import make_gallery
from roar.report.heatmaps import first_of_each_class, strips
from roar.report.view import Results
from roar.store.shards import read_ranks, shard_name
from roar.store.store import Store

SMALL: dict[str, Any] = {
    "source": {"limit_train": 200, "limit_test": 60},
    "model": [{"regularizer": "none"}, {"regularizer": "dropout(0.3)"}],
    "estimators": {"names": ["gradient", "vargrad", "random", "sobel"], "samples": 3},
    "degrade": {"thresholds": [0, 30, 70]}, "train": {"epochs": 2},
    "retrain": {"model": "simplecnn", "seeds": 2, "epochs": 1}, "compute": {"executor": "serial"},
}


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    store = tmp_path_factory.mktemp("looking") / "store"
    made = pipeline.prepare(load_experiment(None, {**SMALL, "store": str(store)}))
    retrain(made)
    return made


# -- the networks explained ----------------------------------------------------------------------------------------


def test_a_trained_network_keeps_its_curves_and_measures(session: Session) -> None:
    for model in session.models:
        manifest = session.store.manifest(model.folder)
        assert manifest is not None
        facts = manifest["facts"]
        history = pd.read_parquet(Path(session.store.location) / model.folder / "history.parquet")
        assert list(history.columns) == ["epoch", "train_loss", "train_accuracy", "test_loss", "test_accuracy"]
        assert len(history) == 2
        assert history["test_accuracy"].iloc[-1] == pytest.approx(facts["test_accuracy"])
        assert history["test_loss"].iloc[-1] == pytest.approx(facts["test_loss"])
        assert 0 <= facts["calibration_error"] <= 1
        assert 0 <= facts["sparsity"] <= 1
        assert facts["weight_norm"] > 0


def test_seeds_of_a_model_are_networks_of_their_own(tmp_path: Path) -> None:
    asked = load_experiment(None, {**SMALL, "model": [{"regularizer": "l2(1e-5)", "seeds": 3}],
                                   "store": str(tmp_path / "store")})
    models = pipeline.prepare(asked).models
    assert [model.label for model in models] == ["simplecnn", "simplecnn#1", "simplecnn#2"]
    assert len({model.folder for model in models}) == 3
    assert {model.recipe.weight_decay for model in models} == {0.0}
    with pytest.raises(ExperimentError, match="leave out seeds or weights"):
        load_experiment(None, {"model": [{"weights": "x.safetensors", "seeds": 2}]})


def test_a_regularizer_has_one_key_however_it_is_spelled(tmp_path: Path) -> None:
    def model(regularizer: str) -> Any:
        asked = load_experiment(None, {**SMALL, "model": [{"regularizer": regularizer}], "store": str(tmp_path / "s")})
        return pipeline.prepare(asked).models[0]

    assert model("dropout(.3)+l2(1e-05)").folder == model("L2(0.00001)+dropout(0.30)").folder
    assert len({model(text).folder for text in ("none", "recipe", "dropout(0.3)", "dropout(0.4)")}) == 4
    assert model("recipe").recipe.weight_decay == 5e-4
    assert model("none").recipe.weight_decay == 0.0
    with pytest.raises(UnknownNameError, match="did you mean 'dropout'"):
        model("dropuot(0.3)")


# -- heat maps -----------------------------------------------------------------------------------------------------


def test_the_maps_are_what_is_ranked() -> None:
    source = open_source("digits", limit_train=60, limit_test=20)
    network = create("simplecnn", in_channels=1, image_size=8, seed=0).eval()
    images, labels, indices = source.test.images[:6], source.test.labels[:6], source.test.indices[:6]
    normalization, names = Normalization((0.3,), (0.4,)), ["gradient", "vargrad", "sobel"]
    given = (network, images, labels, indices, normalization, names, EstimatorSettings(samples=3), 0, "test")
    found, ranked = maps(*given), rank_images(*given, num_classes=10)
    assert list(found.scores) == names
    for name in names:
        scores, ranks = found.scores[name].reshape(6, -1), ranked[name].ranks
        for i in range(6):
            falling = scores[i][np.argsort(ranks[i])]
            assert (np.diff(falling) <= 1e-6 * np.abs(scores[i]).max()).all()
    assert np.array_equal(found.targets, ranked["gradient"].targets)
    assert np.allclose(found.probabilities.sum(1), 1, atol=1e-5)


def test_a_strip_shows_what_retraining_sees(session: Session) -> None:
    shown = strips(session, [3, 17])
    assert list(shown) == [3, 17]
    mean = channel_mean(session.source.train.images)
    for position, strip in shown.items():
        image = session.source.test.images[position]
        assert np.array_equal(strip.picture, image.transpose(1, 2, 0))
        assert strip.label == session.source.class_names[session.source.test.labels[position]]
        assert strip.thresholds == (30.0, 70.0)
        for model, column in zip(session.models, strip.columns, strict=True):
            for ranking in pipeline.rank(session):
                if ranking.model is not None and ranking.model.folder != model.folder:
                    continue
                ranks = read_ranks(session.store, f"{ranking.folder}/test")[position]
                for k, threshold in enumerate(strip.thresholds):
                    expected = image.reshape(1, -1).copy()
                    expected[:, ranks < replaced_count(threshold, 64)] = mean[:, None]
                    assert np.array_equal(column.degraded[ranking.estimator][k], expected.reshape(8, 8, 1))


def test_what_is_not_ranked_is_shown_all_the_same(tmp_path: Path, session: Session) -> None:
    asked = load_experiment(None, {**SMALL, "store": str(tmp_path / "store")})
    unranked = strips(pipeline.prepare(asked), [3])[3]
    for there, here in zip(strips(session, [3])[3].columns, unranked.columns, strict=True):
        for name in ("gradient", "random", "sobel"):
            assert np.array_equal(there.degraded[name], here.degraded[name])


def test_only_what_the_images_need_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where images stream, the training split is not decoded, and of the rankings the shards of the images are read."""
    streamed = {"source": {"limit_train": 60, "limit_test": 60}, "model": [{}],
                "estimators": {"names": ["gradient", "random"], "shard_size": 10}, "train": {"epochs": 1, "window": 40},
                "retrain": {"seeds": 1, "epochs": 1, "window": 40}, "store": str(tmp_path / "store")}
    session = pipeline.prepare(load_experiment(None, {**SMALL, **streamed, "compute": {
        "executor": "serial", "image_budget": 1e-6}}))
    rankings, reads = pipeline.rank(session), []
    honest, decoded = Store.read_file, []
    monkeypatch.setattr(Store, "read_file", lambda store, folder, name: (
        reads.append(f"{folder}/{name}") if folder.startswith("rankings/") else None, honest(store, folder, name))[1])
    test = session.source.test
    session.source = replace(session.source, test=replace(test, decode=lambda where: (
        decoded.append(len(where)), test.decode(where))[1]))
    shown = strips(session, [35, 3, 31])
    assert reads == [f"{ranking.folder}/test/{shard_name(number)}" for ranking in rankings for number in (0, 3)]
    assert set(decoded) == {3}
    gallery = make_gallery(session, rankings)
    assert set(decoded) == {2, 3}
    assert not session.source.train.is_decoded
    assert not session.source.test.is_decoded
    whole = pipeline.prepare(load_experiment(None, {**SMALL, **streamed}))
    for position, strip in strips(whole, [3, 31, 35]).items():
        for name in ("gradient", "random"):
            assert np.array_equal(strip.columns[0].degraded[name], shown[position].columns[0].degraded[name])
    assert all(np.array_equal(row.images, other.images)
               for row, other in zip(gallery.rows, make_gallery(whole, rankings).rows, strict=True))


def test_the_default_images_are_the_first_of_each_class(session: Session) -> None:
    assert first_of_each_class(np.array([2, 0, 2, 1, 0])) == [1, 3, 0]
    labels = session.source.test.labels
    assert [labels[i] for i in first_of_each_class(labels)] == sorted(set(labels))


def column(scale: float, name: str = "gradient") -> Column:
    return Column("net", "cat 50 %", True, {name: scale * np.linspace(-1, 1, 64).reshape(8, 8)},
                  {name: np.zeros((1, 8, 8, 1), np.uint8)})


def test_a_row_has_one_scale_and_one_hot_pixel_does_not_set_it() -> None:
    picture = np.zeros((8, 8, 1), np.uint8)
    strip = HeatStrip("title", "cat", picture, (50.0,), (column(1.0), column(3.0)))
    low, high = strip.scale("gradient")
    assert low == -high
    assert 2.5 < high <= 3.0
    hot = column(1.0)
    hot.scores["gradient"][0, 0] = 1e6
    assert HeatStrip("title", "cat", picture, (50.0,), (hot, column(1.0))).scale("gradient")[1] < 2
    with pytest.raises(AnalysisError, match="same estimators"):
        HeatStrip("title", "cat", picture, (50.0,), (column(1.0), column(1.0, "vargrad")))


# -- maximal activation --------------------------------------------------------------------------------------------


class Planes(nn.Module):
    """Unit 0 likes bright images, unit 1 dark ones, unit 2 a bright left half and a dark right half."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 16, bias=False)
        left = torch.ones(16, 16)
        left[:, 8:] = -1
        self.conv.weight.data = torch.stack([torch.ones(16, 16), -torch.ones(16, 16), left])[:, None] / 256

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.conv(x).mean((2, 3))
        return out


def test_a_unit_gets_what_it_likes() -> None:
    network = Planes().train()
    found = most_exciting(network, "conv", [0, 1, 2], 1, 16, (0.5,), (0.25,), torch.eye(1), steps=120)
    assert found.shape == (3, 1, 16, 16)
    assert found.min() >= 0 and found.max() <= 1
    assert found[0].mean() > 0.75
    assert found[1].mean() < 0.25
    assert found[2, :, :, :6].mean() > 0.65 > 0.35 > found[2, :, :, 10:].mean()
    assert network.training
    assert network.conv.weight.requires_grad and network.conv.weight.grad is None
    assert not network.conv._forward_hooks


def test_an_image_does_not_depend_on_its_neighbors_and_repeats() -> None:
    network = create("simplecnn", in_channels=1, image_size=8, seed=0)
    state = torch.get_rng_state()
    given = {"channels": 1, "size": 8, "mean": (0.5,), "std": (0.25,), "mixing": torch.eye(1), "steps": 10}
    one, again = (most_exciting(network, "conv2", [3, 5], **given) for _ in range(2))
    assert torch.equal(one, again)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(one[0], one[1])


def test_a_transformers_units_come_last() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(64, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.linear(x.flatten(2).expand(-1, 5, -1)).mean(1)  # [N, 5 tokens, 3 units]
            return out

    given = {"channels": 1, "size": 8, "mean": (0.5,), "std": (0.25,), "mixing": torch.eye(1), "steps": 1}
    assert most_exciting(Tokens(), "linear", [0, 2], **given).shape == (2, 1, 8, 8)
    with pytest.raises(ModelError, match="has 3 units"):
        most_exciting(Tokens(), "linear", [3], **given)


def test_layers_and_units_that_are_not_there() -> None:
    network = create("simplecnn", in_channels=1, image_size=8, seed=0)
    given = {"channels": 1, "size": 8, "mean": (0.5,), "std": (0.25,), "mixing": torch.eye(1), "steps": 1}
    assert {"conv1", "relu3", "linear", "classes"} <= set(layer_names(network))
    with pytest.raises(UnknownNameError, match="did you mean 'conv"):
        most_exciting(network, "conv9", [0], **given)
    with pytest.raises(ModelError, match="has 8 units, and unit 8 is not"):
        most_exciting(network, "conv1", [0, 8], **given)


def test_the_fourier_basis_paints_waves() -> None:
    waves = torch.zeros(1, 1, 16, 9, 2)
    assert torch.equal(painted(waves, 16, torch.eye(1)), torch.full((1, 1, 16, 16), 0.5))
    waves[0, 0, 0, 2, 0] = 1.0  # two periods across, none down
    plane = painted(waves, 16, torch.eye(1))[0, 0]
    assert torch.allclose(plane, plane[:1].expand(16, 16), atol=1e-6)
    assert torch.allclose(plane[0, :8], plane[0, 8:], atol=1e-6)
    assert plane.std() > 0.02


def test_moving_keeps_shape_and_range() -> None:
    images = torch.rand(5, 3, 16, 16)
    there = moved(images, torch.Generator().manual_seed(0))
    assert there.shape == images.shape
    assert images.min() - 1e-5 <= there.min() and there.max() <= images.max() + 1e-5
    assert not torch.allclose(there, images)


def test_colors_are_mixed_as_in_the_images() -> None:
    generator = torch.Generator().manual_seed(0)
    gray = torch.randint(0, 256, (50, 1, 8, 8), generator=generator)
    images = (gray + torch.randint(-8, 8, (50, 3, 8, 8), generator=generator)).clamp(0, 255).to(torch.uint8)
    mixing = color_mixing(images)
    assert mixing.norm(dim=0).max() == pytest.approx(1.0, abs=1e-5)
    made = mixing.double() @ mixing.double().T
    expected = torch.from_numpy(np.cov(images.double().div(255).movedim(1, 0).flatten(1).numpy(), bias=True))
    assert torch.allclose(made / made[0, 0], expected / expected[0, 0], atol=1e-4)


def test_filters_are_scaled_to_their_largest_weight() -> None:
    network = create("simplecnn", seed=0)
    filters = first_filters(network)
    assert filters.shape == (16, 3, 3, 3)
    assert torch.allclose((filters - 0.5).abs().amax((1, 2, 3)), torch.full((16,), 0.5))
    with pytest.raises(ModelError, match="no convolution"):
        first_filters(nn.Linear(2, 2))


def test_a_grid_needs_the_same_units_of_every_network() -> None:
    images = np.zeros((4, 8, 8, 3))
    assert len(unit_grids("title", {"a": images, "b": images}, ["0", "1", "2", "3"]).axes) == 8
    with pytest.raises(AnalysisError, match="one image per unit"):
        unit_grids("title", {"a": images, "b": images[:3]}, ["0", "1", "2", "3"])
    with pytest.raises(AnalysisError, match="no networks"):
        unit_grids("title", {}, [])


# -- commands ------------------------------------------------------------------------------------------------------

WORDS = ["--executor", "serial", "--limit-train", "200", "--limit-test", "60", "--train-epochs", "2"]


def test_whole_numbers() -> None:
    assert whole_numbers("--unit", "0:3,7, 9") == [0, 1, 2, 7, 9]
    for text in ("x", "3:", "1.5", "-1", "4:4", ""):
        with pytest.raises(ExperimentError, match="--unit"):
            whole_numbers("--unit", text)


def test_the_commands_write_pictures(roar: Callable[..., Any], tmp_path: Path) -> None:
    said = roar("show", *WORDS, "--index", "3", "--estimator", "gradient,sobel", "--threshold", "50")
    assert said.code == 0, said.err
    files = [Path(line) for line in said.out.split()]
    assert [file.name for file in files] == ["show-00003.png", "show-00003.svg"]
    assert files[0].read_bytes().startswith(b"\x89PNG")
    said = roar("show", *WORDS, "--index", "99")
    assert said.code == 2
    assert "goes from 0 to 59" in said.err
    said = roar("activate", *WORDS, "--layer", "conv1,classes", "--unit", "0:4", "--steps", "2")
    assert said.code == 0, said.err
    names = [Path(line).name for line in said.out.split()]
    assert [name for name in names if name.endswith("png")] == [
        "activate-simplecnn-conv1.png", "activate-simplecnn-classes.png", "filters-simplecnn.png"]
    said = roar("activate", *WORDS, "--layer", "cnov1")
    assert said.code == 2
    assert "did you mean 'conv1'" in said.err


def test_the_comparison_is_written(session: Session, roar: Callable[..., Any]) -> None:
    said = roar("report", "--compare-regularizers", "--store", session.store.location)
    assert said.code == 0, said.err
    reports = Path(session.store.location) / "reports"
    areas, effects, networks = (pd.read_csv(reports / f"regularizers-{name}.csv")
                                for name in ("areas", "effects", "models"))
    # One retrainer: the controls were trained once, and both models have their curves.
    assert set(areas["regularizer"]) == {"none", "dropout(0.3)"}
    assert len(areas) == 2 * (3 + 2)
    assert len(effects) == 2 + 2
    assert set(effects["estimator"]) == {"gradient", "vargrad"}
    assert set(networks["regularizer"]) == {"none", "dropout(0.3)"}
    assert networks[["test_accuracy", "calibration_error", "sparsity", "weight_norm"]].notna().all(axis=None)
    findings = (reports / "regularizers-findings.txt").read_text().splitlines()
    assert len(findings) == len(areas) + len(effects)
    assert findings[0] in said.out
    assert roar("report", "--store", session.store.location).code == 0
    results = pd.read_csv(reports / "results.csv")
    assert len(results) == len(Results(session.store).results())
    assert results["job"].is_unique
    curves = Results(session.store).curves()
    assert set(curves[curves["estimator"] == "random"]["regularizer"]) == {"none", "dropout(0.3)"}


def test_where_dropout_goes_and_what_regularizers_there_are(roar: Callable[..., Any]) -> None:
    said = roar("list", "models", "--verbose")
    assert "after the first and the second linear layer" in said.out
    assert "1,156,310" in said.out
    assert "dropout" not in roar("list", "models").out
    listed = roar("list", "regularizers").out
    assert "group-lasso(lambda)" in listed and "elastic(l1, l2)" in listed
