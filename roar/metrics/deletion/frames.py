"""Deletion curves as they lie in the store, all of them one pandas frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from roar.store.artifacts import MANIFEST
from roar.store.facts import FACTS, KEYS, NETWORK, ROWS, told_apart
from roar.store.frames import finished_folders, read_frames
from roar.store.rows import COUNT, PERCENT, POSITION, SHARE, TEXT, TRUTH, Rows, Values, read_rows_of, require_row
from roar.store.store import Store

if TYPE_CHECKING:
    import pandas as pd

FOLDER = "metrics/deletion"
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
    **FACTS,
    "folder": "string",  # of the artifact
}

_MODE = Values("text", words=("roar", "kar"))
NAMED = Rows({**dict.fromkeys([*NETWORK, "estimator", "fill"], TEXT), **ROWS})  # what a manifest says of both
CURVES = Rows({  # what `curves.parquet` may hold
    **NAMED.columns, "mode": _MODE,
    "threshold": PERCENT, "accuracy": SHARE, "probability": SHARE, "n_test": replace(COUNT, low=1),
}, keys=("mode", "threshold"))
IMAGES = Rows({  # what `images.parquet` may hold: every image in every cell
    "index": POSITION, "mode": _MODE, "threshold": PERCENT, "correct": TRUTH, "probability": SHARE,
}, keys=("mode", "threshold", "index"), possible=lambda frame: len(frame) == (
    frame["index"].nunique() * len(frame[["mode", "threshold"]].drop_duplicates())))


def read_deletion(store: Store) -> pd.DataFrame:
    """One row per model, estimator, mode, fill and threshold, without retraining.

    Two settings of one estimator have a short key behind their names.

    Raises:
        DamagedArtifactError: a file is not what was written, or holds what cannot be.
    """
    frame = told_apart(read_frames(store, FOLDER, "curves.parquet", CURVES), NETWORK)
    keys = [*NETWORK, "estimator", "mode", "fill", "threshold"]
    return frame[list(COLUMNS)].astype(COLUMNS).drop_duplicates(keys).sort_values(keys, ignore_index=True)


def read_deletion_images(store: Store, folders: Iterable[str] | None = None) -> Iterator[pd.DataFrame]:
    """Every test image in every cell, one artifact at a time, so that memory holds no more than one.

    Args:
        folders: of the artifacts; default: all in the store.

    Yields:
        For each explained network and estimator a row per mode, threshold and image: ``source``, ``model``,
        ``regularizer``, ``estimator``, what is known of both (:data:`roar.store.facts.FACTS`), ``mode``, ``fill``,
        ``index`` (of the image), ``threshold`` (percent), ``correct`` (bool) and ``probability`` (of the class that
        was explained).

    Raises:
        DamagedArtifactError: a file is not what was written, or holds what cannot be.
    """
    import pandas as pd

    columns = [*NETWORK, "estimator", *FACTS]
    rows = []
    for folder in finished_folders(store, FOLDER) if folders is None else folders:
        manifest = store.manifest(folder)
        if manifest is not None:
            row = {name: manifest["facts"].get(name) for name in (*columns, *KEYS)}
            require_row({**row, "fill": manifest["identity"].get("fill")}, f"{folder}/{MANIFEST}", NAMED)
            rows.append({**row, "fill": manifest["identity"]["fill"], "folder": folder})
    named = told_apart(pd.DataFrame(rows, columns=[*columns, *KEYS, "fill", "folder"]), NETWORK)
    for known in named.to_dict("records"):
        path = f"{known['folder']}/images.parquet"
        images = read_rows_of(store.read_file(known["folder"], "images.parquet"), path, IMAGES)
        yield images.assign(**{name: known[name] for name in (*columns, "fill")})


def read_deletion_areas(store: Store) -> pd.DataFrame:
    """One row per network, estimator, mode, fill and measure: its area, paired with random's image by image."""
    from roar.metrics.deletion.areas import image_areas

    return image_areas(lambda: read_deletion_images(store))


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """What the command prints: accuracy by threshold, in percent, a row per network, estimator, mode and fill."""
    import pandas as pd

    rows = frame.assign(threshold=[f"{threshold:g} %" for threshold in frame["threshold"]])
    names = ["model", "regularizer", "estimator", "mode", "fill"]
    order = list(dict.fromkeys(rows.sort_values("threshold", key=lambda t: t.str.removesuffix(" %").astype(float))[
        "threshold"]))
    wide = rows.pivot_table(index=names, columns="threshold", values="accuracy", sort=False)[order]
    return pd.DataFrame((100 * wide).round(1).reset_index())
