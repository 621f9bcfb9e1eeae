"""What one training is: the network, the cell and the seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from roar.datasets import Normalization
from roar.jobs.network import Network
from roar.recipes import Recipe

if TYPE_CHECKING:
    from roar.datasets.fills.base import Fill

HEAD_ONLY = "head-only"


@dataclass(frozen=True)
class Start:
    """Where a training begins that is not from scratch: at the explained network, seen as that one sees images."""

    model: str  # the folder of its weights
    variant: str  # fine-tune or head-only
    normalization: Normalization


@dataclass(frozen=True)
class Job:
    """One training on degraded images: a cell and a seed."""

    key: str
    network: Network
    recipe: Recipe
    ranking: str | None  # the folder of its ranking; None where nothing is replaced
    row: dict[str, Any]  # the columns that say what it is
    identity: dict[str, Any]
    start: Start | None = None  # None: from scratch
    fill: Fill | None = None  # None where nothing is replaced
