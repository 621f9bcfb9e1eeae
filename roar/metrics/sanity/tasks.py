"""Sanity checks: do the estimators notice that the network they explain has lost what it learned?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from roar.datasets import Source
from roar.errors import EstimatorError, ExperimentError, UsageError
from roar.experiment import Experiment
from roar.jobs.stage import Task
from roar.metrics.sanity.settings import FITTED_ON, SanitySettings
from roar.pipeline import plan
from roar.pipeline.images import shared_images
from roar.pipeline.plan import Model, Ranking
from roar.pipeline.ranking import model_normalization, rank, weights_loader
from roar.pipeline.running import make
from roar.pipeline.session import Session, asked_for, keep_plan
from roar.pipeline.training import check_training_split, train, train_missing
from roar.store.artifacts import MANIFEST, key_of
from roar.store.shards import rank_folder

if TYPE_CHECKING:
    from roar.models.layers import Layer

LABELS = "labels"


@asked_for("sanity")
def sanity(session: Session) -> list[str]:
    """The folders of the sanity checks of every model, one per randomized network, made where they are missing.

    Raises:
        ExperimentError: no estimator is asked for that explains a network.
        EstimatorError: the scores of a randomized network could not be ranked.
        UsageError: the check by shuffled labels is asked for and there is a test split alone, or batch norms are to be
            fitted on a single test image.
    """
    _check_estimators(session)
    plan.check_trainable([model.network for model in session.models], "a sanity check")
    kinds = _kinds(session)
    steps = {(model.folder, kind): list(_steps(session, model, kind))
             for model in session.models for kind in kinds if kind != LABELS}
    rankings = [ranking for ranking in rank(session, ("test",)) if ranking.explains]
    tasks = list(_tasks(session, rankings, kinds, steps))
    keep_plan(session, "sanity", [task.key for task in tasks])

    def shared(missing: Sequence[Task]) -> Mapping[str, Callable[[], Any]]:
        folders = {task.work.weights for task in missing}
        return {**shared_images(session), **{folder: weights_loader(session, folder) for folder in folders}}

    return make(session, "sanity", "networks", tasks, "roar.metrics.sanity.worker:open_worker", shared, EstimatorError)


def _check_estimators(session: Session) -> None:
    if not any(estimator.explains for estimator in session.estimators):
        raise ExperimentError("A sanity check needs an estimator that explains the network, which "
                              f"{', '.join(map(str, session.estimators))} do not; ask for one, such as --estimator "
                              "gradient.")


def _kinds(session: Session) -> tuple[str, ...]:
    """The randomizations asked for; by default shuffled labels are left out where there is no training split.

    Raises:
        UsageError: they are asked for by name.
    """
    settings = session.experiment.section(SanitySettings)
    if LABELS not in settings.kinds or "train" in session.source.splits:
        return settings.kinds
    if "kinds" in settings.model_fields_set:
        check_training_split(session, "Training on shuffled labels", "; leave labels out of --randomize, or ")
    session.reporter.say(f"'{session.source.name}' has a test split alone; no network is trained on shuffled labels.")
    return tuple(kind for kind in settings.kinds if kind != LABELS)


def _tasks(session: Session, rankings: Sequence[Ranking], kinds: Sequence[str],
           steps: Mapping[tuple[str, str], Sequence[tuple[dict[str, Any], _Randomized]]]) -> Iterator[Task]:
    """A task for each randomized network of each model."""
    unlearned = _unlearned(session) if LABELS in kinds else {}
    for model, manifest in zip(session.models, train(session), strict=True):
        own = sorted((r for r in rankings if r.model is not None and r.model.folder == model.folder),
                     key=lambda ranking: ranking.estimator)
        for kind in kinds:
            if kind == LABELS:
                folder, facts = unlearned[model.folder]
                row = {"kind": kind, "step": 1, "steps": 1, "layers": "shuffled labels"}
                yield _task(session, model, own, row, folder, facts, _Randomized())
            else:
                for row, chosen in steps[model.folder, kind]:
                    yield _task(session, model, own, row, model.folder, manifest["facts"], chosen)


@dataclass(frozen=True)
class _Randomized:
    """The layers that are drawn anew, and the batch norms that are fitted for them."""

    redrawn: tuple[Layer, ...] = ()
    fitted: tuple[str, ...] = ()


def _steps(session: Session, model: Model, kind: str) -> Iterator[tuple[dict[str, Any], _Randomized]]:
    """The columns that name each step, and what is drawn anew in it.

    Raises:
        UsageError: batch norms are to be fitted on a single image.
    """
    import torch

    from roar.jobs.train_model import build
    from roar.metrics.sanity.worker import names_of
    from roar.models.layers import batch_norms_behind, grouped, layers

    source = session.source
    image = torch.zeros(1, source.channels, source.height, source.width)
    network = build(model.network, 0)
    found = layers(network, image)
    groups = grouped(found, session.experiment.section(SanitySettings).steps)
    for step, group in enumerate(groups, start=1):
        row = {"kind": kind, "step": step, "steps": len(groups), "layers": names_of(group)}
        chosen = [layer for one in groups[:step] for layer in one] if kind == "cascading" else group
        fitted = batch_norms_behind(network, found, chosen)
        if fitted and len(source.test) < 2:
            raise UsageError(f"The batch norms of a randomized '{model.label}' are fitted on two test images or more, "
                             f"and '{source.name}' has {len(source.test)}; raise --limit-test.")
        yield row, _Randomized(tuple(chosen), fitted)


def _task(session: Session, model: Model, rankings: Sequence[Ranking], row: Mapping[str, Any], weights: str,
          facts: Mapping[str, Any], randomized: _Randomized) -> Task:
    from roar.metrics.sanity.worker import Check
    from roar.metrics.similarity import inner_thresholds

    experiment = session.experiment
    thresholds = inner_thresholds(experiment.degrade.thresholds)
    which = {key: row[key] for key in ("kind", "step", "steps")}
    folder, identity = _place(experiment, session.source, model, facts["weights"], which,
                              randomized, rankings, thresholds)
    named = {"source": session.source.label, **model.facts}
    work = Check(folder, identity, tuple(r.by for r in rankings), {**named, **row},
                 {r.estimator: rank_folder(session.store, f"{r.folder}/test") for r in rankings},
                 {r.estimator: r.facts for r in rankings}, weights, randomized.redrawn, randomized.fitted,
                 model.network, model_normalization(session, model), experiment.estimators, thresholds, experiment.seed,
                 facts.get("train_accuracy"), experiment.compute.memory_budget)
    return Task(folder, work, (f"{folder}/{MANIFEST}",))


def _unlearned(session: Session) -> dict[str, tuple[str, dict[str, Any]]]:
    """For each model the folder and facts of one that was trained on shuffled labels, trained where it is missing.

    Raises:
        ModelError: it could not be trained.
    """
    twins = {model.folder: shuffled(session.experiment, session.source, model) for model in session.models}
    each = list({twin.folder: twin for twin in twins.values()}.values())
    manifests = train_missing(session, each, "train on shuffled labels", shuffled=True)
    facts = {twin.folder: manifest["facts"] for twin, manifest in zip(each, manifests, strict=True)}
    return {folder: (twin.folder, facts[twin.folder]) for folder, twin in twins.items()}


def shuffled(experiment: Experiment, source: Source, model: Model) -> Model:
    """A model's twin of the same architecture, recipe and seed that is trained on shuffled labels."""
    identity = {"artefact": "model", "source": source.fingerprint, "network": model.network.identity,
                "recipe": model.recipe.model_dump(), "seed": model.settings.seed, "root_seed": experiment.seed,
                "labels": "shuffled", **{key: value for key, value in plan.seen_as(model).items() if value is not None}}
    name = model.folder.rsplit("/", 1)[-1].rpartition("-")[0]
    folder = f"models/{plan.source_folder(source)}/{name}-shuffled-labels-{key_of(identity)}"
    return replace(model, folder=folder, settings=model.settings.model_copy(update={"weights": None}),
                   identity=identity, given=None)


