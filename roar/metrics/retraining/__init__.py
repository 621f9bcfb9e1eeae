"""ROAR, KAR and recursive ROAR: new networks on degraded images."""

from __future__ import annotations

from roar.metrics.base import Metric
from roar.registry import ROAR

METRIC = Metric(
    "retraining", "retrain",
    "Retrain on degraded images: every ranked estimator, or those of --estimator.",
    ROAR,
    measure="roar.metrics.retraining.tasks:retrain",
    sections=("estimators", "degrade", "retrain"))
