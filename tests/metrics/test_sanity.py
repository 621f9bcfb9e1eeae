"""Sanity checks: which layers are drawn anew, what is compared, and what may be said of it."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from analysis_results import synthetic_results, with_facts
from ranked import rank_images
from safetensors.torch import load
from scipy import stats
from torch import Tensor, nn

from roar import pipeline
from roar.analysis.figures import leaderboard_intervals, render
from roar.analysis.frames import COLUMNS
from roar.analysis.leaderboard import leaderboard
from roar.datasets.statistics import normalization
from roar.errors import AnalysisError, ExperimentError, UsageError
from roar.experiment import EstimatorSettings, Experiment, load_experiment, portable, to_toml
from roar.metrics.agreement.tasks import agreement as measure_agreement
from roar.metrics.sanity import METRIC
from roar.metrics.sanity.figures import sanity_curves
from roar.metrics.sanity.frames import COLUMNS as OWN
from roar.metrics.sanity.settings import SanitySettings
from roar.metrics.sanity.tasks import sanity as measure_sanity
from roar.metrics.sanity.verdict import sanity_verdicts, with_sanity
from roar.models import create
from roar.models.layers import Layer, batch_norms_behind, fit_batch_norms, grouped, layers, redraw
from roar.report.page import report_page
from roar.report.view import Results
from roar.seeds.streams import derive, random_order
from roar.store.artifacts import MANIFEST
from roar.store.integrity import damages
from roar.store.shards import read_ranks
from roar.store.store import Store, open_store

IMAGE = torch.zeros(1, 3, 32, 32)


# -- layers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "weighted"), [("simplecnn", 4), ("resnet20", 20), ("vgg19", 17), ("speednet", 8)])
def test_layers_go_from_the_output_to_the_input_and_hold_every_tensor_once(name: str, weighted: int) -> None:
    network = create(name, seed=0)
    found = layers(network, IMAGE)
    assert len(found) == weighted
    assert isinstance(network.get_submodule(found[0].name), nn.Linear)
    assert isinstance(network.get_submodule(found[-1].name), nn.Conv2d)
    held = [tensor for layer in found for tensor in layer.tensors]
    assert sorted(held) == sorted(network.state_dict())
    assert network.training


def test_a_norm_goes_with_the_convolution_before_it() -> None:
    found = {layer.name: layer.tensors for layer in layers(create("resnet20", seed=0), IMAGE)}
    assert list(found)[:3] == ["linear", "layer3.2.conv2", "layer3.2.conv1"]
    assert {name.rsplit(".", 1)[0] for name in found["layer1.0.conv2"]} == {"layer1.0.conv2", "layer1.0.bn2"}
    assert "bn1.running_var" in found["conv1"]


class Unusual(nn.Module):
    """A norm before all, a parameter of its own, modules out of order, one that is used without being called."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(4, 2)
        self.norm = nn.BatchNorm2d(3)
        self.token = nn.Parameter(torch.zeros(1, 4))
        self.first = nn.Conv2d(3, 4, 3)
        self.silent = nn.Linear(4, 4)

    def forward(self, images: Tensor) -> Tensor:
        x = self.first(self.norm(images)).mean((2, 3)) + self.token
        out: Tensor = self.last(x @ self.silent.weight)
        return out


def test_layers_of_an_unusual_network() -> None:
    found = layers(Unusual(), IMAGE)
    assert [layer.name for layer in found] == ["last", "silent", "first", ""]
    assert found[-1].tensors[0] == "token"
    assert "norm.weight" in found[-1].tensors


def test_groups_are_about_equal_and_at_most_so_many() -> None:
    found = [Layer(str(i), ()) for i in range(20)]
    sizes = [len(group) for group in grouped(found, 8)]
    assert len(sizes) == 8
    assert set(sizes) == {2, 3}
    assert [layer for group in grouped(found, 8) for layer in group] == found
    assert [len(group) for group in grouped(found[:3], 8)] == [1, 1, 1]


