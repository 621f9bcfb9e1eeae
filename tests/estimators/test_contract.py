"""What holds for every estimator there is; the tests run over the registry by themselves."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from explained import GRAY, NORMALIZATION, pictures, scores, small_network
from ranked import rank_images
from torch import nn

from roar.estimators import ESTIMATORS, NO_TARGET, Control, Explainer, Oracle, RankedImages
from roar.experiment import EstimatorSettings

SETTINGS = EstimatorSettings(samples=3, ig_steps=4)
NAMES = ESTIMATORS.names()
EXPLAINERS = [name for name, estimator in ESTIMATORS.values.items() if isinstance(estimator, Explainer)]
PERMUTATIONS = [name for name in NAMES if name != "random-bernoulli"]
IMAGES = pictures(7)
LABELS = np.arange(7) % 4
TRUTH = pictures(7, channels=1, seed=5)[:, 0] > 140


def rank(name: str, rows: np.ndarray | None = None, settings: EstimatorSettings = SETTINGS,
         **given: Any) -> RankedImages:
    rows = np.arange(7) if rows is None else rows
    arguments = {"network": small_network(), "images": IMAGES[rows], "labels": LABELS[rows], "indices": rows,
                 "normalization": NORMALIZATION, "names": [name], "settings": settings, "root_seed": 0,
                 "split": "test", "truth": TRUTH[rows]}
    return rank_images(**{**arguments, **given})[name]


@pytest.mark.parametrize("name", PERMUTATIONS)
@pytest.mark.parametrize(("unit", "pixels", "kind"), [("sum", 64, "uint8"), ("channel", 192, "uint8")])
def test_ranks_are_permutations_of_the_smallest_type(name: str, unit: str, pixels: int, kind: str) -> None:
    found = rank(name, settings=SETTINGS.model_copy(update={"unit": unit}))
    assert found.ranks.shape == (7, pixels) and found.ranks.dtype == kind
    assert (np.sort(found.ranks, axis=1) == np.arange(pixels)).all()
    assert 0 <= found.tied_share <= 1


@pytest.mark.parametrize("name", NAMES)
def test_the_same_twice_is_the_same_and_another_seed_or_split_is_not(name: str) -> None:
    estimator, found = ESTIMATORS.values[name], rank(name)
    np.testing.assert_array_equal(rank(name).ranks, found.ranks)
    drawn = estimator.member.needs_noise if isinstance(estimator, Explainer) else name.startswith("random")
    if drawn:
        assert (rank(name, root_seed=1).ranks != found.ranks).any()
        assert (rank(name, split="train").ranks != found.ranks).any()


@pytest.mark.parametrize("name", NAMES)
def test_permuting_the_images_permutes_the_ranks(name: str) -> None:
    order = np.array([3, 6, 0, 5, 1, 4, 2])
    expected, found = rank(name), rank(name, order)
    np.testing.assert_array_equal(found.ranks, expected.ranks[order])
    np.testing.assert_array_equal(found.targets, expected.targets[order])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_the_batch_size_changes_no_more_than_rounding_does(name: str, batch_size: int) -> None:
    expected, found = rank(name, batch_size=7), rank(name, batch_size=batch_size)
    moved = np.abs(found.ranks.astype(int) - expected.ranks.astype(int))
    assert moved.max() <= 1 and (moved > 0).mean() < 0.01


@pytest.mark.parametrize("name", NAMES)
def test_shards_do_not_matter(name: str) -> None:
    expected = rank(name)
    parts = [rank(name, np.arange(0, 4)), rank(name, np.arange(4, 7))]
    moved = np.abs(np.concatenate([part.ranks for part in parts]).astype(int) - expected.ranks)
    assert moved.max() <= 1 and (moved > 0).mean() < 0.01


@pytest.mark.parametrize("name", NAMES)
def test_gray_images_can_be_ranked(name: str) -> None:
    found = rank(name, images=pictures(7, channels=1), network=small_network(channels=1), normalization=GRAY)
    assert found.ranks.shape == (7, 64)


@pytest.mark.parametrize("name", EXPLAINERS)
def test_the_network_is_left_as_it_was(name: str) -> None:
    network = small_network().train()
    network[0].weight.requires_grad_(False)
    network[3].weight.grad = torch.ones_like(network[3].weight)
    network[2].register_forward_hook(lambda module, inputs, output: None)
    before = copy.deepcopy(network.state_dict())
    tables = {(module, key): dict(value) for module in network.modules() for key, value in vars(module).items()
              if isinstance(value, dict)}
    rank(name, network=network)
    after = network.state_dict()
    assert list(after) == list(before) and all(torch.equal(after[key], before[key]) for key in before)
    assert all(module.training for module in network.modules())
    assert [p.requires_grad for p in network.parameters()] == [False] + [True] * 7
    grads = [name for name, p in network.named_parameters() if p.grad is not None]
    assert grads == ["3.weight"] and bool((network[3].weight.grad == 1).all())
    for (module, key), table in tables.items():
        assert {k: id(v) for k, v in vars(module)[key].items()} == {k: id(v) for k, v in table.items()}


@pytest.mark.parametrize("name", EXPLAINERS)
def test_it_works_where_gradients_are_switched_off(name: str) -> None:
    expected, network = rank(name), small_network()
    for without in (torch.no_grad(), torch.inference_mode()):
        with without:
            np.testing.assert_array_equal(rank(name, network=network).ranks, expected.ranks)


@pytest.mark.parametrize("name", EXPLAINERS)
def test_a_network_may_change_its_input_in_place(name: str) -> None:
    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = small_network()

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.network(images.mul_(1.0))

    np.testing.assert_array_equal(rank(name, network=InPlace()).ranks, rank(name).ranks)


@pytest.mark.parametrize("name", EXPLAINERS)
def test_doubling_the_logits_changes_no_rank(name: str) -> None:
    class Doubled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = small_network()

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return 2 * self.network(images)

    expected, found = rank(name), rank(name, network=Doubled())
    np.testing.assert_array_equal(found.ranks, expected.ranks)


@pytest.mark.parametrize("name", EXPLAINERS)
def test_targets_are_the_prediction_or_the_label(name: str) -> None:
    network = small_network().eval()
    predicted = network(NORMALIZATION.apply(torch.from_numpy(IMAGES))).argmax(dim=1).tolist()
    assert predicted != LABELS.tolist()
    by_prediction = rank(name)
    by_label = rank(name, settings=SETTINGS.model_copy(update={"target": "label"}))
    assert by_prediction.targets.tolist() == predicted and by_label.targets.tolist() == LABELS.tolist()
    assert by_prediction.targets.dtype == np.int32
    differ = np.array(predicted) != LABELS
    assert (by_label.ranks[differ] != by_prediction.ranks[differ]).any()
    np.testing.assert_array_equal(by_label.ranks[~differ], by_prediction.ranks[~differ])


@pytest.mark.parametrize("name", [name for name, e in ESTIMATORS.values.items() if isinstance(e, Control | Oracle)])
def test_a_control_needs_no_network_and_explains_no_class(name: str) -> None:
    found = rank(name, network=None)
    assert found.targets.tolist() == [NO_TARGET] * 7
    np.testing.assert_array_equal(found.ranks, rank(name).ranks)


def test_members_together_are_what_each_is_alone() -> None:
    together = rank_images(small_network(), IMAGES, LABELS, np.arange(7), NORMALIZATION, NAMES, SETTINGS,
                           0, "test", truth=TRUTH)
    assert list(together) == NAMES
    for name in NAMES:
        np.testing.assert_array_equal(together[name].ranks, rank(name).ranks, err_msg=name)


def test_no_images_give_no_ranks() -> None:
    for name in NAMES:
        assert rank(name, np.arange(0)).ranks.shape == (0, 64)


@pytest.mark.parametrize("name", EXPLAINERS)
def test_scores_are_finite_float32(name: str) -> None:
    found = scores(small_network(), IMAGES, LABELS, [name], SETTINGS)[name]
    assert found.dtype == torch.float32 and bool(found.isfinite().all()) and found.shape == (7, 64)
