"""A base attribution method: a function with its parameters filled in and its answer checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from roar.errors import EstimatorError
from roar.estimators.batch import Points, Task, reference_image
from roar.estimators.contract import check_alone, check_deterministic
from roar.experiment import EstimatorSettings

if TYPE_CHECKING:
    from torch import Tensor

    # (network, normalized images [B, C, H, W], targets [B], *, parameters) -> attributions [B, C or 1, H, W]
    Attribute = Callable[..., Tensor]

ROWS = "rows"  # the one parameter of a method that changes its speed and not its output
BASELINE = "baseline"  # the parameter that is the reference image itself


@dataclass(frozen=True, eq=False)
class Method:
    """A base attribution method.

    Attributes:
        attribute: the function.
        parameters: the settings of ``[estimators]`` that the function names; they determine its output.
        wants_rows: whether it names ``rows``, the images that one pass may hold.
        passes: forward and backward passes that one attribution of one image takes under given settings.
    """

    name: str
    attribute: Attribute
    parameters: tuple[str, ...] = ()
    wants_rows: bool = False
    passes: Callable[[EstimatorSettings], int] = lambda settings: 1

    @property
    def stochastic(self) -> bool:
        """Whether it draws random numbers."""
        return False

    @property
    def files(self) -> tuple[str, ...]:
        """The files of code that it executes."""
        return ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of it before it runs."""
        return ()

    def identity(self, settings: EstimatorSettings) -> dict[str, Any]:
        """What decides its attributions besides its name and its revision."""
        return {parameter: getattr(settings, parameter) for parameter in self.parameters}

    def given(self, task: Task) -> dict[str, Any]:
        """The values of the parameters that come from the settings."""
        found: dict[str, Any] = {name: getattr(task.settings, name) for name in self.parameters}
        if BASELINE in found:
            found[BASELINE] = reference_image(task)
        if self.wants_rows:
            found[ROWS] = task.rows
        return found

    def check(self, task: Task) -> None:
        """Refuse a method that breaks its contract on the first images; built-in ones have tests instead.

        Raises:
            EstimatorError: it does.
        """

    def checks(self, task: Task, count: int) -> dict[str, Callable[[], None]]:
        """The rules that it must keep on the first images, each with what raises EstimatorError where it does not."""
        first = task.points(slice(0, min(len(task.pictures), count)))

        def call(points: Points, salt: int) -> Tensor:
            return self.attributions(task, points)

        return {"the same answer to the same call": lambda: check_deterministic(self.name, call, first, self.name),
                "the same answer to an image alone and in company":
                lambda: check_alone(self.name, call, first, self.name)}

    def attributions(self, task: Task, points: Points) -> Tensor:
        """g of some points, float32 ``[B, C or 1, H, W]``.

        Raises:
            EstimatorError: the method broke its contract.
        """
        attributions = self.attribute(task.network, points.images, points.targets, **self.given(task))
        fault = fault_of(attributions, points.images)
        if fault:
            raise EstimatorError(f"'{self.name}' {fault} for {points.named}; a method must return attributions"
                                 " [B, C, H, W] or [B, 1, H, W] of the type and on the device of its images.")
        task.count_passes(len(points) * self.passes(task.settings))
        return attributions.detach()


def fault_of(attributions: Any, images: Tensor) -> str:
    """How an answer breaks the contract; empty if it does not."""
    import torch

    if not isinstance(attributions, torch.Tensor):
        return f"returned a {type(attributions).__name__}"
    if attributions.shape not in (images.shape, images[:, :1].shape):
        return f"returned the shape {tuple(attributions.shape)} and not {tuple(images.shape)}"
    if attributions.dtype != images.dtype or attributions.device != images.device:
        return (f"returned {attributions.dtype} on {attributions.device} "
                f"and not {images.dtype} on {images.device}")
    return ""
