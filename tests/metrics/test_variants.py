"""Retraining that starts at the explained network: all of it, or its head alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from roar import pipeline
from roar.datasets.statistics import Normalization
from roar.errors import ExperimentError, ModelError
from roar.experiment import Experiment, load_experiment, portable, to_toml
from roar.jobs.training import resume as resuming
from roar.jobs.training.batches import epoch_order
from roar.jobs.training.evaluation import evaluate
from roar.jobs.training.loop import train
from roar.jobs.training.optimizer import learning_rate
from roar.metrics.retraining.tasks import retrain
from roar.models import MODELS, create, head, head_only, weights_hash
from roar.models.architecture import Architecture
from roar.models.regularizers import parse
from roar.recipes import Recipe
from roar.report.view import Results

HALF = Normalization((0.5,), (0.25,))
SMALL: dict[str, Any] = {
    "source": {"limit_train": 120, "limit_test": 60},
    "estimators": {"names": ["gradient", "random"], "shard_size": 80},
    "degrade": {"thresholds": [50]},
    "train": {"epochs": 4, "batch_size": 20}, "retrain": {"seeds": 2, "epochs": 2, "batch_size": 20},
}


def experiment(store: Path, variant: str, model: Any = None, pack: int | None = None, **retrain: Any) -> Experiment:
    return load_experiment(None, {
        **SMALL, "store": str(store), "compute": {"executor": "serial", **({"pack": pack} if pack else {})},
        "model": model or [{}], "retrain": {**SMALL["retrain"], "variant": variant, **retrain}})


def rows(store: Path, variant: str, **how: Any) -> pd.DataFrame:
    """The results of an experiment, without what differs from run to run."""
    session = pipeline.prepare(experiment(store, variant, **how))
    jobs = {job.key for job in retrain(session)}
    results = Results(session.store).results()
    return results[results["job"].isin(jobs)].drop(columns="train_seconds").reset_index(drop=True)


def noise(count: int = 40, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 1, 8, 8), generator=generator, dtype=torch.uint8)


def digits_network() -> nn.Module:
    """A network with running statistics of some images."""
    network = create("simplecnn", in_channels=1, image_size=8, seed=3)
    train(network, noise(), torch.arange(40) % 10, Recipe(epochs=1, batch_size=20, learning_rate=0.01), HALF, 0)
    return network


# -- the head ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "size", "layer", "factor"), [
    ("simplecnn", 8, "linear", 1.0), ("simplecnn-gelu", 17, "linear3", 1.0), ("resnet20", 8, "linear", 1.0),
    ("resnet18", 8, "fc", 1.0), ("speednet", 16, "linear", 1 / 9),
    ("timm/resnet10t", 32, "fc", 1.0), ("timm/convnext_atto", 32, "head.fc", 1.0)])
def test_the_head_gives_the_logits(name: str, size: int, layer: str, factor: float) -> None:
    if name.startswith("timm/"):
        pytest.importorskip("timm")
    network = create(name, num_classes=7, in_channels=3, image_size=size, seed=0, dropout=0.5)
    before = weights_hash(network.state_dict())
    found = head(network, (3, size, size))
    assert found is network.get_submodule(layer)
    seen: list[Tensor] = []
    hook = found.register_forward_hook(lambda module, arguments, output: seen.append(output))
    logits = network.eval()(torch.randn(2, 3, size, size))
    hook.remove()
    assert torch.allclose(logits, factor * seen[0])
    assert weights_hash(network.state_dict()) == before


def test_torchvisions_classifier_ends_in_the_head() -> None:
    from torchvision.models.vgg import VGG, make_layers

    network = VGG(make_layers([8, "M"]), num_classes=5, init_weights=False)
    network.classifier = nn.Sequential(nn.Linear(8 * 49, 16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 5))
    assert head(network, (3, 16, 16)) is network.classifier[3]


def test_the_probe_leaves_modes_hooks_and_random_numbers_alone() -> None:
    network = digits_network()
    network.get_submodule("bn2").eval()
    modes = [module.training for module in network.modules()]
    state = torch.get_rng_state()
    head(network, (1, 8, 8))
    assert [module.training for module in network.modules()] == modes
    assert not any(module._forward_hooks for module in network.modules())
    assert torch.equal(torch.get_rng_state(), state)


class TwoHeads(nn.Module):
    """The logits are the sum of two linear layers' outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(64, 4), nn.Linear(64, 4)

    def forward(self, images: Tensor) -> Tensor:
        x = images.flatten(1)
        logits: Tensor = self.first(x) + self.second(x)
        return logits


