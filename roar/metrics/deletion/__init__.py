"""Deletion, insertion and ROAD: the explained network itself on degraded test images, without retraining."""

from __future__ import annotations

from roar.metrics.base import Metric, Table
from roar.registry import Paper

METRIC = Metric(
    "deletion", "delete",
    "Evaluate the explained network on degraded test images, without retraining (deletion, insertion, ROAD).",
    Paper("RISE: Randomized Input Sampling for Explanation of Black-box Models", "Petsiuk, Das, Saenko", 2018,
          "https://arxiv.org/abs/1806.07421"),
    measure="roar.metrics.deletion.tasks:delete",
    tables=(Table("deletion", "roar.metrics.deletion.frames:read_deletion",
                  "a model, an estimator, a mode, a fill and a threshold", {
                      "probability": "mean softmax probability of the class that was explained, in [0, 1]"}),
            Table("deletion-areas", "roar.metrics.deletion.frames:read_deletion_areas",
                  "a model, an estimator, a mode, a fill and a measure", {
                      "area": "mean over the thresholds by the trapezoid rule, percent"})),
    kept={"curves.parquet": "roar.metrics.deletion.frames:CURVES",
          "images.parquet": "roar.metrics.deletion.frames:IMAGES"},
    summary="roar.metrics.deletion.frames:summary",
    figures="roar.metrics.deletion.figures:figures",
    page="roar.metrics.deletion.page:section")
