"""Accuracy of each class, where the jobs kept it."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from roar.analysis.curves import CELL, complete, in_order, over_seeds
from roar.analysis.facts import FACTS
from roar.errors import AnalysisError

CLASS_COLUMNS = (*CELL, "class_index", "class", "mean", "std", "n", "ci_low", "ci_high", *FACTS)


def per_class(results: pd.DataFrame, class_names: Sequence[str] | None = None) -> pd.DataFrame:
    """Mean accuracy of every cell and class over the seeds, with its t interval.

    Args:
        results: one row per job, with the column ``class_accuracy``: a list of K accuracies in [0, 1], NaN for
            a class without test images, or None where the job failed or did not keep it.
        class_names: K names; the default is the classes' numbers.

    Returns:
        A row per cell and class with :data:`CLASS_COLUMNS`; the numbers are accuracies in [0, 1] and mean what
        they mean in :func:`roar.analysis.curves`.

    Raises:
        AnalysisError: no job kept the accuracy of its classes, or the numbers of classes differ.
    """
    results = complete(results)
    if "class_accuracy" not in results.columns or not results["class_accuracy"].notna().any():
        raise AnalysisError("These results hold no accuracy per class; run the jobs with a version that keeps it.")
    kept = results[(results["status"] == "ok") & results["class_accuracy"].notna()]
    long = kept[[*CELL, *FACTS, "seed"]].assign(accuracy=kept["class_accuracy"].map(list)).reset_index(drop=True)
    counts = long["accuracy"].map(len)
    named = len(class_names) if class_names is not None else None
    for source, own in counts.groupby(long["source"]):
        found = {*own, named} - {None}
        if len(found) > 1:
            raise AnalysisError(f"All jobs of {source} have the same classes, but there are lists of "
                                f"{' and '.join(map(str, sorted(found)))}; give the names and results of one version.")
    long["class_index"] = counts.map(range)
    long = long.explode(["accuracy", "class_index"]).astype({"accuracy": float, "class_index": "int64"})
    table = over_seeds(long, [*CELL, *FACTS, "class_index"])
    index = table["class_index"]
    table["class"] = index.astype(str) if class_names is None else index.map(dict(enumerate(class_names)))
    return in_order(table[list(CLASS_COLUMNS)])
