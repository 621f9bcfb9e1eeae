"""Recursive ROAR: after every step the pixels are ranked again, by the network that was trained on what is left."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from ranked import rank_images

from roar import pipeline
from roar.datasets.degradation import replaced_count, replaced_mask
from roar.datasets.statistics import channel_mean, normalization
from roar.errors import EstimatorError, ExperimentError, TrainingError
from roar.estimators import ESTIMATORS
from roar.estimators.ranks import accumulated
from roar.experiment import Experiment, load_experiment
from roar.jobs.stage import Desk
from roar.jobs.training.evaluation import evaluate
from roar.jobs.training.loop import train
from roar.metrics.deletion.tasks import delete
from roar.metrics.retraining import plan as jobs_plan
from roar.metrics.retraining import recursive as recursion
from roar.metrics.retraining.job import Job
from roar.metrics.retraining.tasks import retrain
from roar.models import create
from roar.pipeline import Session, plan
from roar.report.view import Results
from roar.seeds.streams import derive
from roar.store.local import LocalFiles

SMALL: dict[str, Any] = {
    "source": {"limit_train": 100, "limit_test": 50},
    "estimators": {"names": ["gradient", "vargrad", "random"], "shard_size": 80, "samples": 2},
    "degrade": {"thresholds": [10, 30, 60], "modes": ["recursive"]},
    "train": {"epochs": 1, "batch_size": 20}, "retrain": {"seeds": 2, "epochs": 2, "batch_size": 20},
    "compute": {"executor": "serial", "pack": 1},
}
BOTH = {"gradient", "vargrad"}
ROWS = 2 * (1 + 3 + 2 * 3)  # seeds x (the reference, the control, two estimators at three thresholds)


def asked(store: Path, **changes: Any) -> Experiment:
    """The small experiment with the keys of some sections changed."""
    sections = {name: {**table, **changes.get(name, {})} for name, table in SMALL.items()}
    return load_experiment(None, {**changes, **sections, "store": str(store)})


def retrained(store: Path, **changes: Any) -> Session:
    session = pipeline.prepare(asked(store, **changes))
    retrain(session)
    return session


def rows(session: Session, **where: Any) -> pd.DataFrame:
    """Some results, without what differs from run to run."""
    found = Results(session.store).results().drop(columns="train_seconds")
    return found[(found[list(where)] == pd.Series(where)).all(axis=1)].reset_index(drop=True)


def planned(tmp_path: Path, **changes: Any) -> dict[tuple[str, float, int], Job]:
    """The jobs of mode recursive by estimator, threshold and seed; nothing is trained."""
    session = pipeline.prepare(asked(tmp_path / "store", **changes))
    facts = {"weights": "w", "normalize_mean": [0.5], "normalize_std": [0.5]}
    rankings = [plan.ranking(session.experiment, session.source, estimator, session.models[0], "w")
                for estimator in session.estimators]
    jobs = jobs_plan.jobs(session, session.models[0], rankings, facts)
    return {(job.row["estimator"], job.row["threshold"], job.row["seed"]): job for job in jobs
            if job.row["mode"] == "recursive"}


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return retrained(tmp_path_factory.mktemp("recursive") / "store")


# -- what the numbers are ------------------------------------------------------------------------------------------


def literal_chain(session: Session, estimator: str, seed: int) -> list[float]:
    """The accuracies of networks 0, 1, ...: every network by the plain loop, every pixel removed one by one."""
    source, experiment, recipe = session.source, session.experiment, session.experiment.retrain.resolve("digits")
    own, mean = normalization(source.train.images), channel_mean(source.train.images)
    splits = {"train": source.train, "test": source.test}
    seen = {name: split.images.copy() for name, split in splits.items()}
    gone = {name: np.zeros((len(split), 64), bool) for name, split in splits.items()}
    accuracies = []
    for following in (10, 30, 60, None):
        network = create("simplecnn", 10, 1, 8, derive(0, "initial weights", seed))
        train(network, torch.from_numpy(seen["train"]), torch.from_numpy(source.train.labels), recipe, own,
              derive(0, "training", seed))
        accuracies.append(evaluate(network, torch.from_numpy(seen["test"]), torch.from_numpy(source.test.labels),
                                   own).accuracy)
        if following is None:
            return accuracies
        loaded = create("simplecnn", 10, 1, 8).eval()
        loaded.load_state_dict(network.state_dict())
        for name, split in splits.items():
            ranks = rank_images(loaded, seen[name], split.labels, split.indices, own, [estimator],
                                experiment.estimators, 0, name, channel_mean=mean, num_classes=10)[estimator].ranks
            seen[name] = split.images.copy()
            for image in range(len(split)):
                for pixel in np.argsort(ranks[image]):
                    if gone[name][image].sum() < int(following * 64 / 100 + 0.5):
                        gone[name][image, pixel] = True
                for pixel in np.flatnonzero(gone[name][image]):
                    seen[name][image, :, pixel // 8, pixel % 8] = mean
    raise AssertionError


@pytest.mark.parametrize(("estimator", "seed"), [("gradient", 0), ("vargrad", 1)])
def test_a_chain_is_its_literal_definition(serial: Session, estimator: str, seed: int) -> None:
    intact, *accuracies = literal_chain(serial, estimator, seed)
    found = rows(serial, mode="recursive", estimator=estimator, seed=seed)
    assert found["threshold"].tolist() == [10, 30, 60]
    assert found["accuracy"].tolist() == accuracies
    assert rows(serial, estimator="reference", seed=seed)["accuracy"].tolist() == [intact]


def test_one_row_per_threshold_and_controls_in_mode_roar(serial: Session) -> None:
    found = rows(serial)
    assert len(found) == ROWS
    assert found["status"].eq("ok").all()
    assert found[found["mode"] == "recursive"].groupby(["estimator", "seed"]).size().to_dict() == {
        ("gradient", 0): 3, ("gradient", 1): 3, ("vargrad", 0): 3, ("vargrad", 1): 3}
    assert set(found.query("mode == 'roar'")["estimator"]) == {"random", "reference"}
    assert found["protocol"].nunique() == 1
    recursive = found.query("mode == 'recursive'")
    assert recursive.groupby("estimator")["ranking"].nunique().tolist() == [1, 1]
    assert set(recursive["fill"]) == {"mean"}
    assert set(recursive["retrainer"]) == {"simplecnn"}


def test_the_first_step_is_that_of_roar_by_the_retrained_network_and_later_ones_differ(tmp_path: Path) -> None:
    """A chain is no ROAR: the network that ranks is another one, and after a step yet another."""
    both = retrained(tmp_path / "store", estimators={"names": ["gradient"]},
                     degrade={"modes": ["roar", "recursive"]})
    found = rows(both).query("estimator == 'gradient'").pivot(index=["threshold", "seed"], columns="mode",
                                                              values="accuracy")
    assert found.shape == (6, 2)
    assert (found["roar"] != found["recursive"]).any()


@given(st.data())
def test_accumulated_ranks_keep_what_is_gone_and_order_the_rest(data: st.DataObject) -> None:
    pixels = data.draw(st.integers(1, 300))
    before, present = (np.array(data.draw(st.permutations(range(pixels))), np.uint16) for _ in range(2))
    count = data.draw(st.integers(0, pixels))
    found = accumulated(before[None], count, present[None])[0]
    order = [p for p in np.argsort(before) if before[p] < count] + [
        p for p in np.argsort(present) if before[p] >= count]
    assert np.argsort(found).tolist() == order
    assert found.dtype == before.dtype


@pytest.mark.parametrize("fill", ["mean", "blur"])
def test_what_is_replaced_is_nested_exact_and_taken_from_the_original(fill: str, tmp_path: Path,
                                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    honest, seen = recursion.degrade, []

    def noting(images: torch.Tensor, ranks: torch.Tensor, threshold: float, mode: str, chosen: Any,
               context: Any) -> Any:
        seen.append((images, replaced_mask(ranks, threshold, "roar").numpy(), threshold))
        assert (mode, chosen.name) == ("roar", fill)
        assert torch.equal(ranks.long().sort(1).values, torch.arange(64).expand(len(ranks), -1))
        return honest(images, ranks, threshold, mode, chosen, context)

    monkeypatch.setattr(recursion, "degrade", noting)
    session = retrained(tmp_path / "store", degrade={"fill": fill}, estimators={"names": ["gradient"]},
                        retrain={"seeds": 1, "epochs": 1})
    assert [threshold for *_, threshold in seen] == [10, 10, 30, 30, 60, 60]
    for split, steps in ((session.source.train, seen[::2]), (session.source.test, seen[1::2])):
        for (images, mask, threshold), (_, larger, _) in zip(steps, [*steps[1:], steps[-1]], strict=True):
            assert np.array_equal(images.numpy(), split.images)
            assert (mask.sum(1) == replaced_count(threshold, 64)).all()
            assert (larger | ~mask).all()


def test_the_target_and_the_unit_are_those_asked_for(tmp_path: Path) -> None:
    session = retrained(tmp_path / "store", estimators={"names": ["gradient"], "target": "label", "unit": "channel"},
                        retrain={"seeds": 1})
    assert rows(session, mode="recursive")["status"].eq("ok").all()
    assert len(rows(session, mode="recursive")) == 3


# -- packs, executors, interruption --------------------------------------------------------------------------------


def test_in_packs_network_0_is_the_references_and_company_has_no_influence(tmp_path: Path,
                                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    honest, intact = recursion.trained_packed, []

    def noting(*arguments: Any) -> Any:
        found = honest(*arguments)
        intact.append([evaluation.accuracy for _, evaluation in found])
        return found

    monkeypatch.setattr(recursion, "trained_packed", noting)
    four, eight = (retrained(tmp_path / str(pack), compute={"pack": pack}) for pack in (4, 8))
    pd.testing.assert_frame_equal(rows(four), rows(eight))
    reference = rows(four, estimator="reference")["accuracy"].tolist()
    assert intact[0] == [*reference, *reference]  # of gradient's chains and of vargrad's
    assert len(intact) == 2 * 4


def test_ray_gives_the_same_rows(serial: Session, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(serial.store.location, store)
    for key in rows(serial, mode="recursive")["job"]:
        (store / "results" / f"{key}.json").unlink()
    on_ray = retrained(store, compute={"executor": "ray", "workers": 1})
    pd.testing.assert_frame_equal(rows(on_ray), rows(serial))


@pytest.mark.parametrize("pack", [1, 4])
def test_an_interrupted_chain_goes_on_after_its_last_step(pack: int, serial: Session, tmp_path: Path,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roar.jobs.stage.CHECKPOINT_EVERY", -1.0)
    whole = serial if pack == 1 else retrained(tmp_path / "whole", compute={"pack": pack})
    name = "train" if pack == 1 else "trained_packed"
    honest, calls = getattr(recursion, name), []

    def interrupted(*arguments: Any, **rest: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return honest(*arguments, **rest)

    monkeypatch.setattr(recursion, name, interrupted)
    with pytest.raises(KeyboardInterrupt):
        retrained(tmp_path / "store", compute={"pack": pack})
    assert len(list((tmp_path / "store").glob("checkpoints/*"))) == 1
    pd.testing.assert_frame_equal(rows(retrained(tmp_path / "store", compute={"pack": pack})), rows(whole))
    assert len(calls) == (4 * 4 if pack == 1 else 4) + 1  # nothing but the interrupted network was trained again
    assert list((tmp_path / "store").glob("checkpoints/*")) == []


def test_a_state_of_other_chains_is_not_gone_on_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roar.jobs.stage.CHECKPOINT_EVERY", -1.0)
    jobs = planned(tmp_path)
    first, other = (tuple(jobs[name, float(t), 0] for t in (10, 30, 60)) for name in ("gradient", "vargrad"))
    settings = asked(tmp_path / "store").estimators
    desk = Desk(LocalFiles(str(tmp_path / "files")), "task", lambda share, text: None)
    ranks = np.arange(6, dtype=np.uint16).reshape(2, 3)
    kept = [recursion.Chain(first, {"train": ranks, "test": ranks[:1]}, {"results/a.json": "{}"}, [0.25])]
    desk.save(lambda: recursion._state(kept, 2))
    (chain,), step = recursion._kept(recursion.Recurse((first,), {}, 0, settings), desk)
    assert (step, chain.rows, chain.accuracies, chain.error) == (2, {"results/a.json": "{}"}, [0.25], None)
    assert chain.ranks["train"].dtype == np.uint16
    assert np.array_equal(chain.ranks["train"], ranks)
    for jobs_now in ((other,), (first, other), (first[:2],)):
        chains, step = recursion._kept(recursion.Recurse(jobs_now, {}, 0, settings), desk)
        assert (step, [chain.ranks for chain in chains]) == (0, [{}] * len(jobs_now))


# -- what fails ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("broken", "error"), [
    ("train", TrainingError("The loss is not finite.")),
    ("rank_images", EstimatorError("'gradient' gave 3 scores that are not finite for image 7."))])
def test_what_fails_ends_its_chain_alone_and_what_it_made_is_kept(
        broken: str, error: Exception, serial: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest, calls = getattr(recursion, broken), []

    def failing(*arguments: Any, **rest: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:  # network 2 of the first chain; its ranking by network 1
            raise error
        return honest(*arguments, **rest)

    with monkeypatch.context() as patch:
        patch.setattr(recursion, broken, failing)
        found = rows(retrained(tmp_path / "store"))
    failed = found[found["status"] == "failed"]
    assert failed[["estimator", "seed", "threshold"]].to_numpy().tolist() == [["gradient", 0, 30], ["gradient", 0, 60]]
    assert set(failed["message"]) == {str(error)}
    assert failed["accuracy"].isna().all()
    assert len(found) == ROWS
    pd.testing.assert_frame_equal(rows(retrained(tmp_path / "store")), rows(serial))


def test_a_chain_has_images_to_rank(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match="the fill 'mask-only' leaves nothing; take another fill"):
        pipeline.prepare(asked(tmp_path / "store", degrade={"fill": "mask-only"}))


def test_a_variant_and_a_chain_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=r'from scratch, and \[retrain\] variant is "fine-tune"; leave'):
        pipeline.prepare(asked(tmp_path / "store", retrain={"variant": "fine-tune"}))


def test_images_that_stream_are_refused_before_anything_is_trained(tmp_path: Path) -> None:
    session = pipeline.prepare(asked(tmp_path / "store", compute={"image_budget": 1e-6},
                                     retrain={"window": 40}, train={"window": 40}))
    with pytest.raises(ExperimentError, match=r"in memory.*raise compute\.image_budget or leave the mode out"):
        retrain(session)
    assert not list((tmp_path / "store").glob("models/*"))


# -- keys, plans and what else knows of modes ----------------------------------------------------------------------


def test_a_larger_threshold_changes_no_earlier_key(tmp_path: Path) -> None:
    few, more = planned(tmp_path), planned(tmp_path, degrade={"thresholds": [10, 30, 60, 90]})
    assert {cell: job.key for cell, job in few.items()}.items() < {cell: job.key for cell, job in more.items()}.items()
    assert planned(tmp_path, degrade={"thresholds": [0, 10, 30, 60]}).keys() == few.keys()
    other = planned(tmp_path, degrade={"thresholds": [20, 30, 60]})
    assert all(other[cell].key != few[cell].key for cell in other.keys() & few.keys())


@pytest.mark.parametrize(("changes", "changed"), [
    ({"estimators": {"samples": 3}}, {"vargrad"}), ({"estimators": {"target": "label"}}, BOTH),
    ({"estimators": {"unit": "l2"}}, BOTH), ({"degrade": {"fill": "blur"}}, BOTH), ({"retrain": {"epochs": 3}}, BOTH),
    ({"retrain": {"model": "resnet20"}}, BOTH), ({"source": {"limit_test": 40}}, BOTH),
    ({"model": [{"regularizer": "none"}]}, BOTH), ({"seed": 1}, BOTH),
    ({"train": {"epochs": 2}}, set()), ({"model": [{"seed": 3}]}, set()), ({"estimators": {"shard_size": 7}}, set()),
    ({"estimators": {"ig_steps": 7}}, set()), ({"compute": {"pack": 4}}, set())])
def test_a_key_holds_what_decides_a_row_and_nothing_else(changes: dict[str, Any], changed: set[str],
                                                         tmp_path: Path) -> None:
    before, after = planned(tmp_path), planned(tmp_path, **changes)
    assert {cell[0] for cell, job in before.items() if after[cell].key != job.key} == changed


def test_seeds_modes_and_thresholds_have_keys_of_their_own(tmp_path: Path) -> None:
    jobs = planned(tmp_path)
    assert len({job.key for job in jobs.values()}) == len(jobs) == 2 * 2 * 3
    assert jobs["gradient", 30.0, 0].identity["thresholds"] == [10.0, 30.0]
    assert {job.ranking for job in jobs.values()} == {None}


def test_models_that_share_a_retrainer_share_the_chains(serial: Session, tmp_path: Path) -> None:
    from roar.analysis.shared import with_shared

    session = retrained(tmp_path / "store", model=[{"seed": 0}, {"seed": 1}], retrain={"seeds": 1},
                        estimators={"names": ["gradient"]})
    found = Results(session.store).results()
    assert found["mode"].value_counts().to_dict() == {"recursive": 3, "roar": 1}
    once = rows(serial, estimator="gradient", seed=0).drop(columns="model")
    pd.testing.assert_frame_equal(rows(session, mode="recursive").drop(columns="model"), once)
    asked_first = found.assign(model=["a" if mode == "recursive" else "b" for mode in found["mode"]])
    given = with_shared(asked_first).query("mode == 'recursive'").groupby("model").size()
    assert given.to_dict() == {"a": 3, "b": 3}


@pytest.mark.parametrize(("modes", "fixed"), [(["recursive"], ("roar",)), (["recursive", "kar"], ("kar",)),
                                              (["roar", "recursive"], ("roar",)), (["kar"], ("kar",))])
def test_what_ranks_once_knows_the_other_modes(modes: list[str], fixed: tuple[str, ...], tmp_path: Path) -> None:
    experiment = asked(tmp_path / "store", degrade={"modes": modes})
    assert experiment.degrade.fixed_modes == fixed
    assert {mode for _, mode in jobs_plan.kinds_of_cells(experiment, ESTIMATORS.find("random"))} == set(fixed)
    assert {mode for _, mode in jobs_plan.kinds_of_cells(experiment, ESTIMATORS.find("gradient"))} == set(modes)


def test_the_mask_alone_is_no_cell_of_a_chain(tmp_path: Path) -> None:
    experiment = asked(tmp_path / "store", degrade={"modes": ["roar", "recursive"]},
                       retrain={"controls": ["mask-only"]})
    assert jobs_plan.kinds_of_cells(experiment, ESTIMATORS.find("gradient")) == [
        ("mean", "roar"), ("mean", "recursive"), ("mask-only", "roar")]


def test_deletion_and_written_data_sets_are_of_mode_roar(serial: Session) -> None:
    from roar.metrics.deletion.frames import read_deletion

    delete(serial)
    assert set(read_deletion(serial.store)["mode"]) == {"roar"}
    folders = pipeline.degrade(serial)
    assert len(folders) == 3 * 3
    assert all("roar" in folder for folder in folders)


def test_status_repair_and_the_plan_know_the_chains(roar: Callable[..., Any], tmp_path: Path) -> None:
    session = retrained(tmp_path / "store")
    store, whole = tmp_path / "store", rows(session)
    assert f"trainings {ROWS:>7,} done" in roar("status", "--store", str(store)).out
    lost = rows(session, mode="recursive", threshold=30.0)["job"][0]
    names = [path for path in store.rglob("*") if path.is_file() and path.parent.name in ("results", "compacted")]
    for path in names:
        if path.name.startswith(lost):
            path.unlink()
        elif path.suffix == ".jsonl":
            pytest.fail("so few results are not compacted")
    assert "1 missing" in roar("status", "--store", str(store)).out
    assert "recursive 30.0 0" in roar("verify", "--store", str(store)).out
    assert roar("verify", "--repair", "--store", str(store)).code == 0
    pd.testing.assert_frame_equal(rows(session), whole)


def test_the_dry_run_counts_the_networks_that_begin_chains(roar: Callable[..., Any]) -> None:
    words = ["run", "--dry-run", "--mode", "recursive", "--estimator", "gradient,random", "--threshold", "10,30",
             "--seeds", "3", "--limit-train", "60", "--limit-test", "30", "--executor", "serial"]
    out = roar(*words).out
    assert f"\n{3 * (1 + 2 + 2)} trainings: t = 10, 30 %, mode recursive" in out
    assert "; 3 more begin the chains of mode recursive" in out
    assert "more begin" not in roar(*words[:2], *words[4:]).out
