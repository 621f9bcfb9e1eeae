"""The door: what is wrong with a network, its weights, a fill or a regularizer is told before anything is made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from roar import pipeline
from roar.errors import ExperimentError, ModelError, RoarError, TrainingError, UsageError
from roar.experiment import load_experiment, portable
from roar.metrics.deletion.tasks import delete
from roar.metrics.retraining.forecast import forecast
from roar.metrics.retraining.tasks import retrain
from roar.metrics.sanity.tasks import sanity
from roar.models import MODELS, create
from roar.pipeline import Session
from roar.pipeline.door import Objects
from roar.pipeline.images import statistics
from roar.progress import Silent
from roar.store.results import read_results

SMALL: dict[str, Any] = {
    "source": {"limit_train": 40, "limit_test": 20}, "train": {"epochs": 1}, "compute": {"executor": "serial"},
    "estimators": {"names": ["gradient", "random"]}, "degrade": {"thresholds": [50]},
    "retrain": {"seeds": 1, "epochs": 1}}


class Told(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def say(self, sentence: str) -> None:
        self.sentences.append(sentence)


def prepared(store: Path, network: Any = None, told: Told | None = None, **tables: Any) -> Session:
    """A session whose explained network is an object, or what the tables say."""
    objects = Objects() if network is None else Objects(models={"mine": MODELS.adapted(network, "mine")})
    asked = {**SMALL, **({} if network is None else {"model": [{"name": "mine"}]}), **tables, "store": str(store)}
    return pipeline.prepare(load_experiment(None, asked), told, objects)


def is_empty(store: Path) -> bool:
    """Whether nothing was made."""
    return not any((store / part).exists() for part in ("models", "rankings", "results", "plans"))


def linear(num_classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))


class Broken(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(images.flatten(1)) / 0


class Raising(Broken):
    def forward(self, images: Tensor) -> Tensor:
        raise LookupError("no such layer")


class Counting:
    """A factory with a memory."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> nn.Module:
        self.calls += 1
        network = linear(10)
        nn.init.constant_(network[1].weight, self.calls)
        return network


@pytest.mark.parametrize(("model", "says"), [
    (lambda: linear(7), r"'mine' gives 7 logits and the source has 10 classes; let it take an argument `num_classes`"),
    (lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 10)),
     "'mine' does not fit. The network cannot take images of 1x8x8"),
    (lambda: nn.Conv2d(1, 10, 3), r"for 1 images of 1x8x8 this one gave \(1, 10, 6, 6\)"),
    (lambda: Broken(), "logits are not all finite"),
    (lambda: Raising(), r"'mine' fails for an image of 1x8x8 \(LookupError: no such layer\)"),
    (Counting(), "begins with other weights at every call under the same seed"),
    (linear(7), "'mine' gives 7 logits"),
])
def test_a_network_is_tried_on_an_image_of_the_source(model: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=says) as raised:
        prepared(tmp_path / "store", model)
    assert "\n" not in str(raised.value)
    assert is_empty(tmp_path / "store")


def test_a_retrainer_is_tried_too(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text("from torch import nn\ndef net(): return nn.Sequential(nn.Flatten(), nn.Linear(64, 9))\n")
    with pytest.raises(ModelError, match="'net' gives 9 logits and the source has 10"):
        prepared(tmp_path / "store", retrain={"model": f"{path}:net"})


def test_a_regularizer_and_a_fill_are_tried_too(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text("def pull(network, loss, images, targets): return 3.0\n"
                    "def haze(images, removed, context): return images.float()\n")
    with pytest.raises(TrainingError, match="'pull' returned a float"):
        prepared(tmp_path / "store", model=[{"regularizer": f"{path}:pull"}])
    with pytest.raises(UsageError, match="'haze' returned float32"):
        prepared(tmp_path / "store", degrade={"fill": f"{path}:haze"})
    assert is_empty(tmp_path / "store")


def test_dropout_needs_a_network_that_takes_it(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=r"dropout\(0.3\) drops units, which 'mine' does not do"):
        prepared(tmp_path / "store", linear, model=[{"name": "mine", "regularizer": "dropout(0.3)"}])


# -- weights -----------------------------------------------------------------------------------------------------------


def test_weights_are_checked_before_anything_is_made(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(create("simplecnn", num_classes=7, in_channels=1, image_size=8).state_dict(), path)
    with pytest.raises(ModelError, match=r"'linear.* shape \(7.* network's has \(10"):
        prepared(tmp_path / "store", model=[{"weights": str(path)}])
    assert is_empty(tmp_path / "store")


def test_what_was_done_to_weights_is_said_once(tmp_path: Path) -> None:
    weights = create("simplecnn", in_channels=1, image_size=8, seed=1).half().state_dict()
    torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in weights.items()}}, tmp_path / "best.pt")
    told = Told()
    session = prepared(tmp_path / "store", told=told, model=[{"weights": str(tmp_path / "best.pt")}])
    assert told.sentences == [f"'{tmp_path / 'best.pt'}': took its 'state_dict', took 'module.' off the names, widened "
                              "float16 to float32."]
    pipeline.train(session)
    assert len(told.sentences) == 1
    again = prepared(tmp_path / "store", told=told, model=[{"weights": str(tmp_path / "best.pt")}])
    assert len(told.sentences) == 1
    assert [model.folder for model in again.models] == [model.folder for model in session.models]


