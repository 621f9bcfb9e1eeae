"""The leaderboard of a report: ROAR's, with what every other metric has to say of the estimators."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from roar.metrics import METRICS, Metric
from roar.registry import load

if TYPE_CHECKING:
    import pandas as pd


def leaderboard_of(results: pd.DataFrame, frames: Mapping[str, pd.DataFrame],
                   metrics: Iterable[Metric] | None = None) -> pd.DataFrame:
    """The leaderboard with the columns that metrics add.

    Args:
        results: one row per job.
        frames: the tables of the metrics by name; a metric whose tables are not among them adds nothing.
        metrics: default: the built-in ones.
    """
    from roar.analysis.leaderboard import leaderboard

    board = leaderboard(results)
    for metric in METRICS.all() if metrics is None else metrics:
        if metric.leaderboard and all(table.name in frames for table in metric.tables):
            board = load(metric.leaderboard)(board, frames)
    return board
