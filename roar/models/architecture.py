"""What an architecture is: a name, and what builds its networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor, nn


class Builder(Protocol):
    """Makes networks with weights drawn from torch's global generator; travels to a worker as a pickle."""

    def __call__(self, num_classes: int, in_channels: int, image_size: int, dropout: float) -> nn.Module: ...


@dataclass(frozen=True)
class Architecture:
    """What builds networks of one kind.

    Attributes:
        name: in tables and keys.
        description: for ``roar list models``.
        smallest: image size that it takes, in pixels.
        dropout: where the regularizer ``dropout`` acts; empty where it acts nowhere.
        code: what a key contains of an architecture that is not roar's; ``None`` of a built-in one.
        weights: of a network that is trained already, by name; no part of what travels with a task.
        is_trained: whether it stands for one trained network, so that there are no fresh weights.
    """

    name: str
    build: Builder
    description: str = ""
    smallest: int = 1
    dropout: str = ""
    code: Mapping[str, Any] | None = None
    weights: Mapping[str, Tensor] | None = field(default=None, compare=False, repr=False)
    is_trained: bool = False