def test_a_file_that_changes_during_a_run_is_noticed(tmp_path: Path) -> None:
    network = create("simplecnn", in_channels=1, image_size=8, seed=1)
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    session = prepared(tmp_path / "store", model=[{"weights": str(tmp_path / "w.safetensors")}])
    save_file({name: tensor + 1 for name, tensor in network.state_dict().items()}, tmp_path / "w.safetensors")
    with pytest.raises(ModelError, match="has changed since the run began"):
        pipeline.train(session)


# -- trained networks --------------------------------------------------------------------------------------------------


def test_a_trained_network_is_explained_as_it_is(tmp_path: Path) -> None:
    torch.manual_seed(3)
    network = linear(10)
    session = prepared(tmp_path / "store", network)
    (manifest,) = pipeline.train(session)
    assert manifest["facts"]["epochs"] == 0
    images = torch.from_numpy(session.source.test.images)
    right = network(statistics(session)[1].apply(images)).argmax(1) == torch.from_numpy(
        session.source.test.labels)
    assert manifest["facts"]["test_accuracy"] == right.double().mean().item()
    assert len(pipeline.rank(session)) == len(delete(session)) == 2
    assert network.training and not network._forward_hooks
    other = linear(10)
    assert prepared(tmp_path / "store", other).models[0].folder != session.models[0].folder
    assert prepared(tmp_path / "store", network.eval()).models[0].folder == session.models[0].folder


@pytest.mark.parametrize("stage", [retrain, forecast, sanity])
def test_what_needs_fresh_networks_refuses_a_trained_one(stage: Callable[[Session], Any], tmp_path: Path) -> None:
    session = prepared(tmp_path / "store", linear(10))
    with pytest.raises(RoarError, match=r"'mine' is one trained network, and .* needs networks with fresh weights"):
        stage(session)
    assert not (tmp_path / "store" / "models").exists()


def test_a_trained_network_is_retrained_by_a_factory_or_trained_further(tmp_path: Path) -> None:
    session = prepared(tmp_path / "store", linear(10), retrain={**SMALL["retrain"], "model": "linear"})
    assert {job.row["retrainer"] for job in retrain(session)} == {"linear"}
    session = prepared(tmp_path / "store", linear(10), retrain={**SMALL["retrain"], "variant": "fine-tune"})
    assert {job.row["retrainer"] for job in retrain(session)} == {"mine (fine-tune)"}
    assert read_results(session.store.files)["status"].eq("ok").all()


@pytest.mark.parametrize("settings", [{"weights": "best.pt"}, {"seeds": 2}])
def test_a_trained_network_has_neither_weights_nor_seeds(settings: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match="to which neither weights nor several seeds belong"):
        prepared(tmp_path / "store", linear(10), model=[{"name": "mine", **settings}])


# -- plans -------------------------------------------------------------------------------------------------------------


def test_a_plan_names_files_by_their_whole_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    asked = load_experiment(None, {
        "model": [{"name": "own.py:Net(width=2)", "regularizer": "own.py:pull(by=2)+l1(1)+./more.py:tug"}],
        "retrain": {"model": "own.py:Net"}, "degrade": {"fill": "own.py:haze"}})
    found = portable(asked, [])
    assert found["model"][0]["name"] == f"{tmp_path}/own.py:Net(width=2)"
    assert found["model"][0]["regularizer"] == f"{tmp_path}/own.py:pull(by=2)+l1(1)+{tmp_path}/more.py:tug"
    assert found["retrain"]["model"] == f"{tmp_path}/own.py:Net"
    assert found["degrade"]["fill"] == f"{tmp_path}/own.py:haze"


def test_an_image_size_that_a_network_cannot_take_is_told_before_it_is_trained(tmp_path: Path) -> None:
    pytest.importorskip("timm")
    with pytest.raises(ModelError, match=r"'timm/inception_v3' does not fit\. The network cannot take images of 1x32"
                                         r"x32 \(they are too small for its layers\)"):
        prepared(tmp_path, model=[{"name": "timm/inception_v3"}], source={**SMALL["source"], "image_size": 32})
    assert is_empty(tmp_path)


def test_gray_images_for_a_network_that_takes_color(tmp_path: Path) -> None:
    weights = tmp_path / "color.safetensors"
    save_file(create("simplecnn", in_channels=3, image_size=8, seed=1).state_dict(), weights)
    model = [{"name": "simplecnn", "weights": str(weights)}]
    with pytest.raises(ModelError, match=r"for images of 3 channels and the source's have 1: give --channels 3"):
        prepared(tmp_path / "store", model=model)
    session = prepared(tmp_path / "store", model=model, source={**SMALL["source"], "channels": 3})
    gray = prepared(tmp_path / "store").source
    assert session.source.train.images.shape == (40, 3, 8, 8)
    assert all((session.source.test.images[:, c] == gray.test.images[:, 0]).all() for c in range(3))
    assert session.source.fingerprint != gray.fingerprint
    pipeline.rank(session)


class Dead(nn.Module):
    """Its logits do not depend on the image."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.last = nn.Linear(64, num_classes)
        nn.init.constant_(self.last.bias, 0)

    def forward(self, images: Tensor) -> Tensor:
        return self.last(torch.relu(images.flatten(1) * 0 - 1))


def test_a_dead_network_is_told_when_it_is_ranked(tmp_path: Path) -> None:
    told = Told()
    session = prepared(tmp_path, Dead, told)
    pipeline.rank(session)
    found = [sentence for sentence in told.sentences if "a random one" in sentence]
    assert [sentence.partition(" scores")[0] for sentence in found] == ["'gradient'"] * 2
