"""A network meant to learn CIFAR-10 in seconds on a GPU, for protocols of hundreds of trainings.

The architecture of Jordan 2024, "94% on CIFAR-10 in 3.29 seconds on a single GPU" (arXiv:2404.00498), which
stands on Page 2018 and Balsam 2023: a first layer that whitens patches, three pairs of convolutions that begin
as the identity, pooling before the norm, norms without a scale whose shift learns fast, and small logits. Its
GELU is a ReLU here, so that guided backprop is defined. Its recipe is `cifar10-fast`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from roar.models.registry import built_in

WIDTHS = 64, 256, 256
PATCH = 2  # pixels, the side of the patches that are whitened
EPSILON = 5e-4  # added to the variances of the patches' principal components
SHIFT = 8.0  # a norm's shift is this times its parameter, so it learns 64 times as fast
LOGITS = 1 / 9  # times the last layer's output


class SpeedNet(nn.Module):
    """Args: num_classes: K. in_channels: C. dropout: chance that a feature is 0 before the last layer."""

    def __init__(self, num_classes: int, in_channels: int, dropout: float) -> None:
        super().__init__()
        whitened = 2 * in_channels * PATCH**2
        self.whiten = nn.Conv2d(in_channels, whitened, PATCH)
        self.whiten.weight.requires_grad_(False)
        self.relu = nn.ReLU()
        self.groups = nn.Sequential(*(Pair(a, b) for a, b in zip((whitened, *WIDTHS), WIDTHS, strict=False)))
        self.pool = nn.AdaptiveMaxPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(WIDTHS[-1], num_classes, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[N, K]`` of normalized images ``[N, C, H, W]``."""
        x = self.groups(self.relu(self.whiten(images)))
        logits: Tensor = self.linear(self.dropout(self.pool(x).flatten(1))) * LOGITS
        return logits

    @torch.no_grad()
    def prepare(self, images: Tensor) -> None:
        """Set the first layer from normalized training images ``[N, C, H, W]``: the principal components of
        their patches, each scaled to variance one, and their negatives."""
        components = whitening(images)
        self.whiten.weight.copy_(torch.cat([components, -components]))
        nn.init.zeros_(self.whiten.bias)  # type: ignore[arg-type]


class Pair(nn.Module):
    """Two convolutions 3x3; the plane is halved after the first."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = identity_convolution(in_channels, channels), identity_convolution(channels, channels)
        self.pool = nn.MaxPool2d(2)
        self.norm1, self.norm2 = ShiftNorm(channels), ShiftNorm(channels)
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu1(self.norm1(self.pool(self.conv1(x))))
        out: Tensor = self.relu2(self.norm2(self.conv2(x)))
        return out


class ShiftNorm(nn.BatchNorm2d):
    """Batch norm with a fixed scale of one and a shift of ``SHIFT`` times its parameter."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-5, momentum=0.4)
        self.weight.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, SHIFT * self.bias, self.training,
                            self.momentum or 0.0, self.eps)


def identity_convolution(in_channels: int, channels: int) -> nn.Conv2d:
    """A convolution 3x3 whose first outputs are its inputs, and the others random, at first."""
    convolution = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
    nn.init.dirac_(convolution.weight.data[:in_channels])
    return convolution


def whitening(images: Tensor) -> Tensor:
    """The principal components of the images' patches over their standard deviations.

    With P the patches as vectors and P^T P / n = V diag(v) V^T: the rows of (v + epsilon)^(-1/2) V^T.

    Args:
        images: float32 ``[N, C, H, W]``.

    Returns:
        ``[C * PATCH**2, C, PATCH, PATCH]``, on the images' device.
    """
    channels = images.shape[1]
    size = channels * PATCH**2
    moment = torch.zeros(size, size, dtype=torch.float64)
    for part in images.split(250):  # type: ignore[no-untyped-call]
        patches = part.unfold(2, PATCH, 1).unfold(3, PATCH, 1).permute(0, 2, 3, 1, 4, 5).reshape(-1, size)
        moment += (patches.T @ patches / len(patches) * len(part) / len(images)).double().cpu()
    variances, vectors = torch.linalg.eigh(moment)
    components: Tensor = (vectors / (variances + EPSILON).sqrt()).T.flip(0)  # the largest first
    return components.reshape(size, channels, PATCH, PATCH).to(images)


@built_in("speednet", "learns CIFAR-10 in seconds on a GPU (after Jordan 2024)", 9)
def speednet(num_classes: int, in_channels: int, image_size: int, dropout: float = 0.0) -> SpeedNet:
    return SpeedNet(num_classes, in_channels, dropout)
