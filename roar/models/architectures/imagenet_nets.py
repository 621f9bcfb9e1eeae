"""torchvision's networks for photographs, with a stem that fits small images too.

torchvision is imported where one is made: its import takes longer than many a task.
"""

from __future__ import annotations

from torch import nn

from roar.models.layers import without_inplace
from roar.models.registry import built_in

SMALL = 64  # pixels; under it the stem keeps the plane's size


@built_in("resnet18", "18 layers; 3x3 stem under 64 pixels", 8)
def resnet18(num_classes: int, in_channels: int, image_size: int, dropout: float) -> nn.Module:
    """He et al. 2016, 18 layers."""
    from torchvision.models.resnet import BasicBlock, ResNet

    return fitted(ResNet(BasicBlock, [2, 2, 2, 2], num_classes=num_classes), in_channels, image_size, dropout)


@built_in("resnet50", "50 layers, the paper's; 3x3 stem under 64 pixels", 8)
def resnet50(num_classes: int, in_channels: int, image_size: int, dropout: float) -> nn.Module:
    """He et al. 2016, 50 layers; the paper's network."""
    from torchvision.models.resnet import Bottleneck, ResNet

    return fitted(ResNet(Bottleneck, [3, 4, 6, 3], num_classes=num_classes), in_channels, image_size, dropout)


def fitted(network: nn.Module, in_channels: int, image_size: int, dropout: float) -> nn.Module:
    """The stem for images of a size, and dropout before the last layer.

    Under 64 pixels: a first convolution 3x3 of stride 1 in place of 7x7 of stride 2, and no max pooling,
    so that the last stage still has an eighth of the plane's size and not a 32nd."""
    if image_size < SMALL:
        network.conv1 = nn.Conv2d(in_channels, 64, 3, padding=1, bias=False)
        network.maxpool = nn.Identity()
    else:
        network.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
    nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
    network.avgpool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Dropout(dropout))  # keeps the weights' names
    return without_inplace(network)


@built_in("vgg19", "19 layers with batch norm (Simonyan and Zisserman 2014)", 32,
          "in the classifier: after each hidden linear layer; under 64 pixels before the only one")
def vgg19(num_classes: int, in_channels: int, image_size: int, dropout: float) -> nn.Module:
    """Simonyan and Zisserman 2014, 19 layers, with batch norm.

    Under 64 pixels the five poolings leave a plane of one pixel, so one linear layer over the 512 channels
    takes the place of two hidden layers of 4,096 units over a 7x7 plane; the convolutions are the same.
    """
    from torchvision.models.vgg import VGG, cfgs, make_layers

    features = make_layers(cfgs["E"], batch_norm=True)
    if in_channels != 3:
        features[0] = nn.Conv2d(in_channels, 64, 3, padding=1)
    network: nn.Module = VGG(features, num_classes=num_classes, dropout=dropout)  # draws all the initial weights
    if image_size < SMALL:
        network.avgpool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Dropout(dropout))
        network.classifier = nn.Sequential(nn.Linear(512, num_classes))
    return without_inplace(network)
