"""Memory that is written over and over."""

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
