"""Train new networks on what is left, job by job or in packs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from roar.errors import ExperimentError
from roar.experiment import RECURSIVE, SCRATCH
from roar.jobs.stage import Outcome, Shared, Stage, Task, Worker
from roar.metrics.retraining import plan
from roar.metrics.retraining.job import HEAD_ONLY, Job
from roar.pipeline.images import check_window, shared_images, shared_ranks, streams
from roar.pipeline.plan import SPLITS, Ranking, check_trainable
from roar.pipeline.ranking import artifacts_of, rank, weights_loaders
from roar.pipeline.running import execute, running
from roar.pipeline.session import Session, asked_for, keep_plan
from roar.pipeline.training import check_training_split, train
from roar.store.artifacts import key_of
from roar.store.compaction import compact
from roar.store.results import finished_jobs


@asked_for("retrain")
def retrain(session: Session) -> list[Job]:
    """Every job of the experiment, done where its result is missing; failed ones are tried again.

    A job that fails becomes a row with its reason and does not stop the others.

    Raises:
        ExperimentError: images stream, and their recipe has no window or a chain needs them in memory.
        ModelError: a network has no head, and that is to be trained.
        UsageError: there is a test split alone.
    """
    check_training_split(session, "Retraining")
    check_window(session, [session.experiment.retrain.resolve(session.source.label)], "retrain")
    _check_chains(session)
    check_retrainers(session)
    _check_heads(session)
    rankings = rank(session, estimators=plan.retrained(session.experiment, session.estimators),
                    noise_seeds=session.experiment.estimators.seeds)
    jobs = _jobs(session, rankings)
    keep_plan(session, "retrain", artifacts_of(session, rankings), {job.key: job.row for job in jobs})
    done, _ = finished_jobs(session.store.files)
    missing = [job for job in jobs if job.key not in done]
    if missing:
        from roar.metrics.retraining.recursive import open_worker as open_recurser
        from roar.metrics.retraining.worker import open_worker as open_retrainer

        wanted = {job.key for job in missing}
        once = [job for job in jobs if job.row["mode"] != RECURSIVE]
        failures = [*_run(session, "retrain", open_retrainer, _packs(session, once, wanted), missing),
                    *_run(session, "recurse", open_recurser, _chains(session, jobs, wanted, rankings), missing)]
        compact(session.store.files)
        if failures:
            session.reporter.say(f"{len(failures)} of {len(missing)} trainings failed; the first: {failures[0]} "
                                 "`roar status` lists them; the same command tries them again.")
    return jobs


def _run(session: Session, title: str, open_worker: Callable[[Shared, str], Worker], tasks: Sequence[Task],
         missing: Sequence[Job]) -> list[str]:
    """Do some tasks; the reason of every training that failed."""
    from roar.metrics.retraining.worker import row_file

    if not tasks:
        return []
    rows = {f"results/{job.key}.json": job for job in missing}
    by_key = {task.key: [rows[path] for path in task.makes] for task in tasks}

    def failed(outcome: Outcome) -> None:
        for job in by_key[outcome.key]:
            session.store.files.write(*row_file(job, len(session.source.test), str(outcome.error)))

    with running(session, title, sum(map(len, by_key.values())), "networks") as watcher:
        watcher.sizes = {key: len(made) for key, made in by_key.items()}
        watcher.on_failure = failed
        jobs = [job for made in by_key.values() for job in made]
        folders = dict.fromkeys(job.ranking for job in jobs if job.ranking is not None)
        ranks = shared_ranks(session, [f"{folder}/{split}" for folder in folders for split in SPLITS])
        weights = weights_loaders(session) if any(job.start for job in jobs) else {}
        shared = {**shared_images(session), **ranks, **weights}
        execute(session, Stage(title, open_worker, shared, tasks, session.experiment.compute.cpus_per_job), watcher)
    return [str(outcome.error) for outcome in watcher.failures for _ in by_key[outcome.key]] + watcher.errors


def _packs(session: Session, jobs: Sequence[Job], missing: set[str]) -> list[Task]:
    """What is missing, in packs that are trained side by side; a pack's key does not depend on what is done."""
    from roar.metrics.retraining.worker import Retrain

    kinds: dict[str, list[Job]] = {}
    for job in jobs:
        kinds.setdefault(job.row["protocol"], []).append(job)
    tasks = []
    for kind in kinds.values():
        size = _pack_size(session, kind[0])
        for start in range(0, len(kind), size):
            pack = kind[start:start + size]
            wanted = tuple(job for job in pack if job.key in missing)
            if wanted:
                tasks.append(Task("+".join(job.key for job in pack), Retrain(wanted, session.experiment.seed, size),
                                  _made(wanted)))
    return tasks


