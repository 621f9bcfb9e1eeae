"""What needs no new network: data sets on disk, and the explained network itself on degraded images."""

from __future__ import annotations

from roar import plan
from roar.errors import ModelError
from roar.jobs.stage import Stage, Task
from roar.pipeline.images import shared_images, shared_ranks, statistics
from roar.pipeline.ranking import artefacts_of, model_normalisation, rank, weights_loaders
from roar.pipeline.running import execute, running
from roar.pipeline.session import Session, asked_for, keep_plan
from roar.pipeline.training import train
from roar.store import MANIFEST


@asked_for("delete")
def delete(session: Session) -> list[str]:
    """The folders of every model's deletion curves, one per ranking, made where they are missing."""
    from roar.jobs.deletion import Delete, open_worker

    experiment, settings = session.experiment, session.experiment.degrade
    tasks, folders = [], []
    for ranking in rank(session, ("test",)):
        for model, manifest in zip(session.models, train(session), strict=True):
            if ranking.model is not None and ranking.model.folder != model.folder:
                continue
            folder, identity = plan.deletion(experiment, session.source, model, manifest["facts"]["weights"], ranking)
            row = {"source": session.source.label, "model": model.label, "regularizer": model.network.regularizer,
                   "estimator": ranking.estimator}
            folders.append(folder)
            tasks.append(Task(folder, Delete(
                folder, identity, row, ranking.folder, settings.fixed_modes, settings.fill,
                tuple(sorted({0.0, *settings.thresholds})), model.folder, model.network,
                model_normalisation(session, model), experiment.seed), (f"{folder}/{MANIFEST}",)))
    keep_plan(session, "delete", folders)
    missing = [task for task in tasks if session.store.manifest(task.key) is None]
    if missing:
        with running(session, "delete", len(missing), "curves") as watcher:
            ranks = shared_ranks(session, {f"{task.work.ranking}/test" for task in missing})
            shared = {**shared_images(session), **weights_loaders(session), **ranks}
            execute(session, Stage("delete", open_worker, shared, missing, experiment.compute.cpus_per_job), watcher)
        watcher.raise_first(ModelError)
    return folders


@asked_for("degrade")
def degrade(session: Session) -> list[str]:
    """The folders of the degraded data sets, one per ranking, mode and threshold, written where missing."""
    from roar.degraded import cell_folder, write_degraded

    settings, images = session.experiment.degrade, len(session.source.train) + len(session.source.test)
    rankings, cells = rank(session), {}
    for ranking in rankings:
        for mode in settings.fixed_modes:
            for threshold in settings.thresholds:
                identity = {**ranking.identity, "artefact": "degraded", "mode": mode, "fill": settings.fill,
                            "threshold": threshold}
                folder = cell_folder(ranking.folder, mode, settings.fill, threshold, identity)
                cells[folder] = (ranking, identity, mode, threshold)
    keep_plan(session, "degrade", [*artefacts_of(session, rankings), *cells])
    missing = [folder for folder in cells if session.store.manifest(folder) is None]
    if missing:
        mean = statistics(session)[0]
        for folder in missing:
            ranking, identity, mode, threshold = cells[folder]
            bar = session.reporter.begin(f"degrade {ranking.estimator} {threshold:g} %", images, "images")
            write_degraded(session.store, session.source, mean, ranking.folder, folder, identity,
                           mode, settings.fill, threshold, session.experiment.seed, bar.advance)
            session.reporter.end(bar)
    return list(cells)
