"""The noise of SmoothGrad: one generator per image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from roar.seeds.streams import derive

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor


def noise_generators(root_seed: int, family: str, split: str, indices: np.ndarray,
                     device: torch.device) -> list[torch.Generator]:
    """A generator per image, on the images' device.

    It depends on nothing but the root seed, the family, the split and the image's index: not on the batch size,
    on shards or workers or the order of the images.
    """
    import torch

    return [torch.Generator(device).manual_seed(derive(root_seed, f"{family}/noise", split, index))
            for index in indices.tolist()]


def spread(images: Tensor, noise: float) -> Tensor:
    """s = noise (max x - min x), the standard deviation of each image's noise, ``[B, 1, 1, 1]``."""
    low, high = images.flatten(1).aminmax(dim=1)
    return (noise * (high - low)).view(-1, 1, 1, 1)


def noisy(images: Tensor, deviations: Tensor, generators: Sequence[torch.Generator], samples: int) -> Tensor:
    """The next ``samples`` copies x + e_j of every image, e_j ~ N(0, s^2), ``[samples, B, C, H, W]``."""
    import torch

    drawn = images.new_empty((samples, *images.shape), dtype=torch.float32)
    for image, generator in enumerate(generators):
        for sample in range(samples):
            drawn[sample, image].normal_(generator=generator)
    return images + deviations * drawn
