"""Architectures by name, each with what builds its networks.

A network maps normalized images ``[N, C, H, W]`` (float32) to logits ``[N, K]``. Its ReLUs are ``nn.ReLU``
modules, so that methods that change the gradient of a ReLU find every one of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import nn

from roar.errors import ModelError, UnknownNameError
from roar.models.architecture import Architecture, Builder
from roar.models.foreign import adapt
from roar.plugins.calling import named
from roar.registry import Registry

B = TypeVar("B", bound=Builder)
T = TypeVar("T")


@dataclass(frozen=True)
class ModelKind:
    """A network that can be asked for by name.

    Args:
        name: as in ``[[model]] name``.
        description: for ``roar list models``.
        parameters: trained numbers, for ten classes and 32x32 color images.
        dropout: where the regularizer ``dropout`` acts.
    """

    name: str
    description: str
    parameters: int
    dropout: str


@dataclass(eq=False)
class Models(Registry[Architecture]):
    """The registry of models.

    Attributes:
        libraries: by the prefix of its names, e.g. ``timm/``, from a name without it to the architecture.
    """

    libraries: dict[str, Callable[[str], Architecture]] = field(default_factory=dict)

    def find(self, text: str) -> Architecture:
        """What one name stands for; a name of a library as this library spells it."""
        self.load()
        for prefix, make in self.libraries.items():
            if text.strip().startswith(prefix):
                return make(text.strip().removeprefix(prefix))
        try:
            return super().find(text)
        except UnknownNameError as error:
            raise UnknownNameError(self.kind, error.name, [*error.known, *(f"{p}NAME" for p in self.libraries)],
                                   self.hint) from None


MODELS = Models("model", "roar.models.architectures", adapt)


def built_in(name: str, description: str, smallest: int, dropout: str = "before the last linear layer"
             ) -> Callable[[B], B]:
    """A decorator that registers what builds an architecture of roar's; see :class:`Architecture`."""
    def register(build: B) -> B:
        MODELS.add(name, Architecture(name, build, description, smallest, dropout))
        return build
    return register


def model(name: str) -> Callable[[T], T]:
    """A decorator that gives a network class, a factory or a network its name in tables, and leaves it as it is."""
    return named(name)


def create(name: str | Architecture, num_classes: int = 10, in_channels: int = 3, image_size: int = 32,
           seed: int | None = None, dropout: float = 0.0) -> nn.Module:
    """A network with fresh weights, on the CPU.

    Args:
        name: one of ``model_kinds()``, whatever else ``MODELS`` finds, or an architecture itself.
        num_classes: K, at least 2.
        in_channels: C, at least 1.
        image_size: pixels of the shorter side of the images it will see.
        seed: of the initial weights, and torch's global random state is left as it was; ``None`` draws them
            from that state, as plain PyTorch does.
        dropout: chance, in training, that a value is 0 where ``ModelKind.dropout`` says; it changes neither the
            names nor the initial values of the weights.

    Raises:
        UnknownNameError: there is no such network; the message names the nearest.
        ModelError: the network cannot take such images or so few classes.
    """
    architecture = MODELS.find(name) if isinstance(name, str) else name
    if image_size < architecture.smallest:
        raise ModelError(f"{architecture.name} needs images of at least {architecture.smallest} pixels, not "
                         f"{image_size}; set [source] image_size = {architecture.smallest} or choose another model.")
    if num_classes < 2 or in_channels < 1:
        raise ModelError(f"A network needs at least 2 classes and 1 channel, not {num_classes} and "
                         f"{in_channels}; give a source with more.")
    if seed is None:
        return architecture.build(num_classes, in_channels, image_size, dropout)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return architecture.build(num_classes, in_channels, image_size, dropout)


def model_kinds() -> list[ModelKind]:
    """Every built-in network, by name."""
    MODELS.load()
    with torch.device("meta"):
        return [ModelKind(name, known.description, _parameters(known.build(10, 3, 32, 0.0)), known.dropout)
                for name, known in sorted(MODELS.values.items())]


def _parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())
