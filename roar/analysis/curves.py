"""One row per training in, one row per cell out: mean, spread and interval over the seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from roar.analysis.beside import separate
from roar.analysis.facts import ESTIMATOR_FACTS, FACTS, REFERENCE, facts_of, require
from roar.analysis.noise import noise_column, over_noise
from roar.analysis.shared import with_shared, with_stand_ins
from roar.errors import AnalysisError

SETTING = ("source", "model", "regularizer", "retrainer")  # what shares one t = 0 cell
PANEL = (*SETTING, "mode", "fill")  # what may be compared in one picture
CURVE = ("source", "model", "regularizer", "retrainer", "estimator", "mode", "fill")
CELL = (*CURVE, "threshold")
FEWEST = 3  # seeds that an interval of an accuracy needs; of fewer the single values are shown
CURVE_COLUMNS = (*CELL, "mean", "std", "n", "ci_low", "ci_high", *FACTS)
RESULT_COLUMNS = (*CELL, "seed", "status", "accuracy", *FACTS)  # those that the analysis cannot do without


def curves(results: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """Mean accuracy of every cell and its Student t interval over the seeds.

    Args:
        results: one row per job, with at least :data:`RESULT_COLUMNS`; accuracy in [0, 1], NaN if it failed.
        confidence: of the interval, in (0, 1).

    Returns:
        One row per cell, in a fixed order, with :data:`CURVE_COLUMNS` and ``chance``, the accuracy of always answering
        the largest class (NaN where it is not known). ``mean``, ``std`` (with n - 1 in the
        denominator), ``ci_low`` and ``ci_high`` are accuracies in [0, 1], where the interval is cut.
        ``n`` counts the seeds with a finite accuracy. With n < 3 the interval is NaN: it would be as wide as the scale.
        With n = 1 ``std`` is NaN, with n = 0 the mean too. The cell that all estimators share is ``reference`` at
        threshold 0.

    Raises:
        AnalysisError: columns are missing, or one cell holds the same seed twice.
    """
    results = complete(results)
    finished = results["accuracy"].where(results["status"] == "ok")
    table = over_seeds(results.assign(accuracy=finished), (*CELL, *FACTS), confidence)
    table["chance"] = table["source"].astype(str).map(chance_levels(results)).astype(float)
    return in_order(table[[*CURVE_COLUMNS, "chance"]])


def over_seeds(rows: pd.DataFrame, keys: Sequence[str], confidence: float = 0.95,
               bounds: tuple[float, float] | None = (0.0, 1.0)) -> pd.DataFrame:
    """Mean, spread and t interval of the column ``accuracy`` for each of the keys; NaN are left out.

    Args:
        rows: with the keys and ``accuracy``.
        keys: of a cell.
        confidence: of the interval.
        bounds: that no value can leave: the interval is cut there and needs three seeds; ``None``: differences.
    """
    from scipy import stats

    groups = rows.groupby(list(keys), observed=True, sort=False)["accuracy"]
    table = groups.agg(mean="mean", std="std", n="count").reset_index()
    n = table["n"].to_numpy()
    quantile = stats.t.ppf((1 + confidence) / 2, np.where(n > 1, n - 1, np.nan))
    half = quantile * table["std"] / np.sqrt(np.where(n > 1, n, np.nan))
    if bounds is not None:
        half = half.where(n >= FEWEST)
    table["ci_low"], table["ci_high"] = table["mean"] - half, table["mean"] + half
    if bounds is not None:
        table[["ci_low", "ci_high"]] = table[["ci_low", "ci_high"]].clip(*bounds)
    return table


def checked(results: pd.DataFrame) -> pd.DataFrame:
    """The results if they are fit for analysis: all columns, and one row per cell and seed.

    Raises:
        AnalysisError: columns are missing, or one cell holds the same seed twice.
    """
    require(results, RESULT_COLUMNS, "results")
    sorted_by_category = [name for name in CELL[:-1] if isinstance(results[name].dtype, pd.CategoricalDtype)]
    results = results.astype(dict.fromkeys(sorted_by_category, str)).assign(control_of=results["control_of"].fillna(""))
    twice = results.duplicated([*CELL, "seed", *noise_column(results)])
    if twice.any():
        row = results[twice].iloc[0]
        raise AnalysisError(f"A cell has one result per seed, but seed {row['seed']} of "
                            f"{row['estimator']} at t = {row['threshold']:g} occurs twice; "
                            "keep one of the two rows.")
    return results


def complete(results: pd.DataFrame) -> pd.DataFrame:
    """The checked results of the estimators: controls and reference are given to every model and mode that shares
    them, what stands :mod:`beside <roar.analysis.beside>` an estimator is left out, and the mean is taken over noise
    seeds."""
    return over_noise(every_noise_seed(results), CELL)


def every_noise_seed(results: pd.DataFrame) -> pd.DataFrame:
    """As :func:`complete`, with a row for each noise seed."""
    return separate(with_stand_ins(with_shared(checked(results)))).results


def in_order(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows in the fixed order of all tables: by panel, then family by family, then threshold."""
    keys = [column for column in (*PANEL, "estimator", "threshold", "seed") if column in frame.columns]

    def key(column: pd.Series) -> pd.Series:
        if column.name == "mode":
            return column.map({"roar": 0, "kar": 1}).fillna(2)  # ROAR before KAR before recursive ROAR
        if column.name != "estimator":
            return column
        return column.map(place).astype(int)

    place = {name: i for i, name in enumerate(facts_of(frame))} if "estimator" in keys else {}
    return frame.sort_values(keys, key=key, kind="stable").reset_index(drop=True)


