"""The scores themselves, for looking at: what :func:`roar.estimators.rank_images` ranks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from roar.estimators.batch import Batch, Explained, Task
from roar.estimators.kinds import Estimator
from roar.estimators.ranking import families
from roar.estimators.untouched import untouched
from roar.experiment import EstimatorSettings


@dataclass(frozen=True, eq=False)
class Maps:
    """What a network sees in a few images.

    Attributes:
        scores: of each estimator float32 ``[N, H, W]``, larger is more important. What has no scores has the share of
            pixels that it ranks lower, in [0, 1].
        targets: the class explained, int64 ``[N]``.
        probabilities: softmax of the logits, float32 ``[N, K]``.
    """

    scores: dict[str, np.ndarray]
    targets: np.ndarray
    probabilities: np.ndarray


def maps(estimators: Sequence[Estimator], batch: Batch, explained: Explained, settings: EstimatorSettings) -> Maps:
    """The scores of a few images, computed all at once; arguments and errors as for ``rank_images``."""
    import torch

    pictures = torch.as_tensor(batch.images)
    with untouched(explained.network, "roar"), torch.no_grad():
        probabilities = explained.network(explained.normalization.apply(pictures)).softmax(1)
    labels = torch.from_numpy(np.asarray(batch.labels, dtype=np.int64))
    targets = labels if settings.target == "label" else probabilities.argmax(1)
    task = Task(pictures, np.asarray(batch.indices, dtype=np.int64), batch, settings, explained, targets, len(pictures))
    found: dict[str, np.ndarray] = {}
    for members in families(estimators):
        found |= members[0].map_family(members, task)
    return Maps({estimator.name: found[estimator.name] for estimator in estimators}, targets.numpy(),
                probabilities.numpy())
