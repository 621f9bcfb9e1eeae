"""One color for all removed pixels of an image."""

from __future__ import annotations

import torch
from torch import Tensor

from roar.datasets.fills.base import FillContext
from roar.datasets.fills.registry import built_in
from roar.seeds.tensors import random_bytes


@built_in("mean", "the training split's mean of the channel (Hooker et al. 2019)")
def mean(images: Tensor, mask: Tensor, context: FillContext) -> Tensor:
    return context.mean.to(images.device, torch.uint8).view(1, -1, 1, 1)


@built_in("black", "black, which is the value 0 in every channel")
@built_in("zero", "the value 0 in every channel")
def zero(images: Tensor, mask: Tensor, context: FillContext) -> Tensor:
    return images.new_zeros(1)


@built_in("random-color", "one uniformly random color per image", needs_color=True,
          aliases=("random-colour",))
def random_color(images: Tensor, mask: Tensor, context: FillContext) -> Tensor:
    n, C = images.shape[:2]
    indices = context.image_indices(images.device)
    return random_bytes(context.root_seed, "random-color", context.split, indices, C).view(n, C, 1, 1)
