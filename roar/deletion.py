"""Deletion curves as they lie in the store, all of them one pandas frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

from roar.store import Store
from roar.stored_frames import read_frames

if TYPE_CHECKING:
    import pandas as pd

FOLDER = "deletion"
COLUMNS = {
    "source": "string",
    "model": "string",  # the explained network, which is also the one that is evaluated
    "regularizer": "string",
    "estimator": "string",
    "mode": "string",
    "fill": "string",
    "threshold": "float64",  # percent of pixels replaced
    "accuracy": "float64",  # of the explained network on the degraded test split, 0 to 1
    "probability": "float64",  # mean softmax probability of the class that was explained
    "n_test": "int64",
}


def read_deletion(store: Store) -> pd.DataFrame:
    """One row per model, estimator, mode, fill and threshold, without retraining.

    Raises:
        DamagedArtefactError: a file is not what was written.
    """
    frame = read_frames(store, FOLDER, "curves.parquet", list(COLUMNS))
    keys = ["source", "model", "regularizer", "estimator", "mode", "fill", "threshold"]
    return frame[list(COLUMNS)].astype(COLUMNS).drop_duplicates(keys).sort_values(keys, ignore_index=True)