def twice() -> nn.Module:
    layer = nn.Linear(4, 4)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 4), layer, layer)


@pytest.mark.parametrize("network", [
    nn.Sequential(nn.Conv2d(1, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()),  # no linear layer at all
    nn.Sequential(nn.Conv2d(1, 4, 8), nn.Flatten()),
    nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.BatchNorm1d(4)),
    nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.ReLU()),
    nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.Unflatten(1, (4, 16)), nn.AdaptiveAvgPool1d(1), nn.Flatten()),
    TwoHeads(), twice()])
def test_a_network_without_a_head_is_refused(network: nn.Module) -> None:
    with pytest.raises(ModelError, match=r'has no head: its logits .* set variant = "fine-tune"'):
        head(network, (1, 8, 8))


# -- training the head alone ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("regularizer", ["recipe", "l1(0.1)+l2(0.1)+group-lasso(0.1)", "weight-decay(0.5)",
                                         "input-gradient(0.1)"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_training_the_head_leaves_all_else_untouched(regularizer: str, optimizer: Any) -> None:
    network, untouched = digits_network(), digits_network().state_dict()
    recipe = Recipe(epochs=2, batch_size=16, learning_rate=0.05, optimizer=optimizer, weight_decay=0.5)
    train(head_only(network, (1, 8, 8)), noise(), torch.arange(40) % 10, recipe, HALF, 1,
          regularizer=parse(regularizer))
    changed = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, untouched[name])}
    assert changed == {"linear.weight", "linear.bias"}


def test_the_penalty_of_a_frozen_filter_is_not_counted() -> None:
    from roar.jobs.training.penalties import weight_penalty

    penalty = weight_penalty(head_only(digits_network(), (1, 8, 8)), parse("group-lasso(1)"))
    assert penalty is not None
    assert penalty().item() == 0.0


def test_training_the_head_is_logistic_regression_on_fixed_features() -> None:
    """A loop of its own over features that are computed once, with the loop's order, rates, and optimizer."""
    recipe = Recipe(epochs=3, batch_size=16, learning_rate=0.3, weight_decay=0.01, label_smoothing=0.1)
    images, labels, network = noise(), torch.arange(40) % 10, digits_network()
    features: list[Tensor] = []
    layer = network.get_submodule("linear")
    assert isinstance(layer, nn.Linear)
    hook = layer.register_forward_hook(lambda module, arguments, output: features.append(arguments[0]))
    with torch.no_grad():
        network.eval()((images / 255 - 0.5) / 0.25)
    hook.remove()

    weight, bias = (tensor.detach().clone().requires_grad_() for tensor in (layer.weight, layer.bias))
    speed = [torch.zeros_like(weight), torch.zeros_like(bias)]
    for step in range(6):
        epoch, place = divmod(step, 2)
        batch = torch.from_numpy(epoch_order(recipe, 40, 5, epoch)[16 * place:16 * (place + 1)].copy())
        loss = F.cross_entropy(features[0][batch] @ weight.T + bias, labels[batch], label_smoothing=0.1)
        gradients = torch.autograd.grad(loss + 0.01 / 2 * weight.square().sum(), (weight, bias))
        with torch.no_grad():
            for tensor, gradient, moving in zip((weight, bias), gradients, speed, strict=True):
                moving.copy_(gradient if step == 0 else 0.9 * moving + gradient)
                tensor -= learning_rate(recipe, step, 6, 2) * (gradient + 0.9 * moving)

    train(head_only(network, (1, 8, 8)), images, labels, recipe, HALF, 5)
    assert torch.allclose(layer.weight, weight, atol=1e-5)
    assert torch.allclose(layer.bias, bias, atol=1e-5)
    assert not torch.allclose(weight, digits_network().get_submodule("linear").weight, atol=1e-2)


