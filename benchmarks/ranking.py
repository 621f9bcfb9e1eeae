"""How fast and how small the ranking is, next to captum's and next to the bare passes.

    python benchmarks/ranking.py                 # 256 images of CIFAR-10, ResNet-20, about ten minutes on two cores
    python benchmarks/ranking.py --images 64     # a quarter of it

It prints a table and writes benchmarks/results/ranking.json. What is compared runs in turns, a batch each, so that
other load on the machine falls on all sides alike; ratios of CPU time are given too, which other load moves less.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import captum
import numpy as np
import torch
from captum.attr import GuidedBackprop, IntegratedGradients, NoiseTunnel, Saliency
from torch import Tensor, nn

from roar import models
from roar.datasets import open_source
from roar.datasets.statistics import Normalization
from roar.estimators import ESTIMATORS, Batch, Explained, Passes, rank_images
from roar.estimators.noise import noise_generators, noisy, spread
from roar.estimators.ranks import rank_scores
from roar.experiment import EstimatorSettings
from roar.store.shards import shard_bytes

REPOSITORY = Path(__file__).resolve().parent.parent
NORMALIZATION = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
SETTINGS = EstimatorSettings()
J, STEPS = SETTINGS.samples, SETTINGS.ig_steps
EIGHTEEN = [estimator for estimator in ESTIMATORS.resolve(["paper"]) if estimator.explains]
PASSES = (1 + J) * (1 + 1 + STEPS)  # for one image: of the gradient, guided backprop and integrated gradients


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=64, help="images in a pass, the same for all")
    parser.add_argument("--memory-images", type=int, default=8, help="captum's default expansion holds 375 of each")
    parser.add_argument("--data", type=Path,
                        default=os.environ.get("ROAR_TEST_DATA", REPOSITORY.parent / "shared" / "data"),
                        help="a folder with cifar10/ (Parquet) and weights/cifar10-resnet20.safetensors")
    parser.add_argument("--only", choices=["speed", "memory", "sort"])
    parser.add_argument("--peak-of", choices=["roar", "captum"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak_of:
        print(json.dumps(peak_memory(arguments)))
        return
    results: dict[str, Any] = {"images": arguments.images, "batch_size": arguments.batch_size, "samples": J,
                               "ig_steps": STEPS, "threads": torch.get_num_threads(), "torch": torch.__version__,
                               "captum": captum.__version__, "machine": platform.machine()}
    if arguments.only in (None, "speed"):
        results["speed"] = speed(arguments)
    if arguments.only in (None, "memory"):
        results["memory"] = memory(arguments)
    if arguments.only in (None, "sort"):
        results["sort"] = sort()
    target = REPOSITORY / "benchmarks" / "results" / "ranking.json"
    target.parent.mkdir(exist_ok=True)
    known = json.loads(target.read_text()) if arguments.only and target.exists() else {}
    target.write_text(json.dumps({**known, **results}, indent=2) + "\n")


def speed(arguments: argparse.Namespace) -> dict[str, Any]:
    """Seconds for all 18 estimators: roar's ranking with its shards written; captum's scores, one estimator after
    another and with passes shared by hand; the bare passes."""
    network, images, labels = network_and_images(arguments.data, arguments.images)
    sides: dict[str, Callable[[np.ndarray, np.ndarray], object]] = {
        "roar": partial(rank_and_write, network, arguments.batch_size),
        "captum": partial(captum_scores, network, arguments.batch_size),
        "shared": partial(shared_scores, network, arguments.batch_size),
        "bare": partial(bare_passes, network, arguments.batch_size),
    }
    for side in sides.values():
        side(images[:2], labels[:2])  # warm up
    wall, cpu = dict.fromkeys(sides, 0.0), dict.fromkeys(sides, 0.0)
    for first in range(0, len(images), arguments.batch_size):
        block = slice(first, first + arguments.batch_size)
        for name, side in sides.items():
            started, worked = time.perf_counter(), time.process_time()
            side(images[block], labels[block])
            wall[name] += time.perf_counter() - started
            cpu[name] += time.process_time() - worked
        done = min(first + arguments.batch_size, len(images))
        print(f"{done:5d} of {len(images)} images: " +
              ", ".join(f"{name} {seconds:.1f} s" for name, seconds in wall.items()), flush=True)
    row("captum / roar, 18 estimators", wall["captum"] / wall["roar"], "at least 3.5", cpu["captum"] / cpu["roar"])
    row("captum with shared passes / roar", wall["shared"] / wall["roar"], "none", cpu["shared"] / cpu["roar"])
    row("roar / bare passes", wall["roar"] / wall["bare"], "at most 1.10", cpu["roar"] / cpu["bare"])
    return {"seconds": wall, "cpu_seconds": cpu,
            "captum_over_roar": wall["captum"] / wall["roar"], "shared_over_roar": wall["shared"] / wall["roar"],
            "shared_over_roar_of_cpu_time": cpu["shared"] / cpu["roar"], "roar_over_bare": wall["roar"] / wall["bare"],
            "captum_over_roar_of_cpu_time": cpu["captum"] / cpu["roar"],
            "roar_over_bare_of_cpu_time": cpu["roar"] / cpu["bare"]}


def rank_and_write(network: nn.Module, rows: int, images: np.ndarray, labels: np.ndarray) -> int:
    """All 18 from pictures to the bytes of a shard each."""
    indices = np.arange(len(images))
    ranked = rank_images(EIGHTEEN, Batch(images, labels, indices, "test"), Explained(network, NORMALIZATION), SETTINGS,
                         Passes(batch_size=rows))
    return sum(len(shard_bytes(indices, labels, answer.targets, answer.ranks, {})) for answer in ranked.values())


def bare_passes(network: nn.Module, rows: int, images: np.ndarray, labels: np.ndarray) -> None:
    """Nothing but as many forward and backward passes as the 18 need, of a network that is frozen already."""
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    batch, targets = NORMALIZATION.apply(torch.from_numpy(images)), torch.from_numpy(labels)
    batch = batch.to(memory_format=torch.channels_last)
    for _ in range(PASSES):
        for part, target in zip(batch.split(rows), targets.split(rows), strict=True):
            one_pass(network, part, target)
    for parameter in network.parameters():
        parameter.requires_grad_(True)


def one_pass(network: nn.Module, batch: Tensor, targets: Tensor) -> Tensor:
    points = batch.detach().requires_grad_()
    return torch.autograd.grad(network(points).gather(1, targets[:, None]).sum(), points)[0]


def captum_scores(network: nn.Module, rows: int, images: np.ndarray, labels: np.ndarray) -> None:
    """All 18, one estimator after another, to scores; no ranks are made and nothing is written."""
    for batch in NORMALIZATION.apply(torch.from_numpy(images)).split(rows):
        targets = network(batch).argmax(dim=1)
        saliency, guided, integrated = Saliency(network), GuidedBackprop(network), IntegratedGradients(network)
        family(saliency, batch, targets, abs=False)
        family(guided, batch, targets)
        family(integrated, batch, targets, baselines=black(batch), n_steps=STEPS, method="riemann_middle",
               internal_batch_size=rows)


def family(explainer: Any, batch: Tensor, targets: Tensor, nt_samples_batch_size: int | None = 1,
           **given: Any) -> list[Tensor]:
    """The six estimators around one of captum's methods."""
    noise = float(SETTINGS.noise * (batch.max() - batch.min()))
    tunnel = NoiseTunnel(explainer)

    def base() -> Tensor:
        return explainer.attribute(batch.clone().requires_grad_(), target=targets, **given).detach()

    def noisy(kind: str) -> Tensor:
        return tunnel.attribute(batch.clone().requires_grad_(), nt_type=kind, nt_samples=J, stdevs=noise,
                                nt_samples_batch_size=nt_samples_batch_size, target=targets, **given).detach()

    found = [base(), base().square(), noisy("smoothgrad"), noisy("smoothgrad").square(), noisy("smoothgrad_sq"),
             noisy("vargrad")]
    return [attribution.sum(dim=1) for attribution in found]


