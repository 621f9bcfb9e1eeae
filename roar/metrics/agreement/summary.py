"""Which estimators name the same pixels: their rank correlations as a matrix, those that agree side by side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from roar.analysis.facts import ESTIMATOR_FACTS, Facts, facts_of, require
from roar.analysis.paired import Floats
from roar.store.facts import NETWORK

TIED = 0.05  # share of tied pixels from which on it has to be said: chance alone gives a few, zeros give many
NEEDED = (*NETWORK, "estimator", "across", "other_model", "other", "measure", "mean", "n", "ci_low", "ci_high",
          "tied_share", "other_tied_share", *ESTIMATOR_FACTS, *(f"other_{name}" for name in ESTIMATOR_FACTS))


@dataclass(frozen=True, eq=False)
class Agreement:
    """One network's estimators and how far their rankings agree.

    Attributes:
        here: source, model and regularizer.
        facts: what is known of E estimators, in the order of the tree's leaves.
        spearman: ``[E, E]``, means over images, 1 on the diagonal; NaN where a pair was not compared.
        half_width: the widest half of a 95 % interval among them.
        tree: of :func:`scipy.cluster.hierarchy.linkage`, ``[E - 1, 4]``, over the distances 1 - rho.
        images: fewest that a mean is over.
        tied_share: ``[E]``, share of pixels that tie with others of their image and fall by lot, in [0, 1].
        other_seeds: ``[E]``, the mean correlation with the same estimator on networks of other seeds; NaN without.
    """

    here: dict[str, str]
    facts: tuple[Facts, ...]
    spearman: Floats
    half_width: float
    tree: Floats
    images: int
    tied_share: Floats
    other_seeds: Floats

    @property
    def estimators(self) -> tuple[str, ...]:
        return tuple(facts.name for facts in self.facts)


def agreements(pairs: pd.DataFrame) -> list[Agreement]:
    """The networks of which two rankings or more were compared.

    Estimators are clustered by average linkage of the distances 1 - rho; a pair that was not compared counts as 1.

    Args:
        pairs: as ``store.ranking_agreement()`` gives them.

    Raises:
        AnalysisError: a column is missing.
    """
    require(pairs, NEEDED, "agreement of rankings")
    rows = pairs[pairs["measure"] == "spearman"]
    own = rows[rows["across"] == "estimators"]
    return [_agreement(dict(zip(NETWORK, map(str, network), strict=True)), part, rows[rows["across"] == "seeds"])
            for network, part in own.groupby(list(NETWORK), sort=True)]


def _agreement(here: dict[str, str], part: pd.DataFrame, seeds: pd.DataFrame) -> Agreement:
    from scipy.cluster import hierarchy

    known = facts_of(part) | facts_of(part, "other", "other_")
    names = sorted(known, key=lambda name: known[name].order)
    matrix = np.full((len(names), len(names)), np.nan)
    np.fill_diagonal(matrix, 1.0)
    for one, other, mean in zip(part["estimator"], part["other"], part["mean"], strict=True):
        a, b = names.index(one), names.index(other)
        matrix[a, b] = matrix[b, a] = mean
    tied = {**dict(zip(part["other"], part["other_tied_share"], strict=True)),
            **dict(zip(part["estimator"], part["tied_share"], strict=True))}
    upper = np.triu_indices(len(names), 1)
    tree = hierarchy.linkage(1 - np.nan_to_num(matrix[upper], nan=0.0), "average")
    leaves = hierarchy.leaves_list(tree)
    half = float(np.nanmax((part["ci_high"] - part["ci_low"]).to_numpy() / 2, initial=0.0))
    return Agreement(here, tuple(known[names[leaf]] for leaf in leaves), matrix[np.ix_(leaves, leaves)], half, tree,
                     int(part["n"].min()), np.array([tied[names[leaf]] for leaf in leaves]),
                     np.array([_other_seeds(here, names[leaf], seeds) for leaf in leaves]))


def _other_seeds(here: dict[str, str], estimator: str, seeds: pd.DataFrame) -> float:
    """The mean over the networks of other seeds that one network's ranking was compared with."""
    own = seeds[(seeds["source"] == here["source"]) & (seeds["regularizer"] == here["regularizer"])
                & (seeds["estimator"] == estimator)
                & ((seeds["model"] == here["model"]) | (seeds["other_model"] == here["model"]))]
    return float(own["mean"].mean()) if len(own) else float("nan")
