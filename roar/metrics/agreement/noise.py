"""How far each estimator agrees with itself when its noise is drawn anew, and how many samples would mend it."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from roar.analysis.leaderboard import with_remarks
from roar.analysis.noise import GOAL
from roar.metrics.agreement.frames import read_ranking_agreement
from roar.metrics.agreement.worker import NOISE
from roar.store.facts import NETWORK
from roar.store.store import Store

KEYS = [*NETWORK, "estimator"]
COLUMNS = {**dict.fromkeys(KEYS, "string"), "self_agreement": "float64", "ci_low": "float64", "ci_high": "float64",
           "n": "int64", "noise_seeds": "int64", "samples": "int64", "samples_needed": "float64"}


def read_self_agreement(store: Store) -> pd.DataFrame:
    """One row per estimator that was ranked under several noise seeds.

    Raises:
        DamagedArtifactError: a file is not what was written.
    """
    return self_agreement(read_ranking_agreement(store))


def self_agreement(pairs: pd.DataFrame) -> pd.DataFrame:
    """The mean over pairs of noise seeds of the rank correlation; of the widest set of seeds where there are several.

    ``ci_low`` and ``ci_high`` are the means of the pairs' intervals over images, which is wider than that of the mean.
    """
    rows = pairs[(pairs["across"] == NOISE) & (pairs["measure"] == "spearman")]
    rows = rows.drop_duplicates([*KEYS, "noise_seed", "other_noise_seed"], keep="last")
    found = []
    for values, own in rows.groupby(KEYS):
        rho, samples = float(own["mean"].mean()), own["samples"].iloc[0]
        found.append({**dict(zip(KEYS, values, strict=True)), "self_agreement": rho, "ci_low": own["ci_low"].mean(),
                      "ci_high": own["ci_high"].mean(), "n": int(own["n"].min()),
                      "noise_seeds": len({*own["noise_seed"], *own["other_noise_seed"]}), "samples": samples,
                      "samples_needed": float(own["samples_needed"].mean())})
    return pd.DataFrame(found, columns=list(COLUMNS)).astype(COLUMNS)


def join(board: pd.DataFrame, frames: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The leaderboard with the column ``self_agreement``, and as the remark of each estimator that draws noise."""
    table = frames["self-agreement"]
    known = {tuple(map(str, row[:4])): row for row in table[list(COLUMNS)].itertuples(index=False, name=None)}
    rows = [known.get(tuple(map(str, key))) for key in board[KEYS].itertuples(index=False, name=None)]
    board = board.assign(self_agreement=[float("nan") if row is None else row[4] for row in rows])
    return with_remarks(board, ["" if row is None else _in_words(dict(zip(COLUMNS, row, strict=True))) for row in rows])


def _in_words(row: Mapping[str, float]) -> str:
    """``agrees with itself under other noise at 0.16 [0.13, 0.19], n = 30 images (J = 15; 0.9 needs about 870)``."""
    said = (f"agrees with itself under other noise at {row['self_agreement']:.2f} [{row['ci_low']:.2f}, "
            f"{row['ci_high']:.2f}], n = {row['n']:,} images")
    if not row["samples"]:
        return said
    needed = row["samples_needed"]
    more = f"{GOAL:g} needs about {needed:.0f}" if needed < 1e6 else f"no number of samples gives {GOAL:g}"
    return f"{said} (J = {row['samples']}; {more})"
