"""The tables of one kind of artifact as one pandas frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

from roar.store.artifacts import MANIFEST
from roar.store.rows import Rows, read_rows_of
from roar.store.store import Store

if TYPE_CHECKING:
    import pandas as pd


def finished_folders(store: Store, kind: str) -> list[str]:
    """The folders of every finished artifact of a kind, in the order of their names."""
    return sorted(path.rsplit("/", 1)[0] for path in store.files.list(kind) if path.endswith(f"/{MANIFEST}"))


def read_frames(store: Store, kind: str, name: str, rows: Rows) -> pd.DataFrame:
    """The rows of a Parquet file of every finished artifact, with the artifact's folder in the column ``folder``.

    Args:
        kind: the folder that they lie in, e.g. ``deletion``.
        name: of the file.
        rows: what they may be.

    Raises:
        DamagedArtifactError: a file is not what was written, or holds what cannot be.
    """
    import pandas as pd

    folders = finished_folders(store, kind)
    parts = [read_rows_of(store.read_file(folder, name), f"{folder}/{name}", rows).assign(folder=folder)
             for folder in folders]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*rows.columns, "folder"])
