"""Results beside the published ROAR table: the same order, the same findings?

Source: Hooker, Erhan, Kindermans and Kim, "A Benchmark for Interpretability Methods in Deep Neural Networks",
NeurIPS 2019, arXiv:1806.10758, Table 2 (three data sets, ResNet-50, five networks per cell).
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
import pandas as pd

from roar.analysis.contrasts import area_tests
from roar.analysis.curves import PANEL, curves
from roar.analysis.facts import REFERENCE, facts_of
from roar.analysis.grid import Grid, grids
from roar.analysis.leaderboard import verdicts
from roar.analysis.stability import correlations
from roar.analysis.tables import in_points

DATASETS = ("imagenet", "food101", "birdsnap")
BESIDE_COLUMNS = (*PANEL, "estimator", "published_as", "threshold", "mean", "ci_low", "ci_high", *DATASETS)
ORDER_COLUMNS = (*PANEL, "dataset", "threshold", "spearman", "kendall", "estimators")
FINDING_COLUMNS = (*PANEL, "finding", "claim", "verdict", "evidence")
_DELETION_PANEL = ("source", "model", "regularizer", "mode", "fill")  # what one deletion curve belongs to
CLAIMS = (
    "The base estimators are no better than random.",
    "SmoothGrad is no better than the base it smooths.",
    "SmoothGrad-Squared and VarGrad are better than both controls, random and Sobel.",
    "Deletion without retraining disagrees: it shows base estimators to be better than random that ROAR does not.",
)


@dataclass(frozen=True, eq=False)
class AgainstPaper:
    """Results against the paper.

    Attributes:
        beside: a row per cell that the paper has too, with :data:`BESIDE_COLUMNS`; all accuracies in percent.
        order: rank correlation of the estimators' order with the paper's, with :data:`ORDER_COLUMNS`; the
            threshold is NaN for the mean over the common thresholds.
        findings: a row per panel of mode ``roar`` and finding, with :data:`FINDING_COLUMNS`; ``verdict`` is
            ``holds``, ``does not hold``, ``open`` (the intervals allow both) or ``not measured``.
    """

    beside: pd.DataFrame
    order: pd.DataFrame
    findings: pd.DataFrame


def against_paper(results: pd.DataFrame, deletion: pd.DataFrame | None = None) -> AgainstPaper:
    """Lay results beside the published table and look for the paper's four findings in them.

    Args:
        results: one row per job.
        deletion: areas of deletion curves over controls, for the fourth finding; see
            :func:`roar.metrics.deletion.areas.deletion_areas`.
    """
    beside = _beside(curves(results))
    return AgainstPaper(beside, _order(beside), findings(results, deletion))


def published() -> pd.DataFrame:
    """The paper's Table 2, long: ``dataset``, ``published_as``, ``mode``, ``threshold``, ``accuracy`` (percent).

    ``threshold`` is the percentage of pixels replaced, in both modes.
    """
    file = resources.files("roar.analysis.data") / "roar_table2.csv"
    with file.open(encoding="utf-8") as stream:
        wide = pd.read_csv(stream)
    long = wide.melt(["dataset", "estimator"], var_name="cell", value_name="accuracy")
    kept = long["cell"].str.startswith("keep")
    percent = long["cell"].str.extract(r"(\d+)$", expand=False).astype(float)
    return pd.DataFrame({"dataset": long["dataset"], "published_as": long["estimator"],
                         "mode": np.where(kept, "kar", "roar"), "threshold": percent.where(~kept, 100 - percent),
                         "accuracy": long["accuracy"]})


def _beside(table: pd.DataFrame) -> pd.DataFrame:
    paper = published().pivot(index=["published_as", "mode", "threshold"], columns="dataset", values="accuracy")
    own = table[table["estimator"] != REFERENCE].copy()
    own["published_as"] = own["estimator"].map({name: facts.paper_name for name, facts in facts_of(own).items()})
    own[["mean", "ci_low", "ci_high"]] *= 100
    both = own[own["published_as"].notna()].merge(paper.reset_index(), on=["published_as", "mode", "threshold"])
    return both[both["mean"].notna()][list(BESIDE_COLUMNS)].reset_index(drop=True)


def _order(beside: pd.DataFrame) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for panel, part in beside.groupby(list(PANEL), sort=False):
        here = dict(zip(PANEL, panel, strict=True))
        for dataset in DATASETS:
            pairs = {threshold: own.set_index("estimator")[["mean", dataset]]
                     for threshold, own in part.groupby("threshold")}
            complete = pd.concat(list(pairs.values()), axis=1, join="inner")
            pairs[np.nan] = pd.DataFrame({name: complete[[name]].mean(axis=1) for name in ("mean", dataset)})
            for threshold, pair in pairs.items():
                found = correlations(pair["mean"].to_numpy(float), pair[dataset].to_numpy(float))
                rows.append({**here, "dataset": dataset, "threshold": threshold,
                             **dict(zip(ORDER_COLUMNS[-3:], found, strict=True))})
    return pd.DataFrame(rows, columns=list(ORDER_COLUMNS))


def findings(results: pd.DataFrame, deletion: pd.DataFrame | None = None) -> pd.DataFrame:
    """Which of the paper's four findings hold here, each with its evidence: see :class:`AgainstPaper`."""
    gaps = deletion if deletion is not None and len(deletion) else None
    rows: list[dict[str, Any]] = []
    for grid in grids(results):
        if grid.here["mode"] != "roar":
            continue
        named = {name: facts for name, facts in grid.facts.items() if facts.paper_name}
        bases = [name for name, p in named.items() if p.ensemble == "base" and not p.is_control]
        smooth = [(name, p.base) for name, p in named.items() if p.ensemble == "smoothgrad"]
        squared = [name for name, p in named.items() if p.ensemble in ("smoothgrad-squared", "vargrad")]
        first = _pairs(grid, [(name, "random") for name in bases])
        found = [
            _no_better(first),
            _no_better(_pairs(grid, smooth)),
            _all_better(_pairs(grid, [(name, control) for name in squared for control in ("random", "sobel")])),
            _otherwise(first, gaps, grid.here),
        ]
        for number, (claim, (verdict, evidence)) in enumerate(zip(CLAIMS, found, strict=True), start=1):
            rows.append({**grid.here, "finding": number, "claim": claim, "verdict": verdict, "evidence": evidence})
    return pd.DataFrame(rows, columns=list(FINDING_COLUMNS))


