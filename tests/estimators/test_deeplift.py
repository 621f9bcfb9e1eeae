"""DeepLIFT and input times gradient: what they sum to, and which networks DeepLIFT refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from explained import NORMALIZATION, pictures, scores, small_network
from torch import Tensor, nn

from roar import models
from roar.datasets import open_source
from roar.errors import EstimatorError
from roar.experiment import EstimatorSettings

CHANNELS = EstimatorSettings(unit="channel")
IMAGES, TARGETS = pictures(5), [0, 1, 2, 3, 0]
BLACK = NORMALIZATION.apply(torch.zeros((1, 3, 1, 1), dtype=torch.uint8))


def gap(network: nn.Module, images: np.ndarray, targets: list[int]) -> Tensor:
    """f_target(x) - f_target(black)."""
    x = NORMALIZATION.apply(torch.from_numpy(images))
    difference = network(x) - network(BLACK.expand(x.shape))
    return difference[torch.arange(len(targets)), targets].detach()


def deeplift(network: nn.Module, images: np.ndarray = IMAGES, rows: int = 64) -> Tensor:
    return scores(network, images, TARGETS[:len(images)], ["deeplift"], CHANNELS, rows=rows)["deeplift"]


class Network(nn.Module):
    """A convolution, something non-linear, and a linear layer."""

    def __init__(self, between: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.first, self.last = nn.Conv2d(3, 6, 3, padding=1), nn.LazyLinear(4)
            self.between = between
            self.eval()
            self(torch.zeros(1, 3, 8, 8))

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.between(self.first(images)).flatten(1))


MODULES = [nn.ReLU(), nn.ReLU(inplace=True), nn.Tanh(), nn.Sigmoid(), nn.ELU(), nn.LeakyReLU(), nn.Softplus(),
           nn.Sequential(nn.ReLU(), nn.MaxPool2d(2)), nn.Sequential(nn.MaxPool2d(2), nn.Tanh(), nn.ReLU()),
           nn.Sequential(nn.BatchNorm2d(6), nn.ReLU(), nn.AvgPool2d(2))]


@pytest.mark.parametrize("between", MODULES, ids=lambda module: str(module)[:20])
def test_contributions_sum_to_the_difference_of_the_logits(between: nn.Module) -> None:
    network = Network(between)
    torch.testing.assert_close(deeplift(network).sum(dim=1), gap(network, IMAGES, TARGETS), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["simplecnn", "resnet20"])
def test_of_fresh_networks_too(name: str) -> None:
    network = models.create(name, num_classes=4, image_size=8, seed=0).eval()
    expected = gap(network, IMAGES, TARGETS)
    torch.testing.assert_close(deeplift(network).sum(dim=1), expected, rtol=1e-3,
                               atol=1e-3 * float(expected.abs().max()))


def test_of_a_real_network_too(weights_path: Path, cifar10_path: Path) -> None:
    network = models.create("resnet20")
    models.load_weights(network, weights_path / "cifar10-resnet20.safetensors")
    images = open_source(f"parquet:{cifar10_path}", limit_train=1, limit_test=5).test.images
    found = deeplift(network, images).sum(dim=1)
    torch.testing.assert_close(found, gap(network.eval(), images, TARGETS), rtol=0.01, atol=0.01)


def test_images_do_not_mix_in_max_pooling() -> None:
    network = Network(nn.Sequential(nn.ReLU(), nn.MaxPool2d(2)))
    alone = torch.cat([scores(network, IMAGES[i:i + 1], TARGETS[i:i + 1], ["deeplift"], CHANNELS)["deeplift"]
                       for i in range(5)])
    torch.testing.assert_close(deeplift(network), alone)


@pytest.mark.parametrize(("between", "rule"), [
    (F.relu, "no rule for the operation Relu "), (torch.tanh, "no rule for the operation Tanh "),
    (nn.GELU(), "no rule for the operation Gelu "), (nn.SiLU(), "no rule for the operation Silu "),
    (lambda x: F.max_pool2d(x, 2), "no rule for the operation MaxPool2DWithIndices "),
    (lambda x: x * x, "no rule for the operation Mul "), (lambda x: x / x.sum(), "no rule for the operation Div "),
    (nn.InstanceNorm2d(6), "no rule for the operation"),
    (nn.GroupNorm(2, 6), "no rule for the operation NativeGroupNorm"), (torch.exp, "no rule for the operation Exp "),
    (nn.Sequential(nn.ReLU(), nn.GELU()), "no rule for the operation Gelu"),
])
def test_what_the_rescale_rule_does_not_cover_is_refused(between: Callable[[Tensor], Tensor], rule: str) -> None:
    with pytest.raises(EstimatorError, match=f"'deeplift' .*{rule}"):
        deeplift(Network(between))


def test_a_module_that_the_network_holds_twice_counts_as_one_used_twice() -> None:
    shared = nn.ReLU()
    with pytest.raises(EstimatorError, match="uses one ReLU 2 times"):
        deeplift(Network(nn.Sequential(shared, nn.Conv2d(6, 6, 1), shared)))


def test_without_non_linearity_deeplift_is_difference_times_weights() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 4)).eval()
    x = NORMALIZATION.apply(torch.from_numpy(IMAGES))
    expected = (x - BLACK).flatten(1) * network[1].weight.detach()[TARGETS]
    torch.testing.assert_close(deeplift(network), expected)


@pytest.mark.parametrize("rows", [1, 3, 64])
def test_the_number_of_rows_does_not_matter(rows: int) -> None:
    torch.testing.assert_close(deeplift(small_network(), rows=rows), deeplift(small_network()))


def test_input_times_gradient_is_that() -> None:
    found = scores(small_network(), IMAGES, TARGETS, ["gradient", "input-x-gradient"], CHANNELS)
    x = NORMALIZATION.apply(torch.from_numpy(IMAGES)).flatten(1)
    torch.testing.assert_close(found["input-x-gradient"], x * found["gradient"])