def test_drawn_anew_is_what_a_fresh_network_has_and_the_rest_stays() -> None:
    network, fresh = create("simplecnn", seed=1), create("simplecnn", seed=2).state_dict()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    chosen = layers(network, IMAGE)[:2]
    redraw(network, chosen, lambda layer: fresh)
    names = {name for layer in chosen for name in layer.tensors}
    assert names >= {"linear.weight", "linear.bias", "conv3.weight", "bn3.running_mean"}
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, fresh[name] if name in names else before[name]), name


def test_batch_norms_are_fitted_from_the_first_layer_drawn_anew_to_the_output() -> None:
    network = create("resnet20", seed=0)
    found = layers(network, IMAGE)
    assert batch_norms_behind(network, found, found[:1]) == ()  # the linear layer comes after all of them
    assert batch_norms_behind(network, found, [found[2]]) == ("layer3.2.bn2", "layer3.2.bn1")
    assert len(batch_norms_behind(network, found, found[-1:])) == 19
    vgg = create("linear", 10, 1, 8, 0)
    assert batch_norms_behind(vgg, layers(vgg, IMAGE[:, :1, :8, :8]), layers(vgg, IMAGE[:, :1, :8, :8])) == ()


def test_fitted_statistics_are_those_of_the_images_and_nothing_else_changes() -> None:
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Dropout(0.5), nn.Conv2d(3, 2, 3),
                            nn.BatchNorm2d(2, momentum=0.3)).eval()
    images = torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items() if "running" not in name}
    fit_batch_norms(network, ["5", "1"], images.split(6))
    out = network(images)
    assert out.mean((0, 2, 3)).abs().max() < 0.05
    assert (out.var((0, 2, 3)) - 1).abs().max() < 0.1
    assert not any(module.training for module in network.modules())
    assert network[5].momentum == 0.3
    for name, tensor in before.items():
        assert torch.equal(tensor, network.state_dict()[name]) or name.endswith("num_batches_tracked"), name


# -- the whole line --------------------------------------------------------------------------------------------------

SMALL: dict[str, Any] = {
    "source": {"limit_train": 100, "limit_test": 40},
    "estimators": {"names": ["gradient", "smoothgrad", "guided-backprop", "integrated-gradients", "sobel", "random"],
                   "samples": 2, "ig_steps": 3},
    "degrade": {"thresholds": [0, 20, 50]}, "train": {"epochs": 2}}


def opened(store: Path, compute: dict[str, Any] | None = None, **tables: Any) -> pipeline.Session:
    return pipeline.prepare(load_experiment(None, {
        **SMALL, **tables, "store": str(store), "compute": compute or {"executor": "serial"}}))


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> pipeline.Session:
    found = opened(tmp_path_factory.mktemp("sanity") / "store")
    measure_sanity(found)
    return found


def test_every_step_and_kind_has_its_rows(session: pipeline.Session) -> None:
    frame = Results(session.store).sanity()
    assert dict(frame.dtypes.astype(str)) == OWN
    assert set(OWN) <= {*COLUMNS, *METRIC.tables[0].columns}
    assert set(frame["estimator"]) == {"gradient", "smoothgrad", "guided-backprop", "integrated-gradients"}
    counts = frame.groupby(["kind", "measure"]).size().to_dict()
    assert counts == {("cascading", "spearman"): 16, ("cascading", "iou"): 32, ("independent", "spearman"): 16,
                      ("independent", "iou"): 32, ("labels", "spearman"): 4, ("labels", "iou"): 8}
    steps = frame[frame["kind"] == "cascading"].drop_duplicates("step").set_index("step")["layers"].to_dict()
    assert steps == {1: "linear", 2: "conv3", 3: "conv2", 4: "conv1"}
    assert frame["n"].eq(40).all()
    assert (frame["train_accuracy"].notna() == (frame["kind"] == "labels")).all()