def _pairs(grid: Grid, wanted: list[tuple[str, str]]) -> pd.DataFrame:
    """The tests of those pairs that the panel holds, Holm-corrected among themselves."""
    here = [pair for pair in wanted if set(pair) <= set(grid.estimators)]
    table = pd.DataFrame(area_tests(grid, here), columns=["estimator", "other", "advantage", "n", "ci_low", "ci_high",
                                                          "p_holm"])
    return table.assign(verdict=verdicts(table))


def _no_better(pairs: pd.DataFrame) -> tuple[str, str]:
    """A claim that no pair's first is better: broken by one that is, held where all intervals end at 0 or below."""
    if not len(pairs):
        return "not measured", "These results lack the estimators of this claim."
    if (pairs["verdict"] == "better").any():
        return "does not hold", _evidence(pairs)
    return ("holds" if (pairs["ci_high"] <= 0).all() else "open"), _evidence(pairs)


def _all_better(pairs: pd.DataFrame) -> tuple[str, str]:
    """A claim that every pair's first is better: broken by one that is worse, held where all tests say so."""
    if not len(pairs) or set(pairs["other"]) != {"random", "sobel"}:
        return "not measured", "These results lack the estimators or controls of this claim."
    if (pairs["verdict"] == "worse").any():
        return "does not hold", _evidence(pairs)
    return ("holds" if (pairs["verdict"] == "better").all() else "open"), _evidence(pairs)


def _otherwise(bases: pd.DataFrame, gaps: pd.DataFrame | None, here: dict[str, str]) -> tuple[str, str]:
    """The claim about deletion, for those bases that ROAR does not find better than random."""
    if gaps is None:
        return "not measured", "This claim needs deletion curves, and deletion was not run."
    at_home = np.logical_and.reduce([gaps[name] == here[name] for name in _DELETION_PANEL])
    modest = bases[bases["verdict"] != "better"]["estimator"]
    own = gaps[at_home & (gaps["control"] == "random") & gaps["estimator"].isin(modest)]
    if not len(own):
        return "not measured", ("No base estimator that ROAR does not show to be better than random has a deletion "
                                "curve.")
    evidence = "Without retraining, over random: " + _listed(own)
    if (own["ci_low"] > 0).any():
        return "holds", evidence
    return ("does not hold" if (own["ci_high"] <= 0).all() else "open"), evidence


def _evidence(pairs: pd.DataFrame) -> str:
    seeds = sorted(set(pairs["n"]))
    n = str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    over = [f"Over {other}: {_listed(own)}" for other, own in pairs.groupby("other", sort=False)]
    return (f"Advantage in points, mean over t, with 95 % t intervals ({n} seed{'' if n == '1' else 's'}). "
            + " ".join(over))


def _listed(rows: pd.DataFrame) -> str:
    return "; ".join(f"{row['estimator']} {in_points(row['advantage'], row['ci_low'], row['ci_high'])}"
                     for row in rows.to_dict("records")) + "."
