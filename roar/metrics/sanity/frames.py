"""Sanity checks as they lie in the store, all of them one pandas frame."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from roar.metrics.summaries import SIMILARITIES, are_similarities, spearman_rows
from roar.store.facts import FACTS, NETWORK, ROWS, told_apart
from roar.store.frames import read_frames
from roar.store.rows import SHARE, TEXT, Rows, Values
from roar.store.store import Store

if TYPE_CHECKING:
    import pandas as pd

FOLDER = "metrics/sanity"
COLUMNS = {
    "source": "string",
    "model": "string",
    "regularizer": "string",
    "estimator": "string",
    "kind": "string",  # `cascading`: layers drawn anew from the output on; `independent`: of one step; `labels`
    "step": "int64",  # from 1 on, which is next to the output
    "steps": "int64",  # in all; the last one of `cascading` has all layers drawn anew
    "layers": "string",  # that the step draws anew, besides those before it in `cascading`
    "measure": "string",  # `spearman` over all pixels, or `iou` of the top pixels, with the real network's ranking
    "threshold": "float64",  # percent of the pixels that are on top; NaN for `spearman`
    "mean": "float64",  # over test images
    "std": "float64",
    "n": "int64",  # images
    "ci_low": "float64",  # 95 % t interval over images
    "ci_high": "float64",
    "by_chance": "float64",  # the mean that two independent random rankings have
    "tied_share": "float64",  # of the pixels, in the ranking of the randomized network
    "train_accuracy": "float64",  # on the shuffled labels; NaN for other kinds
    **FACTS,
    "folder": "string",  # of the artifact
}
_STEP = Values("whole", 1, 1_000_000)
AVERAGES = Rows({  # what `averages.parquet` may hold
    **dict.fromkeys(["source", "model", "regularizer", "estimator", "layers"], TEXT), **ROWS,
    "kind": Values("text", words=("cascading", "independent", "labels")),
    "step": _STEP, "steps": _STEP, **SIMILARITIES, "tied_share": SHARE,
    "train_accuracy": replace(SHARE, missing=True),
}, possible=lambda frame: are_similarities(frame) and bool((frame["step"] <= frame["steps"]).all()))
_KEYS = ["source", "model", "regularizer", "estimator", "kind", "steps", "step", "measure", "threshold"]


def read_sanity(store: Store) -> pd.DataFrame:
    """One row per estimator, randomized network, measure and threshold, averaged over the test images.

    Two settings of one estimator have a short key behind their names.

    Raises:
        DamagedArtifactError: a file is not what was written, or holds what cannot be.
    """
    found = read_frames(store, FOLDER, "averages.parquet", AVERAGES)
    found = told_apart(found.drop_duplicates([*_KEYS, "ranking"]), NETWORK)
    return found[list(COLUMNS)].astype(COLUMNS).sort_values(_KEYS, ignore_index=True)


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """What the command prints: the mean rank correlation of each row, with its interval over images."""
    return spearman_rows(frame, ["model", "estimator", "kind", "step", "layers"])
