"""The comparison of regularizers: shared jobs, areas, effects, sentences."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from analysis_results import synthetic_results
from scipy import stats

from roar.analysis.curves import curves
from roar.analysis.paired import holm
from roar.analysis.regularizers import Comparison, compare_regularizers
from roar.analysis.shared import with_shared
from roar.errors import AnalysisError

THRESHOLDS = (0.0, 30.0, 70.0)
ESTIMATORS = ("gradient", "vargrad", "random", "sobel")


def results(kinds: dict[str, float], models: tuple[str, ...] = ("simplecnn",), seeds: int = 3,
            std: float = 0.004) -> pd.DataFrame:
    """Results of several regularizers; each lowers vargrad's accuracy by so many accuracy points everywhere."""
    parts = []
    for number, (kind, points) in enumerate(kinds.items()):
        for place, model in enumerate(models):
            frame = synthetic_results(ESTIMATORS, THRESHOLDS, seeds, std, models=[model], root=10 * number + place)
            frame["regularizer"], frame["retrainer"] = kind, "simplecnn"
            frame["architecture"], frame["model_seed"] = "simplecnn", place
            frame["protocol"], frame["job"] = f"protocol-{kind}", f"{kind}-{model}-" + frame["job"]
            frame.loc[frame["estimator"] == "vargrad", "accuracy"] -= points / 100
            parts.append(frame)
    return pd.concat(parts, ignore_index=True)


def area_by_hand(frame: pd.DataFrame, kind: str, model: str, estimator: str, control: str) -> list[float]:
    """Per seed: the trapezoid over t = 0, 30, 70 of control minus estimator, in points."""
    part = frame[(frame["regularizer"] == kind) & (frame["model"] == model)]
    found = []
    for seed in sorted(part["seed"].unique()):
        gap = []
        for t in (30.0, 70.0):
            at = part[(part["threshold"] == t) & (part["seed"] == seed)].set_index("estimator")["accuracy"]
            gap.append(100 * (at[control] - at[estimator]))
        found.append((gap[0] / 2 * 30 + (gap[0] + gap[1]) / 2 * 40) / 70)
    return found


def row(frame: pd.DataFrame, **where: str) -> pd.Series:
    for name, value in where.items():
        frame = frame[frame[name] == value]
    assert len(frame) == 1
    return frame.iloc[0]


def test_areas_and_effects_are_those_computed_by_hand() -> None:
    frame = results({"none": 0.0, "dropout(0.3)": 6.0})
    found = compare_regularizers(frame)
    assert len(found.areas) == 2 * (3 + 2)  # three against random, two against Sobel
    assert len(found.effects) == 3 + 2
    for kind in ("none", "dropout(0.3)"):
        area = row(found.areas, regularizer=kind, estimator="vargrad", control="random")
        sample = area_by_hand(frame, kind, "simplecnn", "vargrad", "random")
        assert area["area"] == pytest.approx(np.mean(sample))
        interval = stats.t.interval(0.95, 2, np.mean(sample), stats.sem(sample))
        assert (area["ci_low"], area["ci_high"]) == pytest.approx(interval)
        assert area["boot_low"] <= area["area"] <= area["boot_high"]
        assert area["n"] == 3
        assert area["sample"] == "retrainings of one network"
        part = frame[frame["regularizer"] == kind]
        reference = part.loc[part["estimator"] == "reference", "accuracy"]
        assert area["accuracy"] == pytest.approx(100 * reference.mean())
        cell = part[(part["estimator"] == "vargrad") & (part["threshold"] == 70.0)]
        assert area["at 70 %"] == pytest.approx(100 * cell["accuracy"].mean())
    effect = row(found.effects, estimator="vargrad", control="random")
    difference = np.subtract(area_by_hand(frame, "dropout(0.3)", "simplecnn", "vargrad", "random"),
                             area_by_hand(frame, "none", "simplecnn", "vargrad", "random"))
    assert effect["effect"] == pytest.approx(difference.mean())
    assert effect["p"] == pytest.approx(stats.ttest_1samp(difference, 0).pvalue)
    family = found.effects[found.effects["control"] == "random"]
    assert np.allclose(family["p_holm"], holm(family["p"].to_numpy()))


def test_several_explained_networks_are_the_sample() -> None:
    models = ("simplecnn", "simplecnn#1", "simplecnn#2", "simplecnn#3")
    frame = results({"none": 0.0, "l2(0.0005)": 6.0}, models)
    found = compare_regularizers(frame)
    effect = row(found.effects, estimator="vargrad", control="random")
    by_network = [np.mean(area_by_hand(frame, "l2(0.0005)", model, "vargrad", "random"))
                  - np.mean(area_by_hand(frame, "none", model, "vargrad", "random")) for model in models]
    assert effect["n"] == 4
    assert effect["sample"] == "networks"
    assert effect["effect"] == pytest.approx(np.mean(by_network))
    assert effect["p"] == pytest.approx(stats.ttest_1samp(by_network, 0).pvalue)
    assert set(found.areas["model"]) == {"simplecnn"}


