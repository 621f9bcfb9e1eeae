"""How many passes rank_images makes, how many images are in one, and what it says of its progress."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from explained import NORMALIZATION, pictures, small_network
from ranked import rank_images
from torch import Tensor, nn

from roar.errors import EstimatorError
from roar.estimators import ESTIMATORS, RankedImages
from roar.estimators import rows as rows_module
from roar.estimators.kinds import blocks
from roar.estimators.rows import CPU_ACTIVATIONS, activation_bytes, rows_that_fit
from roar.experiment import EstimatorSettings

FAMILIES = ["gradient", "guided-backprop", "integrated-gradients"]


class Counting(nn.Module):
    """A network that notes how many images each differentiable pass has."""

    def __init__(self) -> None:
        super().__init__()
        self.network = small_network()
        self.batches: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        if images.requires_grad:
            self.batches.append(len(images))
        return self.network(images)


def rank(network: nn.Module, names: Sequence[str], settings: EstimatorSettings, images: int = 12,
         **given: Any) -> dict[str, RankedImages]:
    return rank_images(network, pictures(images), np.zeros(images), np.arange(images), NORMALIZATION, names, settings,
                       0, "test", **given)


def members(family: str) -> list[str]:
    ESTIMATORS.load()
    return [name for name, estimator in ESTIMATORS.values.items() if estimator.family == family]


@pytest.mark.parametrize("family", FAMILIES)
def test_six_members_cost_one_and_j_base_attributions(family: str) -> None:
    network, settings = Counting(), EstimatorSettings(samples=15, ig_steps=5)
    rank(network, members(family), settings, batch_size=4)
    steps = 5 if family == "integrated-gradients" else 1
    assert sum(network.batches) == 12 * (1 + 15) * steps
    assert set(network.batches) == {4}


@pytest.mark.parametrize(("name", "attributions"), [("gradient", 1), ("gradient-magnitude", 1), ("vargrad", 15)])
def test_only_what_is_needed_is_computed(name: str, attributions: int) -> None:
    network = Counting()
    rank(network, [name], EstimatorSettings(), batch_size=12)
    assert sum(network.batches) == 12 * attributions


@pytest.mark.parametrize("family", FAMILIES)
def test_few_images_share_a_pass_with_their_noisy_copies_and_steps(family: str) -> None:
    network = Counting()
    rank(network, members(family), EstimatorSettings(samples=15, ig_steps=6), images=2, batch_size=12)
    assert max(network.batches) == 12 and min(network.batches) >= 2
    assert np.mean(network.batches) > 6


@pytest.mark.parametrize("family", FAMILIES)
def test_no_pass_exceeds_the_budget_and_no_result_depends_on_it(family: str) -> None:
    settings = EstimatorSettings(samples=5, ig_steps=6)
    network = Counting()
    row = activation_bytes(network.eval(), NORMALIZATION.apply(torch.from_numpy(pictures(1))))
    network.batches.clear()
    expected = rank(small_network(), members(family), settings, images=8)
    found = rank(network, members(family), settings, images=8, memory_budget=3.5 * row / 1e9)
    assert max(network.batches[1:]) == 3  # the first pass measures one image
    for name in members(family):
        moved = np.abs(found[name].ranks.astype(int) - expected[name].ranks)
        assert moved.max() <= 1 and (moved > 0).mean() < 0.01, name


def test_rows_follow_from_the_budget_alone() -> None:
    network, image = small_network().eval(), NORMALIZATION.apply(torch.from_numpy(pictures(1)))
    row = activation_bytes(network, image)
    assert rows_that_fit(network, image, None) == CPU_ACTIVATIONS // row
    assert rows_that_fit(network, image, 10.5 * row / 1e9) == 10
    assert rows_that_fit(network, image, 1000.0) == CPU_ACTIVATIONS // row


@pytest.mark.parametrize("rows", [1.5, 2.5])
def test_a_budget_never_leaves_a_pass_of_one_image(rows: float) -> None:
    network, image = small_network().eval(), NORMALIZATION.apply(torch.from_numpy(pictures(1)))
    row = activation_bytes(network, image)
    with pytest.raises(EstimatorError, match=r"A pass of 3 images takes .* GB"):
        rows_that_fit(network, image, rows * row / 1e9)
    assert all(block.stop - block.start > 1 for count in range(2, 30) for block in blocks(count, 3))


def test_large_images_that_have_a_pass_each_keep_it_under_a_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    network, image = small_network().eval(), NORMALIZATION.apply(torch.from_numpy(pictures(1)))
    row = activation_bytes(network, image)
    monkeypatch.setattr(rows_module, "CPU_ACTIVATIONS", row)
    assert rows_that_fit(network, image, None) == rows_that_fit(network, image, 1.5 * row / 1e9) == 1


def test_the_bytes_of_a_pass_are_what_autograd_keeps_and_grow_with_the_image() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.LazyLinear(2)).eval()
    network(torch.zeros(1, 3, 16, 16))
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    kept = 8 * 16 * 16 * 4  # tanh keeps its output; the convolution and the linear layer only need weights
    found = activation_bytes(network, torch.randn(1, 3, 16, 16))
    assert kept <= found <= 6 * kept
    assert activation_bytes(network[:2], torch.randn(1, 3, 32, 32)) == 4 * activation_bytes(network[:2],
                                                                                           torch.randn(1, 3, 16, 16))


def test_progress_rises_to_all_passes() -> None:
    seen: list[tuple[int, int]] = []
    rank(small_network(), ["vargrad", "ig", "random"], EstimatorSettings(samples=3, ig_steps=4), batch_size=5,
         on_progress=lambda done, total: seen.append((done, total)))
    assert {total for _, total in seen} == {12 * (3 + 4)}
    assert [done for done, _ in seen] == sorted({done for done, _ in seen}) and seen[-1][0] == 12 * 7
