"""How far the rankings of one network agree, and those of networks that differ in their seed alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from roar.datasets import Source
from roar.errors import ExperimentError
from roar.jobs.stage import Task
from roar.metrics.agreement.worker import NOISE, Agree, Member
from roar.metrics.similarity import inner_thresholds
from roar.pipeline import plan
from roar.pipeline.plan import Model, Ranking
from roar.pipeline.ranking import rank
from roar.pipeline.running import make
from roar.pipeline.session import Session, asked_for, keep_plan
from roar.store.artifacts import MANIFEST, key_of
from roar.store.shards import rank_folder


@asked_for("agreement")
def agreement(session: Session) -> list[str]:
    """The folders of what every model's rankings of the test images have in common, made where they are missing.

    Raises:
        ExperimentError: there are no two rankings to compare.
    """
    tasks = list(_tasks(session, rank(session, ("test",), noise_seeds=session.experiment.estimators.seeds)))
    if not tasks:
        raise ExperimentError(f"Agreement compares two rankings of the same images, and there is one, by "
                              f"{' and '.join(map(str, session.estimators))}; ask for two estimators or more "
                              "(--estimator), for several seeds of the network (--model-seeds), or of the "
                              "noise (--estimator-seeds).")
    keep_plan(session, "agreement", [task.key for task in tasks])
    return make(session, "agreement", "comparisons", tasks, "roar.metrics.agreement.worker:open_worker",
                lambda missing: {"test/indices": lambda: session.source.test.indices})


def _tasks(session: Session, rankings: Sequence[Ranking]) -> Iterator[Task]:
    """One for each model with two rankings, one for its rankings under other noise, and one for each group of models
    that differ in their seed alone."""
    every, rankings = rankings, [ranking for ranking in rankings if not ranking.noise_seed]
    for model in session.models:
        own = _of(model, rankings)
        if len(own) > 1:
            yield _task(session, "estimators", [model], [[(model, ranking) for ranking in own]])
        repeats = _of(model, every)
        groups = [[(model, again) for again in repeats if again.first_key == first.key] for first in own]
        if groups := [group for group in groups if len(group) > 1]:
            yield _task(session, NOISE, [model], groups)
    for models in seed_groups(session.models):
        explained = [(model, ranking) for model in models for ranking in _of(model, rankings) if ranking.explains]
        names = sorted({ranking.estimator for _, ranking in explained})
        groups = [[one for one in explained if one[1].estimator == name] for name in names]
        if groups:
            yield _task(session, "seeds", models, groups)


def _of(model: Model, rankings: Sequence[Ranking]) -> list[Ranking]:
    """A model's rankings and the controls' in the order of their names, so that who asked first does not matter."""
    own = [r for r in rankings if r.model is None or r.model.folder == model.folder]
    return sorted(own, key=lambda ranking: (ranking.estimator, ranking.noise_seed))


def _task(session: Session, across: str, models: Sequence[Model],
          groups: Sequence[Sequence[tuple[Model, Ranking]]]) -> Task:
    thresholds = inner_thresholds(session.experiment.degrade.thresholds)
    folder, identity = _place(session.source, across, models, [r for group in groups for _, r in group],
                                      thresholds)
    row = {"source": session.source.label, "regularizer": models[0].network.regularizer, "across": across}
    members = tuple(tuple(_member(session, *one) for one in group) for group in groups)
    return Task(folder, Agree(folder, identity, row, members, thresholds), (f"{folder}/{MANIFEST}",))


def _member(session: Session, model: Model, ranking: Ranking) -> Member:
    folder = f"{ranking.folder}/test"
    manifest = session.store.manifest(folder)
    tied = float(manifest["facts"]["tied_share"]) if manifest else 0.0
    return Member(model.facts, ranking.facts, tied, rank_folder(session.store, folder), ranking.noise_seed,
                  ranking.identity.get("samples", 0))


def seed_groups(found: Sequence[Model]) -> list[list[Model]]:
    """The models that differ from each other in their seed alone, where there are two or more; given weights do not."""
    groups: dict[str, list[Model]] = {}
    for model in found:
        if model.given is None:
            alike = {"network": model.network.identity, "recipe": model.recipe.model_dump(), **plan.seen_as(model)}
            groups.setdefault(key_of(alike), []).append(model)
    return [group for group in groups.values() if len(group) > 1]


def _place(source: Source, across: str, compared: Sequence[Model], rankings: Sequence[Ranking],
              thresholds: Sequence[float]) -> tuple[str, dict[str, Any]]:
    """Where the agreement of rankings lies, and what determines it.

    Args:
        across: ``estimators`` of one model, ``noise`` of each of them, or ``seeds`` of several models.
    """
    identity = {"artefact": "agreement", "source": source.fingerprint, "across": across,
                "models": [key_of(model.identity) for model in compared],
                "rankings": [ranking.key for ranking in rankings], "thresholds": list(thresholds)}
    below = compared[0].folder.rsplit("/", 1)[-1]
    return f"metrics/agreement/{plan.source_folder(source)}/{below}/{across}-{key_of(identity)}", identity
