"""No hidden layer: the model of the toy task of Hooker et al. 2019, and the least that a retrainer can be."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from roar.models.registry import built_in


class Linear(nn.Module):
    """One linear layer from the pixels to the logits; several can lie side by side, as with ``SimpleCNN``.

    Args:
        num_classes: K.
        pixels: channel values of an image, D = C H W.
        dropout: chance that a channel value is 0, in training.
        networks: G, how many lie side by side.
    """

    def __init__(self, num_classes: int, pixels: int, dropout: float = 0.0, networks: int = 1) -> None:
        super().__init__()
        self.settings, self.networks = (num_classes, pixels, dropout), networks
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(pixels, networks * num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[N, K]`` of normalized images ``[N, C, H, W]``; of G networks ``[G, N, K]`` and
        ``[N, G * C, H, W]``."""
        x = self.dropout(images.flatten(1))
        if self.networks == 1:
            logits: Tensor = self.linear(x)
            return logits
        values = x.view(len(x), self.networks, -1).transpose(0, 1)
        weight = self.linear.weight.view(self.networks, -1, values.shape[2])
        return torch.baddbmm(self.linear.bias.view(self.networks, 1, -1), values, weight.transpose(1, 2))

    def side_by_side(self, networks: int) -> Linear:
        """A network that holds ``networks`` such ones, with fresh weights."""
        return Linear(*self.settings, networks)


@built_in("linear", "one linear layer on the pixels, none hidden; for square images", 1,
          "on the pixels, before the only layer")
def linear(num_classes: int, in_channels: int, image_size: int, dropout: float = 0.0) -> Linear:
    """For square images of ``image_size`` pixels a side, and for no others."""
    return Linear(num_classes, in_channels * image_size**2, dropout)
