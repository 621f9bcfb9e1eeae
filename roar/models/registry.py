"""Networks by name.

A network maps normalised images ``[N, C, H, W]`` (float32) to logits ``[N, K]``. Its ReLUs are ``nn.ReLU``
modules, so that methods that change the gradient of a ReLU find every one of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from roar.errors import ModelError, UnknownNameError
from roar.models import cifar_resnet, imagenet_nets, linear, simplecnn, simplecnn_study, speednet
from roar.models.timm_nets import PREFIX, check_timm_name, timm_network

Builder = Callable[[int, int, int, float], nn.Module]  # of classes, channels, image size and dropout


@dataclass(frozen=True)
class ModelKind:
    """A network that can be asked for by name.

    Args:
        name: as in ``[[model]] name``.
        description: for ``roar list models``.
        parameters: trained numbers, for ten classes and 32x32 colour images.
        dropout: where the regulariser ``dropout`` acts.
    """

    name: str
    description: str
    parameters: int
    dropout: str


@dataclass(frozen=True)
class _Entry:
    build: Builder
    description: str
    smallest: int  # image size in pixels
    dropout: str = "before the last linear layer"


_MODELS = {
    "linear": _Entry(linear.linear, "one linear layer on the pixels, none hidden; for square images", 1,
                     "on the pixels, before the only layer"),
    "simplecnn": _Entry(simplecnn.simplecnn, "three convolutions, for 8 to 64 pixels; fast on a CPU", 4),
    "simplecnn-gelu": _Entry(simplecnn_study.simplecnn_gelu, "large kernels, no norm, GELU; see its file", 17,
                             "after the first and the second linear layer"),
    "simplecnn-relu": _Entry(simplecnn_study.simplecnn_relu, "the same with ReLU, for guided backprop", 17,
                             "after the first and the second linear layer"),
    "resnet20": _Entry(cifar_resnet.resnet20, "20 layers for 32x32 images (He et al. 2016)", 8),
    "resnet56": _Entry(cifar_resnet.resnet56, "56 layers for 32x32 images (He et al. 2016)", 8),
    "resnet18": _Entry(imagenet_nets.resnet18, "18 layers; 3x3 stem under 64 pixels", 8),
    "resnet50": _Entry(imagenet_nets.resnet50, "50 layers, the paper's; 3x3 stem under 64 pixels", 8),
    "vgg19": _Entry(imagenet_nets.vgg19, "19 layers with batch norm (Simonyan and Zisserman 2014)", 32,
                    "in the classifier: after each hidden linear layer; under 64 pixels before the only one"),
    "speednet": _Entry(speednet.speednet, "learns CIFAR-10 in seconds on a GPU (after Jordan 2024)", 9),
}


def create(name: str, num_classes: int = 10, in_channels: int = 3, image_size: int = 32,
           seed: int | None = None, dropout: float = 0.0) -> nn.Module:
    """A network with fresh weights, on the CPU.

    Args:
        name: one of ``model_kinds()``.
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
    check_name(name)
    entry = _timm_entry(name) if name.startswith(PREFIX) else _MODELS[name]
    if image_size < entry.smallest:
        raise ModelError(f"{name} needs images of at least {entry.smallest} pixels, not {image_size}; set "
                         f"[source] image_size = {entry.smallest} or choose another model.")
    if num_classes < 2 or in_channels < 1:
        raise ModelError(f"A network needs at least 2 classes and 1 channel, not {num_classes} and "
                         f"{in_channels}; give a source with more.")
    if seed is None:
        return entry.build(num_classes, in_channels, image_size, dropout)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return entry.build(num_classes, in_channels, image_size, dropout)


def check_name(name: str) -> None:
    """Raise an UnknownNameError, which names the nearest, unless there is such a network."""
    if name.startswith(PREFIX):
        check_timm_name(name.removeprefix(PREFIX))
    elif name not in _MODELS:
        raise UnknownNameError("model", name, [*_MODELS, f"{PREFIX}NAME"])


def _timm_entry(name: str) -> _Entry:
    return _Entry(partial(timm_network, name.removeprefix(PREFIX)), "timm's", 4)


def model_kinds() -> list[ModelKind]:
    """Every network there is, by name."""
    with torch.device("meta"):
        return [ModelKind(name, entry.description, _parameters(entry.build(10, 3, 32, 0.0)), entry.dropout)
                for name, entry in sorted(_MODELS.items())]


def _parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())
