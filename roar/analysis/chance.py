"""Results at chance: networks that learned nothing say nothing of the estimators that chose their pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from roar.analysis.curves import FEWEST, SETTING, chance_levels, complete, over_seeds, panel_title
from roar.analysis.facts import REFERENCE


def at_chance(results: pd.DataFrame) -> pd.DataFrame:
    """The settings whose reference, trained on untouched images, is not shown to be better than a constant answer.

    Returns:
        A row per such setting: its names, ``mean``, ``ci_low``, ``ci_high``, ``n`` and ``chance``, in [0, 1]. The
        interval (95 %) is Student's over seeds; of fewer than three seeds it is Wilson's over the test images. A
        setting whose reference or number of classes is not known is not among them.
    """
    chance = chance_levels(results)
    every = complete(results)
    reference = every[(every["estimator"] == REFERENCE) & (every["status"] == "ok")]
    columns = [*SETTING, "mean", "ci_low", "ci_high", "n", "chance"]
    if reference.empty or not chance:
        return pd.DataFrame(columns=columns)
    found = over_seeds(reference, SETTING)
    found["chance"] = found["source"].astype(str).map(chance).astype(float)
    if "n_test" in reference.columns:
        images = reference.groupby(list(SETTING), observed=True, sort=False)["n_test"].min().to_numpy()
        few = (found["n"] < FEWEST).to_numpy()
        low, high = _wilson(found["mean"].to_numpy(dtype=np.float64), images.astype(np.float64))
        found["ci_low"], found["ci_high"] = (np.where(few, own, found[name])
                                             for name, own in (("ci_low", low), ("ci_high", high)))
    return found.loc[found["ci_low"] <= found["chance"], columns].reset_index(drop=True)


def above_chance(results: pd.DataFrame, found: pd.DataFrame) -> pd.DataFrame:
    """The results without those of the settings that :func:`at_chance` found."""
    keys = pd.MultiIndex.from_frame(results[list(SETTING)].astype(str))
    return results[~keys.isin(pd.MultiIndex.from_frame(found[list(SETTING)].astype(str)))]


def is_at_chance(found: pd.DataFrame, here: dict[str, str]) -> str:
    """The sentence about a panel whose setting :func:`at_chance` found; empty where it did not."""
    for row in found.to_dict("records"):
        if all(str(row[name]) == str(here[name]) for name in SETTING):
            return warning({str(name): value for name, value in row.items()})
    return ""


def warnings(found: pd.DataFrame) -> list[str]:
    """A sentence for each setting at chance, with its name where there are several."""
    rows = [{str(name): value for name, value in row.items()} for row in found.to_dict("records")]
    return [(f"{panel_title({name: row[name] for name in SETTING})}: " if len(rows) > 1 else "") + warning(row)
            for row in rows]


def warning(row: dict[str, Any]) -> str:
    """What one setting at chance says, in a sentence."""
    return (f"These networks did not learn: on untouched images they are right in {100 * row['mean']:.1f} % of cases "
            f"[{100 * row['ci_low']:.1f}, {100 * row['ci_high']:.1f}], and always answering the largest class in "
            f"{100 * row['chance']:.1f} %, so no estimator is ranked (95 % interval, n = {row['n']}); train on more "
            "images or for more epochs.")


def _wilson(share: np.ndarray, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(share * images, images, method="wilson")
    return np.asarray(low), np.asarray(high)
