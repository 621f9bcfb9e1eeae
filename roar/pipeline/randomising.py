"""Sanity checks: do the estimators notice that the network they explain has lost what it learned?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from roar import plan
from roar.errors import EstimatorError, ExperimentError
from roar.jobs.stage import Stage, Task
from roar.pipeline.images import shared_images
from roar.pipeline.ranking import model_normalisation, rank, weights_loader
from roar.pipeline.running import execute, running
from roar.pipeline.session import Session, asked_for, keep_plan
from roar.pipeline.training import train, train_missing
from roar.plan import Model, Ranking
from roar.shards import rank_folder
from roar.store import MANIFEST

if TYPE_CHECKING:
    from roar.models.layers import Layer

LABELS = "labels"


@asked_for("sanity")
def sanity(session: Session) -> list[str]:
    """The folders of the sanity checks of every model, one per randomised network, made where they are missing.

    Raises:
        ExperimentError: no estimator is asked for that explains a network.
        EstimatorError: the scores of a randomised network could not be ranked.
    """
    _check_estimators(session)
    rankings = [ranking for ranking in rank(session, ("test",)) if ranking.explains]
    tasks = list(_tasks(session, rankings))
    keep_plan(session, "sanity", [task.key for task in tasks])
    missing = [task for task in tasks if session.store.manifest(task.key) is None]
    if missing:
        from roar.jobs.sanity import open_worker

        with running(session, "sanity", len(missing), "networks") as watcher:
            folders = {task.work.weights for task in missing}
            shared = {**shared_images(session), **{folder: weights_loader(session, folder) for folder in folders}}
            execute(session, Stage("sanity", open_worker, shared, missing, session.experiment.compute.cpus_per_job),
                    watcher)
        watcher.raise_first(EstimatorError)
    return [task.key for task in tasks]


def _check_estimators(session: Session) -> None:
    if not any(plan.explains(name) for name in session.estimators):
        raise ExperimentError("A sanity check needs an estimator that explains the network, which "
                              f"{', '.join(session.estimators)} do not; ask for one, such as --estimator gradient.")


def _tasks(session: Session, rankings: Sequence[Ranking]) -> Iterator[Task]:
    """A task for each randomised network of each model."""
    unlearned = _unlearned(session) if LABELS in session.experiment.sanity.kinds else {}
    for model, manifest in zip(session.models, train(session), strict=True):
        own = sorted((r for r in rankings if r.model is not None and r.model.folder == model.folder),
                     key=lambda ranking: ranking.estimator)
        for kind in session.experiment.sanity.kinds:
            if kind == LABELS:
                folder, facts = unlearned[model.folder]
                row = {"kind": kind, "step": 1, "steps": 1, "layers": "shuffled labels"}
                yield _task(session, model, own, row, folder, facts, ())
            else:
                for row, chosen in _steps(session, model, kind):
                    yield _task(session, model, own, row, model.folder, manifest["facts"], chosen)


def _steps(session: Session, model: Model, kind: str) -> Iterator[tuple[dict[str, Any], tuple[Layer, ...]]]:
    """The columns that name each step, and the layers that are drawn anew in it."""
    import torch

    from roar.jobs.sanity import names_of
    from roar.jobs.train_model import build
    from roar.models.layers import grouped, layers

    source = session.source
    image = torch.zeros(1, source.channels, source.height, source.width)
    groups = grouped(layers(build(model.network, 0), image), session.experiment.sanity.steps)
    for step, group in enumerate(groups, start=1):
        row = {"kind": kind, "step": step, "steps": len(groups), "layers": names_of(group)}
        chosen = [layer for one in groups[:step] for layer in one] if kind == "cascading" else group
        yield row, tuple(chosen)


def _task(session: Session, model: Model, rankings: Sequence[Ranking], row: Mapping[str, Any], weights: str,
          facts: Mapping[str, Any], redrawn: tuple[Layer, ...]) -> Task:
    from roar.jobs.sanity import Check
    from roar.jobs.similarity import inner_thresholds

    experiment = session.experiment
    thresholds = inner_thresholds(experiment.degrade.thresholds)
    which = {key: row[key] for key in ("kind", "step", "steps")}
    folder, identity = plan.sanity(experiment, session.source, model, facts["weights"], which,
                                   [layer.name for layer in redrawn], rankings, thresholds)
    named = {"source": session.source.label, "model": model.label, "regularizer": model.network.regularizer}
    work = Check(folder, identity, {**named, **row},
                 {r.estimator: rank_folder(session.store, f"{r.folder}/test") for r in rankings},
                 {r.estimator: r.key for r in rankings}, weights, redrawn, model.network,
                 model_normalisation(session, model), experiment.estimators, thresholds, experiment.seed,
                 facts.get("train_accuracy"), experiment.compute.memory_budget)
    return Task(folder, work, (f"{folder}/{MANIFEST}",))


def _unlearned(session: Session) -> dict[str, tuple[str, dict[str, Any]]]:
    """For each model the folder and facts of one that was trained on shuffled labels, trained where it is missing.

    Raises:
        ModelError: it could not be trained.
    """
    twins = {model.folder: plan.shuffled(session.experiment, session.source, model) for model in session.models}
    each = list({twin.folder: twin for twin in twins.values()}.values())
    manifests = train_missing(session, each, "train on shuffled labels", shuffled=True)
    facts = {twin.folder: manifest["facts"] for twin, manifest in zip(each, manifests, strict=True)}
    return {folder: (twin.folder, facts[twin.folder]) for folder, twin in twins.items()}
