"""Do two rankings name the same pixels: against scipy, against Python's sets, and through the whole line."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from analysis_results import synthetic_results, with_facts
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from roar import pipeline
from roar.analysis.figures import render
from roar.analysis.frames import COLUMNS
from roar.analysis.stability import agreement as order_agreement
from roar.datasets.degradation import replaced_count
from roar.errors import AnalysisError, EstimatorError, ExperimentError
from roar.experiment import load_experiment
from roar.metrics import METRICS
from roar.metrics.agreement.figures import agreement_heatmap, shown
from roar.metrics.agreement.frames import COLUMNS as OWN
from roar.metrics.agreement.summary import agreements
from roar.metrics.agreement.tasks import agreement as measure_agreement
from roar.metrics.similarity import averages, chance, every_two, images_at_a_time, inner_thresholds, one_by_one
from roar.report.files import one_table, write_metric
from roar.report.view import Results
from roar.store.integrity import damages
from roar.store.merge import merge
from roar.store.shards import read_ranks
from roar.store.status import read_status
from roar.store.store import open_store

THRESHOLDS = (10.0, 30.0, 90.0)


def rankings(rng: np.random.Generator, images: int, pixels: int, ties: bool = False) -> np.ndarray:
    if ties:
        return rng.integers(0, pixels, (images, pixels)).astype(np.uint8)
    return np.array([rng.permutation(pixels) for _ in range(images)], dtype=np.uint8)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), images=st.integers(1, 4), pixels=st.integers(2, 60), ties=st.booleans(),
       threshold=st.floats(0.5, 99.5))
def test_correlation_and_overlap_are_those_of_the_literature(seed: int, images: int, pixels: int, ties: bool,
                                                             threshold: float) -> None:
    rng = np.random.default_rng(seed)
    three = [rankings(rng, images, pixels, ties), rankings(rng, images, pixels), rankings(rng, images, pixels)]
    found = every_two(three, [threshold])
    k = replaced_count(threshold, pixels)
    for a, first in enumerate(three):
        for b, second in enumerate(three):
            for i in range(images):
                if len(set(first[i])) > 1 and len(set(second[i])) > 1:
                    assert found.spearman[i, a, b] == pytest.approx(stats.spearmanr(first[i], second[i])[0], abs=1e-12)
                one, two = ({p for p in range(pixels) if ranks[i][p] < k} for ranks in (first, second))
                if one | two:
                    assert found.iou[i, a, b, 0] == len(one & two) / len(one | two)
                else:
                    assert np.isnan(found.iou[i, a, b, 0])


def test_a_ranking_agrees_with_itself_and_not_with_its_inverse() -> None:
    one = rankings(np.random.default_rng(0), 3, 64)
    same, turned = one_by_one(one, one, THRESHOLDS), one_by_one(one, 63 - one, THRESHOLDS)
    assert (same.spearman == 1).all()
    assert (same.iou == 1).all()
    assert (turned.spearman == -1).all()
    assert (turned.iou[:, :2] == 0).all()


def test_all_pixels_in_one_place_have_no_correlation() -> None:
    one = np.zeros((1, 8), np.uint8)
    assert np.isnan(one_by_one(one, rankings(np.random.default_rng(0), 1, 8), []).spearman[0])


def test_any_number_of_images_at_a_time_gives_the_same_bits() -> None:
    rng = np.random.default_rng(1)
    several = [rankings(rng, 12, 200) for _ in range(5)]
    whole = every_two(several, THRESHOLDS)
    for size in (1, 5):
        parts = [every_two([r[i:i + size] for r in several], THRESHOLDS) for i in range(0, 12, size)]
        assert np.array_equal(np.concatenate([part.spearman for part in parts]), whole.spearman)
        assert np.array_equal(np.concatenate([part.iou for part in parts]), whole.iou)
    assert images_at_a_time(22, 224 * 224) >= 1


@pytest.mark.parametrize("threshold", [10.0, 50.0, 90.0])
def test_what_chance_gives(threshold: float) -> None:
    """The mean of 4,000 random pairs, within five standard errors; and a case by hand."""
    rng = np.random.default_rng(2)
    found = one_by_one(rankings(rng, 4000, 20), rankings(rng, 4000, 20), [threshold]).iou[:, 0]
    assert found.mean() == pytest.approx(chance(threshold, 20), abs=5 * found.std() / 4000**0.5)
    assert chance(50.0, 2) == pytest.approx(0.5)  # one pixel of two: the same one or the other
    assert np.isnan(chance(0.1, 20))


def test_averages_have_students_interval() -> None:
    rng = np.random.default_rng(3)
    own = one_by_one(rankings(rng, 9, 30), rankings(rng, 9, 30), [50.0])
    rho, iou = averages(own, [50.0], 30)
    values = own.spearman.astype(np.float32).astype(float)
    low, high = stats.t.interval(0.95, 8, values.mean(), values.std(ddof=1) / 3)
    assert (rho["measure"], iou["measure"], rho["n"]) == ("spearman", "iou", 9)
    assert [rho["mean"], rho["ci_low"], rho["ci_high"]] == pytest.approx([values.mean(), low, high])
    alone = averages(one_by_one(rankings(rng, 1, 30), rankings(rng, 1, 30), []), [], 30)[0]
    assert alone["n"] == 1
    assert np.isnan([alone["std"], alone["ci_low"], alone["ci_high"]]).all()


def test_rankings_of_other_pixels_or_images_are_refused() -> None:
    rng = np.random.default_rng(4)
    with pytest.raises(EstimatorError, match=r"2 images of 16 pixels and 2 images of 48 pixels; .*estimators\.unit"):
        every_two([rankings(rng, 2, 16), rankings(rng, 2, 48)], [])


def test_thresholds_at_the_ends_say_nothing() -> None:
    assert inner_thresholds([100, 0, 50, 10, 50]) == (10, 50)


SMALL: dict[str, Any] = {
    "source": {"limit_train": 100, "limit_test": 50}, "model": [{"seeds": 2}],
    "estimators": {"names": ["vargrad", "gradient", "random", "random-bernoulli"], "samples": 2},
    "degrade": {"thresholds": [0, 10, 50, 100]}, "train": {"epochs": 1}}


def finished(store: Path, compute: dict[str, Any] | None = None, **estimators: Any) -> pipeline.Session:
    tables = {**SMALL, "estimators": {**SMALL["estimators"], **estimators}, "store": str(store),
              "compute": compute or {"executor": "serial"}}
    session = pipeline.prepare(load_experiment(None, tables))
    measure_agreement(session)
    return session


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> pipeline.Session:
    return finished(tmp_path_factory.mktemp("agreement") / "store")


def test_every_pair_of_estimators_and_of_seeds_has_its_rows(session: pipeline.Session) -> None:
    frame = Results(session.store).ranking_agreement()
    assert dict(frame.dtypes.astype(str)) == OWN
    assert set(OWN) <= {*COLUMNS, *METRICS.find("agreement").tables[0].columns}
    sizes = frame.groupby(["across", "model", "measure"]).size().to_dict()
    assert sizes == {("estimators", "simplecnn", "spearman"): 6, ("estimators", "simplecnn", "iou"): 12,
                     ("estimators", "simplecnn#1", "spearman"): 6, ("estimators", "simplecnn#1", "iou"): 12,
                     ("seeds", "simplecnn", "spearman"): 2, ("seeds", "simplecnn", "iou"): 4}
    seeds = frame[frame["across"] == "seeds"]
    assert (seeds["estimator"] == seeds["other"]).all()
    assert set(seeds["other_model"]) == {"simplecnn#1"}
    assert set(frame["threshold"].dropna()) == {10.0, 50.0}
    assert frame["n"].eq(50).all()
    assert frame["mean"].between(frame["ci_low"], frame["ci_high"]).all()


def test_the_rows_are_those_of_the_rankings_on_disk(session: pipeline.Session) -> None:
    ranks = {ranking.estimator: read_ranks(session.store, f"{ranking.folder}/test")
             for ranking in pipeline.rank(session, ("test",)) if ranking.model in (None, session.models[0])}
    frame = Results(session.store).ranking_agreement().query("model == 'simplecnn' and across == 'estimators'")
    for row in frame.query("measure == 'spearman'").itertuples():
        each = [stats.spearmanr(a, b)[0] for a, b in zip(ranks[row.estimator], ranks[row.other], strict=True)]
        assert row.mean == pytest.approx(np.mean(each), abs=1e-7)
        images = pq.read_table(io.BytesIO(session.store.read_file(row.folder, "images.parquet"))).to_pandas()
        own = images[(images["estimator"] == row.estimator) & (images["other"] == row.other)]
        assert own["spearman"].dtype == np.float32
        assert np.allclose(own["spearman"], each, atol=1e-6)
        assert np.array_equal(own["index"], session.source.test.indices)
        tops = frame[(frame["estimator"] == row.estimator) & (frame["other"] == row.other)].query("measure == 'iou'")
        assert np.stack(own["iou"]).mean(axis=0) == pytest.approx(tops.sort_values("threshold")["mean"].to_numpy())


def test_other_shards_give_the_same_bytes(tmp_path: Path) -> None:
    """For controls, whose ranks do not depend on the shard; those of a network may by a rounding."""
    names = ["random", "random-bernoulli", "sobel"]
    stores = [finished(tmp_path / str(size), names=names, shard_size=size).store for size in (50, 7)]
    frames = [Results(store).ranking_agreement().drop(columns="folder") for store in stores]
    pd.testing.assert_frame_equal(*frames, check_exact=True)
    images = [[path.read_bytes() for path in sorted(Path(store.location).rglob("agreement/**/images.parquet"))]
              for store in stores]
    assert images[0] == images[1]
    assert len(images[0]) == 2


def test_who_asks_in_another_order_finds_it_done(session: pipeline.Session) -> None:
    before = measure_agreement(session)
    again = finished(Path(session.store.location), names=["random-bernoulli", "random", "gradient", "vargrad"])
    assert sorted(measure_agreement(again)) == sorted(before)
    assert len(list(Path(session.store.location).rglob("agreement/**/manifest.json"))) == 3


def test_two_settings_of_one_estimator_are_told_apart(session: pipeline.Session, tmp_path: Path) -> None:
    store = tmp_path / "store"
    for samples in (2, 3):
        finished(store, names=["vargrad", "random"], samples=samples)
    frame = Results(open_store(str(store))).ranking_agreement()
    names = {*frame["estimator"], *frame["other"]}
    assert "random" in names
    assert len(names) == 5  # two settings on each of two networks
    assert all(name == "random" or name.startswith("vargrad (") for name in names)


def test_the_store_knows_the_artifacts(session: pipeline.Session, tmp_path: Path) -> None:
    store = session.store
    assert damages(store) == []
    assert store.files.list("metrics/agreement")
    other = open_store(str(tmp_path / "other"))
    assert merge(other, store).artifacts >= 3
    pd.testing.assert_frame_equal(Results(other).ranking_agreement(), Results(store).ranking_agreement())
    assert read_status(store).artifacts["models"] == (2, 0)


def test_one_ranking_has_nothing_to_agree_with(tmp_path: Path) -> None:
    tables = {**SMALL, "model": [{}], "estimators": {"names": ["random"]}, "store": str(tmp_path / "store"),
              "compute": {"executor": "serial"}}
    with pytest.raises(ExperimentError, match=r"there is one, by random; ask for two estimators"):
        measure_agreement(pipeline.prepare(load_experiment(None, tables)))


def test_the_command_prints_correlations_and_writes_table_and_figure(roar: Callable[..., Any], tmp_path: Path) -> None:
    said = roar("agreement", "--limit-train", "60", "--limit-test", "20", "--train-epochs", "1", "--estimator",
                "gradient,random,sobel", "--executor", "serial", "--store", "store", "--threshold", "10,50")
    assert said.code == 0, said.err
    lines = said.out.splitlines()
    assert lines[0].split("\t") == ["model", "estimator", "other_model", "other", "Spearman", "95 % interval", "images"]
    assert len(lines) == 1 + 3 + 2
    assert (tmp_path / "store/reports/agreement.svg").read_bytes().count(b"gradient") >= 2
    assert len(pd.read_csv(tmp_path / "store/reports/ranking-agreement.csv")) == 9
    table = roar("report", "--table", "ranking-agreement", "--format", "csv", "--store", "store")
    assert table.code == 0, table.err


def test_an_unknown_table_names_those_without_retraining_too(session: pipeline.Session) -> None:
    assert len(one_table(session.store, "ranking-agreement", "text").splitlines()) > 10
    with pytest.raises(Exception, match="ranking-agreement"):
        one_table(session.store, "ranking-agreemnt", "text")


# -- analysis and figure ---------------------------------------------------------------------------------------------


def pairs_of(names: list[str], rho: np.ndarray, tied: float = 0.0) -> pd.DataFrame:
    rows = [{"source": "digits", "model": "simplecnn", "regularizer": "recipe", "estimator": a, "across": "estimators",
             "other_model": "simplecnn", "other": b, "measure": "spearman", "threshold": np.nan, "mean": rho[i, j],
             "std": 0.1, "n": 40, "ci_low": rho[i, j] - 0.02, "ci_high": rho[i, j] + 0.02, "by_chance": 0.0,
             "tied_share": tied, "other_tied_share": tied, "folder": "f"}
            for i, a in enumerate(names) for j, b in enumerate(names) if i < j]
    return with_facts(with_facts(pd.DataFrame(rows)), "other", "other_")


def test_those_that_agree_lie_side_by_side() -> None:
    names = ["gradient", "vargrad", "smoothgrad", "smoothgrad-squared"]
    rho = np.array([[1, -.2, .8, -.1], [-.2, 1, -.3, .9], [.8, -.3, 1, 0], [-.1, .9, 0, 1]])
    (found,) = agreements(pairs_of(names, rho))
    pairs = {frozenset(found.estimators[:2]), frozenset(found.estimators[2:])}
    assert pairs == {frozenset({"gradient", "smoothgrad"}), frozenset({"vargrad", "smoothgrad-squared"})}
    places = [names.index(name) for name in found.estimators]
    assert np.array_equal(found.spearman, rho[np.ix_(places, places)])
    assert np.allclose(sorted(found.tree[:, 2])[:2], [0.1, 0.2])  # 1 - rho of the two pairs
    assert found.half_width == pytest.approx(0.02)


def test_a_pair_that_was_not_compared_is_no_number(session: pipeline.Session) -> None:
    rows = pairs_of(["gradient", "vargrad", "random"], np.full((3, 3), 0.5))
    (found,) = agreements(rows[rows["estimator"] != "vargrad"])
    assert np.isnan(found.spearman).sum() == 2
    figure = agreement_heatmap(rows[rows["estimator"] != "vargrad"])
    assert len(figure.axes[1].texts) == 7


def test_many_ties_are_told() -> None:
    tied = pairs_of(["gradient", "random"], np.eye(2), tied=0.4)
    assert b"overstated" in render(agreement_heatmap(tied), "svg")
    assert b"overstated" not in render(agreement_heatmap(tied.assign(tied_share=0.0, other_tied_share=0.0)), "svg")


def test_the_figure_shows_every_network_and_other_seeds(session: pipeline.Session) -> None:
    figure = agreement_heatmap(Results(session.store).ranking_agreement())
    svg = render(figure, "svg").decode()
    assert svg == render(agreement_heatmap(Results(session.store).ranking_agreement()), "svg").decode()
    assert svg.count(">other seeds</text>") == 2
    with pytest.raises(AnalysisError, match="roar agreement"):
        agreement_heatmap(Results(session.store).ranking_agreement().iloc[:0])
    assert shown(-0.999) == "−1"


def test_nothing_compared_writes_nothing(tmp_path: Path) -> None:
    assert write_metric(open_store(str(tmp_path / "store")), METRICS.find("agreement")).files == []


def test_the_order_of_estimators_is_compared_across_fills_but_not_with_masks_alone() -> None:
    names = ["gradient", "vargrad", "random"]
    one = synthetic_results(names)
    other = one.assign(fill=one["fill"].where(one["estimator"] == "reference", "zero"))
    masks = one.assign(fill=one["fill"].where(one["estimator"] == "reference", "mask-only"))
    frames = [frame[frame["estimator"] != "reference"] for frame in (other, masks)]
    found = order_agreement(pd.concat([one, *frames], ignore_index=True))
    across = found[found["across"] == "fill"]
    assert across[["first", "second", "spearman", "estimators"]].values.tolist() == [["mean", "zero", 1.0, 3]]
    assert not found["where"].str.contains("mask-only").any()
