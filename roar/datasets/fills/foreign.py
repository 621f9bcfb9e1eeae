"""Fills that are not roar's: functions ``(images, removed, context) -> images``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from roar.datasets.fills.base import Fill, FillContext
from roar.errors import RoarError, UsageError
from roar.plugins import Foreign, described
from roar.plugins.calling import code_of, display_name, taken
from roar.seeds.streams import derive


def adapt(given: Foreign, parameters: Mapping[str, Any], name: str) -> Fill:
    """The fill that a function stands for.

    Raises:
        UsageError: it cannot be called as a fill is.
    """
    value = given.load()
    if not callable(value) or isinstance(value, type):
        raise UsageError(f"A fill is a function (images, removed, context) -> images, and '{given.spelling}' is of "
                         f"type {type(value).__name__}; give a function.")
    taken(value, given.spelling, 3, (), parameters)
    label = display_name(value, (name, given.name), parameters)
    return Fill(label, f"from {given.spelling}", ForeignFill(label, given, dict(parameters)),
                code=code_of(given.identity, parameters))


@dataclass(frozen=True)
class ForeignFill:
    """Calls a foreign function on copies of the images, without gradients.

    Where the function draws from torch's generator, it is called image by image, each under a seed of its own, so that
    the draws depend on (root seed, fill, split, image) and on nothing else.
    """

    name: str
    foreign: Foreign
    parameters: Mapping[str, Any]

    def __call__(self, images: Tensor, removed: Tensor, context: FillContext) -> Tensor:
        """Images uint8 ``[N, C, H, W]`` whose removed pixels have other values.

        Raises:
            UsageError: the function raises, or returns something else.
        """
        cuda = [images.device] if images.is_cuda else []
        with torch.no_grad(), torch.random.fork_rng(devices=cuda):
            if len(images) > 1 and not self._draws(images[:1], removed[:1], context.part(slice(0, 1))):
                before = _states(images.device)
                together = self._answer(images, removed, context)
                if _same(before, _states(images.device)):
                    return together
            rows = [slice(row, row + 1) for row in range(len(images))]
            return torch.cat([self._seeded(images[row], removed[row], context.part(row)) for row in rows])

    def _draws(self, image: Tensor, removed: Tensor, context: FillContext) -> bool:
        """Whether the function draws from torch's generator for one image."""
        before = _states(image.device)
        self._answer(image, removed, context)
        return not _same(before, _states(image.device))

    def _seeded(self, image: Tensor, removed: Tensor, context: FillContext) -> Tensor:
        index = int(context.image_indices(image.device)[0])
        seed = derive(context.root_seed, "fill", self.name, context.split, index)
        torch.default_generator.manual_seed(seed)
        if image.is_cuda:
            with torch.cuda.device(image.device):
                torch.cuda.manual_seed(seed)
        return self._answer(image, removed, context)

    def _answer(self, images: Tensor, removed: Tensor, context: FillContext) -> Tensor:
        try:
            answer = self.foreign.load()(images.clone(), removed.clone(), context, **self.parameters)
        except (RoarError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # code that is not roar's may raise anything
            raise UsageError(f"The fill '{self.name}' fails: {described(error, self.foreign.file)}; correct its "
                             "function.") from error
        if not isinstance(answer, Tensor) or answer.shape != images.shape or answer.dtype != torch.uint8:
            given = f"{str(answer.dtype).removeprefix('torch.')} {list(answer.shape)}" if isinstance(
                answer, Tensor) else type(answer).__name__
            raise UsageError(f"A fill returns images as it gets them, uint8 {list(images.shape)}, and '{self.name}' "
                             f"returned {given}; round, clamp to 0 .. 255 and convert with .to(torch.uint8).")
        return answer.to(images.device)


def _states(device: torch.device) -> list[Tensor]:
    """Of torch's generators."""
    cuda = [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []
    return [torch.get_rng_state(), *cuda]


def _same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
