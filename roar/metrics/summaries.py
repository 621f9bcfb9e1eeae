"""Rows that a metric's command prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def spearman_rows(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """The rank correlations of a table of similarities: the columns that name a row, mean, interval, and images."""
    rows = frame[frame["measure"] == "spearman"]
    interval = [f"{low:.3f} to {high:.3f}" for low, high in zip(rows["ci_low"], rows["ci_high"], strict=True)]
    found = rows[[*names, "mean", "n"]].assign(mean=[f"{mean:.3f}" for mean in rows["mean"]])
    found.insert(len(names) + 1, "95 % interval", interval)
    return found.rename(columns={"mean": "Spearman", "n": "images"})
