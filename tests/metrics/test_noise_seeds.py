"""Several rankings of one estimator under other noise: made, retrained and compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roar import pipeline
from roar.errors import ExperimentError
from roar.estimators import ESTIMATORS
from roar.experiment import Experiment, load_experiment, portable
from roar.metrics.agreement.tasks import agreement
from roar.metrics.deletion.tasks import delete
from roar.metrics.retraining.tasks import retrain
from roar.report.view import Results
from roar.store.integrity import damages
from roar.store.shards import read_ranks

NAMES = ["gradient", "smoothgrad-squared", "random", "sobel"]


def opened(store: Path, seeds: int = 1, **tables: Any) -> pipeline.Session:
    return pipeline.prepare(load_experiment(None, {
        "source": {"limit_train": 100, "limit_test": 40}, "degrade": {"thresholds": [0, 50, 90]},
        "estimators": {"names": NAMES, "samples": 3, "seeds": seeds}, "train": {"epochs": 2},
        "retrain": {"seeds": 2, "epochs": 15}, "store": str(store), "compute": {"executor": "serial"}, **tables}))


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> pipeline.Session:
    store = tmp_path_factory.mktemp("noise") / "store"
    retrain(opened(store))
    found = opened(store, 3)
    retrain(found)
    agreement(found)
    return found


def test_what_draws_random_numbers_is_ranked_again_and_the_rest_is_not(session: pipeline.Session) -> None:
    rankings = pipeline.rank(session, noise_seeds=3)
    seeds = [(ranking.estimator, ranking.noise_seed) for ranking in rankings]
    assert sorted(seeds) == sorted([("gradient", 0), ("sobel", 0), *((name, seed) for seed in range(3)
                                                                    for name in ("smoothgrad-squared", "random"))])
    for name in ("smoothgrad-squared", "random"):
        ranks = [read_ranks(session.store, f"{ranking.folder}/test") for ranking in rankings
                 if ranking.estimator == name]
        assert not any(np.array_equal(ranks[a], ranks[b]) for a, b in ((0, 1), (0, 2), (1, 2)))


def test_the_first_noise_seed_has_the_key_that_it_had(session: pipeline.Session, tmp_path: Path) -> None:
    alone = {ranking.folder for ranking in pipeline.rank(session)}
    assert alone == {ranking.folder for ranking in pipeline.rank(session, noise_seeds=3) if not ranking.noise_seed}
    results = Results(session.store).results()
    first = results[results["noise_seed"] == 0]
    assert len(first) == 2 + 4 * 2 * 2  # reference, and four estimators at two thresholds, of two seeds
    before = opened(tmp_path / "store")
    assert {job.key for job in retrain(before)} == set(first["job"])
    assert "seeds" not in portable(Experiment(), ["gradient"])["estimators"]


def test_every_ranking_is_retrained(session: pipeline.Session) -> None:
    results = Results(session.store).results()
    again = results[results["noise_seed"] > 0]
    assert again.groupby("estimator").size().to_dict() == {"random": 8, "smoothgrad-squared": 8}
    own = results[results["estimator"] == "random"].groupby("threshold")["accuracy"].nunique()
    assert (own > 2).any()
    assert not results["estimator"].str.contains(r"\(").any()  # other noise is no other setting
    assert results["job"].is_unique
    areas = Results(session.store).table("areas").set_index(["estimator", "control"])["noise_seeds"].to_dict()
    assert areas[("smoothgrad-squared", "random")] == 3
    assert areas[("gradient", "random")] == 3
    assert areas[("gradient", "sobel")] == 1
    assert damages(session.store) == []


def test_self_agreement_is_that_of_the_stored_rankings(session: pipeline.Session) -> None:
    from scipy import stats

    pairs = Results(session.store).ranking_agreement().query("across == 'noise' and measure == 'spearman'")
    assert sorted(zip(pairs["estimator"], pairs["noise_seed"], pairs["other_noise_seed"], strict=True)) == [
        (name, a, b) for name in ("random", "smoothgrad-squared") for a, b in ((0, 1), (0, 2), (1, 2))]
    ranks = [read_ranks(session.store, f"{ranking.folder}/test") for ranking in pipeline.rank(session, noise_seeds=3)
             if ranking.estimator == "smoothgrad-squared"]
    each = [stats.spearmanr(a, b)[0] for one, two in ((0, 1), (0, 2), (1, 2))
            for a, b in zip(ranks[one], ranks[two], strict=True)]
    table = Results(session.store).table("self-agreement").set_index("estimator")
    row = table.loc["smoothgrad-squared"]
    assert row["self_agreement"] == pytest.approx(np.mean(each), abs=1e-6)
    assert (row["n"], row["noise_seeds"], row["samples"]) == (40, 3, 3)
    assert row["samples_needed"] > 3
    assert abs(table.loc["random", "self_agreement"]) < 0.1
    assert table["samples"].to_dict() == {"random": 0, "smoothgrad-squared": 3}


def test_the_leaderboard_says_it_beside_the_estimator(session: pipeline.Session) -> None:
    board = Results(session.store).leaderboard().set_index("estimator")
    assert "agrees with itself under other noise at 0." in board.loc["smoothgrad-squared", "remark"]
    assert "(J = 3; 0.9 needs about " in board.loc["smoothgrad-squared", "remark"]
    assert "noise" not in board.loc["gradient", "remark"]
    assert np.isnan(board.loc["gradient", "self_agreement"])


def test_what_looks_at_one_ranking_of_each_takes_the_first(session: pipeline.Session) -> None:
    delete(session)
    rows = Results(session.store).deletion()
    assert not rows.duplicated(["estimator", "mode", "threshold"]).any()


def test_agreement_of_one_estimator_with_itself_needs_no_other(tmp_path: Path) -> None:
    alone = opened(tmp_path / "store", estimators={"names": ["random"], "seeds": 2})
    agreement(alone)
    assert set(Results(alone.store).ranking_agreement()["across"]) == {"noise"}


def test_mode_recursive_takes_one_noise_seed() -> None:
    with pytest.raises(ExperimentError, match=r"takes one noise seed, and \[estimators\] seeds is 2; take 1, or"):
        load_experiment(None, {"estimators": {"seeds": 2}, "degrade": {"modes": ["roar", "recursive"]}})


@pytest.mark.parametrize(("name", "stochastic"), [
    ("gradient", False), ("integrated-gradients-magnitude", False), ("smoothgrad", True), ("vargrad-ig", True),
    ("random", True), ("random-bernoulli", True), ("sobel", False), ("oracle", True),
    ("random-blurred(gradient)", True)])
def test_what_draws_random_numbers(name: str, stochastic: bool) -> None:
    assert ESTIMATORS.find(name).stochastic is stochastic