def with_reference(frame: pd.DataFrame) -> pd.DataFrame:
    """The curves of the estimators, each with its setting's t = 0 cell as its first point.

    Works on :func:`curves` and on results alike: each ``reference`` row is repeated for every estimator, mode
    and fill of its setting. A setting without estimators keeps no row.
    """
    reference = frame[frame["estimator"] == REFERENCE]
    rest = frame[frame["estimator"] != REFERENCE]
    wanted = rest[[*CURVE, *ESTIMATOR_FACTS]].drop_duplicates()
    copies = reference.drop(columns=["estimator", "mode", "fill", *ESTIMATOR_FACTS]).merge(wanted, on=list(SETTING))
    return in_order(pd.concat([copies[list(frame.columns)], rest], ignore_index=True))


def panels(frame: pd.DataFrame, by: Sequence[str] = PANEL) -> list[tuple[dict[str, str], pd.DataFrame]]:
    """The frame in comparable parts: (what the part is, its rows), in order; each with its t = 0 cell."""
    rest = frame[frame["estimator"] != REFERENCE]
    source = rest if len(rest) else frame
    keys = in_order(source[list(by)].drop_duplicates())
    found = []
    for values in keys.itertuples(index=False, name=None):
        here = dict(zip(by, values, strict=True))
        is_reference = frame["estimator"] == REFERENCE
        keep = pd.Series(True, index=frame.index)
        for column, value in here.items():
            same = frame[column] == value
            keep &= same if column in SETTING else same | is_reference
        found.append((here, frame[keep]))
    return found


def panel_title(here: dict[str, str]) -> str:
    """A panel's title: source and model, and every setting that is not the plain one."""
    shown = [here[name] for name in ("source", "model") if name in here]
    plain_values = {"regularizer": "recipe", "retrainer": here.get("model"), "mode": "roar", "fill": "mean"}
    for column, plain in plain_values.items():
        if here.get(column, plain) != plain:
            word = {"retrainer": "retrained as ", "fill": "fill "}.get(column, "")
            shown.append(f"{word}{here[column]}")
    return " · ".join(map(str, shown))


def chance_levels(results: pd.DataFrame) -> dict[str, float]:
    """The accuracy of always answering the largest class of the test split, in [0, 1], by source, where it is known.

    Where the results do not tell how large the classes are, they count as equal, and it is 1 / K.
    """
    if "chance" in results.columns and results["chance"].notna().any():
        return {str(source): float(level) for source, level in results.groupby(
            results["source"].astype(str))["chance"].max().dropna().items()}
    if "class_accuracy" not in results.columns:
        return {}
    kept = results[results["class_accuracy"].notna()]
    counts = kept["class_accuracy"].map(len).groupby(kept["source"].astype(str)).max()
    return {str(source): 1 / int(count) for source, count in counts.items()}
