"""The executor on Ray: a task is a Tune trial on an actor that is reused.

Arrays that every task reads are put into Ray's object store once and mapped by each process, so they reach a
node once. A worker writes into the store itself where it can see it, and through the driver's node where not.
A trial whose worker or node dies is run again elsewhere, up to the retries allowed, once the cluster had the time
to notice.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from roar.errors import ClusterError, FailureError, RoarError
from roar.experiment import ComputeSettings
from roar.jobs.ray.callbacks import loggers
from roar.jobs.ray.cluster import connect, gpus_of_a_job, is_client, largest_node, reason
from roar.jobs.ray.daemons import session_folder, watched
from roar.jobs.ray.desk import Desk, DeskFiles, fetch, own_files
from roar.jobs.ray.environment import prepare
from roar.jobs.stage import Outcome, Shared, Stage, Task, Watcher, Worker, perform
from roar.store.store import Store

_TELL_EVERY = 0.5  # seconds
_SETTLE = 5.0  # seconds after a death, times the deaths of the task: until then Ray may still use a lost node


def run_stage(stage: Stage, compute: ComputeSettings, store: Store, watcher: Watcher) -> None:
    """Do every task of a stage as trials on the cluster.

    Raises:
        FailureError: the cluster cannot be reached, fails, or does not see the store.
        UsageError: a job asks for more than any of its nodes has.
    """
    connect(compute)
    gpus = gpus_of_a_job(compute)
    location = store.files.location
    if "://" not in location:
        location = str(Path(location).expanduser().resolve())
    job = ClusterJob(stage.name, stage.open_worker, tuple(stage.tasks), stage.cpus, gpus, compute, location,
                     store.description["id"], {name: ray.put(load()) for name, load in stage.shared.items()})
    with _plain_errors(), watched():
        if is_client():
            _run_far_away(job, watcher)
        else:
            run_here(job, watcher)


@dataclass(frozen=True)
class ClusterJob:
    """A stage as it travels: the shared arrays are references into Ray's object store."""

    name: str
    open_worker: Callable[[Shared, str], Worker]
    tasks: tuple[Task, ...]
    cpus: float
    gpus: float
    compute: ComputeSettings
    location: str
    store_id: str
    shared: Mapping[str, Any]


def run_here(job: ClusterJob, watcher: Watcher) -> None:
    """Schedule the trials from this process, which is one of the cluster's."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    desk = Desk.options(  # type: ignore[attr-defined]
        scheduling_strategy=here, num_cpus=0, max_restarts=-1, max_task_retries=-1).remote(job.location)
    if not ray.get(desk.sees.remote(job.store_id)):
        raise FailureError(f"The cluster does not see the store '{job.location}'; give a --store that both sides "
                           "see: a shared folder or a URL such as s3://bucket/prefix.")
    # Within a dictionary the reference reaches the trial as it is, which reads it where its failure can be told.
    parameters = {"stage": {"": ray.put((job.open_worker, job.tasks, job.cpus))}, "shared": job.shared, "desk": desk,
                  "location": job.location, "store_id": job.store_id}
    trainable = tune.with_resources(tune.with_parameters(_Trial, **parameters),
                                    {"CPU": min(job.cpus, largest_node(job.gpus)), "GPU": job.gpus})
    relay = _Relay(job.tasks, desk, watcher)
    with tempfile.TemporaryDirectory(prefix="roar-tune-", dir=session_folder()) as scratch:
        tune.Tuner(
            trainable,
            param_space={"task": tune.grid_search(list(range(len(job.tasks))))},
            tune_config=tune.TuneConfig(reuse_actors=True, max_concurrent_trials=job.compute.workers,
                                        trial_dirname_creator=lambda trial: str(trial.trial_id)),
            run_config=tune.RunConfig(name=job.name, storage_path=scratch, verbose=0, progress_reporter=_Quiet(),
                                      failure_config=tune.FailureConfig(max_failures=job.compute.retries),
                                      callbacks=[relay, *loggers(job.compute, job.name)], stop=_Stop(relay)),
        ).fit()
    ray.kill(desk)
    if relay.raised is not None:
        raise relay.raised


def _run_far_away(job: ClusterJob, watcher: Watcher) -> None:
    """Schedule the trials from a process on the cluster, and ask it for news."""
    driver = _Driver.options(num_cpus=0, max_concurrency=2).remote()  # type: ignore[attr-defined]
    running = driver.run.remote(job)
    while True:
        ended = bool(ray.wait([running], timeout=_TELL_EVERY)[0])
        outcomes, shares = ray.get(driver.news.remote())
        watcher.progress(shares)
        for outcome in outcomes:
            watcher.outcome(outcome)
        if ended:
            break
    failure = ray.get(running)
    ray.kill(driver)
    if failure is not None:
        raise failure


@ray.remote
class _Driver:
    """On the cluster, for a program outside of it: schedules, and keeps the news until it is asked for."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self.shares: dict[str, tuple[float, str]] = {}

    def run(self, job: ClusterJob) -> RoarError | None:
        prepare()
        try:
            run_here(job, self)
        except RoarError as error:
            return error
        return None

    def news(self) -> tuple[list[Outcome], dict[str, tuple[float, str]]]:
        news = self.outcomes, self.shares
        self.outcomes, self.shares = [], {}
        return news

    def outcome(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)

    def progress(self, shares: Mapping[str, tuple[float, str]]) -> None:
        self.shares = {**self.shares, **shares}


