"""Does a regularizer make a network easier to explain? Areas per regularizer, and its effect on them.

The *area* of an estimator against a control is its mean advantage over t in accuracy points, positive where the
estimator finds what the control does not. A regularizer's *effect* is its area minus that of ``none``, paired.

What is sampled decides what an interval says. Where several networks of a kind are explained (``seeds`` of a
``[[model]]``), each gives one number, the mean over its retrainings, and the interval speaks of networks of that
kind. Where one is explained, the sample is its retrainings and the interval speaks of that one network only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from roar.analysis.curves import PANEL
from roar.analysis.facts import ESTIMATOR_FACTS, Facts
from roar.analysis.grid import Grid, grids
from roar.analysis.paired import Floats, bootstrap_intervals, few_seeds, holm, paired
from roar.analysis.shared import with_shared
from roar.analysis.tables import in_points
from roar.errors import AnalysisError
from roar.seeds.streams import derive

NONE = "none"
CONTROLS = ("random", "sobel")
NETWORKS, RETRAININGS = "networks", "retrainings of one network"
STATISTICS = ("std", "n", "ci_low", "ci_high", "boot_low", "boot_high", "p", "p_holm")
KEYS = (*PANEL, "estimator", "control")
AREA_COLUMNS = (*KEYS, "accuracy", "area", *STATISTICS, "sample", "note", "finding", *ESTIMATOR_FACTS)
EFFECT_COLUMNS = (*KEYS, "effect", *STATISTICS, "sample", "note", "finding")
SIGNIFICANT = 0.05


@dataclass(frozen=True, eq=False)
class _Sample:
    """Numbers ``[M, S]`` of M explained networks and S retrainings, NaN where one is missing."""

    networks: tuple[int, ...]
    retrainings: tuple[int, ...]
    values: Floats

    @property
    def kind(self) -> str:
        return NETWORKS if len(self.networks) > 1 else RETRAININGS

    @property
    def flat(self) -> Floats:
        """What is counted: a number per network where there are several, else per retraining."""
        if self.kind == RETRAININGS:
            one: Floats = self.values[0]
            return one
        complete: Floats = self.values.mean(axis=1)  # NaN where a retraining is missing: means over others differ
        return complete


@dataclass(frozen=True)
class Comparison:
    """Areas and effects, one row per panel, estimator and control; see the module for what they mean.

    ``areas`` has :data:`AREA_COLUMNS` and a column ``at T %`` per threshold, the mean accuracy in percent;
    ``effects`` has :data:`EFFECT_COLUMNS`. ``model`` is an architecture, over all the seeds of it.
    """

    areas: pd.DataFrame
    effects: pd.DataFrame

    @property
    def findings(self) -> list[str]:
        return [*self.areas["finding"], *self.effects["finding"]]


def compare_regularizers(results: pd.DataFrame, baseline: str = NONE) -> Comparison:
    """Every regularizer's areas, and their difference from the baseline's.

    Holm's correction is over all areas against one control, and over all effects on the areas against one control.

    Args:
        results: one row per job; the controls of a protocol may stand at any of its models.
        baseline: the regularizer that the others are held against.

    Raises:
        AnalysisError: no estimator stands beside a control.
    """
    found: dict[tuple[str, ...], dict[str, list[tuple[int, Grid]]]] = {}
    for grid in grids(with_shared(results)):
        here = {**grid.here, "model": grid.architecture}
        panel = found.setdefault(tuple(here[name] for name in PANEL if name != "regularizer"), {})
        panel.setdefault(here["regularizer"], []).append((grid.model_seed, grid))
    areas: list[dict[str, Any]] = []
    effects: list[dict[str, Any]] = []
    for key, kinds in found.items():
        shared = dict(zip([name for name in PANEL if name != "regularizer"], key, strict=True))
        samples = {kind: _areas(members) for kind, members in kinds.items()}
        facts = {name: known for members in kinds.values() for _, grid in members for name, known in grid.facts.items()}
        ranked = sorted(kinds, key=lambda kind: (kind != baseline, kind))
        for kind in ranked:
            here = {**shared, "regularizer": kind}
            curve = {estimator: _accuracies(kinds[kind], estimator) for estimator, _ in samples[kind]}
            for (estimator, control), sample in samples[kind].items():
                row = {**here, **facts[estimator].columns, "control": control, **curve[estimator]}
                areas.append({**row, **_row("area", sample, (*key, kind, estimator, control))})
                other = samples.get(baseline, {}).get((estimator, control))
                if kind != baseline and other is not None and not _same_ranking(facts[estimator], sample, other):
                    row = {**here, "estimator": estimator, "control": control}
                    effects.append({**row, **_row("effect", _difference(sample, other), (*key, kind, estimator))})
    if not areas:
        raise AnalysisError("No estimator stands beside a control in these results; add random or sobel to the "
                            "estimators.")
    both = pd.DataFrame(areas), pd.DataFrame(effects)
    extra = [name for name in both[0].columns if name.startswith("at ")]
    areas_frame = _corrected(both[0]).reindex(columns=[
        *(name for name in AREA_COLUMNS if name not in ("note", "finding", *ESTIMATOR_FACTS)), *extra, "note",
        *ESTIMATOR_FACTS])
    effects_frame = _corrected(both[1]).reindex(columns=[*EFFECT_COLUMNS[:-1]])
    areas_frame["finding"] = [_area_sentence(row) for _, row in areas_frame.iterrows()]
    effects_frame["finding"] = [_effect_sentence(row, baseline) for _, row in effects_frame.iterrows()]
    return Comparison(areas_frame, effects_frame)


def _same_ranking(estimator: Facts, sample: _Sample, other: _Sample) -> bool:
    """Whether these are the areas of one control, trained once for both: there is nothing to test."""
    return estimator.is_control and np.array_equal(sample.values, other.values, equal_nan=True)


def _areas(members: list[tuple[int, Grid]]) -> dict[tuple[str, str], _Sample]:
    """The areas of every estimator against every control that all networks of a kind have."""
    members = sorted(members, key=lambda member: member[0])
    everywhere = set.intersection(*(set(grid.estimators) for _, grid in members))
    seeds = tuple(sorted({seed for _, grid in members for seed in grid.seeds}))
    found = {}
    facts = members[0][1].facts
    for control in [name for name in CONTROLS if name in everywhere]:
        for estimator in [name for name in facts if name in everywhere]:
            if estimator == control or (facts[estimator].is_control and control != "random"):
                continue
            values = np.full((len(members), len(seeds)), np.nan)
            for i, (_, grid) in enumerate(members):
                values[i, [seeds.index(seed) for seed in grid.seeds]] = grid.area(estimator, control)[0]
            found[estimator, control] = _Sample(tuple(seed for seed, _ in members), seeds, values)
    return found


def _accuracies(members: list[tuple[int, Grid]], estimator: str) -> dict[str, float]:
    """The ROAR curve in percent, over networks and retrainings; ``accuracy`` is its start, at t = 0."""
    start = np.concatenate([grid.reference for _, grid in members])
    found = {"accuracy": _mean(start)}
    thresholds = sorted({t for _, grid in members for t in grid.thresholds})
    for threshold in thresholds:
        at = [grid.of(estimator)[grid.thresholds == threshold].ravel() for _, grid in members]
        found[f"at {threshold:g} %"] = _mean(np.concatenate(at))
    return found


def _mean(values: Floats) -> float:
    finite = values[np.isfinite(values)]
    return float(100 * finite.mean()) if len(finite) else np.nan


def _difference(sample: _Sample, other: _Sample) -> _Sample:
    """Sample minus other, where both have the same networks' and retrainings' seeds."""
    networks = [seed for seed in sample.networks if seed in other.networks]
    retrainings = [seed for seed in sample.retrainings if seed in other.retrainings]

    def of(one: _Sample) -> Floats:
        rows, columns = [one.networks.index(s) for s in networks], [one.retrainings.index(s) for s in retrainings]
        picked: Floats = one.values[np.ix_(rows, columns)]
        return picked

    if not networks:
        return _Sample((0,), (), np.full((1, 0), np.nan))
    return _Sample(tuple(networks), tuple(retrainings), of(sample) - of(other))


def _row(name: str, sample: _Sample, seed: tuple[str, ...]) -> dict[str, Any]:
    values = sample.flat
    found = paired(values)
    low, high = bootstrap_intervals(values[None], derive(0, "bootstrap", *seed))
    return {name: float(found.mean), "std": float(found.std), "n": int(found.n), "ci_low": float(found.low),
            "ci_high": float(found.high), "boot_low": float(low[0]), "boot_high": float(high[0]), "p": float(found.p),
            "sample": sample.kind, "note": few_seeds(int(found.n)).replace("seed", "pair")}


def _corrected(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with ``p_holm``: one family of tests for each control."""
    if rows.empty:
        return rows.assign(p_holm=pd.Series(dtype=float))
    return rows.assign(p_holm=rows.groupby("control")["p"].transform(lambda p: holm(p.to_numpy())))


