"""What one training is: the network, the cell and the seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from roar.experiment import Recipe


@dataclass(frozen=True)
class Network:
    """What is trained: an architecture with its regulariser, for images of one shape."""

    name: str
    regularizer: str  # as `roar.models.regularizers` spells it
    num_classes: int
    in_channels: int
    image_size: int


@dataclass(frozen=True)
class Job:
    """One training on degraded images: a cell and a seed."""

    key: str
    network: Network
    recipe: Recipe
    ranking: str | None  # the folder of its ranking; None where nothing is replaced
    row: dict[str, Any]  # the columns that say what it is
    identity: dict[str, Any]
