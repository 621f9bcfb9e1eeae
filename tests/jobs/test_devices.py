"""Whatever computes on a device mixes no devices: the whole line on a GPU that is only pretended, against the CPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from pretended_device import Elsewhere, plain_optimizers, pretended_device
from ranked import names_of, rank_images
from torch import Tensor

from roar.datasets import Normalization
from roar.datasets.degradation import degrade
from roar.datasets.fills.base import FillContext
from roar.datasets.fills.registry import fill_kinds, find_fill
from roar.experiment import EstimatorSettings
from roar.jobs import images as job_images
from roar.jobs.training.evaluation import evaluate
from roar.jobs.training.loop import train
from roar.models import create
from roar.recipes import Recipe
from roar.report.view import Results
from roar.store.store import open_store

__all__ = ["plain_optimizers"]
pytestmark = pytest.mark.usefixtures("plain_optimizers")

NORMALIZATION = Normalization((0.5, 0.4, 0.5), (0.2, 0.2, 0.3))
MEAN = np.array([120, 60, 200], dtype=np.uint8)
RECIPE = {"epochs": 1, "batch_size": 8, "learning_rate": 0.01, "momentum": 0.9, "padding": 2}
# Whole runs: packed networks, dropout, mixed fills and controls; the last one differentiates twice.
RUNS = {
    "packed": ["--pack", "2", "--seeds", "2", "--control", "mask-only,random-blurred", "--regularizer", "dropout(.3)"],
    "alone": ["--pack", "1", "--seeds", "1", "--fill", "noisy-linear", "--mode", "kar"],
    "recursive": ["--pack", "1", "--seeds", "1", "--mode", "recursive"],
    "fine-tuned": ["--pack", "1", "--seeds", "1", "--variant", "fine-tune", "--regularizer", "input-gradient(.1)"],
}


def pictures(count: int = 16, size: int = 32) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)
    return (torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=random),
            torch.randint(0, 5, (count,), generator=random))


def test_what_is_pretended(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operation on both devices is seen, and one on the device alone gives what the CPU gives."""
    with pretended_device(monkeypatch) as device:
        there, here = torch.ones(2, 3).to("cuda"), torch.ones(2, 3)
        assert isinstance(there, Elsewhere)
        assert there.device == device
        assert isinstance(torch.zeros(3, device="cuda") + torch.tensor([1.0, 2, 3], device=device), Elsewhere)
        with pytest.raises(AssertionError, match=r"add.* mixes devices"):
            there + here
        with pytest.raises(AssertionError, match="index mixes devices"):
            here[torch.tensor([0]).to(device)]
        with pytest.raises(AssertionError, match="another's generator"):
            there.normal_(generator=torch.Generator())
        layer = torch.nn.Linear(3, 2).to(device)
        layer(there).sum().backward()
        assert isinstance(layer.weight.grad, Elsewhere)
        assert layer.weight.grad.cpu().tolist() == [[2.0, 2, 2], [2, 2, 2]]


@pytest.mark.parametrize("model, augmentation", [("speednet", ("alternating-flip", "crop")),
                                                 ("simplecnn", ("flip", "resized-crop")), ("resnet20", ("flip",))])
def test_training_and_evaluation(model: str, augmentation: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    def trained(images: Tensor, labels: Tensor, device: Any) -> tuple[Any, int, dict[str, torch.device]]:
        network = create(model, 5, 3, 32, seed=1).to(device)
        log = train(network, images.to(device), labels, Recipe(augmentation=augmentation, **RECIPE), NORMALIZATION, 3)
        found = evaluate(network, images.to(device), labels.to(device), NORMALIZATION)
        return log.loss, found.n, {name: value.device for name, value in network.state_dict().items()}

    with pretended_device(monkeypatch) as device:
        losses, n, places = trained(*pictures(), device)
    assert set(places.values()) == {device}
    expected, *_ = trained(*pictures(), "cpu")
    assert n == 16
    assert losses == pytest.approx(expected, rel=1e-3)  # other kernels are chosen; they round otherwise


@pytest.mark.parametrize("fill", [kind.name for kind in fill_kinds()])
@pytest.mark.parametrize("planes", [1, 3])
def test_degradation(fill: str, planes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    images, _ = pictures(6, 12)
    ranks = torch.rand(6, planes * 144, generator=torch.Generator().manual_seed(1)).argsort(dim=1)
    context = FillContext(torch.from_numpy(MEAN), indices=torch.arange(6))
    with pretended_device(monkeypatch) as device:
        there = degrade(images.to(device), ranks.to(device), 50.0, "roar", find_fill(fill), context).cpu()
    assert torch.equal(there, degrade(images, ranks, 50.0, "roar", find_fill(fill), context))


@pytest.mark.parametrize("name", names_of(["paper", "controls", "oracles", "deeplift", "input-x-gradient"]))
def test_rankings(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = pictures(4)

    def ranks(device: Any) -> np.ndarray:
        network = create("simplecnn", 5, 3, 32, seed=1).to(device)
        return rank_images(network, images, labels.numpy(), np.arange(4), NORMALIZATION, [name], EstimatorSettings(),
                           0, "test", device=device, channel_mean=MEAN, num_classes=5,
                           truth=np.arange(4 * 1024).reshape(4, 32, 32) % 3 == 0)[name].ranks

    with pretended_device(monkeypatch) as device:
        there = ranks(device)
    np.testing.assert_array_equal(there, ranks("cpu"))


@pytest.mark.parametrize("words, room", [*((words, True) for words in RUNS.values()), (RUNS["packed"], False)],
                         ids=[*RUNS, "images too large for the device"])
def test_a_whole_run(words: list[str], room: bool, roar: Callable[..., Any], tmp_path: Path,
                     monkeypatch: pytest.MonkeyPatch) -> None:
    everything = ["run", "--executor", "serial", "--limit-train", 90, "--limit-test", 30, "--epochs", 1,
                  "--train-epochs", 1, "--threshold", 50, *words,
                  "--estimator", "smoothgrad,integrated-gradients,random,sobel"]
    here, there = tmp_path / "here", tmp_path / "there"
    assert roar(*everything, "--store", here).code == 0
    with pretended_device(monkeypatch):
        if not room:
            monkeypatch.setattr(job_images, "free_memory", lambda device: 0.0)
        said = roar(*everything, "--store", there)
    assert said.code == 0, said.err
    found, expected = (Results(open_store(str(store))).results() for store in (there, here))
    assert set(found["status"]) == {"ok"}
    assert set(found["device"]) == {"cuda"}
    assert (found["accuracy"] - expected["accuracy"]).abs().max() <= 3 / 30  # weights differ by rounding, few images
    same = ["model", "regularizer", "estimator", "threshold", "mode", "fill", "seed"]
    pd.testing.assert_frame_equal(found[same], expected[same])