def by_hand(session: pipeline.Session, names: list[str]) -> nn.Module:
    """The explained network with all tensors of some modules copied from fresh networks, one by one."""
    model = session.models[0]
    state = load(session.store.read_file(model.folder, "weights.safetensors"))
    norms = {"conv1": "bn1", "conv2": "bn2", "conv3": "bn3"}
    for name in names:
        fresh = create("simplecnn", 10, 1, 8, derive(0, "sanity", name)).state_dict()
        for key in state:
            if key.split(".")[0] in (name, norms.get(name)):
                state[key] = fresh[key].clone()
    network = create("simplecnn", 10, 1, 8)
    network.load_state_dict(state)
    order = ["linear", "conv3", "conv2", "conv1"]
    reached = order[:1 + max((order.index(name) for name in names), default=-1)]
    return fitted_by_hand(network.eval(), [norms[name] for name in reached if name in norms], session)


def fitted_by_hand(network: nn.Module, norms: list[str], session: pipeline.Session) -> nn.Module:
    """The mean and variance of what each norm gets of the 40 images, norm by norm in the order of the network.

    As in training a batch is normalized by its own biased variance, and the unbiased one is kept.
    """
    images = normalization(session.source.train.images).apply(torch.from_numpy(session.source.test.images))
    unbiased = {}
    for name in sorted(norms):
        norm, got = network.get_submodule(name), []
        hook = norm.register_forward_pre_hook(lambda _, inputs, got=got: got.append(inputs[0]))
        with torch.no_grad():
            network(images)
            hook.remove()
            norm.running_mean.copy_(got[0].mean((0, 2, 3)))
            norm.running_var.copy_(got[0].var((0, 2, 3), unbiased=False))
            unbiased[norm] = got[0].var((0, 2, 3))
    for norm, variance in unbiased.items():
        norm.running_var.copy_(variance)
    return network


@pytest.mark.parametrize(("kind", "step", "names"), [
    ("cascading", 1, ["linear"]), ("cascading", 3, ["linear", "conv3", "conv2"]),
    ("cascading", 4, ["linear", "conv3", "conv2", "conv1"]), ("independent", 2, ["conv3"]),
    ("independent", 4, ["conv1"])])
def test_the_correlations_are_those_of_a_network_that_is_randomized_by_hand(
        session: pipeline.Session, kind: str, step: int, names: list[str]) -> None:
    real = pipeline.rank(session, ("test",))
    images, labels = session.source.test.images, session.source.test.labels
    norm = normalization(session.source.train.images)
    trained = by_hand(session, [])
    targets = trained(norm.apply(torch.from_numpy(images))).argmax(1).detach().numpy()
    settings = EstimatorSettings(samples=2, ig_steps=3, target="label")
    explaining = [r for r in real if r.model is not None]
    ranked = rank_images(by_hand(session, names), images, targets, session.source.test.indices, norm,
                         [r.estimator for r in explaining], settings, 0, "test", lots=derive(0, "sanity", "ties"))
    frame = Results(session.store).sanity().query("kind == @kind and step == @step and measure == 'spearman'")
    frame = frame.set_index("estimator")
    assert len(labels) == 40
    for ranking in explaining:
        own = read_ranks(session.store, f"{ranking.folder}/test")
        each = [stats.spearmanr(a, b)[0] for a, b in zip(own, ranked[ranking.estimator].ranks, strict=True)]
        assert frame.loc[ranking.estimator, "mean"] == pytest.approx(np.mean(each), abs=1e-5), ranking.estimator
        images_file = session.store.read_file(frame.loc[ranking.estimator, "folder"], "images.parquet")
        kept = pd.read_parquet(io.BytesIO(images_file)).query("estimator == @ranking.estimator")
        assert np.allclose(kept["spearman"], each, atol=1e-3)


