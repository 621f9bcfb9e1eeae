"""Networks by name, and their weights.

>>> from roar.models import create
>>> network = create("simplecnn", num_classes=10, in_channels=1, image_size=8, seed=0)
"""

from __future__ import annotations

from roar.models.head import head, head_only
from roar.models.registry import MODELS, ModelKind, create, model, model_kinds
from roar.models.weights import load_weights, read_weights, weights_bytes, weights_hash

__all__ = [
    "MODELS", "ModelKind", "create", "head", "head_only", "load_weights", "model", "model_kinds", "read_weights",
    "weights_bytes", "weights_hash",
]