def shared_scores(network: nn.Module, rows: int, images: np.ndarray, labels: np.ndarray) -> None:
    """All 18 to scores with captum's bases, as a careful user would: one noise, one pass of it for all of a family."""
    for first in range(0, len(images), rows):
        pictures, indices = images[first:first + rows], np.arange(first, min(first + rows, len(images)))
        batch = NORMALIZATION.apply(torch.from_numpy(pictures))
        targets = network(batch).argmax(dim=1)
        given = {"baselines": black(batch), "n_steps": STEPS, "method": "riemann_middle", "internal_batch_size": rows}
        deviations = spread(batch, SETTINGS.noise)
        for explainer, settings in ((Saliency(network), {"abs": False}), (GuidedBackprop(network), {}),
                                    (IntegratedGradients(network), given)):
            name = "gradient" if isinstance(explainer, Saliency) else type(explainer).__name__
            generators = noise_generators(0, name, "test", indices, batch.device)
            base, total, squares = attributed(explainer, batch, targets, settings), 0.0, 0.0
            for _ in range(J):
                drawn = attributed(explainer, noisy(batch, deviations, generators, 1)[0], targets, settings)
                total, squares = total + drawn, squares + drawn.square()
            mean = total / J
            found = [base, base.square(), mean, mean.square(), squares / J, squares / J - mean.square()]
            _ = [attribution.sum(dim=1) for attribution in found]


