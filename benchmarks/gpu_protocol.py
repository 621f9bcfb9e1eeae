"""The whole protocol on one GPU, without Ray, in slices that stop by themselves and go on where they stopped.

    python benchmarks/gpu_protocol.py --source parquet:data/cifar10 --out results --minutes 9

One network is trained and explained by all estimators of the paper; then five networks for each estimator and
threshold, and five on the images as they are: 505. A slice ends before its time is up, and the next one with the
same --out and --work goes on. --out holds what must be kept (small: one line per network, the explained weights);
--work holds rankings, which are made again where they are missing.

Besides PyTorch it needs pydantic, pyarrow, Pillow and safetensors. Where there is no package index, bring pydantic:

    python -m pip download pydantic --only-binary :all: --python-version 3.12 --dest wheels     # where there is one
    python -m pip install --no-index --find-links wheels pydantic                               # on the GPU's machine
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from roar.datasets import Normalization, Source, channel_mean, normalization, open_source
from roar.datasets.degradation import degrade
from roar.estimators import ESTIMATORS, Batch, Explained, Passes, rank_images
from roar.experiment import EstimatorSettings
from roar.jobs.training.loop import evaluate, train
from roar.models import create, load_weights, weights_bytes
from roar.recipes import Recipe, load_recipe
from roar.registry import split as split_names
from roar.seeds.streams import derive

ROOT_SEED = 0
BLOCK = 10_000  # images ranked at a time, between looks at the clock
REFERENCE = "reference"  # the networks on images as they are


class TimeIsUp(Exception):  # noqa: N818
    """The slice is over."""


@dataclass(frozen=True)
class Cell:
    """What one network is trained on, and its seed."""

    estimator: str
    threshold: float
    seed: int


@dataclass(eq=False)
class Protocol:
    """The data on the device, the settings, the clock and what is done."""

    source: Source
    model: str
    recipe: Recipe
    estimators: tuple[str, ...]
    thresholds: tuple[float, ...]
    seeds: int
    out: Path
    work: Path
    deadline: float
    device: str
    images: dict[str, Tensor] = field(default_factory=dict)
    labels: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for split in ("train", "test"):
            part = getattr(self.source, split)
            self.images[split] = torch.from_numpy(part.images).to(self.device)
            self.labels[split] = torch.from_numpy(part.labels).to(self.device)
        self.normalization: Normalization = normalization(self.source.train.images)
        self.mean = channel_mean(self.source.train.images)
        self.done = read_results(self.out)
        self.slowest = 0.0  # seconds that a network took in this slice

    def cells(self) -> list[Cell]:
        reference = [Cell(REFERENCE, 0.0, seed) for seed in range(self.seeds)]
        return reference + [Cell(name, threshold, seed) for name in self.estimators
                            for threshold in self.thresholds for seed in range(self.seeds)]

    def build(self, seed: int) -> nn.Module:
        source = self.source
        return create(self.model, source.num_classes, source.channels, source.height, seed=seed).to(self.device)

    def need(self, seconds: float) -> None:
        if time.monotonic() + seconds > self.deadline:
            raise TimeIsUp


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", required=True, help="such as parquet:FOLDER")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, help="default: OUT/work")
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--model", default="speednet")
    parser.add_argument("--recipe", default="cifar10-fast")
    parser.add_argument("--estimators", default="paper")
    parser.add_argument("--thresholds", default="10,30,50,70,90")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--limit-train", type=int)
    parser.add_argument("--limit-test", type=int)
    arguments = parser.parse_args()
    started = time.monotonic()
    arguments.out.mkdir(parents=True, exist_ok=True)
    work = arguments.work or arguments.out / "work"
    work.mkdir(parents=True, exist_ok=True)
    source = open_source(arguments.source, limit_train=arguments.limit_train, limit_test=arguments.limit_test)
    protocol = Protocol(
        source, arguments.model, Recipe(**load_recipe(arguments.recipe)),
        tuple(estimator.name for estimator in ESTIMATORS.resolve(split_names(arguments.estimators))),
        tuple(map(float, arguments.thresholds.split(","))), arguments.seeds, arguments.out, work,
        started + 60 * arguments.minutes, "cuda" if torch.cuda.is_available() else "cpu")
    same_settings(protocol)
    say(f"{arguments.source}: {len(source.train)} + {len(source.test)} images, on {device_name(protocol.device)}, "
        f"ready after {time.monotonic() - started:.1f} s")
    try:
        run(protocol)
    except TimeIsUp:
        say("the time of this slice is up")
    summarize(protocol)


def same_settings(protocol: Protocol) -> None:
    """Results of other images, networks or recipes are never mixed with these."""
    settings = {"source": protocol.source.fingerprint, "model": protocol.model, "root_seed": ROOT_SEED,
                "recipe": protocol.recipe.model_dump(mode="json")}
    path = protocol.out / "settings.json"
    if path.exists() and json.loads(path.read_text()) != settings:
        sys.exit(f"{protocol.out} holds results of other images or settings; give another folder with --out.")
    write(path, json.dumps(settings, indent=1).encode())


def run(protocol: Protocol) -> None:
    """References first, then family after family: members of a family share their ranking's passes."""
    missing = [cell for cell in protocol.cells() if cell not in protocol.done]
    for cell in missing:
        if cell.estimator == REFERENCE:
            retrain(protocol, cell, protocol.images)
    names = dict.fromkeys(cell.estimator for cell in missing if cell.estimator != REFERENCE)
    families: dict[str, list[str]] = {}
    for name in names:
        families.setdefault(ESTIMATORS.find(name).family, []).append(name)
    for family in families.values():
        ranks = {split: dict(rank(protocol, family, split)) for split in ("train", "test")}
        for name in family:
            for threshold in protocol.thresholds:
                cells = [c for c in missing if (c.estimator, c.threshold) == (name, threshold)]
                if cells:
                    degraded = {split: degraded_images(protocol, split, ranks[split][name], threshold)
                                for split in ("train", "test")}
                for cell in cells:
                    retrain(protocol, cell, degraded)