def test_with_nothing_drawn_anew_the_ranking_is_the_real_one(session: pipeline.Session) -> None:
    """But for ties, which fall by other lots, and which a gradient has none of."""
    images = session.source.test.images
    norm = normalization(session.source.train.images)
    ranking = next(r for r in pipeline.rank(session, ("test",)) if r.estimator == "smoothgrad")
    targets = by_hand(session, [])(norm.apply(torch.from_numpy(images))).argmax(1).detach().numpy()
    again = rank_images(by_hand(session, []), images, targets, session.source.test.indices, norm, ["smoothgrad"],
                        EstimatorSettings(samples=2, target="label"), 0, "test", lots=1)
    assert np.array_equal(again["smoothgrad"].ranks, read_ranks(session.store, f"{ranking.folder}/test"))


def test_tied_pixels_fall_by_other_lots() -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    with torch.no_grad():
        flat[1].weight.zero_()
    images = np.zeros((2, 1, 8, 8), np.uint8)
    norm = normalization(images + 1)

    def ranks(lots: int | None) -> np.ndarray:
        return rank_images(flat, images, np.zeros(2), np.arange(2), norm, ["gradient"], EstimatorSettings(), 0, "test",
                           lots=lots)["gradient"].ranks

    assert np.array_equal(ranks(None), ranks(derive(0, "ties", "test")))
    assert abs(stats.spearmanr(ranks(None)[0], ranks(5)[0])[0]) < 0.5


def test_the_network_of_shuffled_labels_is_trained_by_the_usual_recipe_and_says_how_far_it_fitted(
        session: pipeline.Session) -> None:
    store = session.store
    (folder,) = [path.rsplit("/", 1)[0] for path in store.files.list("models")
                 if "shuffled-labels" in path and path.endswith("manifest.json")]
    manifest, real = store.manifest(folder), store.manifest(session.models[0].folder)
    assert manifest is not None
    assert real is not None
    assert manifest["identity"] == {**real["identity"], "labels": "shuffled"}
    assert "labels" not in real["facts"]
    network = create("simplecnn", 10, 1, 8)
    network.load_state_dict(load(store.read_file(folder, "weights.safetensors")))
    train = session.source.train
    norm = normalization(train.images)
    order = random_order(derive(0, "shuffled labels", 0), 0, len(train))
    found = network.eval()(norm.apply(torch.from_numpy(train.images))).argmax(1).numpy()
    assert manifest["facts"]["train_accuracy"] == pytest.approx((found == train.labels[order]).mean())
    fitted = Results(store).sanity()["train_accuracy"].dropna().unique()
    assert fitted == pytest.approx(manifest["facts"]["train_accuracy"])
    from roar.report.regularizers import explained_networks

    assert len(explained_networks(store)) == 1


def test_a_second_run_makes_nothing_and_the_store_is_whole(session: pipeline.Session) -> None:
    root = Path(session.store.location)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file() and "plans" not in path.parts}
    measure_sanity(opened(root))
    after = {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file() and "plans" not in path.parts}
    assert before == after
    assert damages(session.store) == []


def test_workers_do_not_change_a_byte(session: pipeline.Session, tmp_path: Path) -> None:
    """Neither of the sanity checks nor of the agreement of rankings."""
    measure_agreement(session)
    store = tmp_path / "store"
    shutil.copytree(session.store.location, store)
    made = [*store.glob("metrics/sanity/*/*/labels-*"), *store.glob("metrics/sanity/*/*/cascading-3-*"),
            *store.glob("metrics/agreement/*")]
    for folder in made:
        shutil.rmtree(folder)
    on_ray = opened(store, {"executor": "ray", "workers": 2})
    measure_sanity(on_ray)
    measure_agreement(on_ray)
    files = [{path.relative_to(root).as_posix(): path.read_bytes() for kind in ("sanity", "agreement")
              for path in (root / kind).rglob("*.parquet")} for root in (Path(session.store.location), store)]
    assert len(made) == 3
    assert files[0] == files[1]


