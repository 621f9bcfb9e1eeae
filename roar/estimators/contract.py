"""What an estimator owes: the same answer to the same call, and to an image the same in any company."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from roar.errors import EstimatorError
from roar.estimators.batch import Points

if TYPE_CHECKING:
    from torch import Tensor

    # attributions of some points, under a seed that depends on the number
    Call = Callable[[Points, int], Tensor]

CLOSE = 1e-3  # of the largest value of an image's map: what float32's rounding may move
FEW = 0.01  # share of the values that may move further, where a ReLU tips over


def check_deterministic(name: str, call: Call, points: Points, remedy: str) -> None:
    """Refuse a method that draws random numbers.

    Args:
        remedy: how the method is asked for that is called image by image.

    Raises:
        EstimatorError: two seeds, or the same call twice, give two answers.
    """
    first = call(points, 0)
    if not same(first, call(points, 1)):
        if same(first, call(points, 0)):
            raise EstimatorError(f"'{name}' draws random numbers: under two seeds it gave two answers for "
                                 f"{points.named}; rank it image by image, each under its own seed, as {remedy}.")
        raise EstimatorError(_twice(name, points))


def check_seeded(name: str, call: Call, point: Points) -> None:
    """Refuse a method whose answer for an image changes although it is seeded.

    Raises:
        EstimatorError: it does.
    """
    if not same(call(point, 0), call(point, 0)):
        raise EstimatorError(_twice(name, point))


def check_alone(name: str, call: Call, points: Points, remedy: str) -> None:
    """Refuse a method that mixes images.

    Raises:
        EstimatorError: an image has another answer alone than in company.
    """
    if len(points) > 1 and not close(call(points, 0)[:1], call(points[:1], 0)):
        raise EstimatorError(f"'{name}' gave image {points.indices[0]} another answer alone than together with others; "
                             f"explain every image by itself, or rank image by image, as {remedy}.")


def _twice(name: str, points: Points) -> str:
    return (f"'{name}' gave two answers to the same call for {points.named}; keep no state from call to call, and draw "
            "from the generators of torch, NumPy or Python, which are seeded for it.")


def same(one: Tensor, other: Tensor) -> bool:
    """Equality; on a GPU, where sums have no fixed order, up to rounding."""
    import torch

    return torch.equal(one, other) if one.device.type == "cpu" else close(one, other)


def close(one: Tensor, other: Tensor) -> bool:
    """Whether maps ``[B, ...]`` are equal up to float32's rounding."""
    scale = one.abs().flatten(1).amax(dim=1).view(-1, *[1] * (one.ndim - 1))
    moved = ((one - other).abs() > CLOSE * scale).flatten(1).float().mean(dim=1)
    return bool((moved <= FEW).all())
