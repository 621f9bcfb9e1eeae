"""Jobs that several models share, given to each of them.

The random and the Sobel ranking, an oracle's, and the reference at t = 0 know nothing of the explained network, and
recursive ROAR explains the networks that it retrains. Where several networks are explained and one architecture is
retrained, their trainings are the same jobs: each is done once and its row names the model that asked first. Every
model's curves need them.
"""

from __future__ import annotations

import pandas as pd

from roar.analysis.facts import BLIND, MODEL_FACTS, REFERENCE
from roar.analysis.noise import noise_column
from roar.experiment import RECURSIVE

OWNER = ["model", "regularizer", *MODEL_FACTS]
TOGETHER = ["source", "retrainer", "protocol"]
WHICH = ["estimator", "mode", "fill", "threshold", "seed"]


def with_shared(results: pd.DataFrame) -> pd.DataFrame:
    """The results with the rows of controls and reference repeated for every model of their protocol.

    Args:
        results: one row per job; without a column ``protocol`` they are returned as they are.

    Returns:
        The same columns. A row is added only where a model lacks a job of its protocol, so a second call adds none.
    """
    if "protocol" not in results.columns or results.empty:
        return results
    shared = results[results["family"].isin(BLIND) | (results["mode"] == RECURSIVE)]
    owners = results[[*TOGETHER, *OWNER]].drop_duplicates()
    copies = shared.drop(columns=OWNER).merge(owners, on=TOGETHER)[list(results.columns)]
    given = pd.concat([results, copies], ignore_index=True)
    return given.drop_duplicates([*TOGETHER, *OWNER, *WHICH, *noise_column(results)], ignore_index=True)


def with_stand_ins(results: pd.DataFrame) -> pd.DataFrame:
    """The results with the controls of mode ``roar`` repeated in mode ``recursive``, for the same setting and fill.

    Where a ranking knows nothing of the network, ranking anew changes nothing: there is one training for both modes.
    """
    keys = [*(name for name in (*OWNER, *TOGETHER) if name in results.columns), "fill"]
    wanted = results.loc[results["mode"] == RECURSIVE, keys].drop_duplicates()
    if wanted.empty:
        return results
    rows = results[(results["mode"] == "roar") & results["family"].isin(BLIND) & (results["family"] != REFERENCE)]
    given = pd.concat([results, rows.merge(wanted, on=keys).assign(mode=RECURSIVE)], ignore_index=True)
    which = [name for name in WHICH if name != "fill"]
    return given.drop_duplicates([*keys, *which, *noise_column(results)], ignore_index=True)
