"""The stages that every metric builds on, each a function that makes what it needs and is missing.

    prepare -> train -> rank -> degrade

A stage asks the store what is done, runs the rest on the executor, and returns what there is now. What is measured
with the rankings lies in :mod:`roar.metrics`.
"""

from __future__ import annotations

from roar.pipeline.degraded import degrade
from roar.pipeline.ranking import rank, ranked_estimators
from roar.pipeline.session import Session, asked_for, prepare
from roar.pipeline.training import train

__all__ = ["Session", "asked_for", "degrade", "prepare", "rank", "ranked_estimators", "train"]
