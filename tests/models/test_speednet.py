"""The network for protocols on a GPU, at a size for a CPU."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from roar.datasets.statistics import Normalization
from roar.jobs.training.loop import evaluate, train
from roar.models import create, weights_hash
from roar.models.architectures.speednet import EPSILON, PATCH, SHIFT, ShiftNorm, identity_convolution, whitening
from roar.recipes import Recipe, load_recipe

SMALL = {"epochs": 6, "batch_size": 40, "learning_rate": 0.2, "warmup_epochs": 0.5}


def pictures(count: int = 80, size: int = 12, channels: int = 3) -> tuple[Tensor, Tensor]:
    """Planes whose brightness goes up or down from left to right: two classes."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 2
    ramp = torch.linspace(40, 200, size).expand(count, channels, size, size)
    ramp = torch.where(labels.view(-1, 1, 1, 1) == 0, ramp, ramp.flip(3))
    images = ramp + 10 * torch.randn(count, channels, size, size, generator=generator)
    return images.clamp(0, 255).to(torch.uint8), labels


@pytest.mark.parametrize("channels", [1, 3])
def test_the_first_layer_whitens(channels: int) -> None:
    images = torch.randn(50, channels, 10, 10, generator=torch.Generator().manual_seed(1))
    images = images + images.roll(1, 3)  # neighbors are alike
    responses = F.conv2d(images, whitening(images)).transpose(0, 1).flatten(1)
    moment = responses @ responses.T / responses.shape[1]
    assert torch.allclose(moment, torch.eye(channels * PATCH**2), atol=0.02)


def test_flat_images_are_no_trouble() -> None:
    components = whitening(torch.zeros(4, 3, 8, 8))
    assert torch.isfinite(components).all()
    assert components.flatten(1).norm(dim=1).max() == pytest.approx(EPSILON**-0.5)


def test_convolutions_begin_as_the_identity() -> None:
    images = torch.randn(2, 4, 5, 5)
    assert torch.allclose(identity_convolution(4, 9)(images)[:, :4], images, atol=1e-6)


def test_the_shift_learns_as_fast_as_said() -> None:
    norm, images = ShiftNorm(3), torch.randn(8, 3, 4, 4)
    plain = torch.nn.BatchNorm2d(3)
    for module in (norm, plain):
        module(images).square().sum().backward()
        module(images).sum().backward()
    with torch.no_grad():
        step = norm.bias.grad
        plain_step = plain.bias.grad
    assert SHIFT * step == pytest.approx(SHIFT**2 * plain_step)
    assert norm.weight.grad is None


def test_training_prepares_the_first_layer_and_learns() -> None:
    images, labels = pictures()
    recipe = Recipe(**{**load_recipe("cifar10-fast"), **SMALL, "augmentation": ("crop",)})
    half = Normalization((0.5,) * 3, (0.25,) * 3)
    hashes = set()
    for _ in range(2):
        network = create("speednet", num_classes=2, image_size=12, seed=0)
        log = train(network, images, labels, recipe, half, seed=0)
        hashes.add(weights_hash(network.state_dict()))
    assert len(hashes) == 1
    assert log.loss[-1] < log.loss[0]
    assert evaluate(network, images, labels, half).accuracy > 0.9
    expected = whitening(half.apply(images))
    assert torch.allclose(network.get_submodule("whiten").weight[:12], expected, atol=0.01)


def test_resumed_is_the_same_training() -> None:
    images, labels = pictures(40)
    recipe = Recipe(**{**load_recipe("cifar10-fast"), **SMALL})
    half, kept = Normalization((0.5,) * 3, (0.25,) * 3), []
    whole, resumed = (create("speednet", num_classes=2, image_size=12, seed=0) for _ in range(2))
    recipe = recipe.model_copy(update={"epochs": 2})
    train(whole, images, labels, recipe, half, seed=1, checkpoint=lambda state: kept.append(state()))
    train(resumed, images, labels, recipe, half, seed=1, resume=kept[0])
    assert weights_hash(whole.state_dict()) == weights_hash(resumed.state_dict())
