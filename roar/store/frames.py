"""The tables of one kind of artifact as one pandas frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from roar.store.artifacts import MANIFEST
from roar.store.store import Store
from roar.store.tables import read_table

if TYPE_CHECKING:
    import pandas as pd


def finished_folders(store: Store, kind: str) -> list[str]:
    """The folders of every finished artifact of a kind, in the order of their names."""
    return sorted(path.rsplit("/", 1)[0] for path in store.files.list(kind) if path.endswith(f"/{MANIFEST}"))


def read_frames(store: Store, kind: str, name: str, columns: Sequence[str]) -> pd.DataFrame:
    """The rows of a Parquet file of every finished artifact, with the artifact's folder in the column ``folder``.

    Args:
        kind: the folder that they lie in, e.g. ``deletion``.
        name: of the file.
        columns: of the frame where there is no artifact.

    Raises:
        DamagedArtifactError: a file is not what was written.
    """
    import pandas as pd

    folders = finished_folders(store, kind)
    parts = [read_table(store.read_file(folder, name), f"{folder}/{name}").to_pandas().assign(folder=folder)
             for folder in folders]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(columns))
