"""Rows of similarities: what they may be, and those that a metric's command prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from roar.store.rows import COUNT, PERCENT, SHARE, Values

if TYPE_CHECKING:
    import pandas as pd


SIMILARITIES = {
    "measure": Values("text", words=("spearman", "iou")),
    "threshold": replace(PERCENT, missing=True),
    "mean": Values("number", -1.0, 1.0, missing=True),
    "std": Values("number", 0.0, 2.0, missing=True),
    "n": COUNT,
    "ci_low": Values("number", -20.0, 1.0, missing=True),  # of two images it is 12.7 standard errors wide
    "ci_high": Values("number", -1.0, 20.0, missing=True),
    "by_chance": replace(SHARE, missing=True),
}


def are_similarities(frame: pd.DataFrame) -> bool:
    """Whether thresholds are of overlaps alone, means lie in their intervals, and no image gives no mean."""
    overlap = frame["measure"] == "iou"
    return bool(((overlap == frame["threshold"].notna())
                 & ~(overlap & (frame["mean"] < 0))
                 & ~((frame["mean"] < frame["ci_low"]) | (frame["mean"] > frame["ci_high"]))
                 & ((frame["n"] > 0) == frame["mean"].notna())).all())


def spearman_rows(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """The rank correlations of a table of similarities: the columns that name a row, mean, interval, and images."""
    rows = frame[frame["measure"] == "spearman"]
    interval = [f"{low:.3f} to {high:.3f}" for low, high in zip(rows["ci_low"], rows["ci_high"], strict=True)]
    found = rows[[*names, "mean", "n"]].assign(mean=[f"{mean:.3f}" for mean in rows["mean"]])
    found.insert(len(names) + 1, "95 % interval", interval)
    return found.rename(columns={"mean": "Spearman", "n": "images"})