@contextmanager
def _plain_errors() -> Iterator[None]:
    try:
        yield
    except RayError as error:
        raise FailureError(f"The Ray cluster failed ({reason(error)}); what is finished is kept. "
                           "Run the same command to resume.") from None


class _Trial(tune.Trainable):  # type: ignore[misc]
    """One actor; each trial it is given is one task, done in one step."""

    def setup(self, config: dict[str, Any], *, stage: Any, shared: Mapping[str, Any], desk: Any,
              location: str, store_id: str) -> None:
        import torch

        self.desk, self.task = desk, config["task"]
        self.failed: ClusterError | None = None
        try:
            open_worker, self.tasks, cpus = fetch(stage[""])
        except ClusterError as error:  # here it would count as the death of a worker
            self.failed = error
            return
        torch.set_num_threads(max(1, int(cpus)))
        device = "cuda" if ray.get_gpu_ids() and torch.cuda.is_available() else "cpu"
        self.files = own_files(location, store_id) or DeskFiles(location, desk)

        @lru_cache(maxsize=8)
        def read(name: str) -> Any:
            return fetch(shared[name])

        try:
            self.worker = open_worker(read, device)
        except ClusterError as error:
            self.failed = error

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.task = new_config["task"]
        return True

    def step(self) -> dict[str, Any]:
        if self.failed is not None:
            return {"outcome": ("", {}, str(self.failed), False, True), "done": True}
        task, told = self.tasks[self.task], 0.0

        def tell(share: float, text: str) -> None:
            nonlocal told
            if time.monotonic() - told > _TELL_EVERY:
                told = time.monotonic()
                self.desk.tell.remote(task.key, share, text)

        outcome = perform(self.worker, task, tell, self.files)
        numbers = {name: value for name, value in outcome.facts.items() if isinstance(value, (int, float, str))}
        ended = (outcome.key, dict(outcome.facts), outcome.error, outcome.elsewhere, outcome.halts)
        return {**numbers, "outcome": ended, "done": True}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: what a task made lies in the store."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing: a task whose worker died is done again."""


class _Quiet(tune.ProgressReporter):  # type: ignore[misc]
    """Reports nothing: Tune's reporter for notebooks would clear the cell that runs a study."""

    def should_report(self, trials: list[Any], done: bool = False) -> bool:
        return False

    def report(self, trials: list[Any], done: bool, *system: Any) -> None:
        pass


class _Stop(tune.Stopper):  # type: ignore[misc]
    """Ends the stage when the watcher has seen enough."""

    def __init__(self, relay: _Relay) -> None:
        self.relay = relay

    def __reduce__(self) -> tuple[type[tune.Stopper], tuple[()]]:
        return tune.stopper.NoopStopper, ()

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self.relay.raised is not None


class _Relay(tune.Callback):  # type: ignore[misc]
    """Passes outcomes and progress from Tune's loop to the watcher."""

    def __init__(self, tasks: Sequence[Task], desk: Any, watcher: Watcher) -> None:
        self.tasks, self.desk, self.watcher = tasks, desk, watcher
        self.asked: Any = None
        self.last = time.monotonic()
        self.raised: RoarError | None = None  # by the watcher, which has seen enough
        self.settled = self.last

    def __reduce__(self) -> tuple[type[tune.Callback], tuple[()]]:
        return tune.Callback, ()  # Tune pickles its settings; a watcher has no life outside this process

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any],
                        **info: Any) -> None:
        if "outcome" in result:
            outcome = Outcome(*result["outcome"])
            self._pass(outcome if outcome.key else replace(outcome, key=self.tasks[trial.config["task"]].key))

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Started again at once, a task may meet the node just lost until no try is left."""
        self.settled = time.monotonic() + _SETTLE * trial.num_failures

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        time.sleep(max(0.0, self.settled - time.monotonic()))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        task = self.tasks[trial.config["task"]]
        last = Path(trial.error_file).read_text().rpartition("Failure # ")[2].partition("\n")[2]
        reason = " ".join(last.split())[:300]
        self._pass(Outcome(task.key, {}, f"The worker died more often than the retries allow: {reason}"))

    def _pass(self, outcome: Outcome) -> None:
        try:
            self.watcher.outcome(outcome)
        except RoarError as error:
            self.raised = self.raised or error

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        if self.asked is None and time.monotonic() - self.last > _TELL_EVERY:
            self.asked = self.desk.take_shares.remote()
        elif self.asked is not None and ray.wait([self.asked], timeout=0)[0]:
            with suppress(RayError):  # progress is for the eye; a look that failed is not worth the work
                self.watcher.progress(ray.get(self.asked))
            self.asked, self.last = None, time.monotonic()
