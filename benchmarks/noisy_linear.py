"""Noisy linear imputation: all images of a batch at once against one sparse solve per image.

    python benchmarks/noisy_linear.py [--threads 2]

Both solve the same equations for the same images and masks: half of the pixels are replaced, scattered at random
or in clusters as by most estimators. The batched side adds noise and rounds as well; spsolve uses one core. Given
are images per second and their ratio, the ratio of the CPU time of all cores, which other load on the machine moves
less, and the largest difference in 8-bit units; at the end the memory that the process came to use.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from reference_fills import direct_solution

from roar.datasets.fills import FillContext, find_fill
from roar.datasets.noisy_linear import interpolate

TURNS = 5  # each side in turn, so that other load on the machine falls on both; the best turn counts
MEAN = torch.tensor([125, 123, 114], dtype=torch.uint8)


def smooth(count: int, channels: int, size: int, width: float, seed: int) -> np.ndarray:
    white = np.random.default_rng(seed).standard_normal((count, channels, size, size))
    values = gaussian_filter(white, (0, 0, width, width))
    return values / values.std()


def problem(count: int, size: int, clustered: bool) -> tuple[Tensor, Tensor]:
    """Images uint8 ``[n, 3, H, W]`` and masks bool ``[n, 1, H, W]`` of half of their pixels."""
    images = (128 + 50 * smooth(count, 3, size, size / 16, 0)).clip(0, 255).astype(np.uint8)
    scores = smooth(count, 1, size, size / 10 if clustered else 1e-3, 1).reshape(count, -1)
    half = np.zeros_like(scores, dtype=bool)
    np.put_along_axis(half, scores.argsort(axis=1)[:, :size * size // 2], True, axis=1)
    return torch.from_numpy(images), torch.from_numpy(half.reshape(count, 1, size, size))


def seconds(run: Callable[[], object]) -> tuple[float, float]:
    """Of the clock, and of all cores together."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - cpu


def compare(count: int, direct_count: int, size: int, clustered: bool) -> None:
    images, masks = problem(count, size, clustered)
    context = FillContext(MEAN, indices=torch.arange(count))
    fill = find_fill("noisy-linear").function
    pairs = [(image.numpy(), mask[0].numpy()) for image, mask in zip(images, masks, strict=True)][:direct_count]
    batched, direct = [], []
    for _ in range(TURNS):
        batched.append([t / count for t in seconds(lambda: fill(images, masks, context))])
        direct.append([t / direct_count for t in seconds(lambda: [direct_solution(*pair) for pair in pairs])])
    (wall, cpu), (direct_wall, direct_cpu) = (map(min, zip(*times, strict=True)) for times in (batched, direct))
    solved = interpolate(images[:direct_count], masks[:direct_count], MEAN).double().numpy()
    error = max(np.abs(one - direct_solution(*pair)).max() for one, pair in zip(solved, pairs, strict=True))
    print(f"{size:4d}x{size:<4d} {'clustered' if clustered else 'scattered':10s} {1 / wall:12,.0f} "
          f"{1 / direct_wall:12,.0f} {direct_wall / wall:8.1f} {direct_cpu / cpu:8.1f} {error:10.3f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    torch.set_num_threads(parser.parse_args().threads)
    print("images    masks       batched 1/s  spsolve 1/s    ratio   of CPU  max. diff.")
    for clustered in (False, True):
        compare(2_048, 200, 32, clustered)
    for clustered in (False, True):
        compare(24, 3, 224, clustered)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory {peak:.2f} GB")


if __name__ == "__main__":
    main()
