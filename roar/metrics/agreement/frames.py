"""The agreement of rankings as it lies in the store, all of it one pandas frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

from roar.metrics.summaries import SIMILARITIES, are_similarities, spearman_rows
from roar.store.facts import FACTS, KEYS, ROWS, told_apart
from roar.store.frames import read_frames
from roar.store.rows import COUNT, SHARE, TEXT, Rows, Values
from roar.store.store import Store

if TYPE_CHECKING:
    import pandas as pd

FOLDER = "metrics/agreement"
COLUMNS = {
    "source": "string",
    "model": "string",  # whose test images' ranking is compared
    "regularizer": "string",
    "estimator": "string",
    "across": "string",  # `estimators` of one model; `seeds`: one estimator, two models; `noise`: both the same
    "other_model": "string",
    "other": "string",  # the other estimator
    "measure": "string",  # `spearman` over all pixels, or `iou` of the top pixels
    "threshold": "float64",  # percent of the pixels that are on top; NaN for `spearman`
    "mean": "float64",  # over images
    "std": "float64",
    "n": "int64",  # images
    "ci_low": "float64",  # 95 % t interval over images
    "ci_high": "float64",
    "by_chance": "float64",  # the mean that two independent random rankings have
    "tied_share": "float64",  # share of pixels whose place among others of the same score was drawn by lot
    "other_tied_share": "float64",
    **FACTS,
    **{f"other_{name}": kind for name, kind in FACTS.items()},
    "noise_seed": "int64",
    "other_noise_seed": "int64",
    "samples": "int64",  # J of an ensemble in `noise`; else 0
    "samples_needed": "float64",  # at which two rankings of `noise` would have the rank correlation 0.9
    "folder": "string",  # of the artifact
}
PAIRS = Rows({  # what `pairs.parquet` may hold
    **dict.fromkeys(["source", "model", "regularizer", "estimator", "other_model", "other",
                     "other_regularizer"], TEXT),
    **ROWS, **{f"other_{name}": values for name, values in ROWS.items()},
    "across": Values("text", words=("estimators", "noise", "seeds")),
    **SIMILARITIES, "tied_share": SHARE, "other_tied_share": SHARE,
    "noise_seed": COUNT, "other_noise_seed": COUNT, "samples": COUNT,
    "samples_needed": Values("number", high=float("inf"), missing=True),
}, possible=are_similarities)
_KEYS = ["source", "regularizer", "across", "model", "other_model", "estimator", "other", "noise_seed",
         "other_noise_seed", "measure", "threshold"]


def read_ranking_agreement(store: Store) -> pd.DataFrame:
    """One row per pair of rankings, measure and threshold, averaged over the test images.

    Two settings of one estimator have a short key behind their names.

    Raises:
        DamagedArtifactError: a file is not what was written, or holds what cannot be.
    """
    found = read_frames(store, FOLDER, "pairs.parquet", PAIRS)
    found = _told_apart(found.drop_duplicates([*_KEYS, "ranking", "other_ranking"]))
    return found[list(COLUMNS)].astype(COLUMNS).sort_values(_KEYS, ignore_index=True)


def _told_apart(found: pd.DataFrame) -> pd.DataFrame:
    """Names that say which is which where two settings of one estimator were compared, on either side of a pair."""
    import pandas as pd

    sides = [["model", "estimator", "control_of", *KEYS],
             ["other_model", "other", "other_control_of", *(f"other_{name}" for name in KEYS)]]
    both = pd.concat([found[["source", "regularizer", *side]].set_axis(["source", "regularizer", *sides[0]], axis=1)
                      for side in sides], ignore_index=True)
    both = told_apart(both, ["source", "regularizer", "model"])
    for side, rows in zip(sides, (both[:len(found)], both[len(found):]), strict=True):
        found[side[1:3]] = rows[["estimator", "control_of"]].to_numpy()
    return found


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """What the command prints: the mean rank correlation of each row, with its interval over images."""
    return spearman_rows(frame, ["model", "estimator", "other_model", "other"])
