"""Jobs that several models share, given to each of them.

The random and the Sobel ranking, an oracle's, and the reference at t = 0 know nothing of the explained network.
Where several networks are explained and one architecture is retrained, their trainings are the same jobs: each is
done once and its row names the model that asked first. Every model's curves need them.
"""

from __future__ import annotations

import pandas as pd

from roar.analysis.names import REFERENCE, knows_no_model

OWNER = ["model", "regularizer"]
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
    names = results["estimator"].dropna().unique()
    shared = results[results["estimator"].isin([name for name in names if name == REFERENCE or knows_no_model(name)])]
    owners = results[[*TOGETHER, *OWNER]].drop_duplicates()
    copies = shared.drop(columns=OWNER).merge(owners, on=TOGETHER)[list(results.columns)]
    given = pd.concat([results, copies], ignore_index=True)
    return given.drop_duplicates([*TOGETHER, *OWNER, *WHICH], ignore_index=True)
