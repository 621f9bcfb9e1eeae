"""All 18 estimators of the paper against their literal definitions, and the three bases against captum."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import references
import torch
from captum.attr import GuidedBackprop, IntegratedGradients, Saliency
from explained import NORMALIZATION, scores
from ranked import group, rank_images
from scipy.stats import spearmanr
from torch import Tensor, nn

from roar import models
from roar.datasets import open_source
from roar.estimators import ESTIMATORS
from roar.experiment import EstimatorSettings

SUFFIXES = {"gradient": "", "integrated-gradients": "-ig", "guided-backprop": "-gb"}
BLACK = NORMALIZATION.apply(torch.zeros((1, 3, 1, 1), dtype=torch.uint8))[0]


@pytest.fixture(scope="module")
def resnet20(weights_path: Path) -> nn.Module:
    network = models.create("resnet20")
    models.load_weights(network, weights_path / "cifar10-resnet20.safetensors")
    return network.eval()


@pytest.fixture(scope="module")
def pictures(cifar10_path: Path) -> np.ndarray:
    return open_source(f"parquet:{cifar10_path}", limit_train=1, limit_test=64).test.images


def literal(network: nn.Module, pictures: np.ndarray, targets: list[int], family: str,
            settings: EstimatorSettings) -> dict[str, Tensor]:
    """The six members of a family by their definitions, ``[N, P]`` summed over channels, in float64."""
    base = {"gradient": references.gradient, "guided-backprop": references.guided_backprop,
            "integrated-gradients": partial(references.integrated_gradients, baseline=BLACK.double(),
                                            steps=settings.ig_steps)}[family]
    found: dict[str, list[Tensor]] = {}
    for index, picture in enumerate(pictures):
        x = NORMALIZATION.apply(torch.from_numpy(picture)[None])[0].double()
        noise = references.noise(x, index, family, settings.samples, settings.noise, root_seed=0, split="test")
        noisy = [base(network, x + e, targets[index]) for e in noise]
        for name, attribution in references.six_members(base(network, x, targets[index]), noisy).items():
            name = references.name_in_family(name, family, SUFFIXES[family])
            found.setdefault(name, []).append(attribution.sum(dim=0).flatten())
    return {name: torch.stack(parts) for name, parts in found.items()}


@pytest.mark.slow
@pytest.mark.parametrize(("family", "images", "samples", "steps"), [
    # Passes one by one in float64 are slow, so there are many images with few samples and few with all.
    ("gradient", 64, 4, 25), ("gradient", 8, 15, 25),
    ("guided-backprop", 64, 4, 25), ("guided-backprop", 8, 15, 25),
    ("integrated-gradients", 64, 2, 4), ("integrated-gradients", 1, 15, 25),
])
def test_every_member_equals_its_definition(resnet20: nn.Module, pictures: np.ndarray, family: str, images: int,
                                            samples: int, steps: int) -> None:
    """In float64 to 1e-9; and as shipped, in float32, as near as the network's ReLUs let it.

    Where a pre-activation lies within float32's rounding of 0, its ReLU is open in one precision and shut in the
    other: then a few pixels of that image have another gradient, in any implementation.
    """
    pictures = pictures[:images]
    settings = EstimatorSettings(samples=samples, ig_steps=steps)
    names = [name for name in group("paper") if ESTIMATORS.values[name].family == family]
    targets = resnet20(NORMALIZATION.apply(torch.from_numpy(pictures))).argmax(dim=1).tolist()
    exact = copy.deepcopy(resnet20).double()
    expected = literal(exact, pictures, targets, family, settings)
    assert set(names) == set(expected) and len(names) == 6

    found = scores(exact, pictures, targets, names, settings, normalization=InDouble())
    for name in names:
        assert relative(found[name], expected[name]) < 1e-9, name

    ranked = rank_images(resnet20, pictures, np.zeros(images), np.arange(images), NORMALIZATION, names, settings, 0,
                         "test")
    shipped = scores(resnet20, pictures, targets, names, settings)
    for name in names:
        agreement = [spearmanr(-rank.astype(float), score).statistic
                     for rank, score in zip(ranked[name].ranks, expected[name], strict=True)]
        assert relative(shipped[name], expected[name]) < 1e-3, name
        assert np.quantile(agreement, 0.05) >= 0.9999 and min(agreement) >= 0.998, name
        assert ranked[name].targets.tolist() == targets


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


class InDouble:
    """The normalization, handing on float64."""

    def apply(self, images: Tensor) -> Tensor:
        return NORMALIZATION.apply(images).double()


@pytest.mark.parametrize("name", ["gradient", "guided-backprop", "integrated-gradients"])
def test_the_bases_equal_captums(resnet20: nn.Module, pictures: np.ndarray, name: str) -> None:
    network, pictures = copy.deepcopy(resnet20).double(), pictures[:8]
    x = InDouble().apply(torch.from_numpy(pictures))
    targets = network(x).argmax(dim=1)
    if name == "gradient":
        expected = Saliency(network).attribute(x.requires_grad_(), targets, abs=False)
    elif name == "integrated-gradients":
        expected = IntegratedGradients(network).attribute(x, BLACK.expand(x.shape), targets, n_steps=25,
                                                          method="riemann_middle", internal_batch_size=100)
    else:
        with pytest.warns(UserWarning, match="backward hooks"):
            expected = GuidedBackprop(copy.deepcopy(network)).attribute(x.requires_grad_(), targets)
    found = scores(network, pictures, targets.tolist(), [name], EstimatorSettings(unit="channel"),
                   normalization=InDouble())[name]
    assert relative(found, expected.detach().flatten(1)) < 1e-6
