"""How long an experiment will take, from a few timed steps on random images."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch

from roar.datasets import Normalization
from roar.estimators import Batch, Estimator, Explained, Passes, rank_images
from roar.experiment import EstimatorSettings
from roar.jobs.network import Network
from roar.jobs.train_model import build
from roar.jobs.training.loop import train
from roar.recipes import Recipe

_STEPS = 4
_IMAGES = 8


def time_steps(network: Network, recipe: Recipe, device: str) -> float:
    """Seconds of one training step: the time of several less the time of one, so that what happens once drops out."""
    count = max(2, recipe.batch_size)
    images, labels = _random_images(network, count)
    normalization = _normalization(network)

    def seconds(steps: int) -> float:
        body = build(network, seed=0).to(device)
        started = time.perf_counter()
        train(body, images.to(device), labels.to(device), recipe.model_copy(update={"steps": steps}), normalization, 0)
        return time.perf_counter() - started

    seconds(1)  # the first one loads libraries
    return max(1e-6, (seconds(1 + _STEPS) - seconds(1)) / _STEPS)


def time_ranking(network: Network, estimators: Sequence[Estimator], settings: EstimatorSettings,
                 device: str) -> float:
    """Seconds of ranking one image by all the estimators."""
    images, labels = _random_images(network, _IMAGES)
    body = build(network, seed=0).to(device)
    planes = network.in_channels if settings.unit == "channel" else 1
    size = (network.image_size, network.image_size)
    inputs = {one.name: np.ones((_IMAGES, 1, *size), np.float32) if one.reads_maps else np.ones((planes, *size))
              for one in estimators}
    batch = Batch(images, labels.numpy(), np.arange(_IMAGES), "train", truth=images.numpy()[:, 0] > 127, inputs=inputs)
    started = time.perf_counter()
    rank_images(estimators, batch, Explained(body, _normalization(network), network.num_classes), settings,
                Passes(device))
    return (time.perf_counter() - started) / _IMAGES


def _random_images(network: Network, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = (count, network.in_channels, network.image_size, network.image_size)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    return images, torch.arange(count) % network.num_classes


def _normalization(network: Network) -> Normalization:
    return Normalization((0.5,) * network.in_channels, (0.25,) * network.in_channels)
