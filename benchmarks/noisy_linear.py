"""Noisy linear imputation: all images of a batch at once against one sparse solve per image.

    python benchmarks/noisy_linear.py [--threads 2]

All solve the same equations for the same images and masks: half of the pixels are replaced, scattered at random, in
grains of about a pixel as by gradients, or in clusters as by smooth maps. The batched side adds noise and rounds as
well; spsolve uses one core, and gets its matrix in two ways: as the code published with the paper fills it, neighbor
by neighbor in a list of lists, and assembled by array operations, the fastest way found. Given are images per second
and, against each, their ratio and that of the CPU time of all cores, which other load on the machine moves less; the
largest difference in 8-bit units; at the end the memory that the process came to use.
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
from scipy.sparse import csc_matrix, lil_matrix
from scipy.sparse.linalg import spsolve
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from reference_fills import direct_solution

from roar.datasets.fills.base import FillContext
from roar.datasets.fills.noisy_linear.imputation import interpolate
from roar.datasets.fills.registry import find_fill

TURNS = 5  # each side in turn, so that other load on the machine falls on both; the best turn counts
MEAN = torch.tensor([125, 123, 114], dtype=torch.uint8)


def smooth(count: int, channels: int, size: int, width: float, seed: int) -> np.ndarray:
    white = np.random.default_rng(seed).standard_normal((count, channels, size, size))
    values = gaussian_filter(white, (0, 0, width, width))
    return values / values.std()


def problem(count: int, size: int, kind: str) -> tuple[Tensor, Tensor]:
    """Images uint8 ``[n, 3, H, W]`` and masks bool ``[n, 1, H, W]`` of half of their pixels."""
    width = {"scattered": 1e-3, "grains": 0.8, "clustered": size / 10}[kind]
    images = (128 + 50 * smooth(count, 3, size, size / 16, 0)).clip(0, 255).astype(np.uint8)
    scores = smooth(count, 1, size, width, 1).reshape(count, -1)
    half = np.zeros_like(scores, dtype=bool)
    np.put_along_axis(half, scores.argsort(axis=1)[:, :size * size // 2], True, axis=1)
    return torch.from_numpy(images), torch.from_numpy(half.reshape(count, 1, size, size))


def seconds(run: Callable[[], object]) -> tuple[float, float]:
    """Of the clock, and of all cores together."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - cpu


def published_solution(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """As https://github.com/tleemann/road_evaluation does it, and pytorch-grad-cam after it; for each image by itself.

    image ``[C, H, W]``, mask bool ``[H, W]``; float64 ``[C, H, W]``.
    """
    C, H, W = image.shape
    holes = np.flatnonzero(mask)
    unknown = len(holes)
    number = np.zeros(H * W, dtype=int)
    number[holes] = np.arange(unknown)
    system, right, total = lil_matrix((unknown, unknown)), np.zeros((unknown, C)), np.zeros(unknown)
    solution = image.reshape(C, -1).astype(np.float64)
    for dy, dx in ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)):
        weight = 1 / 12 if dy and dx else 1 / 6
        y, x = holes // W + dy, holes % W + dx
        inside = np.flatnonzero((y >= 0) & (y < H) & (x >= 0) & (x < W))
        other = (y * W + x)[inside]
        hole = mask.ravel()[other]
        system[inside[hole], number[other[hole]]] = -weight
        right[inside[~hole]] += weight * solution[:, other[~hole]].T
        total[inside] += weight
    system[np.arange(unknown), np.arange(unknown)] = total
    solution[:, holes] = spsolve(csc_matrix(system), right).reshape(unknown, C).T
    return solution.reshape(C, H, W)


def compare(count: int, direct_count: int, size: int, kind: str) -> None:
    images, masks = problem(count, size, kind)
    context = FillContext(MEAN, indices=torch.arange(count))
    fill = find_fill("noisy-linear").function
    pairs = [(image.numpy(), mask[0].numpy()) for image, mask in zip(images, masks, strict=True)][:direct_count]
    sides = {"batched": (count, lambda: fill(images, masks, context)),
             "published": (direct_count, lambda: [published_solution(*pair) for pair in pairs]),
             "assembled": (direct_count, lambda: [direct_solution(*pair) for pair in pairs])}
    turns: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for _ in range(TURNS):
        for name, (number, run) in sides.items():
            wall, cpu = seconds(run)
            turns[name].append((wall / number, cpu / number))
    best = {name: tuple(map(min, zip(*times, strict=True))) for name, times in turns.items()}
    ours = interpolate(images[:direct_count], masks[:direct_count], MEAN).double().numpy()
    direct = [direct_solution(*pair) for pair in pairs]
    error = max(np.abs(one - other).max() for one, other in zip(ours, direct, strict=True))
    assert np.allclose(published_solution(*pairs[0]), direct[0])
    print(f"{size:4d}x{size:<4d} {kind:10s} {1 / best['batched'][0]:12,.0f}" +
          "".join(f"{1 / best[name][0]:11,.0f} {best[name][0] / best['batched'][0]:7.1f} "
                  f"{best[name][1] / best['batched'][1]:7.1f}" for name in ("published", "assembled")) +
          f" {error:8.3f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    torch.set_num_threads(parser.parse_args().threads)
    print("images    masks       batched 1/s  published   ratio  of CPU  assembled   ratio  of CPU    diff.")
    for count, direct_count, size in ((2_048, 200, 32), (24, 3, 224)):
        for kind in ("scattered", "grains", "clustered"):
            compare(count, direct_count, size, kind)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory {peak:.2f} GB")


if __name__ == "__main__":
    main()
