"""Guided backprop: every ReLU of a network, however it is written, against a literal one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import references
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from roar.errors import EstimatorError
from roar.estimators.methods.guided_backprop import guided_backprop


class OneReLU(nn.Module):
    """Two layers and a residual, with an activation applied three times over."""

    def __init__(self, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 5, 3, padding=1), nn.Conv2d(5, 5, 3, padding=1)
        self.last = nn.Linear(5, 4)
        self.activation = activation

    def forward(self, images: Tensor) -> Tensor:
        x = self.activation(self.first(images))
        x = self.activation(self.second(x) + x)
        return self.last(self.activation(x - 0.1).mean((2, 3)))


RELUS = {
    "reused module": nn.ReLU(), "reused module in place": nn.ReLU(inplace=True),
    "F.relu": F.relu, "F.relu in place": lambda x: F.relu(x, inplace=True), "F.relu_": F.relu_,
    "torch.relu": torch.relu, "torch.relu_": torch.relu_,
    "method": lambda x: x.relu(), "method in place": lambda x: x.relu_(),
}
SAME = {
    "clamp": lambda x: x.clamp(min=0), "clamp_min": lambda x: x.clamp_min(0), "clip": lambda x: torch.clip(x, min=0),
    "threshold": lambda x: F.threshold(x, 0, 0), "hardtanh": lambda x: F.hardtanh(x, 0, 1e9),
    "relu6": lambda x: F.relu6(x / 100) * 100,
}


def network(activation: Callable[[Tensor], Tensor]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return OneReLU(activation).double().eval()


def images() -> Tensor:
    return torch.randn(3, 3, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


TARGETS = torch.tensor([0, 3, 1])


@pytest.mark.parametrize("name", RELUS)
def test_every_way_to_write_a_relu_is_guided(name: str) -> None:
    guided = network(RELUS[name])
    expected = [references.guided_backprop(guided, image, int(target))
                for image, target in zip(images(), TARGETS, strict=True)]
    torch.testing.assert_close(guided_backprop(guided, images(), TARGETS), torch.stack(expected))


@pytest.mark.parametrize("name", SAME)
def test_what_computes_a_relu_is_guided_too(name: str) -> None:
    expected = guided_backprop(network(torch.relu), images(), TARGETS)
    torch.testing.assert_close(guided_backprop(network(SAME[name]), images(), TARGETS), expected)


def test_guiding_differs_from_the_gradient_and_leaves_no_trace() -> None:
    guided = network(nn.ReLU())
    before = [references.gradient(guided, image, 0) for image in images()]
    found = guided_backprop(guided, images(), TARGETS * 0)
    after = [references.gradient(guided, image, 0) for image in images()]
    assert not torch.allclose(found, torch.stack(before))
    torch.testing.assert_close(torch.stack(after), torch.stack(before), rtol=0, atol=0)


@pytest.mark.parametrize("activation", [F.gelu, F.silu, torch.tanh, lambda x: x.clamp(min=-1), F.leaky_relu])
def test_a_network_without_relu_is_refused(activation: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(EstimatorError, match="has no ReLU, so 'guided-backprop'"):
        guided_backprop(network(activation), images(), TARGETS)


class Mixed(nn.Module):
    """``relus`` ReLUs, then ``others`` activations of another kind."""

    def __init__(self, relus: int, others: int, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.last = nn.Linear(3, 4)
        self.relus, self.others, self.activation = relus, others, activation

    def forward(self, images: Tensor) -> Tensor:
        x = images
        for _ in range(self.relus):
            x = torch.relu(x + 0.5)
        for _ in range(self.others):
            x = self.activation(x)
        return self.last(x.mean((2, 3)))


@pytest.mark.parametrize("activation", [F.gelu, F.silu, torch.tanh, F.leaky_relu, F.hardswish, F.elu, F.mish,
                                        torch.sigmoid, F.softplus, F.celu, F.selu, nn.PReLU().double()])
def test_a_network_of_mostly_other_activations_is_refused(activation: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(EstimatorError, match=r"of this network's 5 activations 2 are ReLUs and the others .*'grad"):
        guided_backprop(Mixed(2, 3, activation).double().eval(), images(), TARGETS)
    assert guided_backprop(Mixed(3, 3, activation).double().eval(), images(), TARGETS).shape == images().shape
