"""The residual networks for 32x32 images of He et al. 2016 (arXiv:1512.03385, section 4.2).

Shortcuts are the paper's option A: where a stage halves the plane and doubles the channels, the identity is
taken at every second pixel and the new channels are zero, so that shortcuts have no parameters.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from roar.models.registry import built_in


class BasicBlock(nn.Module):
    """Two convolutions 3x3 and a shortcut; ``stride`` is 1 or 2."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu2 = nn.ReLU()
        self.stride = stride
        self.new_channels = channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        residual = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        out: Tensor = self.relu2(residual + self.shortcut(x))
        return out

    def shortcut(self, x: Tensor) -> Tensor:
        if self.stride > 1:
            x = x[:, :, ::self.stride, ::self.stride]
        half = self.new_channels // 2  # zeros on both sides of the channels, as in the published checkpoints
        return F.pad(x, (0, 0, 0, 0, half, self.new_channels - half)) if self.new_channels else x


class CifarResNet(nn.Module):
    """A network of 6n + 2 layers in three stages of n blocks with 16, 32 and 64 channels."""

    def __init__(self, blocks_per_stage: int, num_classes: int, in_channels: int, dropout: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        self.layer1 = _stage(blocks_per_stage, 16, 16, stride=1)
        self.layer2 = _stage(blocks_per_stage, 16, 32, stride=2)
        self.layer3 = _stage(blocks_per_stage, 32, 64, stride=2)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(64, num_classes)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[N, K]`` of normalized images ``[N, C, H, W]``."""
        x = self.relu(self.bn1(self.conv1(images)))
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: Tensor = self.linear(self.dropout(x.mean((2, 3))))
        return logits


def _stage(blocks: int, in_channels: int, channels: int, stride: int) -> nn.Sequential:
    first = BasicBlock(in_channels, channels, stride)
    return nn.Sequential(first, *(BasicBlock(channels, channels, 1) for _ in range(blocks - 1)))


@built_in("resnet20", "20 layers for 32x32 images (He et al. 2016)", 8)
def resnet20(num_classes: int, in_channels: int, image_size: int, dropout: float) -> CifarResNet:
    return CifarResNet(3, num_classes, in_channels, dropout)


@built_in("resnet56", "56 layers for 32x32 images (He et al. 2016)", 8)
def resnet56(num_classes: int, in_channels: int, image_size: int, dropout: float) -> CifarResNet:
    return CifarResNet(9, num_classes, in_channels, dropout)
