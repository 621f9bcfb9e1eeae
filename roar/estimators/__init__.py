"""Estimators: functions that give every pixel of an image a score for a class, and the ranks made of it.

A method is one file of :mod:`roar.estimators.methods`; its import registers it.
"""

from __future__ import annotations

from roar.estimators import methods  # noqa: F401  (imported to be registered)
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
