"""Against the published table, and deletion without retraining."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from analysis_results import SIX, TWENTY, deletion_of, facts, synthetic_results, with_facts
from statsmodels.stats.proportion import proportion_confint

from roar.analysis.paper import against_paper, findings, published
from roar.errors import AnalysisError
from roar.metrics.deletion.areas import deletion_areas, deletion_beside_roar, deletion_curves


def test_the_published_table_is_whole() -> None:
    table = published()
    assert len(table) == 3 * 14 * 10
    keys = ["dataset", "published_as", "mode", "threshold"]
    assert not table.duplicated(keys).any()
    cells = table.set_index(keys)["accuracy"]
    # three numbers that the paper's text quotes or its table shows, one per mode and data set
    assert cells["imagenet", "Random", "roar", 90.0] == 63.53
    assert cells["food101", "SG-SQ-GRAD", "roar", 90.0] == 8.34
    assert cells["birdsnap", "Random", "kar", 90.0] == 37.24  # ten percent kept
    assert {facts(name).paper_name for name in TWENTY} - {None} == set(table["published_as"])


def test_results_lie_beside_the_published_numbers() -> None:
    beside = against_paper(synthetic_results(TWENTY, failed=[("sobel", 90.0, s) for s in range(5)])).beside
    assert len(beside) == 14 * 5 - 1
    row = beside[(beside["estimator"] == "vargrad-gb") & (beside["threshold"] == 70)].iloc[0]
    assert (row["published_as"], row["imagenet"], row["food101"], row["birdsnap"]) == ("VAR-GB", 35.68, 54.18, 10.16)
    assert 50 < row["mean"] < 65


def test_the_papers_own_numbers_agree_with_themselves() -> None:
    names = {facts(name).paper_name: name for name in TWENTY}
    paper = published().query("dataset == 'imagenet' and mode == 'roar'")
    noise = np.random.default_rng(0).normal(0, 0.001, (len(paper), 5))
    results = pd.concat([synthetic_results(seeds=5, estimators=[]), *[
        synthetic_results([names[row["published_as"]]], [row["threshold"]], seeds=5).query(
            "estimator != 'reference'").assign(accuracy=row["accuracy"] / 100 + own)
        for row, own in zip(paper.to_dict("records"), noise, strict=True)]])
    found = against_paper(results)
    own = found.order[found.order["dataset"] == "imagenet"]
    assert (own["spearman"] > 0.97).all()
    assert (own["estimators"] == 14).all()
    # In the paper's own ImageNet table its third finding holds; the first and second have exceptions there in
    # means over five networks, so all that is asked of them is a verdict with numbers.
    assert found.findings["verdict"].tolist()[2] == "holds"
    assert found.findings["evidence"].str.contains(r"[+-]\d").iloc[:3].all()


def test_findings_that_hold_and_that_do_not() -> None:
    held = findings(synthetic_results(std=0.001), deletion_areas(deletion_of(
        {"gradient": 0.5, "smoothgrad": 0.2, "random": 0.3, "sobel": 0.3})))
    assert held["verdict"].tolist() == ["holds", "holds", "holds", "holds"]
    turned = synthetic_results(std=0.001)
    turned["estimator"] = turned["estimator"].replace({"gradient": "vargrad", "vargrad": "gradient"})
    turned = with_facts(turned)
    broken = findings(turned, deletion_areas(deletion_of({"vargrad": 0.1, "random": 0.3})))
    assert broken["verdict"].tolist() == ["does not hold", "holds", "does not hold", "not measured"]


def test_findings_need_spread_estimators_and_deletion() -> None:
    assert findings(synthetic_results(seeds=1))["verdict"].tolist() == ["open", "open", "open", "not measured"]
    bare = findings(synthetic_results(["grad-cam", "random"]))
    assert set(bare["verdict"]) == {"not measured"}
    assert not len(findings(synthetic_results(mode="kar")))
    weak = findings(synthetic_results(), deletion_areas(deletion_of({"gradient": 0.1, "random": 0.3})))
    assert weak["verdict"].iloc[3] == "does not hold"
    near = findings(synthetic_results(), deletion_areas(deletion_of({"gradient": 0.3, "random": 0.3})))
    assert near["verdict"].iloc[3] == "open"


def test_deletion_curves_have_wilson_intervals_over_images() -> None:
    table = deletion_curves(deletion_of({"gradient": 0.5}, n_test=400))
    row = table[table["threshold"] == 90].iloc[0]
    assert row["mean"] == pytest.approx(0.43)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(proportion_confint(172, 400, method="wilson"))
    assert np.isnan(row["std"])
    assert row["n_test"] == 400


def test_deletion_areas_by_hand() -> None:
    table = deletion_areas(deletion_of({"gradient": 0.5, "random": 0.3}))
    row = table.iloc[0]
    # the gap rises in a straight line from 0 to 20 points at t = 90: its mean is 10
    assert (row["estimator"], row["control"], row["advantage"]) == ("gradient", "random", pytest.approx(10.0))
    assert row["ci_low"] < 10.0 < row["ci_high"]
    assert 10.0 - row["ci_low"] == pytest.approx(1.8, abs=0.4)  # two half widths of 1.96 sqrt(.2 / 10,000), about
    kar = deletion_areas(deletion_of({"gradient": 0.5, "random": 0.3}, mode="kar"))
    assert kar.iloc[0]["advantage"] == pytest.approx(-10.0)


def test_both_metrics_side_by_side() -> None:
    results = synthetic_results()
    both = deletion_beside_roar(results, deletion_of(dict.fromkeys(SIX, 0.3)))
    assert both["estimator"].tolist() == [name for name in SIX if name != "random"]
    assert both["deletion"].abs().max() == pytest.approx(0)
    other = deletion_of(dict.fromkeys(SIX, 0.3)).assign(model="another")
    assert not len(deletion_beside_roar(results, other))


def test_deletion_results_need_their_columns() -> None:
    with pytest.raises(AnalysisError, match="lack the columns n_test"):
        deletion_curves(deletion_of({"gradient": 0.5}).drop(columns="n_test"))
