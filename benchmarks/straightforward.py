"""ROAR's retraining as one would write it at first: plain PyTorch and torchvision, one network after another.

Every image is degraded, augmented and normalized when the data loader asks for it. Network, initial weights,
epochs, batch size, optimizer and schedule are those of roar's recipe; torch uses all the cores. It has nothing
of roar in it: `benchmarks/retraining.py` gives it the data.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms


class DegradedImages(Dataset[tuple[Tensor, int]]):
    """Images whose most important pixels are replaced by the mean.

    Args:
        images: uint8 ``[N, H, W, C]``.
        labels: ``[N]``.
        ranks: ``[N, H * W]``, 0 is the most important pixel.
        threshold: percent of the pixels that are replaced.
        fill: uint8 ``[C]``.
        transform: from an array ``[H, W, C]`` to a normalized tensor.
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray, ranks: np.ndarray, threshold: float,
                 fill: np.ndarray, transform: transforms.Compose) -> None:
        self.images, self.labels, self.ranks, self.fill, self.transform = images, labels, ranks, fill, transform
        self.replaced = int(threshold / 100 * ranks.shape[1] + 0.5)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        image = self.images[i].copy()
        image[(self.ranks[i] < self.replaced).reshape(image.shape[:2])] = self.fill
        return self.transform(image), int(self.labels[i])


def make_transform(mean: tuple[float, ...], std: tuple[float, ...], augment: int = 0) -> transforms.Compose:
    """Args: augment: pixels of padding before a random crop, with a random flip; 0 for neither."""
    steps: list[object] = [transforms.ToTensor(), transforms.Normalize(mean, std)]
    if augment:
        size = 32
        steps = [transforms.ToPILImage(), transforms.RandomCrop(size, padding=augment, padding_mode="reflect"),
                 transforms.RandomHorizontalFlip(), *steps]
    return transforms.Compose(steps)


def train(network: nn.Module, images: DegradedImages, epochs: int, batch_size: int, learning_rate: float,
          momentum: float, weight_decay: float) -> None:
    """SGD with Nesterov's momentum; the rate rises over a quarter of the steps and falls over the rest."""
    loader = DataLoader(images, batch_size=batch_size, shuffle=True, drop_last=True)
    optimizer = torch.optim.SGD(network.parameters(), lr=learning_rate, momentum=momentum, nesterov=True,
                                weight_decay=weight_decay)
    steps = epochs * len(loader)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / (steps / 4), (steps - step) / (steps - steps / 4)))
    network.train()
    for _ in range(epochs):
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(network(x), y).backward()
            optimizer.step()
            schedule.step()


def accuracy(network: nn.Module, images: DegradedImages) -> float:
    network.eval()
    right = 0
    with torch.no_grad():
        for x, y in DataLoader(images, batch_size=500):
            right += int((network(x).argmax(1) == y).sum())
    return right / len(images)
