"""The base attributions that a family of estimators shares, and the scores of its members."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from roar.errors import EstimatorError
from roar.estimators.batch import Points, Task
from roar.estimators.ensembles import Member, Moments
from roar.estimators.method import Method
from roar.estimators.noise import noise_generators, noisy, spread
from roar.estimators.units import pixel_scores
from roar.experiment import EstimatorSettings

if TYPE_CHECKING:
    from torch import Tensor


def passes_per_image(method: Method, members: Mapping[str, Member], settings: EstimatorSettings) -> int:
    """Forward and backward passes that a family takes for one image."""
    base, noisy_ones = _needs(members)
    return (base + noisy_ones * settings.samples) * method.passes(settings)


def family_scores(task: Task, method: Method, members: Mapping[str, Member],
                  block: slice) -> Iterator[tuple[str, Tensor]]:
    """The scores ``[B, P]`` of every estimator around a method, by name, for one block of images.

    Raises:
        EstimatorError: the method broke its contract or gave scores that are not finite.
    """
    base, moments = base_and_moments(task, method, members, block)
    for name, member in members.items():
        attributions = member.definition(base, moments)
        scores = pixel_scores(attributions, task.settings.unit, task.pictures.shape[1])
        finite = scores.isfinite().sum(dim=1).tolist()
        for index, number in zip(task.indices[block].tolist(), finite, strict=True):
            if number < scores.shape[1]:
                raise EstimatorError(f"'{name}' gave {scores.shape[1] - number} scores of {scores.shape[1]} "
                                     f"that are not finite for image {index}; only finite scores can be ranked, so "
                                     "check the network.")
        yield name, scores


def base_and_moments(task: Task, method: Method, members: Mapping[str, Member],
                     block: slice) -> tuple[Tensor | None, Moments]:
    """g, and the moments of g_1 .. g_J, for one block of images; each only if a member needs it.

    A pass holds at most ``task.rows`` images; where the block is smaller, several noisy copies of it share a pass.
    """
    import torch

    settings, points = task.settings, task.points(block)
    needs_base, needs_noise = _needs(members)
    base, moments = None, Moments()
    if needs_base:
        base = method.attributions(task, points)
    if needs_noise:
        images, count = points.images, len(points)
        generators = noise_generators(task.root_seed, method.name, task.split, points.indices, images.device)
        deviations = spread(images, settings.noise)
        together = max(1, task.rows // count)
        for first in range(0, settings.samples, together):
            samples = min(together, settings.samples - first)
            copies = noisy(images, deviations, generators, samples).flatten(0, 1)
            attributions = method.attributions(task, Points(
                copies, points.targets.repeat(samples), np.tile(points.indices, samples),
                np.repeat(np.arange(first, first + samples), count)))
            for attribution in torch.split(attributions, count):
                moments.add(attribution)
    return base, moments


def _needs(members: Mapping[str, Member]) -> tuple[bool, bool]:
    """Whether any member needs g, and whether any needs the g_j."""
    return any(m.needs_base for m in members.values()), any(m.needs_noise for m in members.values())