def _where(row: pd.Series) -> str:
    """Which curve a sentence is about, with every setting that is not the plain one."""
    words = [f"{row['model']} with {row['regularizer']}, {row['estimator']}"]
    if row["retrainer"] != row["model"]:
        words.append(f"retrained as {row['retrainer']}")
    words += [str(row[name]) for name, plain in (("mode", "roar"), ("fill", "mean")) if row[name] != plain]
    return ", ".join(words)


def _evidence(row: pd.Series, size: float) -> tuple[str, bool]:
    """Size, interval and n in words, and whether the corrected test finds something."""
    sample = str(row["sample"]) if row["n"] != 1 else "retraining" if row["sample"] == RETRAININGS else "network"
    text = f"{in_points(size, row['ci_low'], row['ci_high'])} accuracy points (n = {row['n']} {sample}"
    text += "" if pd.isna(row["p_holm"]) else f", corrected p = {row['p_holm']:.2g}"
    return f"{text})", bool(row["p_holm"] < SIGNIFICANT)


def _area_sentence(row: pd.Series) -> str:
    text, found = _evidence(row, row["area"])
    if not found:
        return f"{_where(row)}: no evidence of a difference from {row['control']}: {text}."
    return f"{_where(row)}: {'better' if row['area'] > 0 else 'worse'} than {row['control']}: {text}."


def _effect_sentence(row: pd.Series, baseline: str) -> str:
    text, found = _evidence(row, row["effect"])
    against = f"the area against {row['control']}"
    if not found:
        return f"{_where(row)}: no evidence that {against} differs from that of {baseline}: {text}."
    word = "larger" if row["effect"] > 0 else "smaller"
    return f"{_where(row)}: {against} is {word} than that of {baseline}: {text}."
