"""What an estimator's accuracies say beyond the shape of its masks and the smoothness of its ranking.

Every number is paired by seed: the estimator's training, that on its masks alone and that under an equally smooth
random ranking start from the same weights and see their batches in the same order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from roar.analysis.beside import BLURRED, MASK_ONLY, separate
from roar.analysis.curves import CELL, CURVE, CURVE_COLUMNS, SETTING, chance_levels, checked, in_order, over_seeds
from roar.analysis.facts import ESTIMATOR_FACTS, FACTS, REFERENCE, Facts
from roar.analysis.noise import over_noise
from roar.analysis.paired import few_seeds
from roar.analysis.shared import with_shared

QUANTITIES = ("drop", "beyond_blurred", "shape_accuracy", "beyond_shape")
PARTS = {"": "mean", "_ci_low": "ci_low", "_ci_high": "ci_high", "_std": "std", "_n": "n"}
BEYOND_COLUMNS = (*CELL, *(f"{name}{part}" for name in QUANTITIES for part in PARTS), "chance", "note",
                  *ESTIMATOR_FACTS)
CONTROL_CURVE_COLUMNS = (*CURVE_COLUMNS, "control")
EXPLAINED = "not significantly different from the accuracy on masks alone: the mask's shape may account for it"
LESS = "lower than the accuracy on the masks alone: it does not measure the information in the remaining pixels"


def beyond_controls(results: pd.DataFrame) -> pd.DataFrame:
    """Each estimator that has a control of shape or smoothness, at each threshold and over all of them.

    Args:
        results: one row per job, controls among them: fill ``mask-only`` and estimators ``random-blurred(E)``.

    Returns:
        A row per cell, and one per curve with threshold NaN for the mean over the thresholds that both sides have
        (a seed counts if it finished all of those), with :data:`BEYOND_COLUMNS`. In accuracy points, with the 95 % t
        interval over seeds, standard deviation and number of seeds of each:

        - ``drop``: accuracy of the reference less the estimator's;
        - ``beyond_blurred``: accuracy under an equally smooth random ranking less the estimator's. In modes that
          replace the most important pixels, positive: the estimator finds more than its smoothness does;
        - ``shape_accuracy``: accuracy of networks that see the masks alone, percent: what shape tells of the class;
        - ``beyond_shape``: the estimator's accuracy less that: what the pixels left tell beyond the shape.

        ``chance``: of always answering the largest class, percent. ``note``: what the numbers do not allow to say;
        where the interval of ``beyond_shape`` reaches 0, the accuracy is none of the pixels' doing.
    """
    every = over_noise(with_shared(checked(results)), CELL)
    cells = _cells(every)
    table = pd.concat([_statistics(cells, CELL), _overall(cells).assign(threshold=np.nan)], ignore_index=True)
    chance = {source: 100 * level for source, level in chance_levels(every).items()}
    table = table.merge(every[["estimator", *ESTIMATOR_FACTS]].drop_duplicates("estimator"), on="estimator", how="left")
    table["chance"] = table["source"].map(chance).astype(float)
    table["note"] = [_note(row) for row in table.to_dict("records")]
    return in_order(table[list(BEYOND_COLUMNS)])


def control_curves(results: pd.DataFrame) -> pd.DataFrame:
    """The accuracies of the controls as curves beside those of their estimators.

    Returns:
        The columns and meanings of :func:`roar.analysis.curves`, at the estimator's name and fill, and ``control``:
        ``random-blurred`` or ``mask-only``. They have no point at threshold 0.
    """
    rows = _beside(over_noise(with_shared(checked(results)), CELL))
    return in_order(over_seeds(rows, [*CELL, *FACTS, "control"])[list(CONTROL_CURVE_COLUMNS)])


def is_explained(row: dict[Any, Any]) -> bool:
    """Whether the mask's shape may explain the accuracy of a row of :func:`beyond_controls`."""
    return bool(row["beyond_shape_ci_low"] <= 0)


def _finished(rows: pd.DataFrame) -> pd.DataFrame:
    accuracy = rows["accuracy"].where(rows["status"] == "ok")
    return rows.assign(accuracy=accuracy, threshold=rows["threshold"].astype(float))