def attributed(explainer: Any, points: Tensor, targets: Tensor, settings: dict[str, Any]) -> Tensor:
    found: Tensor = explainer.attribute(points.clone().requires_grad_(), target=targets, **settings).detach()
    return found


def black(batch: Tensor) -> Tensor:
    return NORMALIZATION.apply(torch.zeros_like(batch, dtype=torch.uint8))


def memory(arguments: argparse.Namespace) -> dict[str, Any]:
    """Peak resident memory of the integrated-gradients family, each side in a process of its own."""
    peaks = {}
    for side in ("roar", "captum"):
        command = [sys.executable, __file__, "--peak-of", side, "--memory-images", str(arguments.memory_images),
                   "--data", str(arguments.data)]
        answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        peaks[side] = json.loads(answer.splitlines()[-1])
    shares = {kind: peaks["roar"][kind] / peaks["captum"][kind] for kind in ("peak_mb", "grown_mb")}
    print("peak memory: " + ", ".join(f"{side} {peak['peak_mb']:.0f} MB, of it {peak['grown_mb']:.0f} MB for scores"
                                      for side, peak in peaks.items()))
    row("roar / captum, peak memory of the IG family", shares["peak_mb"], "under 0.33")
    return {"images": arguments.memory_images, **peaks, "roar_over_captum": shares["peak_mb"]}


def peak_memory(arguments: argparse.Namespace) -> dict[str, float]:
    """MB resident at most, and how much of it came after the network and the images were there."""
    network, images, labels = network_and_images(arguments.data, arguments.memory_images)
    bare_passes(network, 1, images[:1], labels[:1])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if arguments.peak_of == "roar":
        rank_images([estimator for estimator in EIGHTEEN if estimator.family == "integrated-gradients"],
                    Batch(images, labels, np.arange(len(images)), "test"), Explained(network, NORMALIZATION), SETTINGS)
    else:
        batch = NORMALIZATION.apply(torch.from_numpy(images))
        family(IntegratedGradients(network), batch, torch.from_numpy(labels), nt_samples_batch_size=None,
               baselines=black(batch), n_steps=STEPS, method="riemann_middle")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"peak_mb": peak / 1024, "grown_mb": (peak - before) / 1024}


def sort() -> dict[str, Any]:
    """Scores to ranks: images per second, and the share of the ranking stage's time."""
    results = {}
    for images, size, name in ((10_000, 32, "resnet20"), (500, 224, "resnet18")):
        scores = torch.randn(images, size * size, generator=torch.Generator().manual_seed(0))
        indices = np.arange(images)
        seconds = min(timed(lambda s=scores, i=indices: rank_scores(s, i, 0)) for _ in range(3))
        network = models.create(name, image_size=size, seed=0).eval().requires_grad_(False)
        batch = torch.randn(64 if size == 32 else 4, 3, size, size).to(memory_format=torch.channels_last)
        targets = torch.zeros(len(batch), dtype=torch.int64)
        passing = min(timed(lambda n=network, b=batch, t=targets: one_pass(n, b, t)) for _ in range(3))
        ranking, passing = len(EIGHTEEN) * seconds / images, PASSES * passing / len(batch)
        share = ranking / (ranking + passing)
        print(f"scores to ranks, {images} x {size * size}: {images / seconds:.0f} images/s")
        row(f"share of ranking in a stage of {name} at {size}", share, "at most 0.05")
        results[f"{images}x{size * size}"] = {"images_per_second": images / seconds, "share_of_stage": share}
    return results


def timed(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def network_and_images(data: Path, count: int) -> tuple[nn.Module, np.ndarray, np.ndarray]:
    network = models.create("resnet20")
    models.load_weights(network, Path(data) / "weights" / "cifar10-resnet20.safetensors")
    test = open_source(f"parquet:{Path(data) / 'cifar10'}", limit_train=1, limit_test=count).test
    return network.eval(), test.images, test.labels


def row(what: str, value: float, target: str, of_cpu_time: float | None = None) -> None:
    print(f"{what:50s} {value:8.3f}   target {target}" +
          (f"   (of CPU time {of_cpu_time:.3f})" if of_cpu_time is not None else ""), flush=True)


if __name__ == "__main__":
    warnings.filterwarnings("ignore", message="Setting backward hooks on ReLU activations")
    main()
