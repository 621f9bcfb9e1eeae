"""What scheduling costs: jobs that do nothing, ten thousand planned jobs, and two workers against one.

    python benchmarks/scheduling.py [--jobs 1000]

Prints a table and writes benchmarks/results/scheduling.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from roar import open_store, pipeline
from roar.experiment import ComputeSettings, load_experiment
from roar.jobs.executor import run
from roar.jobs.stage import Desk, Outcome, Product, Shared, Stage, Task
from roar.metrics.retraining.tasks import retrain
from roar.report.files import write_report
from roar.store.artifacts import key_of
from roar.store.compaction import compact
from roar.store.requests import Plan, write_plan
from roar.store.results import result_file
from roar.store.status import read_status

RESULTS = Path(__file__).parent / "results" / "scheduling.json"


class Idle:
    """A worker that does nothing."""

    def __call__(self, work: Any, desk: Desk) -> Product:
        return Product({})


def open_idle(shared: Shared, device: str) -> Idle:
    return Idle()


class Clock:
    """A watcher that notes when tasks end."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def outcome(self, outcome: Outcome) -> None:
        self.times.append(time.perf_counter())

    def progress(self, shares: Mapping[str, tuple[float, str]]) -> None:
        pass


def idle_jobs(count: int) -> dict[str, float]:
    """Milliseconds per job over the jobs after the first hundred, and in all, start of the workers included."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(f"{folder}/store")
        _ = store.description
        stage = Stage("idle", open_idle, {}, [Task(str(n), n) for n in range(count)])
        started = time.perf_counter()
        run(stage, ComputeSettings(), store, clock)
        in_all = time.perf_counter() - started
    steady = (clock.times[-1] - clock.times[100]) / (count - 101)
    return {"jobs": count, "ms_per_job": 1e3 * steady, "seconds_in_all": in_all}


def planned_jobs(count: int) -> dict[str, float]:
    """Seconds to list, to read and to report this many finished jobs, before and after they are compacted."""
    found: dict[str, float] = {"jobs": count}
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(f"{folder}/store")
        _ = store.description
        cells = {}
        for number in range(count):
            estimator, rest = f"estimator-{number % 20}", number // 20
            threshold, seed = float(10 + 20 * (rest % 5)), rest // 5
            identity = {"estimator": estimator, "threshold": threshold, "seed": seed}
            job = key_of(identity)
            row = {"source": "digits", "model": "simplecnn", "regularizer": "recipe", "retrainer": "simplecnn",
                   "estimator": estimator, "mode": "roar", "fill": "mean", "threshold": threshold, "seed": seed,
                   "status": "ok", "accuracy": 0.5 + (number % 97) / 200, "n_test": 360, "epochs": 8,
                   "train_seconds": 1.0, "device": "cpu", "job": job, "protocol": "p" * 12,
                   "ranking": f"{number % 20:012d}", "message": "", "class_accuracy": None}
            path, data = result_file(job, row, identity)
            target = Path(store.location) / path
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(data)  # without the flush to disk of the store's own writes: this is the set-up
            cells[job] = ["digits", "simplecnn", estimator, "roar", threshold, seed]
        write_plan(store, Plan("retrain", "digits", "f", ("0",), {}, {}, (), cells))
        for name, action in {"status": lambda: read_status(store), "frame": store.results,
                             "compact": lambda: compact(store.files), "status_compacted": lambda: read_status(store),
                             "frame_compacted": store.results, "report": lambda: write_report(store)}.items():
            started = time.perf_counter()
            action()
            found[f"{name}_seconds"] = time.perf_counter() - started
    return found


def two_workers() -> dict[str, float]:
    """Networks per second in the steady part of a retraining of digits, with one and with two workers."""
    found = {}
    for workers in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            experiment = load_experiment(None, {
                "store": f"{folder}/store",
                "estimators": {"names": ["random", "random-bernoulli", "sobel", "gradient"]},
                "degrade": {"thresholds": [10, 30, 50, 70, 90]}, "retrain": {"seeds": 12, "epochs": 24},
                "compute": {"workers": workers}})
            session = pipeline.prepare(experiment)
            pipeline.rank(session)
            retrain(session)
            ended = sorted(path.stat().st_mtime for path in Path(folder).glob("store/results/*.json"))
        found[f"networks_per_second_{workers}"] = (len(ended) - 24) / (ended[-1] - ended[23])
    return {**found, "ratio": found["networks_per_second_2"] / found["networks_per_second_1"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1_000)
    parser.add_argument("--planned", type=int, default=10_000)
    arguments = parser.parse_args()
    found = {"idle": idle_jobs(arguments.jobs), "planned": planned_jobs(arguments.planned), "workers": two_workers(),
             "machine": {"cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}}
    for part, numbers in found.items():
        print("\n".join(f"{part:8} {name:28} {value:>12,.3f}" if isinstance(value, float) else
                        f"{part:8} {name:28} {value:>12}" for name, value in numbers.items()))
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
