"""The comparison of regularizers from what is in a store: tables, a figure, and what may be said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from roar.report.files import FOLDER, results_of
from roar.store.artifacts import MANIFEST
from roar.store.store import Store

if TYPE_CHECKING:
    import pandas as pd

MODEL_COLUMNS = ("source", "model", "regularizer", "seed", "test_accuracy", "test_loss", "calibration_error",
                 "sparsity", "weight_norm", "epochs", "folder")


@dataclass(frozen=True, eq=False)
class ComparisonReport:
    """What was written: the frames, the sentences, and the files by their full names."""

    areas: pd.DataFrame
    effects: pd.DataFrame
    models: pd.DataFrame
    findings: list[str]
    files: list[str]


def write_comparison(store: Store) -> ComparisonReport:
    """Write the areas, the effects, the explained networks, the findings and the figure below ``reports/``.

    Raises:
        AnalysisError: there is no result, or none beside a control.
    """
    from roar.analysis.figures import render
    from roar.analysis.figures.regularizers import regularizer_areas
    from roar.analysis.regularizers import compare_regularizers
    from roar.analysis.spreadsheets import csv_bytes

    found = compare_regularizers(results_of(store))
    networks = explained_networks(store)
    figure = regularizer_areas(found.areas)
    written = {
        "regularizers-areas.csv": csv_bytes(found.areas),
        "regularizers-effects.csv": csv_bytes(found.effects),
        "regularizers-models.csv": csv_bytes(networks),
        "regularizers-findings.txt": "".join(f"{sentence}\n" for sentence in found.findings).encode(),
        "regularizers.svg": render(figure, "svg"),
        "regularizers.png": render(figure, "png"),
    }
    for name, data in written.items():
        store.files.write(f"{FOLDER}/{name}", data)
    return ComparisonReport(found.areas, found.effects, networks, found.findings,
                            [f"{store.location}/{FOLDER}/{name}" for name in written])


def explained_networks(store: Store) -> pd.DataFrame:
    """One row per explained network, with :data:`MODEL_COLUMNS`: accuracy, loss and calibration error on the test
    split, the share of weights under 1e-3, and the norm of the weights."""
    import pandas as pd

    rows = []
    for path in store.files.list("models"):
        folder, _, name = path.rpartition("/")
        manifest = store.manifest(folder) if name == MANIFEST else None
        if manifest is not None and "labels" not in manifest["facts"]:  # shuffled ones are only a sanity check's
            facts = {"model": manifest["facts"].get("name"), **manifest["facts"]}
            source = folder.split("/")[1].rpartition("-")[0]
            rows.append({column: facts.get(column) for column in MODEL_COLUMNS} | {"source": source, "folder": folder})
    frame = pd.DataFrame(rows, columns=list(MODEL_COLUMNS))
    return frame.sort_values(["source", "model", "regularizer", "seed"], ignore_index=True)