def retrain(protocol: Protocol, cell: Cell, images: dict[str, Tensor]) -> None:
    """Train and measure one network, and keep its line."""
    protocol.need(1.5 * protocol.slowest)
    started = time.monotonic()
    network = protocol.build(derive(ROOT_SEED, "initial weights", cell.seed))
    log = train(network, images["train"], protocol.labels["train"], protocol.recipe, protocol.normalization,
                derive(ROOT_SEED, "training", cell.seed))
    found = evaluate(network, images["test"], protocol.labels["test"], protocol.normalization)
    seconds = time.monotonic() - started
    protocol.slowest = max(protocol.slowest, seconds)
    protocol.done[cell] = found.accuracy
    line = {"estimator": cell.estimator, "threshold": cell.threshold, "seed": cell.seed,
            "accuracy": found.accuracy, "n_test": found.n, "loss": log.loss[-1], "seconds": round(seconds, 3)}
    with (protocol.out / "results.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
        file.flush()
        os.fsync(file.fileno())


def explained(protocol: Protocol) -> nn.Module:
    """The network that is explained; trained once, in the first slice that ranks."""
    network = protocol.build(derive(ROOT_SEED, "explained initial weights", 0))
    path = protocol.out / "explained.safetensors"
    if path.exists():
        load_weights(network, path)
        return network
    train(network, protocol.images["train"], protocol.labels["train"], protocol.recipe, protocol.normalization,
          derive(ROOT_SEED, "explained training", 0))
    write(path, weights_bytes(network.state_dict()))
    found = evaluate(network, protocol.images["test"], protocol.labels["test"], protocol.normalization)
    say(f"the explained network is right in {100 * found.accuracy:.2f} %")
    return network


def rank(protocol: Protocol, names: list[str], split: str) -> Iterator[tuple[str, np.ndarray]]:
    """The ranks ``[N, P]`` of estimators of one family, block by block, from the work folder where they are there."""
    part, settings = getattr(protocol.source, split), EstimatorSettings()
    blocks: dict[str, list[np.ndarray]] = {name: [] for name in names}
    network, longest = None, 0.0
    for start in range(0, len(part), BLOCK):
        here = slice(start, start + BLOCK)
        paths = {name: protocol.work / f"{name}-{split}-{start:06d}.npy" for name in names}
        if not all(path.exists() for path in paths.values()):
            protocol.need(1.2 * longest)
            started = time.monotonic()
            network = network or explained(protocol)
            found = rank_images(
                ESTIMATORS.resolve(names),
                Batch(protocol.images[split][here], part.labels[here], part.indices[here], split, ROOT_SEED),
                Explained(network, protocol.normalization, protocol.source.num_classes, protocol.mean), settings,
                Passes(protocol.device))
            for name, path in paths.items():
                temporary = path.with_suffix(".part.npy")
                np.save(temporary, found[name].ranks)
                temporary.replace(path)
            longest = max(longest, time.monotonic() - started)
            say(f"ranked {split} from {start} by {', '.join(names)} in {time.monotonic() - started:.1f} s")
        for name, path in paths.items():
            blocks[name].append(np.load(path))
    for name, ranks in blocks.items():
        yield name, np.concatenate(ranks)


def degraded_images(protocol: Protocol, split: str, ranks: np.ndarray, threshold: float) -> Tensor:
    fill = torch.from_numpy(protocol.mean).to(protocol.device)
    return degrade(protocol.images[split], torch.from_numpy(ranks).to(protocol.device), threshold, "roar", fill)


def summarize(protocol: Protocol) -> None:
    """What is done, and the mean accuracy of every finished cell."""
    cells = protocol.cells()
    accuracies: dict[tuple[str, float], list[float]] = {}
    for cell in cells:
        if cell in protocol.done:
            accuracies.setdefault((cell.estimator, cell.threshold), []).append(100 * protocol.done[cell])
    for name in (REFERENCE, *protocol.estimators):
        row = [f"{threshold:g} %: {statistics.mean(values):.2f} ({len(values)})"
               for (estimator, threshold), values in accuracies.items() if estimator == name]
        if row:
            say(f"{name:<32} " + "   ".join(row))
    left = len([cell for cell in cells if cell not in protocol.done])
    say(f"{len(cells) - left} of {len(cells)} networks are done"
        + (f"; the slowest of this slice took {protocol.slowest:.2f} s" if protocol.slowest else ""))


def read_results(out: Path) -> dict[Cell, float]:
    """Accuracies by cell; a line that a kill cut short is left out, and its network is trained again."""
    path = out / "results.jsonl"
    found: dict[Cell, float] = {}
    if not path.exists():
        return found
    text = path.read_text()
    if not text.endswith("\n"):
        text = text[:text.rfind("\n") + 1]
        write(path, text.encode())
    for line in text.splitlines():
        row: dict[str, Any] = json.loads(line)
        found[Cell(row["estimator"], row["threshold"], row["seed"])] = row["accuracy"]
    return found


def write(path: Path, data: bytes) -> None:
    temporary = path.with_suffix(".part")
    temporary.write_bytes(data)
    temporary.replace(path)


def device_name(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else "a CPU"


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
