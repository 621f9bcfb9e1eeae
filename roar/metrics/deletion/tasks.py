"""Deletion curves of every model under every ranking."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from roar.errors import ModelError
from roar.jobs.stage import Task
from roar.pipeline import plan
from roar.pipeline.images import shared_images, shared_ranks
from roar.pipeline.plan import Model, Ranking
from roar.pipeline.ranking import model_normalization, rank, weights_loaders
from roar.pipeline.running import make
from roar.pipeline.session import Session, asked_for, keep_plan
from roar.pipeline.training import train
from roar.store.artifacts import MANIFEST, key_of


@asked_for("delete")
def delete(session: Session) -> list[str]:
    """The folders of every model's deletion curves, one per ranking, made where they are missing."""
    from roar.metrics.deletion.worker import Delete

    experiment, settings = session.experiment, session.experiment.degrade
    tasks = []
    for ranking in rank(session, ("test",)):
        for model, manifest in zip(session.models, train(session), strict=True):
            if ranking.model is not None and ranking.model.folder != model.folder:
                continue
            folder, identity = _place(session, model, manifest["facts"]["weights"], ranking)
            row = {"source": session.source.label, **model.facts, **ranking.facts}
            tasks.append(Task(folder, Delete(
                folder, identity, row, ranking.folder, settings.fixed_modes, session.fill,
                tuple(sorted({0.0, *settings.thresholds})), model.folder, model.network,
                model_normalization(session, model), experiment.seed), (f"{folder}/{MANIFEST}",)))
    keep_plan(session, "delete", [task.key for task in tasks])

    def shared(missing: Sequence[Task]) -> Mapping[str, Callable[[], Any]]:
        ranks = shared_ranks(session, {f"{task.work.ranking}/test" for task in missing})
        return {**shared_images(session), **weights_loaders(session), **ranks}

    return make(session, "delete", "curves", tasks, "roar.metrics.deletion.worker:open_worker", shared, ModelError)


def _place(session: Session, model: Model, weights: str, ranked: Ranking) -> tuple[str, dict[str, Any]]:
    """Where one model's deletion curves under one ranking lie, and what determines them."""
    source, experiment, settings = session.source, session.experiment, session.experiment.degrade
    identity = {"artefact": "deletion", "source": source.fingerprint, "network": model.network.identity,
                "weights": weights, **plan.seen_as(model), "ranking": ranked.key, "modes": settings.fixed_modes,
                **session.fill.identity, "thresholds": sorted({0.0, *settings.thresholds}),
                "root_seed": experiment.seed}
    below = f"{plan.source_folder(source)}/{model.folder.rsplit('/', 1)[-1]}"
    return f"metrics/deletion/{below}/{plan.in_path(ranked.estimator)}-{key_of(identity)}", identity
