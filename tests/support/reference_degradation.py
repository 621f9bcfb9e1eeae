"""Degradation as its definition reads: one image, one pixel at a time, in whole numbers."""

from __future__ import annotations

from decimal import Decimal

import numpy as np


def slow_count(threshold: float, pixels: int) -> int:
    """``floor(t * P / 100 + 1/2)`` by counting up."""
    doubled = Decimal(str(threshold)) * pixels * 2 / 100 + 1  # 2 * (t * P / 100 + 1/2)
    k = 0
    while 2 * (k + 1) <= doubled:
        k += 1
    return k


def slow_degrade(images: np.ndarray, ranks: np.ndarray, threshold: float, mode: str, fill: np.ndarray
                 ) -> np.ndarray:
    """images uint8 ``[N, C, H, W]``, ranks ``[N, H*W]`` or ``[N, C*H*W]``, fill uint8 ``[C]``."""
    N, C, H, W = images.shape
    degraded = images.copy()
    pixels = ranks.shape[1]
    k = slow_count(threshold, pixels)
    for n in range(N):
        for p in range(pixels):
            rank = int(ranks[n, p])
            if (mode == "roar" and rank < k) or (mode == "kar" and rank >= pixels - k):
                row, column = p % (H * W) // W, p % W
                channels = range(C) if pixels == H * W else [p // (H * W)]
                for c in channels:
                    degraded[n, c, row, column] = fill[c]
    return degraded
