"""Which network: an architecture with its regularizer, for images of one shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from roar.models.architecture import Architecture
    from roar.models.regularizers import Regularizer


@dataclass(frozen=True)
class Network:
    """What is trained: an architecture with its regularizer, for images of one shape. It travels with a task."""

    architecture: Architecture
    regularization: Regularizer
    num_classes: int
    in_channels: int
    image_size: int

    @property
    def name(self) -> str:
        """Of the architecture."""
        return self.architecture.name

    @property
    def regularizer(self) -> str:
        """As ``roar.models.regularizers`` spells it."""
        return str(self.regularization)

    @property
    def image(self) -> tuple[int, int, int]:
        """``[C, H, W]``."""
        return self.in_channels, self.image_size, self.image_size

    @property
    def identity(self) -> dict[str, Any]:
        """What a key contains of it: names, and the code of what is not roar's."""
        found: dict[str, Any] = {"name": self.name, "regularizer": self.regularizer, "num_classes": self.num_classes,
                                 "in_channels": self.in_channels, "image_size": self.image_size}
        if self.architecture.code is not None:
            found["code"] = dict(self.architecture.code)
        if self.regularization.code:
            found["regularizer_code"] = self.regularization.code
        return found
