"""Which network: an architecture with its regularizer, for images of one shape."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Network:
    """What is trained: an architecture with its regulariser, for images of one shape."""

    name: str
    regularizer: str  # as `roar.models.regularizers` spells it
    num_classes: int
    in_channels: int
    image_size: int

    @property
    def image(self) -> tuple[int, int, int]:
        """``[C, H, W]``."""
        return self.in_channels, self.image_size, self.image_size
