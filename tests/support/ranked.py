"""Ranks by names and with everything in one call, as most tests of estimators want them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from roar.estimators import ESTIMATORS, Batch, Estimator, Explained, Passes, RankedImages
from roar.estimators import rank_images as rank_batch
from roar.estimators.maps import Maps
from roar.estimators.maps import maps as batch_maps
from roar.experiment import EstimatorSettings


def names_of(spellings: Iterable[str]) -> tuple[str, ...]:
    """The full names of what names, aliases and groups stand for."""
    return tuple(estimator.name for estimator in ESTIMATORS.resolve(spellings))


def identity(spelling: str, settings: EstimatorSettings) -> dict[str, Any]:
    return ESTIMATORS.find(spelling).identity(settings)


def group(name: str) -> tuple[str, ...]:
    ESTIMATORS.load()
    return tuple(ESTIMATORS.groups[name]())


def rank_images(network: Any, images: Any, labels: np.ndarray, indices: np.ndarray, normalization: Any,
                names: Iterable[str | Estimator], settings: EstimatorSettings, root_seed: int, split: str, *,
                device: Any = "cpu", channel_mean: np.ndarray | None = None, num_classes: int | None = None,
                memory_budget: float | None = None, batch_size: int | None = None, on_progress: Any = None,
                truth: np.ndarray | None = None, spectra: Mapping[str, np.ndarray] | None = None,
                lots: int | None = None) -> dict[str, RankedImages]:
    chosen = [one for name in names for one in ([name] if isinstance(name, Estimator) else ESTIMATORS.resolve([name]))]
    explained = None if network is None else Explained(network, normalization, num_classes, channel_mean)
    return rank_batch(chosen, Batch(images, labels, indices, split, root_seed, truth, spectra or {}, lots), explained,
                      settings, Passes(device, memory_budget, batch_size, on_progress))


def maps(network: Any, images: np.ndarray, labels: np.ndarray, indices: np.ndarray, normalization: Any,
         names: Iterable[str], settings: EstimatorSettings, root_seed: int, split: str,
         channel_mean: np.ndarray | None = None, truth: np.ndarray | None = None,
         spectra: Mapping[str, np.ndarray] | None = None) -> Maps:
    return batch_maps(ESTIMATORS.resolve(names), Batch(images, labels, indices, split, root_seed, truth, spectra or {}),
                      Explained(network, normalization, channel_mean=channel_mean), settings)
