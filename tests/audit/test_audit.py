"""The audit: how well each metric recovers an order that is known."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from analysis_results import with_facts
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from roar.audit import run as auditing
from roar.audit.figures import audit_taus
from roar.audit.run import AUDITED, KNOWN, SMALL
from roar.audit.table import ALL_SOURCES, AUDIT_COLUMNS, audit, conclusions, found_share, tau_b
from roar.errors import AnalysisError

ESTIMATORS = (*KNOWN, "gradient", "vargrad", "sobel")
QUALITY = dict(zip(ESTIMATORS, (1.0, 0.8, 0.5, 0.1, 0.0, 0.4, 0.7, 0.3), strict=True))
SMALL_INTEGERS = st.integers(-3, 3).map(float)


def qualities(*sources: str) -> pd.DataFrame:
    return with_facts(pd.DataFrame([{"source": source, "estimator": name, "quality": quality}
                                    for source in sources for name, quality in QUALITY.items()]))


def made_scores(metric: str, slope: float, noise: float, *sources: str, n: int = 5, seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    return pd.DataFrame([{"source": source, "metric": metric, "estimator": name, "draw": draw, "draws": "seeds",
                          "score": slope * QUALITY[name] + noise * random.standard_normal()}
                         for source in sources for name in ESTIMATORS for draw in range(n)])


@given(arrays(np.float64, 6, elements=SMALL_INTEGERS), arrays(np.float64, 6, elements=SMALL_INTEGERS))
def test_tau_is_scipys(scores: np.ndarray, truth: np.ndarray) -> None:
    if np.ptp(truth) == 0:
        return
    found = tau_b(np.stack([scores, -scores]), truth)
    expected = 0.0 if np.ptp(scores) == 0 else stats.kendalltau(scores, truth)[0]
    assert found == pytest.approx([expected, -expected])


@given(st.integers(0, 10_000))
def test_the_found_share_is_that_of_sets(seed: int) -> None:
    random = np.random.default_rng(seed)
    ranks = np.stack([random.permutation(12) for _ in range(4)])
    truth = random.random((4, 12)) < 0.4
    truth[:, 0] = True
    expected = []
    for image in range(4):
        informative = set(np.flatnonzero(truth[image]))
        first = {pixel for pixel in range(12) if ranks[image, pixel] < len(informative)}
        expected.append(len(first & informative) / len(informative))
    assert found_share(ranks, truth) == pytest.approx(expected)
    assert found_share(np.argsort(np.argsort(~truth, axis=1, kind="stable"), axis=1), truth) == pytest.approx(1)
    with pytest.raises(AnalysisError, match="1 have none"):
        found_share(ranks, truth & (np.arange(4) > 0)[:, None])


def test_a_metric_that_is_right_and_one_that_is_turned_around() -> None:
    scores = pd.concat([made_scores("right", 1, 0, "a", "b"), made_scores("wrong", -1, 0, "a", "b")])
    table = audit(scores, qualities("a", "b"), {("a", "right"): 2.0, ("b", "right"): 3.0}, resamples=200)
    assert tuple(table.columns) == AUDIT_COLUMNS
    assert (table[["tau", "boot_low", "boot_high"]].nunique(axis=1) == 1).all()
    assert table.groupby("metric")["tau"].unique().map(list).to_dict() == {"right": [1.0], "wrong": [-1.0]}
    assert table.groupby("order")["estimators"].unique().map(list).to_dict() == {"known": [5], "real": [3], "all": [8]}
    assert table[(table["source"] == ALL_SOURCES) & (table["metric"] == "right")]["seconds"].tolist() == [5.0] * 3
    assert set(table["n"]) == {5}


def test_the_interval_is_that_of_a_slow_bootstrap() -> None:
    scores = made_scores("rough", 1, 0.4, "a", n=6)
    row = audit(scores, qualities("a"), resamples=4_000).query("order == 'all'").iloc[0]
    wide = scores.pivot(index="estimator", columns="draw", values="score")
    truth = np.array([QUALITY[name] for name in wide.index])
    random = np.random.default_rng(1)
    taus = [stats.kendalltau(wide.to_numpy()[:, random.integers(0, 6, 6)].mean(axis=1), truth)[0] for _ in range(1_500)]
    step = 2 / 28  # one pair of 28 in the other order
    assert row["tau"] == pytest.approx(stats.kendalltau(wide.mean(axis=1), truth)[0])
    assert row["boot_low"] == pytest.approx(np.quantile(taus, 0.025), abs=1.01 * step)
    assert row["boot_high"] == pytest.approx(np.quantile(taus, 0.975), abs=1.01 * step)
    assert row["boot_low"] < row["tau"] <= row["boot_high"]


def test_only_what_the_intervals_allow_is_said() -> None:
    right, noise = made_scores("right", 1, 0.05, "a", "b"), made_scores("noise", 0, 1, "a", "b", seed=3)
    said = conclusions(pd.concat([right, noise]), qualities("a", "b"), resamples=1_000)
    assert re.fullmatch(r"right recovers the order of all estimators better than noise: tau (0\.9\d|1\.00) against "
                        r"-?0\.\d\d, difference 0\.\d\d to [012]\.\d\d\.", said[-2])
    assert "too narrow (5 of right, noise): treat conclusions about these metrics as preliminary" in said[-1]
    many = made_scores("right", 1, 0.05, "a", "b", n=10)
    same = conclusions(pd.concat([many, many.assign(metric="twin")]), qualities("a", "b"), resamples=1_000)
    assert same == [f"No metric is shown to recover the order of {kind} better than another: every interval of a "
                    "difference holds 0."
                    for kind in ("oracles of known quality", "real estimators", "all estimators")]
    once = conclusions(pd.concat([made_scores("one", 1, 0, "a", "b", n=1), right]), qualities("a", "b"))
    assert "one has one draw and hence no spread; run more seeds." in once[0]
    assert not any("better than" in sentence for sentence in once)


def test_too_little_is_said() -> None:
    scores = made_scores("right", 1, 0, "a")
    with pytest.raises(AnalysisError, match="right on a lacks scores of gradient; run what failed again"):
        audit(scores.drop(scores[(scores["estimator"] == "gradient") & (scores["draw"] == 2)].index), qualities("a"))
    two = scores[scores["estimator"].isin(["gradient", "random"])]
    assert audit(two, qualities("a")).empty
    with pytest.raises(AnalysisError, match="There is no metric to draw"):
        audit_taus(audit(two, qualities("a")))


def test_the_audit_from_the_command_line(roar: Callable[..., Any], tmp_path: Path,
                                         monkeypatch: pytest.MonkeyPatch) -> None:
    """Every metric on one easy source: those that retrain find the known order, and a second run finds all done."""
    easy = replace(SMALL, sources=("planted:size=9,train=300,test=60,difficulty=0.1",), seeds=2, epochs=5,
                   estimators=(*KNOWN, "gradient-magnitude"), thresholds=(10.0, 50.0))
    monkeypatch.setattr(auditing, "SMALL", easy)
    store = tmp_path / "store"
    asked = ("audit", "--small", "--executor", "serial", "--store", str(store))
    first = roar(*asked)
    assert first.code == 0, first.err
    table = pd.read_csv(store / "reports/audit.csv")
    assert list(dict.fromkeys(table["metric"])) == [metric.name for metric in AUDITED]
    known = table[table["order"] == "known"].set_index("metric")["tau"]
    assert known["KAR"] >= 0.6
    assert known["ROAR"] >= 0.6
    estimators = pd.read_csv(store / "reports/audit-estimators.csv")
    assert estimators.set_index("estimator")["quality"][["oracle", "oracle-inverted"]].tolist() == [1.0, 0.0]
    page = (store / "reports/audit.html").read_text()
    assert not re.search("https?://|<script", page)
    assert page.count("<svg") == 2  # wide and narrow, both drawn by the function of the file
    assert len(re.findall(r"<title>ROAR, planted:[^<]*: -?[01]\.\d\d</title>", page)) == 2 * 2
    assert ">ROAR</text>" in (store / "reports/audit.svg").read_text()
    results = len(list((store / "results").rglob("*.json*")))
    again = roar(*asked)
    assert again.code == 0, again.err
    assert pd.read_csv(store / "reports/audit.csv").equals(table)
    assert len(list((store / "results").rglob("*.json*"))) == results


def test_images_without_a_known_truth_are_refused(roar: Callable[..., Any], tmp_path: Path) -> None:
    asked = ("audit", "--small", "--source", "digits", "--executor", "serial", "--store", str(tmp_path / "store"))
    result = roar(*asked)
    assert result.code == 2
    assert "planted" in result.err
    assert not (tmp_path / "store").exists()
