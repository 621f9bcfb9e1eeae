"""Estimators: functions that give every pixel of an image a score for a class, and the ranks made of it.

    registry --> Estimator (kinds) --rank_images(estimators, batch, explained, settings)--> ranks

A name is looked up once, in the registry; an estimator travels. A method of roar's is one file of
:mod:`roar.estimators.methods`; any other is adapted by ``foreign.py``.
"""

from __future__ import annotations

from roar.estimators.batch import NO_TARGET, Batch, Explained, Passes, RankedImages
from roar.estimators.kinds import (
    CONTROL,
    MATCHED_SPECTRUM,
    TRUTH,
    Control,
    Estimator,
    Explainer,
    MatchedSpectrum,
    Oracle,
)
from roar.estimators.ranking import rank_images
from roar.estimators.registry import ESTIMATORS, distinct, estimator

__all__ = [
    "CONTROL",
    "ESTIMATORS",
    "MATCHED_SPECTRUM",
    "NO_TARGET",
    "TRUTH",
    "Batch",
    "Control",
    "Estimator",
    "Explained",
    "Explainer",
    "MatchedSpectrum",
    "Oracle",
    "Passes",
    "RankedImages",
    "distinct",
    "estimator",
    "rank_images",
]
