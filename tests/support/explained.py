"""What the tests of estimators explain: small networks, some pictures, and their scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from roar.datasets.statistics import Normalization
from roar.estimators import ESTIMATORS, Batch, Explained, Explainer
from roar.estimators.batch import Task
from roar.estimators.family import family_scores
from roar.experiment import EstimatorSettings

NORMALIZATION = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
GRAY = Normalization((0.5,), (0.25,))


def pictures(count: int, size: int = 8, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Smooth random pictures, uint8 ``[N, C, H, W]``."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand((count, channels, 4, 4), generator=generator)
    return (F.interpolate(coarse, (size, size), mode="bilinear") * 255).to(torch.uint8).numpy()


def small_network(channels: int = 3, classes: int = 4, seed: int = 0) -> nn.Module:
    """Two convolutions with batch norm in training mode, dropout and ReLUs in place and not."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = nn.Sequential(
            nn.Conv2d(channels, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True),
            nn.Conv2d(6, 8, 3, stride=2), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.LazyLinear(classes))
        network(torch.randn(16, channels, 8, 8))  # gives batch norm its statistics and the last layer its size
    return network


def scores(network: nn.Module, images: np.ndarray, targets: Sequence[int] | np.ndarray, names: Sequence[str],
           settings: EstimatorSettings | None = None, *, indices: np.ndarray | None = None, rows: int = 64,
           normalization: Normalization = NORMALIZATION, root_seed: int = 0, split: str = "test") -> dict[str, Tensor]:
    """The scores ``[N, P]`` that rank_images would rank, by estimator; the network is in evaluation mode."""
    where = np.arange(len(images)) if indices is None else indices
    task = Task(torch.as_tensor(images), where, Batch(images, np.asarray(targets), where, split, root_seed),
                settings or EstimatorSettings(), Explained(network.eval(), normalization), torch.as_tensor(targets),
                rows)
    chosen = [ESTIMATORS.find(name) for name in names]
    found: dict[str, list[Tensor]] = {name: [] for name in names}
    for family in dict.fromkeys(estimator.family for estimator in chosen):
        members = [e for e in chosen if isinstance(e, Explainer) and e.family == family]
        for first in range(0, len(images), rows):
            around = {member.name: member.member for member in members}
            for name, part in family_scores(task, members[0].method, around, slice(first, first + rows)):
                found[name].append(part)
    return {name: torch.cat(parts) for name, parts in found.items()}
