"""The executor without processes: every task here, one after the other. For debugging, and without Ray."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from roar.experiment import ComputeSettings
from roar.jobs.stage import Stage, Watcher, perform
from roar.store.store import Store


def run_stage(stage: Stage, compute: ComputeSettings, store: Store, watcher: Watcher) -> None:
    """Do every task of a stage in this process."""
    import torch

    @lru_cache(maxsize=8)  # images and the ranks at hand; tasks come in the order of their rankings
    def shared(name: str) -> Any:
        return stage.shared[name]()

    gpus = compute.gpus_per_job
    device = "cuda" if torch.cuda.is_available() and gpus != 0 else "cpu"
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, int(stage.cpus)))
    try:
        worker = stage.open_worker(shared, device)
        for task in stage.tasks:
            key = task.key

            def tell(share: float, text: str, key: str = key) -> None:
                watcher.progress({key: (share, text)})

            watcher.outcome(perform(worker, task, tell, store.files))
    finally:
        torch.set_num_threads(threads)
