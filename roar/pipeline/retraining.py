"""Train new networks on what is left, job by job or in packs."""

from __future__ import annotations

from collections.abc import Sequence

from roar import plan
from roar.compaction import compact
from roar.jobs.job import HEAD_ONLY, Job
from roar.jobs.stage import Outcome, Stage, Task
from roar.pipeline.images import check_window, shared_images, shared_ranks
from roar.pipeline.ranking import artefacts_of, rank, weights_loaders
from roar.pipeline.running import execute, running
from roar.pipeline.session import Session, asked_for, keep_plan
from roar.pipeline.training import train
from roar.plan import SPLITS, Ranking
from roar.results import finished_jobs


@asked_for("retrain")
def retrain(session: Session) -> list[Job]:
    """Every job of the experiment, done where its result is missing; failed ones are tried again.

    A job that fails becomes a row with its reason and does not stop the others.
    """
    check_window(session, [session.experiment.retrain.resolve(session.source.label)], "retrain")
    _check_heads(session)
    rankings = rank(session, names=plan.retrained(session.experiment, session.estimators))
    jobs = _jobs(session, rankings)
    keep_plan(session, "retrain", artefacts_of(session, rankings), jobs)
    done, _ = finished_jobs(session.store.files)
    missing = [job for job in jobs if job.key not in done]
    if missing:
        from roar.jobs.retrain import open_worker, row_file

        tasks = _packs(session, jobs, {job.key for job in missing})
        by_key = {task.key: task.work.jobs for task in tasks}

        def failed(outcome: Outcome) -> None:
            for job in by_key[outcome.key]:
                session.store.files.write(*row_file(job, len(session.source.test), str(outcome.error)))

        with running(session, "retrain", sum(map(len, by_key.values())), "networks") as watcher:
            watcher.sizes = {key: len(pack) for key, pack in by_key.items()}
            watcher.on_failure = failed
            folders = dict.fromkeys(job.ranking for job in missing if job.ranking is not None)
            ranks = shared_ranks(session, [f"{folder}/{split}" for folder in folders for split in SPLITS])
            weights = weights_loaders(session) if any(job.start for job in missing) else {}
            shared = {**shared_images(session), **ranks, **weights}
            stage = Stage("retrain", open_worker, shared, tasks, session.experiment.compute.cpus_per_job)
            execute(session, stage, watcher)
        compact(session.store.files)
        failures = [str(outcome.error) for outcome in watcher.failures for _ in by_key[outcome.key]] + watcher.errors
        if failures:
            session.reporter.say(f"{len(failures)} of {len(missing)} trainings failed; the first: {failures[0]} "
                                 "`roar status` lists them; the same command tries them again.")
    return jobs


def _packs(session: Session, jobs: Sequence[Job], missing: set[str]) -> list[Task]:
    """What is missing, in packs that are trained side by side; a pack's key does not depend on what is done."""
    from roar.jobs.packing import pack_size
    from roar.jobs.retrain import Retrain
    from roar.jobs.train_model import build

    kinds: dict[str, list[Job]] = {}
    for job in jobs:
        kinds.setdefault(job.row["protocol"], []).append(job)
    image = (session.source.channels, session.source.height, session.source.width)
    tasks = []
    for kind in kinds.values():
        size = session.experiment.compute.pack or pack_size(build(kind[0].network), image)
        if kind[0].start is not None and kind[0].start.variant == HEAD_ONLY:
            size = 1  # a pack has one head for all
        for start in range(0, len(kind), size):
            pack = kind[start:start + size]
            wanted = tuple(job for job in pack if job.key in missing)
            if wanted:
                tasks.append(Task("+".join(job.key for job in pack), Retrain(wanted, session.experiment.seed, size),
                                  tuple(f"results/{job.key}.json" for job in wanted)))
    return tasks


def _jobs(session: Session, rankings: Sequence[Ranking]) -> list[Job]:
    """Every training that the experiment asks for."""
    found: list[Job] = []
    for model, manifest in zip(session.models, train(session), strict=True):
        own = [r for r in rankings if r.model is None or r.model.folder == model.folder]
        found += plan.jobs(session.experiment, session.source, model, own, manifest["facts"])
    return plan.unique(found)


def _check_heads(session: Session) -> None:
    """Refuse, before anything is trained, to train the head of a network that has none.

    Raises:
        ModelError: the logits of a network are not the output of one linear layer.
    """
    if session.experiment.retrain.variant == HEAD_ONLY:
        from roar.jobs.train_model import build
        from roar.models import head

        for network in {model.network for model in session.models}:
            head(build(network), network.image)
