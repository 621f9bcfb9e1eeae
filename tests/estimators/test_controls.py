"""The controls: random, random-bernoulli and sobel."""

from __future__ import annotations

import numpy as np
import pytest
import references
import torch
from explained import pictures
from ranked import rank_images
from scipy.stats import chisquare, kstest

from roar.estimators import ESTIMATORS, Control, RankedImages
from roar.estimators.methods.sobel import edge_strength
from roar.experiment import EstimatorSettings
from roar.seeds.streams import derive


def control_ranks(name: str, images: np.ndarray, root_seed: int = 0, split: str = "test",
                  first: int = 0) -> RankedImages:
    indices = np.arange(first, first + len(images))
    return rank_images(None, images, np.zeros(len(images)), indices, NoNormalization(), [name], EstimatorSettings(),
                       root_seed, split)[name]


class NoNormalization:
    """Controls do not look at normalized images."""

    def apply(self, images: torch.Tensor) -> torch.Tensor:
        raise AssertionError("a control asked for normalized images")


BLANK = np.zeros((3000, 1, 4, 4), np.uint8)


def test_random_is_uniform_over_permutations() -> None:
    ranks = control_ranks("random", BLANK).ranks
    for pixel in range(16):
        counts = np.bincount(ranks[:, pixel], minlength=16)
        assert chisquare(counts).pvalue > 1e-6
    pairs = np.bincount(16 * ranks[:, 3].astype(int) + ranks[:, 11], minlength=256)
    pairs = np.delete(pairs, np.arange(0, 256, 17))  # two pixels never share a rank
    assert chisquare(pairs).pvalue > 1e-6


def test_random_does_not_look_at_the_image() -> None:
    np.testing.assert_array_equal(control_ranks("random", pictures(5)).ranks,
                                  control_ranks("random", pictures(5, seed=1)).ranks)


@pytest.mark.parametrize("name", ["random", "random-bernoulli"])
def test_a_draw_depends_on_seed_split_and_index_alone(name: str) -> None:
    ranks = control_ranks(name, BLANK[:20]).ranks
    np.testing.assert_array_equal(control_ranks(name, BLANK[:5], first=10).ranks, ranks[10:15])
    for other in (control_ranks(name, BLANK[:20], root_seed=1), control_ranks(name, BLANK[:20], split="train")):
        assert (other.ranks != ranks).mean() > 0.8


def test_bernoulli_replaces_each_pixel_by_chance_on_its_own() -> None:
    ranks = control_ranks("random-bernoulli", BLANK).ranks
    assert ranks.max() == 15 and ranks.min() == 0
    assert kstest((ranks.reshape(-1) + np.random.default_rng(0).random(ranks.size)) / 16, "uniform").pvalue > 1e-6
    for k in (2, 8, 13):
        number = (ranks < k).sum(axis=1)
        variance = 16 * k / 16 * (1 - k / 16)  # of the binomial; of a permutation it is 0
        assert abs(number.mean() - k) < 5 * (variance / len(ranks)) ** 0.5
        assert abs(number.var() / variance - 1) < 0.2


def test_sobel_is_its_definition() -> None:
    images = pictures(3)
    expected = np.stack([references.sobel(image) for image in images])
    found = edge_strength(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)
    ranks = control_ranks("sobel", images).ranks
    for index in range(3):
        scores = edge_strength(torch.from_numpy(images))[index].flatten().numpy()
        np.testing.assert_array_equal(ranks[index], references.ranks(scores, index, derive(0, "ties", "test")))


def test_sobel_of_a_step_is_four_times_its_height_and_of_nothing_is_nothing() -> None:
    step = np.zeros((1, 3, 5, 6), np.uint8)
    step[..., 3:] = 100
    found = edge_strength(torch.from_numpy(step))[0]
    assert found[:, 2:4].tolist() == [[400.0, 400.0]] * 5
    assert float(found[:, [0, 1, 4, 5]].max()) == 0
    flat = control_ranks("sobel", np.full((4, 3, 5, 6), 7, np.uint8))
    assert flat.tied_share == 1 and (np.sort(flat.ranks, axis=1) == np.arange(30)).all()


def test_sobel_of_a_gray_image_is_that_of_the_color_image_of_equal_channels() -> None:
    gray = pictures(2, channels=1)
    np.testing.assert_array_equal(edge_strength(torch.from_numpy(gray)).numpy(),
                                  edge_strength(torch.from_numpy(gray.repeat(3, axis=1))).numpy())


@pytest.mark.parametrize("name", [name for name, e in ESTIMATORS.values.items() if isinstance(e, Control)])
def test_per_channel_a_control_ranks_every_value(name: str) -> None:
    found = rank_images(None, pictures(3), np.zeros(3), np.arange(3), NoNormalization(), [name],
                        EstimatorSettings(unit="channel"), 0, "test")[name]
    assert found.ranks.shape == (3, 192)
