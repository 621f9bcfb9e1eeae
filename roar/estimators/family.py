"""The base attributions that a family of estimators shares, and the scores of its members."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from roar.errors import EstimatorError
from roar.estimators.ensembles import Moments
from roar.estimators.noise import noise_generators, noisy, spread
from roar.estimators.registry import Explainer, Method
from roar.estimators.units import pixel_scores
from roar.experiment import EstimatorSettings

if TYPE_CHECKING:
    from torch import Tensor, nn


class Normalisation(Protocol):
    """What ``roar.datasets.statistics.Normalisation`` offers."""

    def apply(self, images: Tensor) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class Task:
    """What is to be explained; tensors and the network are on one device.

    Attributes:
        pictures: uint8 ``[N, C, H, W]``.
        labels: int64 ``[N]``.
        indices: position of each image in its split, int64 ``[N]``.
        channel_mean: mean colour in 8-bit units, ``[C]``; ``None``: the normalisation's mean.
        count_passes: called with a number of passes, counted per image, when they are done.
    """

    network: nn.Module
    pictures: Tensor
    labels: np.ndarray
    indices: np.ndarray
    normalisation: Normalisation
    channel_mean: np.ndarray | None
    settings: EstimatorSettings
    root_seed: int
    split: str
    count_passes: Callable[[int], None]

    def images(self, block: slice) -> Tensor:
        """Normalised images, float32 ``[B, C, H, W]``."""
        return self.normalisation.apply(self.pictures[block])


def passes_per_image(family: Sequence[Explainer], settings: EstimatorSettings) -> int:
    """Forward and backward passes that a family takes for one image."""
    base, noisy_ones = _needs(family)
    return (base + noisy_ones * settings.samples) * family[0].method.passes(settings)


def family_scores(task: Task, family: Sequence[Explainer], targets: Tensor, block: slice,
                  rows: int) -> Iterator[tuple[str, Tensor]]:
    """The scores ``[B, P]`` of every estimator of a family, by name, for one block of images.

    Raises:
        EstimatorError: the method broke its contract or gave scores that are not finite.
    """
    base, moments = base_and_moments(task, family, targets, block, rows)
    for estimator in family:
        attributions = estimator.member.definition(base, moments)
        scores = pixel_scores(attributions, task.settings.unit, task.pictures.shape[1])
        finite = scores.isfinite().sum(dim=1).tolist()
        for index, number in zip(task.indices[block].tolist(), finite, strict=True):
            if number < scores.shape[1]:
                raise EstimatorError(f"'{estimator.name}' gave {scores.shape[1] - number} scores of {scores.shape[1]} "
                                     f"that are not finite for image {index}; only finite scores can be ranked, so "
                                     "check the network.")
        yield estimator.name, scores


def base_and_moments(task: Task, family: Sequence[Explainer], targets: Tensor, block: slice,
                     rows: int) -> tuple[Tensor | None, Moments]:
    """g, and the moments of g_1 .. g_J, for one block of images; each only if a member needs it.

    A pass holds at most ``rows`` images; where the block is smaller, several noisy copies of it share a pass.
    """
    import torch

    method, settings = family[0].method, task.settings
    needs_base, needs_noise = _needs(family)
    images, indices = task.images(block), task.indices[block]
    attribute = _attribution(task, method, rows)
    base, moments = None, Moments()
    if needs_base:
        base = attribute(images, targets, indices)
    if needs_noise:
        generators = noise_generators(task.root_seed, method.name, task.split, indices, images.device)
        deviations = spread(images, settings.noise)
        together = max(1, rows // len(images))
        for first in range(0, settings.samples, together):
            samples = min(together, settings.samples - first)
            points = noisy(images, deviations, generators, samples).flatten(0, 1)
            attributions = attribute(points, targets.repeat(samples), np.tile(indices, samples))
            for attribution in torch.split(attributions, len(images)):
                moments.add(attribution)
    return base, moments


def _needs(family: Sequence[Explainer]) -> tuple[bool, bool]:
    """Whether any member needs g, and whether any needs the g_j."""
    return any(m.member.needs_base for m in family), any(m.member.needs_noise for m in family)


def _attribution(task: Task, method: Method, rows: int) -> Callable[[Tensor, Tensor, np.ndarray], Tensor]:
    """The method with its parameters filled in and its answer checked: (images, targets, indices) -> g."""
    given: dict[str, Any] = {name: getattr(task.settings, name) for name in method.parameters}
    if "baseline" in given:
        given["baseline"] = reference_image(task)
    if method.wants_rows:
        given["rows"] = rows

    def attribute(images: Tensor, targets: Tensor, indices: np.ndarray) -> Tensor:
        attributions = method.attribute(task.network, images, targets, **given)
        fault = _fault(attributions, images)
        if fault:
            raise EstimatorError(f"'{method.name}' {fault} for {_named(indices)}; a method must return attributions"
                                 " [B, C, H, W] or [B, 1, H, W] of the type and on the device of its images.")
        task.count_passes(len(images) * method.passes(task.settings))
        return attributions.detach()

    return attribute


def reference_image(task: Task) -> Tensor:
    """x' of integrated gradients, normalised, ``[C, 1, 1]``: black, the mean colour, or zero once normalised."""
    import torch

    channels = task.pictures.shape[1]
    if task.settings.baseline == "zero" or (task.settings.baseline == "mean" and task.channel_mean is None):
        return torch.zeros((channels, 1, 1), device=task.pictures.device)
    colour = np.zeros(channels) if task.settings.baseline == "black" else np.asarray(task.channel_mean)
    picture = torch.as_tensor(colour, dtype=torch.uint8, device=task.pictures.device).view(1, channels, 1, 1)
    return task.normalisation.apply(picture)[0]


def _fault(attributions: Any, images: Tensor) -> str:
    """How an answer breaks the contract; empty if it does not."""
    import torch

    if not isinstance(attributions, torch.Tensor):
        return f"returned a {type(attributions).__name__}"
    if attributions.shape not in (images.shape, images[:, :1].shape):
        return f"returned the shape {tuple(attributions.shape)} and not {tuple(images.shape)}"
    if attributions.dtype != images.dtype or attributions.device != images.device:
        return (f"returned {attributions.dtype} on {attributions.device} "
                f"and not {images.dtype} on {images.device}")
    return ""


def _named(indices: np.ndarray) -> str:
    return f"image {indices[0]}" if len(indices) == 1 else f"images {indices.min()} .. {indices.max()}"
