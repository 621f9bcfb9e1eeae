"""A small convolutional network for images of 8 to 64 pixels: fast on one CPU thread."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from roar.models.registry import built_in


class SimpleCNN(nn.Module):
    """Three convolutions 3x3 with batch norm and ReLU, the first two with max pooling; the mean over what is
    left of the plane; a linear layer.

    Pooling comes before the norm, as in the fast CIFAR-10 networks: the same network costs a third less.
    Several networks can lie side by side in one, each in a group of channels of its own: every tensor of the
    whole is then the concatenation of theirs along the first dimension.

    Args:
        num_classes: K.
        in_channels: C of the images.
        width: channels of the first convolution; the second has twice, the third four times as many.
        dropout: chance that a feature is 0 before the linear layer, in training.
        networks: G, how many lie side by side.
    """

    def __init__(self, num_classes: int, in_channels: int, width: int, dropout: float = 0.0,
                 networks: int = 1) -> None:
        super().__init__()
        self.settings, self.networks = (num_classes, in_channels, width, dropout), networks
        channels = [networks * c for c in (in_channels, width, 2 * width, 4 * width)]
        self.conv1 = nn.Conv2d(channels[0], channels[1], 3, padding=1, bias=False, groups=networks)
        self.pool1 = nn.MaxPool2d(2)
        self.bn1 = nn.BatchNorm2d(channels[1])
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels[1], channels[2], 3, padding=1, bias=False, groups=networks)
        self.pool2 = nn.MaxPool2d(2)
        self.bn2 = nn.BatchNorm2d(channels[2])
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(channels[2], channels[3], 3, padding=1, bias=False, groups=networks)
        self.bn3 = nn.BatchNorm2d(channels[3])
        self.relu3 = nn.ReLU()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(4 * width, networks * num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[N, K]`` of normalized images ``[N, C, H, W]``; of G networks ``[G, N, K]`` and
        ``[N, G * C, H, W]``."""
        x = self.relu1(self.bn1(self.pool1(self.conv1(images))))
        x = self.relu2(self.bn2(self.pool2(self.conv2(x))))
        x = self.relu3(self.bn3(self.conv3(x)))
        x = F.avg_pool2d(x, x.shape[2:])  # its gradient stays channels-last, which a mean's does not
        x = self.dropout(x.flatten(1))
        if self.networks == 1:
            logits: Tensor = self.linear(x)
            return logits
        features = x.view(len(x), self.networks, -1).transpose(0, 1)
        weight = self.linear.weight.view(self.networks, -1, features.shape[2])
        return torch.baddbmm(self.linear.bias.view(self.networks, 1, -1), features, weight.transpose(1, 2))

    def side_by_side(self, networks: int) -> SimpleCNN:
        """A network that holds ``networks`` such ones, with fresh weights."""
        return SimpleCNN(*self.settings, networks)


@built_in("simplecnn", "three convolutions, for 8 to 64 pixels; fast on a CPU", 4)
def simplecnn(num_classes: int, in_channels: int, image_size: int, dropout: float = 0.0) -> SimpleCNN:
    """Width 8 under 16 pixels, where a plane has few positions to look at, and 16 from there on."""
    return SimpleCNN(num_classes, in_channels, 8 if image_size < 16 else 16, dropout)
