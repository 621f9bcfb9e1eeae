"""What the sanity checks allow to say: does an estimator notice that a network has lost what it learned?

After Adebayo et al. 2018, "Sanity Checks for Saliency Maps" (NeurIPS, arXiv:1810.03292).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from roar.analysis.curves import in_order
from roar.analysis.facts import BLIND, ESTIMATOR_FACTS, require
from roar.analysis.leaderboard import with_remarks

UNCHANGED = 0.5
"""The mean rank correlation above which a ranking counts as unchanged: half-way between the real network's own ranking
(1) and one that has nothing to do with it (0). Adebayo et al. set no bound; any is a convention, and this is stated."""

NOTICES, DOES_NOT_NOTICE, UNDECIDED, NOT_CHECKED = "notices", "does not notice", "undecided", "not checked"
SANITY_COLUMNS = ("source", "model", "regularizer", "estimator", "kind", "step", "steps", "layers", "measure",
                  "threshold", "mean", "std", "n", "ci_low", "ci_high", "by_chance", "tied_share", "train_accuracy",
                  *ESTIMATOR_FACTS)
EXPLAINED = ("source", "model", "regularizer", "estimator")
VERDICT_COLUMNS = (*EXPLAINED, "kind", "mean", "ci_low", "ci_high", "n", "train_accuracy", "verdict", *ESTIMATOR_FACTS)


def sanity_verdicts(sanity: pd.DataFrame) -> pd.DataFrame:
    """Whether each estimator notices that all weights are drawn anew, or that the labels were shuffled.

    Args:
        sanity: as ``store.sanity()`` gives it.

    Returns:
        A row per estimator and kind (``cascading``: its last step, where all layers are drawn anew; ``labels``), with
        :data:`VERDICT_COLUMNS`. ``mean``: of Spearman's correlation with the real network's ranking, over ``n`` test
        images, with its 95 % t interval. ``verdict``: ``does not notice`` where the interval lies wholly above
        :data:`UNCHANGED`, ``notices`` where it lies wholly below, else ``undecided``.
    """
    require(sanity, SANITY_COLUMNS, "sanity checks")
    last = (sanity["kind"].isin(["cascading", "labels"]) & (sanity["step"] == sanity["steps"])
            & (sanity["measure"] == "spearman"))
    rows = sanity[last].drop_duplicates([*EXPLAINED, "kind"], keep="last")
    verdict = [_verdict(low, high) for low, high in zip(rows["ci_low"], rows["ci_high"], strict=True)]
    return in_order(rows.assign(verdict=verdict)[list(VERDICT_COLUMNS)])


def _verdict(low: float, high: float) -> str:
    return DOES_NOT_NOTICE if low > UNCHANGED else NOTICES if high < UNCHANGED else UNDECIDED


def finest(sanity: pd.DataFrame) -> pd.DataFrame:
    """The rows of the check with the most steps, where an estimator was checked with several numbers of them."""
    most = sanity.groupby([*EXPLAINED, "kind"])["steps"].transform("max")
    return sanity[sanity["steps"] == most]


def with_sanity(board: pd.DataFrame, sanity: pd.DataFrame) -> pd.DataFrame:
    """A leaderboard with the column ``sanity``: what the checks of each estimator say, in words; and as its remark.

    ``does not notice weights``, ``does not notice labels`` or both where a check says so; else ``undecided`` where one
    is, ``notices`` where all do, and ``not checked``. Nothing is remarked where all notice, where there is no network
    to notice, or where there is no check at all.
    """
    found: dict[tuple[str, ...], dict[str, str]] = {}
    for row in sanity_verdicts(sanity).to_dict("records"):
        word = "weights" if row["kind"] == "cascading" else "labels"
        found.setdefault(tuple(str(row[key]) for key in EXPLAINED), {})[word] = row["verdict"]
    keys = board[list(EXPLAINED)].astype(str).itertuples(index=False, name=None)
    said = [_in_words(found.get(key, {})) for key in keys]
    remarks = ["" if words == NOTICES or family in BLIND or not found else f"sanity check: {words}"
               for words, family in zip(said, board["family"], strict=True)]
    return with_remarks(board.assign(sanity=said), remarks)


def _in_words(verdicts: dict[str, Any]) -> str:
    unnoticed = [word for word in ("weights", "labels") if verdicts.get(word) == DOES_NOT_NOTICE]
    if unnoticed:
        return f"{DOES_NOT_NOTICE} {' and '.join(unnoticed)}"
    if not verdicts:
        return NOT_CHECKED
    return UNDECIDED if UNDECIDED in verdicts.values() else NOTICES


def join(board: pd.DataFrame, frames: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The leaderboard with the verdicts of the sanity checks."""
    return with_sanity(board, frames["sanity"])
