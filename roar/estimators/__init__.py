"""Estimators: functions that give every pixel of an image a score for a class, and the ranks made of it.

Importing a method's file registers it; to add a method, write one file and add its name below.
"""

from __future__ import annotations

from roar.estimators import (  # noqa: F401  (imported to be registered, in the order they are listed in)
    deeplift,
    gradient,
    guided_backprop,
    input_x_gradient,
    integrated_gradients,
    oracle,
    random_ranks,
    sobel,
    surrogate,
)
from roar.estimators.ranking import NO_TARGET, RankedImages, rank_images
from roar.estimators.registry import (
    CONTROL,
    ESTIMATORS,
    MAKERS,
    SURROGATE,
    TRUTH,
    Control,
    Estimator,
    Explainer,
    Oracle,
    Surrogate,
    find,
    groups,
    identity,
    known_aliases,
    resolve,
    sees_image,
)

__all__ = ["CONTROL", "ESTIMATORS", "MAKERS", "NO_TARGET", "SURROGATE", "TRUTH", "Control", "Estimator", "Explainer",
           "Oracle", "RankedImages", "Surrogate", "find", "groups", "identity", "known_aliases", "rank_images",
           "resolve", "sees_image"]
