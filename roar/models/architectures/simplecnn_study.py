"""The small network of a study of dropout and L2 for explainable CIFAR-10 classifiers: large first kernels, no
padding, no normalization, two hidden linear layers; 1,156,310 parameters for ten classes and 32x32 color images.

    32 -conv 8-> 25 -conv 5-> 21 -conv 3-> 19 -max pool 4, stride 2-> 8, hence 8 x 8 x 32 = 2,048 -> 524 -> 128 -> K

Every activation is a module of its own, used once, as guided backprop and DeepLIFT need it.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from roar.models.registry import built_in

HIDDEN = 524, 128
DROPOUT = "after the first and the second linear layer"


class SimpleCNNStudy(nn.Module):
    """Three convolutions, one max pooling, three linear layers; dropout after the first two linear layers.

    Args:
        num_classes: K.
        in_channels: C.
        image_size: pixels of a side; at least 17.
        activation: makes one activation module.
        dropout: chance that an output of a hidden linear layer is 0 in training.
    """

    def __init__(self, num_classes: int, in_channels: int, image_size: int, activation: Callable[[], nn.Module],
                 dropout: float) -> None:
        super().__init__()
        side = (image_size - 7 - 4 - 2 - 4) // 2 + 1  # three kernels without padding, then the pooling
        self.conv1, self.activation1 = nn.Conv2d(in_channels, 16, 8), activation()
        self.conv2, self.activation2 = nn.Conv2d(16, 16, 5), activation()
        self.conv3, self.activation3 = nn.Conv2d(16, 32, 3), activation()
        self.pool = nn.MaxPool2d(4, stride=2)
        self.linear1, self.activation4 = nn.Linear(32 * side * side, HIDDEN[0]), activation()
        self.dropout1 = nn.Dropout(dropout)
        self.linear2, self.activation5 = nn.Linear(*HIDDEN), activation()
        self.dropout2 = nn.Dropout(dropout)
        self.linear3 = nn.Linear(HIDDEN[1], num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[N, K]`` of normalized images ``[N, C, H, W]``."""
        x = self.activation1(self.conv1(images))
        x = self.activation2(self.conv2(x))
        x = self.pool(self.activation3(self.conv3(x))).flatten(1)
        x = self.dropout1(self.activation4(self.linear1(x)))
        x = self.dropout2(self.activation5(self.linear2(x)))
        logits: Tensor = self.linear3(x)
        return logits


@built_in("simplecnn-gelu", "large kernels, no norm, GELU; see its file", 17, DROPOUT)
def simplecnn_gelu(num_classes: int, in_channels: int, image_size: int, dropout: float) -> SimpleCNNStudy:
    return SimpleCNNStudy(num_classes, in_channels, image_size, nn.GELU, dropout)


@built_in("simplecnn-relu", "the same with ReLU, for guided backprop", 17, DROPOUT)
def simplecnn_relu(num_classes: int, in_channels: int, image_size: int, dropout: float) -> SimpleCNNStudy:
    return SimpleCNNStudy(num_classes, in_channels, image_size, nn.ReLU, dropout)
