"""What must hold of the estimators by their mathematics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from explained import GRAY, NORMALIZATION, pictures, scores, small_network
from hypothesis import given, settings
from hypothesis import strategies as st
from ranked import identity
from torch import Tensor, nn

from roar.estimators import ESTIMATORS, Batch, Explained, Explainer
from roar.estimators.batch import Task, reference_image
from roar.estimators.ensembles import Moments
from roar.experiment import EstimatorSettings

IMAGES, TARGETS = pictures(6), [0, 1, 2, 3, 0, 1]
SUFFIXES = {"gradient": "", "integrated-gradients": "-ig", "guided-backprop": "-gb"}
CHANNELS = EstimatorSettings(samples=4, ig_steps=5, unit="channel")


@pytest.mark.parametrize(("base", "suffix"), SUFFIXES.items())
def test_without_noise_smoothgrad_is_the_base_and_the_variance_is_zero(base: str, suffix: str) -> None:
    names = [base, f"{base}-magnitude", f"smoothgrad{suffix}", f"smoothgrad-magnitude{suffix}",
             f"smoothgrad-squared{suffix}", f"vargrad{suffix}"]
    found = scores(small_network(), IMAGES, TARGETS, names, CHANNELS.model_copy(update={"noise": 0.0}), rows=6)
    g = found[base]
    assert float(g.abs().max()) > 0
    torch.testing.assert_close(found[f"smoothgrad{suffix}"], g)
    assert bool((found[f"vargrad{suffix}"] <= 1e-12 * g.square().max()).all())
    for square in (names[1], names[3], names[4]):
        torch.testing.assert_close(found[square], g.square())


@pytest.mark.parametrize(("base", "suffix"), SUFFIXES.items())
def test_the_mean_square_is_the_squared_mean_and_the_variance(base: str, suffix: str) -> None:
    names = [f"smoothgrad-squared{suffix}", f"smoothgrad-magnitude{suffix}", f"vargrad{suffix}"]
    found = [*scores(small_network(), IMAGES, TARGETS, names, CHANNELS).values()]
    torch.testing.assert_close(found[0], found[1] + found[2])
    assert bool((found[2] >= 0).all()) and float(found[2].max()) > 0


def test_of_one_sample_the_variance_is_zero() -> None:
    found = scores(small_network(), IMAGES, TARGETS, ["vargrad"], CHANNELS.model_copy(update={"samples": 1}))
    assert bool((found["vargrad"] == 0).all())


def test_a_linear_networks_gradient_is_its_weights() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
    weights = network[1].weight.detach()[TARGETS]
    for name in ("gradient", "smoothgrad"):
        found = scores(network, IMAGES, TARGETS, [name], CHANNELS)[name]
        torch.testing.assert_close(found, weights)
    assert float(scores(network, IMAGES, TARGETS, ["vargrad"], CHANNELS)["vargrad"].max()) < 1e-12


@pytest.mark.parametrize("baseline", ["black", "mean", "zero"])
def test_integrated_gradients_sum_to_the_difference_of_the_logits(baseline: str) -> None:
    network = small_network().eval()
    setting = EstimatorSettings(ig_steps=200, unit="channel", baseline=baseline)
    found = scores(network, IMAGES, TARGETS, ["integrated-gradients"], setting)["integrated-gradients"]
    x = NORMALIZATION.apply(torch.from_numpy(IMAGES))
    task = a_task(network, setting)
    difference = network(x) - network(reference_image(task).expand(x.shape))
    expected = difference[torch.arange(6), TARGETS].detach()
    assert float((found.sum(dim=1) - expected).abs().max()) < 0.01 * float(expected.abs().max())


def a_task(network: nn.Module, setting: EstimatorSettings, channel_mean: np.ndarray | None = None) -> Task:
    return Task(torch.from_numpy(IMAGES), np.arange(6), Batch(IMAGES, np.array(TARGETS), np.arange(6), "test"), setting,
                Explained(network, NORMALIZATION, channel_mean=channel_mean))


def test_the_reference_image_is_a_color_as_the_network_sees_it() -> None:
    black = reference_image(a_task(small_network(), EstimatorSettings(baseline="black")))
    torch.testing.assert_close(black.flatten(), torch.tensor([-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225]))
    zero = reference_image(a_task(small_network(), EstimatorSettings(baseline="zero")))
    assert zero.flatten().tolist() == [0, 0, 0]
    setting = EstimatorSettings(baseline="mean")
    assert reference_image(a_task(small_network(), setting)).flatten().tolist() == [0, 0, 0]
    mean = reference_image(a_task(small_network(), setting, np.array([255, 0, 51], np.uint8)))
    torch.testing.assert_close(mean.flatten(),
                               torch.tensor([0.515 / 0.229, -0.456 / 0.224, (0.2 - 0.406) / 0.225]))


def test_the_noise_has_the_spread_of_its_definition() -> None:
    """For f(x) = x^2 / 2 summed, g_j = x + e_j: the moments of g_j are those of the noise itself."""

    class HalfSquare(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.square().flatten(1).sum(dim=1, keepdim=True) / 2

    setting = EstimatorSettings(samples=500, noise=0.2, unit="channel")
    found = scores(HalfSquare(), IMAGES, [0] * 6, ["smoothgrad", "vargrad"], setting)
    x = NORMALIZATION.apply(torch.from_numpy(IMAGES)).flatten(1)
    s = 0.2 * (x.amax(dim=1) - x.amin(dim=1))
    torch.testing.assert_close(found["vargrad"].mean(dim=1), s.square(), rtol=0.03, atol=0)
    assert bool(((found["smoothgrad"] - x).abs().amax(dim=1) < 5 * s / 500**0.5).all())


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.floats(-1e3, 1e3), st.floats(1e-2, 1e2), st.integers(0, 2**32))
def test_moments_are_float64s_without_cancellation(samples: int, mean: float, spread: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = mean + spread * torch.randn(samples, 50, generator=generator)
    moments = Moments()
    for value in values:
        moments.add(value)
    exact = values.double()
    variance = exact.var(dim=0, correction=0)
    assert bool((moments.variance >= 0).all())
    # The values are rounded to float32, so a mean of 1e3 leaves 1e-4 of every deviation unknown to the formula.
    allowed = 1e-4 * variance + 1e-6 * abs(mean) * variance.sqrt() + 1e-12 * mean**2
    assert bool(((moments.variance - variance).abs() <= allowed).all())
    torch.testing.assert_close(moments.mean.double(), exact.mean(dim=0), rtol=1e-5, atol=1e-5 * spread)
    torch.testing.assert_close(moments.mean_square.double(), exact.square().mean(dim=0), rtol=1e-5, atol=0)


def test_the_variance_around_a_mean_of_a_thousand_is_float64s_to_one_in_ten_thousand() -> None:
    values = 1e3 + torch.randn(15, 3072, generator=torch.Generator().manual_seed(0))
    moments = Moments()
    for value in values:
        moments.add(value)
    exact = values.double().var(dim=0, correction=0)
    assert float((moments.variance - exact).abs().max() / exact.max()) < 1e-4
    assert float(((moments.variance - exact).abs() / exact).quantile(0.99)) < 1e-4
    naive = values.square().mean(dim=0) - values.mean(dim=0).square()
    assert float((naive - exact).abs().max() / exact.max()) > 1e-2  # what Welford's method avoids


@pytest.mark.parametrize("name", [name for name, e in ESTIMATORS.values.items() if isinstance(e, Explainer)])
def test_an_identity_holds_what_changes_the_scores_and_nothing_else(name: str) -> None:
    plain = EstimatorSettings(samples=3, ig_steps=4)
    gray = pictures(4, channels=1)
    network = small_network(channels=1)
    expected = scores(network, gray, [0, 1, 2, 3], [name], plain, normalization=GRAY)[name]
    for change in ({"samples": 4}, {"noise": 0.3}, {"ig_steps": 5}, {"baseline": "zero"}, {"shard_size": 7},
                   {"names": ("random",)}):
        changed = plain.model_copy(update=change)
        found = scores(network, gray, [0, 1, 2, 3], [name], changed, normalization=GRAY)[name]
        assert torch.equal(found, expected) == (identity(name, changed) == identity(name, plain)), change


def test_an_identity_holds_the_unit_and_the_target() -> None:
    plain, channel = EstimatorSettings(), EstimatorSettings(unit="channel")
    assert identity("sg", plain) == {"estimator": "smoothgrad", "unit": "sum", "target": "predicted", "samples": 15,
                                     "noise": 0.15}
    assert identity("ig", channel) == {"estimator": "integrated-gradients", "unit": "channel", "target": "predicted",
                                       "baseline": "black", "ig_steps": 25}
    assert identity("random", plain) == {"estimator": "random", "per_channel": False}
    assert identity("sobel", channel) == {"estimator": "sobel", "per_channel": True}
