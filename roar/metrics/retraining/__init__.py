"""ROAR, KAR and recursive ROAR: new networks on degraded images."""

from __future__ import annotations

from roar.metrics.base import Metric
from roar.registry import ROAR

METRIC = Metric(
    "retraining", "retrain",
    "Train new networks on what is left, for every estimator that is ranked unless --estimator names some.",
    ROAR,
    measure="roar.metrics.retraining.tasks:retrain",
    sections=("estimators", "degrade", "retrain"))