def _beside(every: pd.DataFrame) -> pd.DataFrame:
    """The controls' rows at the name and fill of the estimator they belong to, with ``control``."""
    parts = separate(_finished(every))
    curves = parts.results[[*CURVE, *FACTS]].drop_duplicates()
    blurred = parts.blurred.drop(columns=list(FACTS)).merge(curves, on=list(CURVE))
    masks = parts.masks.drop(columns=["fill", *FACTS]).merge(curves, on=[name for name in CURVE if name != "fill"])
    both = pd.concat([blurred.assign(control=BLURRED), masks.assign(control=MASK_ONLY)], ignore_index=True)
    return both[[*CELL, *FACTS, "seed", "accuracy", "control"]]


def _cells(every: pd.DataFrame) -> pd.DataFrame:
    """The quantities of every cell and seed whose curve has a control: :data:`CELL`, ``seed``, :data:`QUANTITIES`."""
    own = _finished(separate(every).results)
    keys = [*CELL, "seed"]
    beside = _beside(every)
    cells = own[(own["estimator"] != REFERENCE) & (own["threshold"] > 0)][[*keys, "accuracy"]]
    cells = cells.merge(beside[list(CURVE)].drop_duplicates(), on=list(CURVE))
    for name in (BLURRED, MASK_ONLY):
        control = beside[beside["control"] == name].rename(columns={"accuracy": name})
        cells = cells.merge(control[[*keys, name]], on=keys, how="left")
    reference = own[own["estimator"] == REFERENCE].rename(columns={"accuracy": REFERENCE})
    cells = cells.merge(reference[[*SETTING, "seed", REFERENCE]], on=[*SETTING, "seed"], how="left")
    return cells[keys].assign(
        drop=100 * (cells[REFERENCE] - cells["accuracy"]), beyond_blurred=100 * (cells[BLURRED] - cells["accuracy"]),
        shape_accuracy=100 * cells[MASK_ONLY], beyond_shape=100 * (cells["accuracy"] - cells[MASK_ONLY]))


def _overall(cells: pd.DataFrame) -> pd.DataFrame:
    """The statistics of each curve's mean over its thresholds."""
    means = cells[[*CURVE, "seed"]].drop_duplicates()
    for name in QUANTITIES:
        known = cells[cells.groupby(list(CELL))[name].transform("count") > 0]  # thresholds that both sides have
        spanned = known.groupby(list(CURVE))["threshold"].nunique().rename("spanned").reset_index()
        seeds = known.groupby([*CURVE, "seed"])[name].agg(["mean", "count"]).reset_index()
        seeds = seeds.merge(spanned, on=list(CURVE))
        seeds[name] = seeds["mean"].where(seeds["count"] == seeds["spanned"])
        means = means.merge(seeds[[*CURVE, "seed", name]], on=[*CURVE, "seed"], how="left")
    return _statistics(means, CURVE)


def _statistics(rows: pd.DataFrame, keys: tuple[str, ...]) -> pd.DataFrame:
    """Mean, interval, spread and number of seeds of each of :data:`QUANTITIES`."""
    table = rows[list(keys)].drop_duplicates()
    for name in QUANTITIES:
        found = over_seeds(rows.assign(accuracy=rows[name].astype(float)), keys,
                           bounds=(0.0, 100.0) if name == "shape_accuracy" else None)
        found = found.rename(columns={of: f"{name}{part}" for part, of in PARTS.items()})
        table = table.merge(found, on=list(keys))
    return table


def _note(row: dict[Any, Any]) -> str:
    pairs = [(MASK_ONLY, "beyond_shape")] + [(BLURRED, "beyond_blurred")] * (not Facts.of(row).knows_no_model)
    notes = [f"no common seed with {control}" for control, name in pairs if row[f"{name}_n"] == 0]
    notes.append(few_seeds(max(row["beyond_blurred_n"], row["beyond_shape_n"], 1)))
    if is_explained(row):
        notes.append(LESS if row["beyond_shape_ci_high"] < 0 else EXPLAINED)
    return "; ".join(note for note in notes if note)
