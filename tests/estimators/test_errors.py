"""Every way in which a network or an estimator can break its contract, and what is said then."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from explained import GRAY, NORMALIZATION, pictures, small_network
from ranked import rank_images
from torch import Tensor, nn

from roar.errors import EstimatorError, ModelError
from roar.estimators import ESTIMATORS, RankedImages
from roar.estimators.registry import method
from roar.experiment import EstimatorSettings
from roar.metrics.retraining import ROAR

INDICES = np.arange(40, 45)


def rank(names: list[str], network: nn.Module | None = None, **given: Any) -> dict[str, RankedImages]:
    arguments = {"network": network or small_network(), "images": pictures(5), "labels": np.array([0, 1, 2, 3, 0]),
                 "indices": INDICES, "normalization": NORMALIZATION, "names": names,
                 "settings": EstimatorSettings(samples=2, ig_steps=2), "root_seed": 0, "split": "test"}
    return rank_images(**{**arguments, **given})


class Around(nn.Module):
    """A network whose answer is changed."""

    def __init__(self, change: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.network, self.change = small_network(), change

    def forward(self, images: Tensor) -> Any:
        return self.change(self.network(images))


@pytest.mark.parametrize(("change", "given"), [
    (lambda logits: (logits, logits), "tuple"), (lambda logits: logits[:, 0], r"\(1,\)"),
    (lambda logits: logits[:, :, None], r"\(1, 4, 1\)"), (lambda logits: torch.cat([logits, logits]), r"\(2, 4\)"),
])
def test_a_network_must_give_logits(change: Callable[[Tensor], Any], given: str) -> None:
    with pytest.raises(ModelError, match=rf"must give logits \[N, K\].*3x8x8.*gave {given}; wrap it"):
        rank(["gradient"], Around(change))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_logits_must_be_finite(value: float) -> None:
    with pytest.raises(ModelError, match="logits are not all finite"):
        rank(["gradient"], Around(lambda logits: logits * value))


def test_a_network_must_take_the_images() -> None:
    with pytest.raises(ModelError, match=r"cannot take images of 3x9x9 .*; choose a network for this size"):
        rank(["gradient"], images=pictures(5, size=12)[:, :, :9, :9])
    with pytest.raises(ModelError, match="cannot take images of 1x8x8"):
        rank(["gradient"], images=pictures(5, channels=1), normalization=GRAY)


def test_a_network_must_have_the_sources_classes() -> None:
    with pytest.raises(ModelError, match=r"gives 4 logits and 1 of 5 labels are outside 0 \.\. 3 .*first is 7"):
        rank(["gradient"], labels=np.array([0, 1, 2, 7, 0]))
    with pytest.raises(ModelError, match="gives 4 logits and the source has 10 classes"):
        rank(["gradient"], num_classes=10)
    with pytest.raises(ModelError, match="1 of 5 labels are outside"):
        rank(["gradient"], labels=np.array([0, -1, 2, 3, 0]))


def test_an_estimator_needs_a_network() -> None:
    with pytest.raises(EstimatorError, match="'gradient' explains a network and none was given"):
        rank_images(None, pictures(5), np.zeros(5), INDICES, NORMALIZATION, ["gradient"], EstimatorSettings(), 0,
                    "test")


def test_a_network_must_be_differentiable() -> None:
    for change in (torch.Tensor.detach, lambda logits: torch.ones_like(logits)):
        with pytest.raises(EstimatorError, match="must be differentiable from pixels to logits"):
            rank(["gradient"], Around(change))


def test_a_budget_too_small_for_a_pass_is_refused() -> None:
    with pytest.raises(EstimatorError, match=r"A pass of 3 images takes .* GB .*; raise compute\.memory_budget"):
        rank(["gradient"], memory_budget=1e-9)


def test_running_out_of_memory_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def attribute(network: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("no more")

    plug_in(monkeypatch, attribute)
    with pytest.raises(EstimatorError, match=r"'plug-in' ran out of memory on cpu with 3 images in a pass; set a "
                                             r"smaller compute\.memory_budget"):
        rank(["plug-in"], batch_size=3)


class Steep(nn.Module):
    """Logits within range whose gradients are not: infinite at a pixel that is zero after normalizing."""

    def forward(self, images: Tensor) -> Tensor:
        return images.abs().sqrt().flatten(1).sum(dim=1, keepdim=True).expand(-1, 4)


class Identity:
    """A normalization that leaves black at zero."""

    def apply(self, images: Tensor) -> Tensor:
        return images.float()


@pytest.mark.parametrize("name", ["gradient", "gradient-magnitude"])
def test_scores_that_are_not_finite_name_estimator_image_and_number(name: str) -> None:
    images = pictures(5) | 1
    images[3, 0, 0, :2] = 0
    with pytest.raises(EstimatorError, match=f"'{name}' gave 2 scores of 64 that are not finite for image 43;"):
        rank([name], Steep(), images=images, normalization=Identity())


def plug_in(monkeypatch: pytest.MonkeyPatch, attribute: Callable[..., Any]) -> None:
    ESTIMATORS.load()
    monkeypatch.setattr(ESTIMATORS, "values", dict(ESTIMATORS.values))
    method("plug-in", ROAR, "a test's", suffix="pi", ensembles=False)(attribute)


@pytest.mark.parametrize(("answer", "fault"), [
    (lambda images: images.sum(dim=1), r"returned the shape \(5, 8, 8\) and not \(5, 3, 8, 8\)"),
    (lambda images: images[:, :2], r"returned the shape \(5, 2, 8, 8\) and not \(5, 3, 8, 8\)"),
    (lambda images: images[:3], r"returned the shape \(3, 3, 8, 8\) and not \(5, 3, 8, 8\)"),
    (lambda images: images.double(), "returned torch.float64 on cpu and not torch.float32 on cpu"),
    (lambda images: images.numpy(), "returned a ndarray"),
    (lambda images: None, "returned a NoneType"),
])
def test_a_method_must_return_attributions(monkeypatch: pytest.MonkeyPatch, answer: Callable[[Tensor], Any],
                                           fault: str) -> None:
    plug_in(monkeypatch, lambda network, images, targets: answer(images))
    with pytest.raises(EstimatorError, match=rf"'plug-in' {fault} for images 40 \.\. 44; a method must return"):
        rank(["plug-in"])


def test_a_spatial_answer_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(monkeypatch, lambda network, images, targets: images[:, :1])
    ranks = rank(["plug-in"])["plug-in"].ranks
    assert (np.sort(ranks, axis=1) == np.arange(ranks.shape[1])).all()


def add_to_weights(network: nn.Module) -> None:
    network[0].weight.data.add_(1)


def count_in_buffer(network: nn.Module) -> None:
    network[1].num_batches_tracked.add_(1)


def replace_weights(network: nn.Module) -> None:
    network[0].weight = nn.Parameter(network[0].weight.detach().clone(), requires_grad=False)


def replace_layer(network: nn.Module) -> None:
    network[2] = nn.GELU()


def leave_hook(network: nn.Module) -> None:
    network[2].register_full_backward_hook(lambda module, inputs, outputs: None)


def leave_training(network: nn.Module) -> None:
    network.train()


def leave_gradients(network: nn.Module) -> None:
    network[0].weight.grad = torch.ones_like(network[0].weight)


@pytest.mark.parametrize(("change", "what"), [
    (add_to_weights, "values of parameters or buffers"), (count_in_buffer, "values of parameters or buffers"),
    (replace_weights, "parameters"), (replace_layer, "modules"), (leave_hook, "backward hooks"),
    (leave_training, "evaluation mode"), (leave_gradients, "gradients of parameters"),
])
def test_a_method_that_changes_the_network_is_refused_and_undone(monkeypatch: pytest.MonkeyPatch, what: str,
                                                                 change: Callable[[nn.Module], None]) -> None:
    def attribute(network: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
        change(network)
        return images

    plug_in(monkeypatch, attribute)
    network = small_network()
    layers, before = list(network), copy.deepcopy(network.state_dict())
    with pytest.raises(EstimatorError, match=f"'plug-in' changed the network it explains .*{what}.*put back"):
        rank(["plug-in"], network)
    assert list(network) == layers and all(network.state_dict()[key].equal(before[key]) for key in before)
    assert network.training and not network[2]._backward_hooks
    assert all(parameter.requires_grad and parameter.grad is None for parameter in network.parameters())


def test_the_network_is_put_back_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def attribute(network: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
        add_to_weights(network)
        raise EstimatorError("out of order")

    plug_in(monkeypatch, attribute)
    network = small_network()
    before = copy.deepcopy(network.state_dict())
    with pytest.raises(EstimatorError, match="out of order"):
        rank(["plug-in"], network)
    assert network.training and all(network.state_dict()[key].equal(before[key]) for key in before)
