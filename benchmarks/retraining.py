"""How fast networks are retrained, next to the straightforward script and next to the bare passes.

    python benchmarks/retraining.py               # all of it, about ten minutes on two cores
    python benchmarks/retraining.py --only digits

It prints tables and writes benchmarks/results/retraining.json. Both sides train the same networks with the same
recipe on the same degraded images; rankings are random, as their content does not change the time. roar runs one
worker of one thread per core, as its executors do; the script has all cores to itself.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import straightforward
import torch
import torch.nn.functional as F

from roar.datasets import Source, channel_mean, normalization, open_source
from roar.datasets.degradation import degrade
from roar.jobs.training.loop import make_optimizer, plan, train
from roar.jobs.training.packing import evaluate_packed, pack_size, train_packed
from roar.models import create
from roar.recipes import Recipe, load_recipe

REPOSITORY = Path(__file__).resolve().parent.parent
ESTIMATORS, THRESHOLDS, SEEDS = 20, (10.0, 30.0, 50.0, 70.0, 90.0), 5
CORES = os.cpu_count() or 1


@dataclass(frozen=True)
class Task:
    """One network: which source, which ranking, which threshold and which seed."""

    source: str
    limits: tuple[int | None, int | None]
    recipe: str
    ranking: int
    threshold: float
    seed: int


@dataclass
class Run:
    """One side's run: seconds of wall time, of CPU time over all processes, threads each, test accuracies."""

    wall: float
    cpu: float
    threads: int
    accuracies: dict[Task, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["digits", "cifar10", "overhead"])
    parser.add_argument("--sample", type=int, default=3, help="networks per threshold that the script trains")
    parser.add_argument("--data", type=Path, help="a folder with cifar10/ in the Parquet layout",
                        default=os.environ.get("ROAR_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    arguments = parser.parse_args()
    cifar = f"parquet:{arguments.data}/cifar10"
    parts: dict[str, Any] = {}
    if arguments.only in (None, "digits"):
        parts["digits"] = digits(arguments.sample)
    if arguments.only in (None, "cifar10"):
        parts["cifar10"] = cifar10(cifar)
    if arguments.only in (None, "overhead"):
        parts["overhead"] = overhead(Task(cifar, (5_000, 1_000), "cifar10", 0, 0.0, 0))
    keep(parts)


def digits(sample: int) -> dict[str, Any]:
    """The whole protocol on digits: 20 rankings x 5 thresholds x 5 seeds + 5 seeds on the images as they are."""
    def task(ranking: int, threshold: float, seed: int) -> Task:
        return Task("digits", (None, None), "digits", ranking, threshold, seed)

    tasks = [task(0, 0.0, seed) for seed in range(SEEDS)]
    tasks += [task(e, t, seed) for e in range(ESTIMATORS) for t in THRESHOLDS for seed in range(SEEDS)]
    compared = [task(0, t, seed) for t in (0.0, 50.0) for seed in range(sample)]
    script = straightforward_script(compared)
    ours = in_workers(tasks, size=pack_size(build(tasks[0]), (1, 8, 8)))
    return report("digits: the whole protocol", {
        "networks": len(tasks), "networks_of_the_script": len(compared), "script_threads": script.threads,
        "roar_seconds": ours.wall, "script_seconds_extrapolated": script.wall * len(tasks) / len(compared),
        "speedup": script.wall / len(compared) * len(tasks) / ours.wall,
        **cpu_seconds(ours, len(tasks), script, len(compared)),
        "roar_accuracy": means(compared, ours), "script_accuracy": means(compared, script),
    })


def cifar10(source: str) -> dict[str, Any]:
    """One network per core on 5,000 images of CIFAR-10, next to one of the script's."""
    tasks = [Task(source, (5_000, 2_000), "cifar10", 0, t, 0) for t in (0.0, 50.0)][:max(2, CORES)]
    script = straightforward_script(tasks)
    ours = in_workers(tasks, size=1)
    return report("CIFAR-10: 5,000 images, 20 epochs", {
        "networks": len(tasks), "script_threads": script.threads,
        "roar_seconds_per_network": ours.wall / len(tasks), "script_seconds_per_network": script.wall / len(tasks),
        "speedup": script.wall / ours.wall, **cpu_seconds(ours, len(tasks), script, len(tasks)),
        "roar_accuracy": means(tasks, ours), "script_accuracy": means(tasks, script),
    })


def overhead(task: Task, rounds: int = 5) -> dict[str, Any]:
    """The loop of one job over four epochs, next to bare passes and steps on random tensors; one thread each."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    source = opened(task.source, task.limits)
    images, labels = torch.from_numpy(source.train.images), torch.from_numpy(source.train.labels)
    own, recipe = normalization(source.train.images), read_recipe(task.recipe, epochs=4)
    size, _, total = plan(recipe, len(images))

    def loop() -> None:
        train(build(task), images, labels, recipe, own, seed=0)

    def bare() -> None:
        network = build(task).train().to(memory_format=torch.channels_last)
        optimizer = make_optimizer(network, recipe.model_copy(update={"learning_rate": 1e-3}))
        x = torch.randn(size, *images.shape[1:]).contiguous(memory_format=torch.channels_last)
        y = torch.randint(0, source.num_classes, (size,))
        for _ in range(total):
            optimizer.zero_grad()
            F.cross_entropy(network(x), y).backward()
            optimizer.step()

    seconds: dict[str, list[float]] = {"loop": [], "bare": []}
    for _ in range(rounds):  # in turns, so that other load on the machine meets both
        for name, function in (("loop", loop), ("bare", bare)):
            started = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - started)
    torch.set_num_threads(threads)
    best = {name: min(values) for name, values in seconds.items()}
    return report("one job's loop and the bare passes: CIFAR-10, batches of 128", {
        "loop_ms_per_step": 1e3 * best["loop"] / total, "bare_ms_per_step": 1e3 * best["bare"] / total,
        "ratio": best["loop"] / best["bare"]})


def cpu_seconds(ours: Run, our_networks: int, script: Run, script_networks: int) -> dict[str, float]:
    """Per network, all threads together: what other load on the machine moves less than wall time."""
    own, other = ours.cpu / our_networks, script.cpu / script_networks
    return {"roar_cpu_seconds_per_network": own, "script_cpu_seconds_per_network": other, "cpu_ratio": other / own}


def in_workers(tasks: list[Task], size: int) -> Run:
    """All tasks by roar, in packs over one worker per core; the start of the workers counts."""
    os.environ["OMP_NUM_THREADS"] = "1"  # for the workers, which take it over at their start
    packs = [tasks[start:start + size] for start in range(0, len(tasks), size)]
    started = time.perf_counter()
    with ProcessPoolExecutor(CORES, multiprocessing.get_context("spawn")) as pool:
        found = list(pool.map(retrained, packs))
    wall = time.perf_counter() - started
    accuracies = {task: a for pack, (_, several) in zip(packs, found, strict=True)
                  for task, a in zip(pack, several, strict=True)}
    return Run(wall, sum(cpu for cpu, _ in found), 1, accuracies)


def retrained(tasks: list[Task]) -> tuple[float, list[float]]:
    """CPU seconds and test accuracies of one pack, in a worker."""
    torch.set_num_threads(1)
    started = time.process_time()
    first = tasks[0]
    source, recipe = opened(first.source, first.limits), read_recipe(first.recipe)
    own, labels = normalization(source.train.images), torch.from_numpy(source.train.labels)
    networks = [build(task) for task in tasks]
    train_packed(networks, [degraded(task, "train") for task in tasks], labels, recipe, own,
                 [task.seed for task in tasks])
    found = evaluate_packed(networks, [degraded(task, "test") for task in tasks],
                            torch.from_numpy(source.test.labels), own)
    return time.process_time() - started, [evaluation.accuracy for evaluation in found]


def degraded(task: Task, split: str) -> torch.Tensor:
    source = opened(task.source, task.limits)
    ranks = torch.from_numpy(random_ranks(task.source, task.limits, task.ranking, split))
    fill = torch.from_numpy(channel_mean(source.train.images))
    return degrade(torch.from_numpy(getattr(source, split).images), ranks, task.threshold, "roar", fill)


def straightforward_script(tasks: list[Task]) -> Run:
    """The straightforward script, with all cores or with one thread, whichever is faster on the first task."""
    threads = torch.get_num_threads()
    trial = {}
    for number in {1, threads}:
        torch.set_num_threads(number)
        trial[number] = scripted(tasks[:1], epochs=2).wall
    torch.set_num_threads(min(trial, key=trial.__getitem__))
    run = scripted(tasks)
    torch.set_num_threads(threads)
    return run


def scripted(tasks: list[Task], **changes: Any) -> Run:
    """Train the tasks by the script, with changes to their recipe."""
    run = Run(0.0, 0.0, torch.get_num_threads(), {})
    for task in tasks:
        source, recipe = opened(task.source, task.limits), read_recipe(task.recipe, **changes)
        own, fill = normalization(source.train.images), channel_mean(source.train.images)
        sets = {}
        for split, padding in (("train", recipe.padding if "crop" in recipe.augmentation else 0), ("test", 0)):
            part = getattr(source, split)
            sets[split] = straightforward.DegradedImages(
                np.ascontiguousarray(part.images.transpose(0, 2, 3, 1)), part.labels,
                random_ranks(task.source, task.limits, task.ranking, split), task.threshold, fill,
                straightforward.make_transform(own.mean, own.std, padding))
        started, cpu = time.perf_counter(), time.process_time()
        network = build(task)
        torch.manual_seed(task.seed)
        straightforward.train(network, sets["train"], recipe.epochs, recipe.batch_size, recipe.learning_rate,
                              recipe.momentum, recipe.weight_decay)
        run.accuracies[task] = straightforward.accuracy(network, sets["test"])
        run.wall += time.perf_counter() - started
        run.cpu += time.process_time() - cpu
    return run


@lru_cache(maxsize=4)
def opened(source: str, limits: tuple[int | None, int | None]) -> Source:
    return open_source(source, limit_train=limits[0], limit_test=limits[1])


@lru_cache(maxsize=4)
def random_ranks(source: str, limits: tuple[int | None, int | None], ranking: int, split: str) -> np.ndarray:
    part, pixels = getattr(opened(source, limits), split), opened(source, limits).height * opened(source, limits).width
    draws = np.random.default_rng([ranking, len(part)]).random((len(part), pixels))
    return draws.argsort(1).argsort(1).astype(np.uint16)


def build(task: Task) -> torch.nn.Module:
    source = opened(task.source, task.limits)
    return create("simplecnn", source.num_classes, source.channels, source.height, seed=task.seed)


def read_recipe(name: str, **changes: Any) -> Recipe:
    return Recipe(**{**load_recipe(name), **changes})


def means(tasks: list[Task], run: Run) -> dict[str, float]:
    """Mean accuracy of the tasks, by threshold."""
    return {f"{threshold:g} %": statistics.mean(run.accuracies[t] for t in tasks if t.threshold == threshold)
            for threshold in sorted({t.threshold for t in tasks})}


def report(title: str, numbers: dict[str, Any]) -> dict[str, Any]:
    print(f"\n{title}")
    for name, value in numbers.items():
        shown = "  ".join(f"{k}: {v:.4f}" for k, v in value.items()) if isinstance(value, dict) else f"{value:,.3f}"
        print(f"  {name.replace('_', ' '):<32} {shown}", flush=True)
    return numbers


def keep(parts: dict[str, Any]) -> None:
    path = Path(__file__).parent / "results" / "retraining.json"
    path.parent.mkdir(exist_ok=True)
    before = json.loads(path.read_text()) if path.exists() else {}
    machine = {"cores": CORES, "processor": platform.machine(), "torch": torch.__version__,
               "capability": torch.backends.cpu.get_cpu_capability(), "python": platform.python_version()}
    path.write_text(json.dumps({**before, **parts, "machine": machine}, indent=1) + "\n")
    print(f"\n{path}", file=sys.stderr)


if __name__ == "__main__":
    main()