def test_other_shards_give_the_same_numbers(session: pipeline.Session, tmp_path: Path) -> None:
    """Up to float32's rounding, which the number of images in a pass may move."""
    other = opened(tmp_path / "store", estimators={**SMALL["estimators"], "shard_size": 16},
                   sanity={"kinds": ["cascading"], "steps": 1})
    measure_sanity(other)
    mine = Results(other.store).sanity().sort_values(["estimator", "measure", "threshold"])
    theirs = Results(session.store).sanity().query("kind == 'cascading' and step == 4").sort_values(
        ["estimator", "measure", "threshold"])
    assert np.allclose(mine["mean"], theirs["mean"], atol=2e-3)
    assert set(mine["layers"]) == {"linear … conv1"}


DEEP = """
from torch import nn


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)

    def forward(self, x):
        return (x + self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))).relu()


class Deep(nn.Module):
    def __init__(self, num_classes, in_channels, kaiming=False):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(in_channels, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.blocks = nn.Sequential(*(Block(8) for _ in range(6)))
        self.linear = nn.Linear(8, num_classes)
        for module in self.modules():
            if kaiming and isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, images):
        return self.linear(self.blocks(self.bn(self.conv(images)).relu()).mean((2, 3)))
"""


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[bool, float]]:
    """SmoothGrad-Squared's correlation with its ranking of a trained network, all layers drawn anew, by initializer."""
    folder = tmp_path_factory.mktemp("deep")
    (folder / "deep.py").write_text(DEEP)

    def correlations(store: str) -> dict[bool, float]:
        found = {}
        for kaiming in (False, True):
            name = f"{folder}/deep.py:Deep(kaiming={kaiming})"
            made = opened(folder / f"{store}-{kaiming}", model=[{"name": name}], train={"epochs": 8},
                          source={"limit_train": 600, "limit_test": 40}, sanity={"kinds": ["cascading"], "steps": 1},
                          estimators={"names": ["smoothgrad-squared"]})
            measure_sanity(made)
            found[kaiming] = float(Results(made.store).sanity().query("measure == 'spearman'")["mean"].iloc[0])
        return found

    return correlations


