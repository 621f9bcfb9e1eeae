"""Does an estimator keep its contract? For tests of one's own estimators.

>>> import roar
>>> roar.testing.check_estimator(my_method)    # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from roar.errors import EstimatorError
from roar.estimators import ESTIMATORS, Batch, Estimator, Explained
from roar.estimators.examination import examine, untrained
from roar.experiment import EstimatorSettings

if TYPE_CHECKING:
    from torch import nn

IMAGES = 8


def check_estimator(estimator: Any, *, network: nn.Module | None = None, images: np.ndarray | None = None) -> None:
    """Raise on the first rule of the contract that an estimator breaks.

    Args:
        estimator: a function, a class or object of captum's kind, a name, or an estimator.
        network: gives logits ``[N, K]``; default: a small one for scikit-learn's digits, not trained.
        images: uint8 ``[N, C, H, W]``; default: eight of the digits.

    Raises:
        UsageError: it is no estimator.
        EstimatorError: it breaks a rule; the sentence says which.
    """
    from roar.datasets.statistics import normalization

    if isinstance(estimator, str):
        estimator = ESTIMATORS.find(estimator)
    elif not isinstance(estimator, Estimator):
        estimator = ESTIMATORS.adapted(estimator)
    images = _digits() if images is None else images
    if network is None:
        from roar.models import create

        network = untrained(create("simplecnn", 10, images.shape[1], images.shape[2], 0))
    count = len(images)
    found = examine(estimator, Batch(images, np.zeros(count, np.int64), np.arange(count), "test"),
                    Explained(network, normalization(images)), EstimatorSettings())
    if found.broken is not None:
        raise EstimatorError(found.broken)


def _digits() -> np.ndarray:
    from roar.datasets import open_source

    images: np.ndarray = open_source("digits").test.decode(np.arange(IMAGES, dtype=np.int64))
    return images