def _chains(session: Session, jobs: Sequence[Job], missing: set[str], rankings: Sequence[Ranking]) -> list[Task]:
    """The chains with a row that is missing, each up to its last one, in packs as the other networks are."""
    from roar.metrics.retraining.recursive import Recurse

    experiment, estimators = session.experiment, {ranking.estimator: ranking.by for ranking in rankings}
    kinds: dict[str, list[tuple[Job, ...]]] = {}
    for chain in plan.chains(jobs):
        kinds.setdefault(chain[0].row["protocol"], []).append(chain)
    tasks = []
    for kind in kinds.values():
        size = _pack_size(session, kind[0][0])
        for start in range(0, len(kind), size):
            pack = kind[start:start + size]
            wanted = [chain for chain in (_up_to_the_last(chain, missing) for chain in pack) if chain]
            if wanted:
                names = dict.fromkeys(chain[0].row["estimator"] for chain in wanted)
                work = Recurse(tuple(wanted), {name: estimators[name] for name in names}, experiment.seed,
                               experiment.estimators, size, experiment.compute.memory_budget)
                tasks.append(Task("+".join(chain[-1].key for chain in pack), work, _made(
                    [job for chain in wanted for job in chain if job.key in missing])))
    return tasks


def _up_to_the_last(chain: Sequence[Job], missing: set[str]) -> tuple[Job, ...]:
    """The jobs of a chain up to the last one that is missing."""
    last = max((number for number, job in enumerate(chain, start=1) if job.key in missing), default=0)
    return tuple(chain[:last])


def _pack_size(session: Session, job: Job) -> int:
    """How many networks such as a job's are trained side by side."""
    from roar.jobs.train_model import build
    from roar.jobs.training.packing import pack_size

    if job.start is not None and job.start.variant == HEAD_ONLY:
        return 1  # a pack has one head for all
    if job.network.regularization.terms:
        return 1  # a function that is not roar's takes one network
    image = (session.source.channels, session.source.height, session.source.width)
    return session.experiment.compute.pack or pack_size(build(job.network), image)


def _made(jobs: Iterable[Job]) -> tuple[str, ...]:
    return tuple(f"results/{job.key}.json" for job in jobs)


def _jobs(session: Session, rankings: Sequence[Ranking]) -> list[Job]:
    """Every training that the experiment asks for."""
    found: list[Job] = []
    for model, manifest in zip(session.models, train(session), strict=True):
        own = [r for r in rankings if r.model is None or r.model.folder == model.folder]
        found += plan.jobs(session, model, own, manifest["facts"])
    return plan.unique(found)


def _check_chains(session: Session) -> None:
    """Refuse chains where the images stream: a chain ranks all of them at every step.

    Raises:
        ExperimentError: the images are more than a node may hold.
    """
    if RECURSIVE in session.experiment.degrade.modes and streams(session):
        raise ExperimentError("Mode recursive holds all images and their ranks in memory, and these are more than the "
                              "budget; raise compute.image_budget or leave the mode out.")


def check_retrainers(session: Session) -> None:
    """Refuse to train networks from scratch that are trained networks, of which there are no fresh ones.

    Raises:
        ModelError: a retrainer is one.
    """
    if session.experiment.retrain.variant == SCRATCH:
        check_trainable([session.retrainer or model.network for model in session.models], "retraining")


def _check_heads(session: Session) -> None:
    """Refuse, before anything is trained, to train the head of a network that has none.

    Raises:
        ModelError: the logits of a network are not the output of one linear layer.
    """
    if session.experiment.retrain.variant == HEAD_ONLY:
        from roar.jobs.train_model import build
        from roar.models import head

        for network in {key_of(model.network.identity): model.network for model in session.models}.values():
            head(build(network), network.image)