def test_a_network_that_begins_at_pytorchs_defaults_is_judged_as_one_that_begins_otherwise(
        deep: Callable[..., dict[bool, float]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without fitted batch norms its activations die out, and a ranking of hardly anything agrees with nothing."""
    fitted = deep("fitted")
    assert abs(fitted[False] - fitted[True]) < 0.05
    monkeypatch.setattr("roar.metrics.sanity.worker.fit_batch_norms", lambda *arguments: None)
    raw = deep("raw")
    assert raw[True] - raw[False] > 0.1
    assert fitted[False] - raw[False] > 0.15


def test_fitted_batch_norms_are_in_the_key_and_a_network_without_them_keeps_its_key(
        session: pipeline.Session, tmp_path: Path) -> None:
    def identities(store: Store) -> dict[str, dict[str, Any]]:
        folders = {path.rsplit("/", 1)[0] for path in store.files.list("metrics/sanity") if path.endswith(MANIFEST)}
        return {folder.rsplit("/", 1)[-1]: store.manifest(folder)["identity"] for folder in folders}

    kept = {name.rsplit("-", 1)[0]: identity for name, identity in identities(session.store).items()}
    assert kept["cascading-4"]["batch_norms"] == ["bn3", "bn2", "bn1"]
    assert kept["independent-3"]["batch_norms"] == ["bn3", "bn2"]
    assert {name for name, identity in kept.items() if "batch_norms" not in identity} == {
        "cascading-1", "independent-1", "labels-1"}
    without = opened(tmp_path / "store", model=[{"name": "linear"}], estimators={"names": ["gradient"]},
                     sanity={"kinds": ["cascading"]}, train={"epochs": 1})
    measure_sanity(without)
    (identity,) = identities(without.store).values()
    assert sorted(identity) == ["artefact", "drawn_anew", "kind", "network", "normalize_mean", "normalize_std",
                                "rankings", "root_seed", "source", "step", "steps", "thresholds", "weights"]


def test_batch_norms_are_not_fitted_on_one_image(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'simplecnn' are fitted on two test images or more, and 'digits' has 1; "
                                         r"raise --limit-test"):
        measure_sanity(opened(tmp_path / "store", source={"limit_train": 50, "limit_test": 1}))
    assert not list(tmp_path.glob("store/models/*"))


def test_what_explains_no_network_is_no_part_of_it(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=r"sobel, random do not; ask for one, such as --estimator gradient"):
        measure_sanity(opened(tmp_path / "store", estimators={"names": ["sobel", "random"]}))


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ExperimentError, match=r"sanity\.kinds\.0 = 'all' .* 'cascading', 'independent' or 'labels'"):
        load_experiment(None, {"sanity": {"kinds": ["all"]}})
    with pytest.raises(ExperimentError, match="name one kind or more"):
        load_experiment(None, {"sanity": {"kinds": []}})


def test_default_settings_leave_no_trace_in_a_plan() -> None:
    assert "sanity" not in portable(Experiment(), ["gradient"])
    assert "sanity" not in to_toml(Experiment())
    changed = Experiment(sanity=SanitySettings(steps=3))
    assert portable(changed, ["gradient"])["sanity"]["steps"] == 3
    assert "[sanity]" in to_toml(changed)


def test_the_command_prints_correlations_and_writes_table_and_figures(roar: Callable[..., Any], tmp_path: Path) -> None:
    said = roar("sanity", "--limit-train", "60", "--limit-test", "20", "--train-epochs", "1", "--estimator",
                "gradient,random", "--executor", "serial", "--store", "store", "--threshold", "50", "--randomize",
                "cascading,labels", "--steps", "2")
    assert said.code == 0, said.err
    lines = [line.split("\t") for line in said.out.splitlines()]
    assert lines[0][:5] == ["model", "estimator", "kind", "step", "layers"]
    assert [line[2:5] for line in lines[1:4]] == [
        ["cascading", "1", "linear … conv3"], ["cascading", "2", "conv2 … conv1"], ["labels", "1", "shuffled labels"]]
    assert {path.name for path in (tmp_path / "store/reports").iterdir()} == {"sanity.csv", "sanity.svg",
                                                                             "sanity-iou.svg"}
    assert roar("report", "--table", "sanity", "--store", "store").code == 0


# -- what may be said ------------------------------------------------------------------------------------------------


def checks(means: dict[str, float], kind: str = "cascading", half: float = 0.05, steps: int = 2) -> pd.DataFrame:
    rows = []
    for estimator, last in means.items():
        for step in range(1, steps + 1):
            mean = last + 0.1 * (steps - step)
            for measure, threshold in (("spearman", np.nan), ("iou", 20.0)):
                rows.append({"source": "digits", "model": "simplecnn", "regularizer": "recipe", "estimator": estimator,
                             "kind": kind, "step": step, "steps": steps, "layers": f"layer{step}", "measure": measure,
                             "threshold": threshold, "mean": mean, "std": 0.1, "n": 30, "ci_low": mean - half,
                             "ci_high": mean + half, "by_chance": 0.0, "tied_share": 0.0,
                             "train_accuracy": 0.9 if kind == "labels" else np.nan, "folder": "f"})
    return with_facts(pd.DataFrame(rows))


def test_the_verdict_is_of_the_last_step_and_of_its_interval() -> None:
    found = sanity_verdicts(pd.concat([checks({"gradient": 0.44, "vargrad": 0.56, "smoothgrad": 0.46}),
                                       checks({"gradient": 0.9}, "independent"), checks({"gradient": 0.2}, "labels")]))
    verdicts = found.set_index(["estimator", "kind"])["verdict"].to_dict()
    assert verdicts == {("gradient", "cascading"): "notices", ("vargrad", "cascading"): "does not notice",
                        ("smoothgrad", "cascading"): "undecided", ("gradient", "labels"): "notices"}
    alone = sanity_verdicts(checks({"gradient": 0.9}).assign(ci_low=np.nan, ci_high=np.nan))
    assert alone["verdict"].tolist() == ["undecided"]  # one image has no interval


def test_the_leaderboard_says_who_does_not_notice() -> None:
    sanity = pd.concat([checks({"gradient": 0.9, "vargrad": 0.1, "smoothgrad": 0.5, "smoothgrad-squared": 0.7}),
                        checks({"vargrad": 0.2, "smoothgrad-squared": 0.8}, "labels")])
    board = with_sanity(leaderboard(synthetic_results()), sanity).set_index("estimator")["sanity"].to_dict()
    assert board == {"gradient": "does not notice weights", "vargrad": "notices", "smoothgrad": "undecided",
                     "smoothgrad-squared": "does not notice weights and labels", "random": "not checked",
                     "sobel": "not checked"}
    marked = with_sanity(leaderboard(synthetic_results()), sanity)
    assert render(leaderboard_intervals(marked), "svg").count(b"does not notice") == 2
    assert set(with_sanity(leaderboard(synthetic_results()), sanity.iloc[:0])["sanity"]) == {"not checked"}


def test_figures_show_every_kind_and_family_on_one_scale() -> None:
    sanity = pd.concat([checks({"gradient": 0.2, "vargrad-gb": 0.7}), checks({"gradient": 0.2}, "independent"),
                        checks({"gradient": 0.2, "vargrad-gb": 0.6}, "labels", steps=1)])
    figure = sanity_curves(sanity)
    assert len(figure.axes) == 3 * 2
    lines = [line for line in figure.axes[0].get_lines() if line.get_label() == "gradient"]
    assert lines[0].get_xydata().tolist() == [[0, 1], [1, pytest.approx(0.3)], [2, pytest.approx(0.2)]]
    assert {axes.get_ylim() for axes in figure.axes[:3]} == {(-0.1, 1.03)}
    assert not figure.axes[3].axison  # there is no check of guided backprop one layer at a time
    assert b"fitted to 90.0 %" in render(figure, "svg")
    assert render(sanity_curves(sanity, "iou"), "svg") == render(sanity_curves(sanity, "iou"), "svg")
    with pytest.raises(AnalysisError, match="roar sanity"):
        sanity_curves(sanity.iloc[:0])


def test_of_several_numbers_of_steps_the_finest_is_drawn() -> None:
    sanity = pd.concat([checks({"gradient": 0.2}), checks({"gradient": 0.2}, steps=5)])
    ticks = [text.get_text() for text in sanity_curves(sanity).axes[0].get_xticklabels()]
    assert ticks == ["nothing", *(f"layer{step}" for step in range(1, 6))]


def test_the_page_shows_both_or_says_that_they_were_not_done(session: pipeline.Session) -> None:
    measure_agreement(session)
    bare = report_page(synthetic_results())
    assert "The rankings were not compared" in bare
    assert "Sanity checks were not run" in bare
    assert "sanity check:" not in bare
    page = report_page(synthetic_results(), {
        "ranking-agreement": Results(session.store).ranking_agreement(),
        "sanity": pd.concat([checks({"gradient": 0.9, "vargrad": 0.1}), checks({"gradient": 0.9}, "labels", steps=1)])})
    assert page.count("does not notice</strong>") == 2
    assert "sanity check: does not notice weights and labels" in page
    assert "sanity check: not checked" in page
    assert "fitted to 90.0 %" in page
    assert "Over 40 test images" in page


def test_two_settings_of_one_estimator_are_told_apart(tmp_path: Path) -> None:
    for samples in (2, 3):
        found = opened(tmp_path / "store", estimators={"names": ["vargrad"], "samples": samples},
                       sanity={"kinds": ["independent"], "steps": 1})
        measure_sanity(found)
    names = set(Results(open_store(str(tmp_path / "store"))).sanity()["estimator"])
    assert len(names) == 2
    assert all(name.startswith("vargrad (") for name in names)
