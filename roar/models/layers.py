"""The layers of any network in the order in which it computes, and networks with some of them drawn anew."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Layer:
    """A convolution or a linear map with the norm behind it.

    Attributes:
        name: of the module that owns the weights, as in ``network.get_submodule``.
        tensors: names of its parameters and buffers in the network's state.
    """

    name: str
    tensors: tuple[str, ...]


def layers(network: nn.Module, image: Tensor) -> list[Layer]:
    """The layers of a network, from the output to the input.

    A layer begins at a module that owns a weight of two or more dimensions; what owns no such weight, a norm for
    example, belongs to the layer computed before it (to the first one where there is none before).

    Args:
        image: any normalized image ``[1, C, H, W]``; the network computes once to show its order.
    """
    found: list[Layer] = []
    waiting: tuple[str, ...] = ()
    state = list(network.state_dict())
    for name in _in_order(network, image):
        own = tuple(key for key in state if key.rpartition(".")[0] == name)
        weights = network.get_submodule(name).parameters(recurse=False)
        if any(weight.ndim >= 2 for weight in weights):
            found.append(Layer(name, waiting + own))
            waiting = ()
        elif found:
            found[-1] = Layer(found[-1].name, found[-1].tensors + own)
        else:
            waiting += own
    return found[::-1]


def _in_order(network: nn.Module, image: Tensor) -> list[str]:
    """The modules that own parameters or buffers, in the order of their first call; one that is never called by itself
    comes after the module that is listed before it."""
    owners = [name for name, module in network.named_modules()
              if [*module.parameters(recurse=False), *module.buffers(recurse=False)]]
    called: dict[str, None] = {}
    hooks = [network.get_submodule(name).register_forward_pre_hook(lambda *_, name=name: called.setdefault(name, None))
             for name in owners]
    training = network.training
    try:
        with torch.no_grad():
            network.eval()(image)
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()
    order = list(called)
    for before, name in zip([None, *owners], owners, strict=False):
        if name not in called:
            order.insert(order.index(before) + 1 if before is not None else 0, name)
    return order


def grouped(found: Sequence[Layer], most: int) -> list[tuple[Layer, ...]]:
    """The layers in at most so many groups of about equal numbers, in their order."""
    count = min(most, len(found))
    edges = [len(found) * group // count for group in range(count + 1)] if count else []
    return [tuple(found[first:last]) for first, last in pairwise(edges)]


def redraw(network: nn.Module, chosen: Iterable[Layer], fresh: Callable[[Layer], Mapping[str, Tensor]]) -> None:
    """Give layers the tensors that a fresh network has in their place; the other layers are left as they are.

    Args:
        fresh: the state of a network of the same architecture with fresh weights, for a layer.
    """
    state = network.state_dict()
    with torch.no_grad():
        for layer in chosen:
            drawn = fresh(layer)
            for name in layer.tensors:
                state[name].copy_(drawn[name])


def batch_norms_behind(network: nn.Module, found: Sequence[Layer], chosen: Iterable[Layer]) -> tuple[str, ...]:
    """The batch norms whose inputs change where layers are drawn anew, from the output to the input.

    Those of the chosen layers and of every layer computed after the first of them.

    Args:
        found: all layers of the network, from the output to the input.
    """
    names = {layer.name for layer in chosen}
    reached = max((place for place, layer in enumerate(found, start=1) if layer.name in names), default=0)
    owners = dict.fromkeys(key.rpartition(".")[0] for layer in found[:reached] for key in layer.tensors)
    return tuple(name for name in owners if _has_running_statistics(network.get_submodule(name)))


def _has_running_statistics(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None


def fit_batch_norms(network: nn.Module, names: Iterable[str], batches: Iterable[Tensor]) -> None:
    """Replace the running statistics of batch norms by those of images, as training would have left them.

    Each becomes the mean over the batches of the statistics of its inputs while all named norms normalize with those of
    the batch, as in training; the rest of the network computes as it is.

    Args:
        batches: of normalized images ``[B, C, H, W]``, two or more in each, on the network's device.
    """
    norms = [module for name in names if isinstance(module := network.get_submodule(name),
                                                    nn.modules.batchnorm._BatchNorm)]
    usual = [(norm.momentum, norm.training) for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches
        norm.training = True
    try:
        with torch.no_grad():
            for batch in batches if norms else ():
                network(batch)
    finally:
        for norm, (momentum, training) in zip(norms, usual, strict=True):
            norm.momentum, norm.training = momentum, training


def without_inplace(network: nn.Module) -> nn.Module:
    """Gradient hooks on a ReLU need its output apart from its input; batch norm's is freed at once anyway."""
    for module in network.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    return network