def _place(experiment: Experiment, source: Source, model: Model, weights: str, row: Mapping[str, Any],
           randomized: _Randomized, rankings: Sequence[Ranking],
           thresholds: Sequence[float]) -> tuple[str, dict[str, Any]]:
    """Where the sanity check of one randomized network lies, and what determines it.

    Args:
        weights: the hash of those that the layers are drawn anew in, or that were trained on shuffled labels.
        row: the randomization's ``kind``, ``step`` and ``steps``.
        randomized: what is drawn anew; fitted batch norms are named only where there are some, so that other networks
            keep their keys.
        rankings: of the real network.
    """
    identity = {"artefact": "sanity", "source": source.fingerprint, "network": model.network.identity,
                "weights": weights, **plan.seen_as(model), **row,
                "drawn_anew": [layer.name for layer in randomized.redrawn],
                **({"batch_norms": list(randomized.fitted), "fitted_on": FITTED_ON} if randomized.fitted else {}),
                "rankings": [ranking.key for ranking in rankings], "thresholds": list(thresholds),
                "root_seed": experiment.seed}
    below = f"{plan.source_folder(source)}/{model.folder.rsplit('/', 1)[-1]}"
    return f"metrics/sanity/{below}/{row['kind']}-{row['step']}-{key_of(identity)}", identity
