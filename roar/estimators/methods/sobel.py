"""Edges of the image: a control that sees the picture and not the network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from roar.estimators.ranks import rank_scores
from roar.estimators.registry import control
from roar.estimators.units import pixels_ranked
from roar.registry import Paper
from roar.seeds.streams import derive

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

SOBEL = Paper("An Isotropic 3x3 Image Gradient Operator", "Sobel, Feldman", 1968,
              "https://doi.org/10.13140/RG.2.1.1912.4965")


@control("sobel", SOBEL, "gradient magnitude of the Sobel filter on luminance", sees_image=True)
def sobel(images: Tensor, indices: np.ndarray, root_seed: int, split: str,
          per_channel: bool) -> tuple[np.ndarray, float]:
    """Ranks by edge strength; per channel, every channel of a pixel has the same score and lots decide."""
    scores = edge_strength(images)
    if per_channel:
        scores = scores[:, None].expand(images.shape)
    pixels = pixels_ranked(images.shape, per_channel)
    ranks, tied = rank_scores(scores.reshape(len(images), pixels), indices, derive(root_seed, "ties", split))
    return ranks, tied / max(1, len(images) * pixels)


def edge_strength(images: Tensor) -> Tensor:
    """sqrt(Gx^2 + Gy^2) of the luminance, float32 ``[N, H, W]``, the border pixels repeated outwards.

    Luminance is 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601) of 8-bit values; of images that have not three
    channels, the sum of the channels. Thousandths of it are integers, so equal edges are exactly equal.

    Args:
        images: uint8 ``[N, C, H, W]``.
    """
    import torch
    from torch.nn.functional import pad

    channels = images.shape[1]
    weights = torch.tensor([299, 587, 114] if channels == 3 else [1000] * channels, device=images.device)
    light = (images * weights.view(1, -1, 1, 1)).sum(dim=1, keepdim=True).double()  # exact
    light = pad(light, (1, 1, 1, 1), mode="replicate")[:, 0]
    across = light[:, :, 2:] - light[:, :, :-2]  # [N, H + 2, W]
    down = light[:, 2:] - light[:, :-2]  # [N, H, W + 2]
    gx = across[:, :-2] + 2 * across[:, 1:-1] + across[:, 2:]
    gy = down[:, :, :-2] + 2 * down[:, :, 1:-1] + down[:, :, 2:]
    return ((gx.square() + gy.square()).sqrt() / 1000).float()