def test_dropout_before_the_head_acts_and_norms_do_not_learn() -> None:
    network = head_only(create("simplecnn", in_channels=1, image_size=8, seed=0, dropout=0.5), (1, 8, 8)).train()
    modes = {name: module.training for name, module in network.network.named_modules()}
    assert modes["dropout"]
    assert not any(modes[f"bn{number}"] for number in (1, 2, 3))
    network.eval()
    assert not any(module.training for module in network.modules())


def test_a_trained_network_does_not_set_its_first_layer_again() -> None:
    images = torch.randint(0, 256, (20, 1, 12, 12), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    recipe = Recipe(epochs=1, batch_size=10, learning_rate=0.001)
    for prepare in (True, False):
        network = create("speednet", in_channels=1, image_size=12, seed=0)
        before = network.get_submodule("whiten").weight.clone()
        train(network, images, torch.arange(20) % 10, recipe, HALF, 0, prepare=prepare)
        assert torch.equal(network.get_submodule("whiten").weight, before) != prepare


# -- the whole line ------------------------------------------------------------------------------------------------


def test_rows_say_what_was_trained_and_every_model_has_its_own_reference(tmp_path: Path) -> None:
    found = rows(tmp_path / "store", "fine-tune", model=[{"seed": 0}, {"seed": 1}])
    assert set(found["retrainer"]) == {"simplecnn (fine-tune)"}
    assert found["status"].eq("ok").all()
    assert found.groupby("model")["protocol"].nunique().tolist() == [1, 1]
    assert found["protocol"].nunique() == 2
    assert found[found["estimator"] == "reference"].groupby("model").size().tolist() == [2, 2]
    assert found[found["estimator"] == "random"].groupby("model").size().tolist() == [2, 2]  # start elsewhere
    assert len(found) == 2 * 2 * (1 + 2)


@pytest.mark.parametrize("variant", ["fine-tune", "head-only"])
def test_a_rate_near_zero_gives_the_explained_network(variant: str, tmp_path: Path,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a network without norms, whose running statistics would follow the batches at any rate."""
    def build(classes: int, channels: int, size: int, dropout: float) -> nn.Module:
        return nn.Sequential(nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * (size - 2)**2, classes))

    monkeypatch.setitem(MODELS.values, "simplecnn", Architecture("simplecnn", build, "without norms", 4))
    session = pipeline.prepare(experiment(tmp_path / "store", variant, learning_rate=1e-30))
    retrain(session)
    manifest = session.store.manifest(session.models[0].folder)
    assert manifest is not None
    found = Results(session.store).results().query("estimator == 'reference'")["accuracy"].tolist()
    assert found == [manifest["facts"]["test_accuracy"]] * 2
    assert found[0] > 0.15


def test_a_reference_is_the_explained_network_trained_further(tmp_path: Path) -> None:
    """The row of seed 1 by a training of its own, from the weights in the store and through their normalization."""
    from roar.seeds.streams import derive

    model = [{"normalize_mean": [0.3], "normalize_std": [0.6]}]
    session = pipeline.prepare(experiment(tmp_path / "store", "fine-tune", model=model, pack=1))
    (job,) = [job for job in retrain(session) if job.ranking is None and job.row["seed"] == 1]
    assert session.models[0].settings.normalize_mean == (0.3,)
    own = Normalization((0.3,), (0.6,))
    network = create("simplecnn", in_channels=1, image_size=8)
    network.load_state_dict(load_file(tmp_path / "store" / session.models[0].folder / "weights.safetensors"))
    images, test = (torch.from_numpy(split.images) for split in (session.source.train, session.source.test))
    labels, test_labels = (torch.from_numpy(split.labels) for split in (session.source.train, session.source.test))
    train(network, images, labels, job.recipe, own, derive(0, "training", 1))
    row = Results(session.store).results().set_index("job").loc[job.key]
    assert row["accuracy"] == evaluate(network, test, test_labels, own).accuracy


def test_packs_of_any_multiple_of_four_give_the_same_rows(tmp_path: Path) -> None:
    found = [rows(tmp_path / str(pack), "fine-tune", pack=pack) for pack in (4, 8)]
    pd.testing.assert_frame_equal(*found)
    assert found[0].query("estimator == 'gradient'")["accuracy"].nunique() == 2  # seeds draw other batches


def test_the_head_trains_alone_whatever_the_pack(tmp_path: Path) -> None:
    pd.testing.assert_frame_equal(rows(tmp_path / "one", "head-only"), rows(tmp_path / "two", "head-only", pack=4))


@pytest.mark.parametrize("variant", ["fine-tune", "head-only"])
def test_an_interrupted_training_goes_on(variant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roar.jobs.stage.CHECKPOINT_EVERY", -1.0)
    whole = rows(tmp_path / "whole", variant, pack=1)
    honest, started = resuming.train, []

    def interrupted(*arguments: Any, checkpoint: Callable[..., None], resume: Any, **rest: Any) -> Any:
        def keep(state: Any) -> None:
            checkpoint(state)
            if len(started) == 4:
                raise KeyboardInterrupt
        started.append(resume)
        return honest(*arguments, checkpoint=keep, resume=resume, **rest)

    monkeypatch.setattr(resuming, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        rows(tmp_path / "store", variant, pack=1)
    pd.testing.assert_frame_equal(rows(tmp_path / "store", variant, pack=1), whole)
    assert started[4] is not None  # it went on and did not begin again
    assert list((tmp_path / "store").glob("checkpoints/*")) == []


# -- keys and errors -----------------------------------------------------------------------------------------------


def test_from_scratch_nothing_has_another_key(tmp_path: Path) -> None:
    default, named = (load_experiment(None, tables) for tables in ({}, {"retrain": {"variant": "scratch"}}))
    assert "variant" not in default.model_dump()["retrain"]
    assert "variant" not in to_toml(default)
    assert portable(default, ()) == portable(named, ())
    session = pipeline.prepare(experiment(tmp_path / "store", "scratch"))
    jobs = retrain(session)
    assert all("variant" not in job.identity and "weights" not in job.identity for job in jobs)
    assert {job.row["retrainer"] for job in jobs} == {"simplecnn"}
    assert {job.start for job in jobs} == {None}


def test_the_variant_is_kept_and_is_no_part_of_the_recipe(tmp_path: Path) -> None:
    asked = experiment(tmp_path / "store", "head-only")
    assert 'variant = "head-only"' in to_toml(asked)
    assert "variant" not in asked.retrain.resolve("digits").model_dump()


def test_every_variant_has_keys_of_its_own(tmp_path: Path) -> None:
    store = tmp_path / "store"
    found = [rows(store, variant) for variant in ("scratch", "fine-tune", "head-only")]
    keys = [key for frame in found for key in frame["job"]]
    assert len(set(keys)) == len(keys) == 3 * 6
    assert len({frame["protocol"][0] for frame in found}) == 3
    assert len(list(store.glob("models/*/*"))) == 1


def test_another_architecture_cannot_be_trained_further(tmp_path: Path) -> None:
    asked = experiment(tmp_path / "store", "fine-tune")
    other = asked.model_copy(update={"retrain": asked.retrain.model_copy(update={"model": "resnet20"})})
    with pytest.raises(ExperimentError, match="simplecnn, which do not fit resnet20; leave"):
        pipeline.prepare(other)
    same = asked.model_copy(update={"retrain": asked.retrain.model_copy(update={"model": "simplecnn"})})
    assert pipeline.prepare(same).models


def test_without_a_head_nothing_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(classes: int, channels: int, size: int, dropout: float) -> nn.Module:
        return nn.Sequential(nn.Conv2d(channels, classes, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    monkeypatch.setitem(MODELS.values, "simplecnn", Architecture("simplecnn", build, "ends in a pooling", 4))
    with pytest.raises(ModelError, match="Sequential has no head"):
        retrain(pipeline.prepare(experiment(tmp_path / "store", "head-only")))
    assert not list((tmp_path / "store").glob("models/*"))


def test_the_flag(roar: Callable[..., Any]) -> None:
    said = roar("retrain", "--variant", "frozen")
    assert said.code == 2
    assert "retrain.variant = 'frozen'" in said.err
    assert "head-only" in said.err
