"""How much an experiment asks for, and what it will cost, before anything is made."""

from __future__ import annotations

from dataclasses import dataclass

from roar import machine
from roar.estimators import Estimator
from roar.experiment import RECURSIVE
from roar.jobs.network import Network
from roar.metrics.retraining import plan as jobs_plan
from roar.pipeline import plan
from roar.pipeline.plan import SPLITS
from roar.pipeline.ranking import shards_of
from roar.pipeline.session import Session
from roar.pipeline.training import check_training_split
from roar.recipes import Recipe

_RESULT_BYTES = 1_500  # of one result


@dataclass(frozen=True)
class Overview:
    """How much there is to do, before it is done."""

    models: int
    rankings: int
    shards: int
    jobs: int
    chains: int  # of mode recursive; each begins with a network more, on intact images


@dataclass(frozen=True)
class Forecast:
    """What it will cost, from a few timed steps here."""

    train_seconds: float
    rank_seconds: float
    retrain_seconds: float
    workers: int
    bytes: int  # of the store


def overview(session: Session) -> Overview:
    """What the experiment needs in all, without making anything.

    Raises:
        UsageError: there is a test split alone.
    """
    check_training_split(session, "Retraining")
    experiment, models = session.experiment, len(session.models)
    estimators = jobs_plan.retrained(experiment, session.estimators)
    shared = [estimator for estimator in estimators if not plan.belongs_to_model(estimator)]
    again = experiment.estimators.seeds - 1
    rankings = models * (len(estimators) - len(shared)) + len(shared) + sum(
        again * (models if plan.belongs_to_model(one) else 1) for one in session.estimators if one.stochastic)
    shards = rankings * sum(len(shards_of(session, split)) for split in SPLITS)
    kinds = sum(len(jobs_plan.kinds_of_cells(experiment, estimator)) for estimator in estimators)
    kinds += again * sum(estimator.stochastic for estimator in session.estimators) * len(experiment.degrade.fixed_modes)
    seeds = models * experiment.retrain.seeds
    jobs = seeds * (1 + _steps(session) * kinds)
    return Overview(models, rankings, shards, jobs, seeds * len(_ranked_again(session)))


def _steps(session: Session) -> int:
    """Thresholds at which something is replaced."""
    return sum(threshold > 0 for threshold in session.experiment.degrade.thresholds)


def _ranked_again(session: Session) -> list[Estimator]:
    """The estimators that mode recursive asks for."""
    experiment = session.experiment
    return [estimator for estimator in jobs_plan.retrained(experiment, session.estimators)
            if any(mode == RECURSIVE for _, mode in jobs_plan.kinds_of_cells(experiment, estimator))]


def forecast(session: Session) -> Forecast:
    """Time and space that the whole experiment takes on this machine, nothing of it being done yet."""
    import torch

    from roar.estimators.ranks import rank_type
    from roar.metrics.retraining.tasks import check_retrainers
    from roar.metrics.retraining.timing import time_ranking, time_steps

    check_retrainers(session)
    experiment, source, plan_ = session.experiment, session.source, overview(session)
    compute, settings = experiment.compute, experiment.retrain
    estimators = jobs_plan.retrained(experiment, session.estimators)
    gpus = torch.cuda.device_count() if compute.gpus_per_job != 0 else 0
    fit = gpus / (compute.gpus_per_job or 1) if gpus else machine.cpus() / compute.cpus_per_job
    workers = 1 if compute.executor == "serial" else max(1, min(compute.workers or 10**9, int(fit)))
    device = "cuda" if gpus else "cpu"
    torch.set_num_threads(max(1, int(compute.cpus_per_job)))
    network = session.retrainer or session.models[0].network

    def seconds(recipe: Recipe, body: Network) -> float:
        batches = max(1, len(source.train) // recipe.batch_size)
        return (recipe.steps or recipe.epochs * batches) * time_steps(body, recipe, device)

    images = len(source.train) + len(source.test)
    train_seconds = sum(seconds(experiment.train.resolve(source.label), model.network) for model in session.models)
    rank_seconds = images * sum(time_ranking(model.network, estimators, experiment.estimators, device)
                                for model in session.models)
    retrain_seconds = (plan_.jobs + plan_.chains) * seconds(settings.resolve(source.label), network)
    if plan_.chains:
        retrain_seconds += len(session.models) * settings.seeds * _steps(session) * images * time_ranking(
            network, _ranked_again(session), experiment.estimators, device)
    pixels = source.height * source.width * (source.channels if experiment.estimators.unit == "channel" else 1)
    rank_bytes = plan_.rankings * images * pixels * rank_type(pixels).itemsize
    return Forecast(train_seconds, rank_seconds / workers, retrain_seconds / workers, workers,
                    rank_bytes + plan_.jobs * _RESULT_BYTES)