def test_a_sentence_states_size_interval_and_n_or_that_there_is_no_evidence() -> None:
    frame = results({"none": 0.0, "dropout(0.3)": 12.0, "l1(0.0001)": 0.0}, seeds=5)
    effects = compare_regularizers(frame).effects
    strong = row(effects, regularizer="dropout(0.3)", estimator="vargrad", control="random")
    assert strong["p_holm"] < 0.05
    assert "is larger than that of none" in strong["finding"]
    assert f"{strong['effect']:+.1f} [{strong['ci_low']:+.1f}, {strong['ci_high']:+.1f}]" in strong["finding"]
    assert "n = 5 retrainings of one network" in strong["finding"]
    weak = row(effects, regularizer="l1(0.0001)", estimator="gradient", control="random")
    assert weak["p_holm"] >= 0.05
    assert "no evidence" in weak["finding"]


def test_without_an_effect_nothing_is_claimed_too_often() -> None:
    """Of 60 comparisons without any effect, about 5 % may claim one; 9 or more have a chance of 0.2 %."""
    claims = 0
    for root in range(60):
        frame = results({"none": 0.0, "l2(0.1)": 0.0}, seeds=4)
        frame["accuracy"] = 0.5 + np.random.default_rng(root).normal(0, 0.01, len(frame))
        effects = compare_regularizers(frame).effects
        family = effects[effects["control"] == "random"]
        claims += bool((family["p_holm"] < 0.05).any())
    assert claims < 9


def test_one_seed_has_no_interval_and_no_claim() -> None:
    found = compare_regularizers(results({"none": 0.0, "l2(0.1)": 9.0}, seeds=1))
    assert found.effects["ci_low"].isna().all()
    assert found.effects["p_holm"].isna().all()
    assert found.effects["finding"].str.contains("no evidence").all()
    assert found.effects["note"].str.contains("one pair").all()


def test_a_failed_training_leaves_its_seed_out() -> None:
    frame = results({"none": 0.0, "l2(0.1)": 2.0}, seeds=4)
    broken = (frame["regularizer"] == "none") & (frame["estimator"] == "vargrad") & (frame["seed"] == 2)
    frame.loc[broken & (frame["threshold"] == 70.0), ["status", "accuracy"]] = ["failed", np.nan]
    effects = compare_regularizers(frame).effects
    assert row(effects, estimator="vargrad", control="random")["n"] == 3
    assert row(effects, estimator="gradient", control="random")["n"] == 4


def test_without_none_there_are_areas_and_no_effects() -> None:
    found = compare_regularizers(results({"l2(0.1)": 0.0, "l1(0.1)": 0.0}))
    assert len(found.areas) == 10
    assert found.effects.empty
    assert isinstance(found, Comparison) and len(found.findings) == 10


def test_without_controls_nothing_can_be_compared() -> None:
    frame = results({"none": 0.0})
    with pytest.raises(AnalysisError, match="random or sobel"):
        compare_regularizers(frame[frame["estimator"].isin(["gradient", "reference"])])


def shared_results() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Three models with one common retrainer: as kept, each shared job once; and as each model would have them."""
    whole = results({"none": 0.0, "l2(0.1)": 1.0, "l1(0.1)": 2.0}).assign(protocol="one", retrainer="resnet20")
    known = whole["estimator"].isin(["random", "sobel", "reference"])
    plain = whole["regularizer"] == "none"
    first = whole[known & plain]
    everyone = [whole[~known]]
    for kind in ("none", "l2(0.1)", "l1(0.1)"):
        everyone.append(first.assign(regularizer=kind))
    return whole[~known | plain], pd.concat(everyone, ignore_index=True)


def test_shared_jobs_belong_to_every_model() -> None:
    kept, expected = shared_results()
    given = with_shared(kept)
    columns = ["regularizer", "estimator", "threshold", "seed"]
    found, wanted = (f.sort_values(columns, ignore_index=True)[list(kept.columns)] for f in (given, expected))
    pd.testing.assert_frame_equal(found, wanted)
    pd.testing.assert_frame_equal(with_shared(given), given)
    there = set(curves(given)[["regularizer", "estimator"]].itertuples(index=False, name=None))
    assert there >= {(kind, name) for kind in ("none", "l2(0.1)", "l1(0.1)") for name in ("random", "reference")}
    assert len(compare_regularizers(kept).effects) == 2 * (2 + 2)  # the controls are the same jobs: no test


def test_protocols_share_nothing() -> None:
    frame = results({"none": 0.0, "l2(0.1)": 1.0})
    pd.testing.assert_frame_equal(with_shared(frame), frame)
    pd.testing.assert_frame_equal(with_shared(frame.drop(columns="protocol")), frame.drop(columns="protocol"))


def test_networks_of_one_architecture_are_known_by_columns_whatever_they_are_called() -> None:
    plain = results({"none": 0.0, "l1(0.1)": 3.0}, ("simplecnn", "simplecnn#1"))
    other = plain.assign(model=plain["model"].map({"simplecnn": "mine #7", "simplecnn#1": "simplecnn (head-only)"}))
    found, wanted = compare_regularizers(other), compare_regularizers(plain)
    assert set(found.areas["model"]) == {"simplecnn"}
    pd.testing.assert_frame_equal(found.effects, wanted.effects)
