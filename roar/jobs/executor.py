"""The seam between what is done and where: one function, two executors with the same signature."""

from __future__ import annotations

from roar import machine
from roar.errors import UsageError
from roar.experiment import ComputeSettings
from roar.jobs.ray.environment import prepare
from roar.jobs.stage import Stage, Watcher, check_fits
from roar.store.store import Store


def check_resources(compute: ComputeSettings) -> None:
    """Refuse, before any work, jobs that this machine can never run; a cluster elsewhere is asked when it is joined.

    Raises:
        UsageError: a job asks for more CPUs or GPUs than there are.
    """
    if compute.address is None:
        gpus = 0
        if compute.gpus_per_job:
            import torch

            gpus = torch.cuda.device_count()
        check_fits((compute.cpus_per_job, compute.gpus_per_job or 0), [(machine.cpus(), gpus)], "this machine")


def run(stage: Stage, compute: ComputeSettings, store: Store, watcher: Watcher) -> None:
    """Do every task of a stage; outcomes reach the watcher as they come, in any order.

    Raises:
        UsageError: Ray is asked for and is not installed, or a job asks for more than any node of the cluster has.
        FailureError: the cluster cannot be reached.
    """
    if not stage.tasks:
        return
    if compute.executor == "serial":
        from roar.jobs.serial import run_stage
    else:
        prepare(compute.address)
        try:
            from roar.jobs.ray.tune import run_stage
        except ModuleNotFoundError as error:
            if (error.name or "").split(".")[0] != "ray":
                raise
            raise UsageError("The ray executor needs Ray, which is not installed; "
                             "give --executor serial or install ray[tune].") from None
    run_stage(stage, compute, store, watcher)
