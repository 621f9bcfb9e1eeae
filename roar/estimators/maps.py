"""The scores themselves, for looking at: what :func:`roar.estimators.rank_images` ranks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from roar.estimators.family import Normalisation, Task, family_scores
from roar.estimators.methods.matched_spectrum import checked_spectrum, surrogate_ranks
from roar.estimators.methods.oracle import checked_truth
from roar.estimators.registry import Control, Explainer, Oracle, Surrogate, find, resolve
from roar.estimators.untouched import untouched
from roar.experiment import EstimatorSettings

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class Maps:
    """What a network sees in a few images.

    Attributes:
        scores: of each estimator float32 ``[N, H, W]``, larger is more important. What explains no network has no
            scores: its are the share of pixels that it ranks lower, in [0, 1].
        targets: the class explained, int64 ``[N]``.
        probabilities: softmax of the logits, float32 ``[N, K]``.
    """

    scores: dict[str, np.ndarray]
    targets: np.ndarray
    probabilities: np.ndarray


def maps(network: nn.Module, images: np.ndarray, labels: np.ndarray, indices: np.ndarray,
         normalisation: Normalisation, names: Iterable[str], settings: EstimatorSettings, root_seed: int, split: str,
         channel_mean: np.ndarray | None = None, truth: np.ndarray | None = None,
         spectra: Mapping[str, np.ndarray] | None = None) -> Maps:
    """The scores of a few images, computed all at once; arguments and errors as for ``rank_images``."""
    import torch

    pictures, places = torch.as_tensor(images), np.asarray(indices, dtype=np.int64)
    count, _, height, width = pictures.shape
    task = Task(network, pictures, np.asarray(labels, dtype=np.int64), places, normalisation, channel_mean, settings,
                root_seed, split, lambda passes: None)
    with untouched(network, "roar"), torch.no_grad():
        probabilities = network(normalisation.apply(pictures)).softmax(1)
    targets = torch.from_numpy(task.labels) if settings.target == "label" else probabilities.argmax(1)
    found: dict[str, np.ndarray] = {}
    families: dict[str, list[Explainer]] = {}
    for estimator in [find(name) for name in resolve(names)]:
        if isinstance(estimator, Explainer):
            families.setdefault(estimator.family, []).append(estimator)
        elif isinstance(estimator, Control):
            found[estimator.name] = _lower(estimator.rank(pictures, places, root_seed, split, False)[0], height, width)
        elif isinstance(estimator, Oracle):
            informative = checked_truth(truth, estimator.name, pictures.shape)
            found[estimator.name] = _lower(estimator.rank(informative, places, root_seed, split, 1)[0], height, width)
        elif isinstance(estimator, Surrogate):
            planes = pictures.shape[1] if settings.unit == "channel" else 1
            spectrum = checked_spectrum(spectra, estimator, planes, pictures.shape)
            found[estimator.name] = _lower(surrogate_ranks(spectrum, places, root_seed, split)[0], height, width)
    for family in families.values():
        with untouched(network, family[0].family):
            for name, scores in family_scores(task, family, targets, slice(0, count), count):
                found[name] = _plane(scores, height, width)
    return Maps({name: found[name] for name in resolve(names)}, targets.numpy(), probabilities.numpy())


def _lower(ranks: np.ndarray, height: int, width: int) -> np.ndarray:
    """The share of values that are ranked lower, float32 ``[N, H, W]``; the mean over channels that rank alone."""
    shares: np.ndarray = (1 - ranks / ranks.shape[1]).astype(np.float32).reshape(len(ranks), -1, height, width).mean(1)
    return shares


def _plane(scores: Tensor, height: int, width: int) -> np.ndarray:
    """``[N, H, W]`` from scores ``[N, P]``; channel values that rank alone are added up."""
    planes: np.ndarray = scores.view(len(scores), -1, height, width).sum(1).numpy()
    return planes
