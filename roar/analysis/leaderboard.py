"""The estimators of each panel in order, with all that a claim about them needs in one row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from roar.analysis.contrasts import areas, pairwise
from roar.analysis.curves import PANEL
from roar.analysis.facts import ESTIMATOR_FACTS
from roar.analysis.paired import CONFIDENCE, RESAMPLES
from roar.analysis.ranks import ranks

BOARD_CONTROLS = ("random", "sobel")
BOARD_PARTS = ("advantage", "ci_low", "ci_high", "boot_low", "boot_high", "p_holm", "verdict")
BOARD_COLUMNS = (*PANEL, "estimator", "mean_accuracy", "rank", "rank_low", "rank_high", "sure_low", "sure_high", "n",
                 *(f"{control}_{part}" for control in BOARD_CONTROLS for part in BOARD_PARTS), "note",
                 *ESTIMATOR_FACTS)


def leaderboard(results: pd.DataFrame, resamples: int = RESAMPLES, root: int = 0) -> pd.DataFrame:
    """The estimators of each panel, best first, against both controls.

    Args:
        results: one row per job.
        resamples: of the bootstraps.
        root: their seed.

    Returns:
        A row per panel and estimator, with :data:`BOARD_COLUMNS`: the columns of :func:`roar.analysis.ranks`;
        ``sure_low`` and ``sure_high``, the ranks that the Holm-corrected tests of all pairs leave open (95 % for
        all estimators at once); and for each control of :func:`roar.analysis.areas` ``random_advantage`` (points
        over t) with its intervals, ``random_p_holm`` and ``random_verdict``: ``better``, ``worse``, ``open`` (not
        significantly different), ``untested``, or empty where there is no such control.
    """
    keys = [*PANEL, "estimator"]
    board = ranks(results, resamples, root).set_index(keys)
    gaps = areas(results, resamples, root)
    gaps["verdict"] = verdicts(gaps)
    for control in BOARD_CONTROLS:
        own = gaps[gaps["control"] == control].set_index(keys).reindex(board.index)
        for part in BOARD_PARTS[:-1]:
            board[f"{control}_{part}"] = own[part].astype(float)
        board[f"{control}_verdict"] = own["verdict"].astype(object).fillna("").astype(str)
        spans = own["note"].astype(object).where(own["note"].notna(), "").str.extract(r"(spans .*)", expand=False)
        board["note"] = [_joined(note, "" if pd.isna(span) else f"against {control} {span}")
                         for note, span in zip(board["note"], spans, strict=True)]
    sure = _sure_ranks(results, board.index[board["rank"].notna()]).reindex(board.index)
    return board.join(sure).reset_index()[list(BOARD_COLUMNS)]


def with_remarks(board: pd.DataFrame, remarks: Sequence[str]) -> pd.DataFrame:
    """A leaderboard whose column ``remark``, shown beside an estimator's name, says more of each row.

    Args:
        board: with or without remarks.
        remarks: one per row, empty where there is nothing to say.
    """
    before = board["remark"] if "remark" in board.columns else [""] * len(board)
    return board.assign(remark=[_joined(*pair) for pair in zip(before, remarks, strict=True)])


def verdicts(contrasts: pd.DataFrame, level: float = 1 - CONFIDENCE) -> pd.Series:
    """What each row's corrected test allows to say: ``better``, ``worse``, ``open`` or ``untested``."""
    p, advantage = contrasts["p_holm"], contrasts["advantage"]
    words = np.select([p.isna(), p >= level, advantage > 0], ["untested", "open", "better"], "worse")
    return pd.Series(words, index=contrasts.index, dtype=str)


def _sure_ranks(results: pd.DataFrame, ranked: pd.Index[Any]) -> pd.DataFrame:
    """The ranks that the tests of all pairs leave open, for the ranked (panel and estimator)."""
    pairs = pairwise(results)
    pairs["verdict"] = verdicts(pairs)
    swapped = pairs.rename(columns={"estimator": "other", "other": "estimator"})
    swapped["verdict"] = swapped["verdict"].replace({"better": "worse", "worse": "better"})
    both = pd.concat([pairs, swapped])
    keep = [pd.MultiIndex.from_frame(both[[*PANEL, name]]).isin(ranked) for name in ("estimator", "other")]
    both = both[keep[0] & keep[1]]
    counts = pd.crosstab([both[name] for name in (*PANEL, "estimator")], both["verdict"])
    counts = counts.reindex(index=ranked, columns=["better", "worse", "open", "untested"], fill_value=0)
    low = 1 + counts["worse"]
    return pd.DataFrame({"sure_low": low, "sure_high": low + counts["open"] + counts["untested"]}).astype("Int64")


def _joined(*notes: str) -> str:
    return "; ".join(note for note in notes if note)
