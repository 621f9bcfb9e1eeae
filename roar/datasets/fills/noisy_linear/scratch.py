"""What the solvers of noisy linear imputation share: memory that is written over and over, and an order to add in."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor


class Scratch:
    """Memory by name, zeros at first, to be written over: fresh memory costs more than the arithmetic does.

    Whatever is needed for one step only shares the names "a" and "b".
    """

    def __init__(self) -> None:
        self.memory: dict[tuple[str, torch.dtype], Tensor] = {}
        self.bordered: dict[tuple[tuple[int, ...], torch.dtype], Tensor] = {}

    def __call__(self, name: str, shape: Sequence[int], like: Tensor) -> Tensor:
        """An array with whatever was left in it."""
        key, count = (name, like.dtype), prod(shape)
        if key not in self.memory or len(self.memory[key]) < count:
            self.memory[key] = like.new_zeros(count)
        return self.memory[key][:count].view(*shape)

    def within_zeros(self, x: Tensor) -> Tensor:
        """A copy of ``[H, W, L]`` within a border of one zero, ``[H + 2, W + 2, L]``."""
        H, W, L = x.shape
        key = ((H, W, L), x.dtype)
        if key not in self.bordered:
            self.bordered[key] = x.new_zeros(H + 2, W + 2, L)
        self.bordered[key][1:-1, 1:-1] = x
        return self.bordered[key]


def tree_sum(x: Tensor) -> Tensor:
    """Sums over the first axis, written over x, in an order that depends on nothing but its length."""
    count = len(x)
    while count > 1:
        half = count // 2
        x[:half] += x[half:2 * half]
        if count % 2:
            x[0] += x[count - 1]
        count = half
    return x[0].clone()
