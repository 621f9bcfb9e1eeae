"""Fills as their definitions read, one image at a time."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import spsolve

MASK_64 = 2**64 - 1


def direct_solution(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Noisy linear imputation without the noise: one sparse system, solved directly.

    image ``[C, H, W]``, mask bool ``[H, W]`` with at least one pixel kept; float64 ``[C, H, W]``.
    """
    C, H, W = image.shape
    numbers = np.full((H, W), -1)
    rows, columns = np.nonzero(mask)
    numbers[mask] = np.arange(len(rows))
    unknown = len(rows)
    i_parts, j_parts, values = [], [], []
    right, total = np.zeros((unknown, C)), np.zeros(unknown)
    for dy, dx in ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)):
        weight = 1 / 12 if dy and dx else 1 / 6
        y, x = rows + dy, columns + dx
        inside = np.flatnonzero((y >= 0) & (y < H) & (x >= 0) & (x < W))
        total[inside] += weight
        other = numbers[y[inside], x[inside]]
        known = inside[other < 0]
        right[known] += weight * image[:, y[known], x[known]].T
        i_parts.append(inside[other >= 0])
        j_parts.append(other[other >= 0])
        values.append(np.full((other >= 0).sum(), -weight))
    places = (np.concatenate([*i_parts, np.arange(unknown)]), np.concatenate([*j_parts, np.arange(unknown)]))
    system = sparse.csc_matrix((np.concatenate([*values, total]), places), shape=(unknown, unknown))
    solution = image.astype(np.float64)
    solution[:, mask] = spsolve(system, right).reshape(unknown, C).T
    return solution


def slow_local_mean(image: np.ndarray, mask: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """image uint8 ``[C, H, W]``, mask bool ``[H, W]``; the fill at every pixel of the mask."""
    C, H, W = image.shape
    filled = image.copy()
    for y in range(H):
        for x in range(W):
            if not mask[y, x]:
                continue
            filled[:, y, x] = mean
            radius = 1
            while radius < 2 * max(H, W):
                window = np.s_[max(0, y - radius):y + radius + 1, max(0, x - radius):x + radius + 1]
                kept = ~mask[window]
                if kept.any():
                    filled[:, y, x] = [int(image[c][window][kept].mean() + 0.5) for c in range(C)]
                    break
                radius *= 2
    return filled


def split_mix(state: int) -> int:
    """The output function of SplitMix64 in whole numbers without a sign."""
    state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & MASK_64
    state = (state ^ state >> 27) * 0x94D049BB133111EB & MASK_64
    return state ^ state >> 31
