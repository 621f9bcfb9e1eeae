"""Networks that are not roar's: classes, factories and trained networks, made to fit at the door.

A class or factory is called with those of ``num_classes``, ``in_channels``, ``image_size`` and ``dropout`` that it
names, and with the parameters in its brackets. An ``nn.Module`` is a trained network, which is explained as it is: it
travels without its weights, which lie in the store like those of any other.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from roar.errors import ModelError, RoarError, UsageError
from roar.models.architecture import Architecture
from roar.models.layers import without_inplace
from roar.models.weights import in_single_precision
from roar.plugins import Foreign, LiveObject, described, foreign
from roar.plugins.calling import code_of, display_name, taken

ARGUMENTS = ("num_classes", "in_channels", "image_size", "dropout")


def adapt(given: Foreign, parameters: Mapping[str, Any], name: str) -> Architecture:
    """The architecture that a class, a factory or a trained network stands for.

    Raises:
        UsageError: it is none of these, or cannot be called so.
    """
    value = given.load()
    label = display_name(value, (name, given.name), parameters)
    if isinstance(value, nn.Module):
        return _trained(value, given, parameters, label)
    if not callable(value):
        raise UsageError(f"A model is a network class, a function that makes a network or a trained nn.Module, and "
                         f"'{given.spelling}' is of type {type(value).__name__}; give one of these.")
    arguments = taken(value, given.spelling, 0, ARGUMENTS, parameters)
    build = Factory(given, dict(parameters), arguments)
    return Architecture(label, build, f"from {given.spelling}", code=code_of(given.identity, parameters),
                        dropout="where the class has it" if "dropout" in arguments else "")


@dataclass(frozen=True)
class Factory:
    """Makes networks by calling a foreign class or function with the ``arguments`` that it names."""

    foreign: Foreign
    parameters: Mapping[str, Any]
    arguments: tuple[str, ...]

    def __call__(self, num_classes: int, in_channels: int, image_size: int, dropout: float) -> nn.Module:
        offered = dict(zip(ARGUMENTS, (num_classes, in_channels, image_size, dropout), strict=True))
        given = {name: offered[name] for name in self.arguments} | dict(self.parameters)
        try:
            network = self.foreign.load()(**given)
        except RoarError:
            raise
        except Exception as error:  # code that is not roar's may raise anything
            shown = ", ".join(f"{key}={value}" for key, value in given.items())
            reason = described(error, self.foreign.file)
            raise ModelError(f"'{self.foreign.spelling}' makes no network of ({shown}): {reason}; correct it or give "
                             "other parameters in brackets.") from error
        if not isinstance(network, nn.Module):
            raise ModelError(f"'{self.foreign.spelling}' must make an nn.Module and made a {type(network).__name__}; "
                             "return the network.")
        return fitted(network, self.foreign.spelling)


@dataclass(frozen=True)
class Trained:
    """Makes copies of one network, with zeros in the place of its weights."""

    foreign: Foreign

    def __call__(self, num_classes: int, in_channels: int, image_size: int, dropout: float) -> nn.Module:
        network: nn.Module = self.foreign.load()
        return fitted(without_weights(network, "cpu"), self.foreign.spelling)


def fitted(network: nn.Module, spelling: str) -> nn.Module:
    """A network that answers with logits and whose ReLUs keep their inputs.

    The answer is adapted by a hook, so every module and tensor keeps its name.

    Raises:
        ModelError: it has no parameters, or a state that cannot be kept.
    """
    if next(network.parameters(), None) is None:
        raise ModelError(f"'{spelling}' has no parameters, so there is nothing to explain; give a network with "
                         "weights.")
    in_single_precision(network.state_dict(), spelling)
    network.register_forward_hook(answer_with_logits)
    return without_inplace(network.float())


def answer_with_logits(network: nn.Module, images: Any, answer: Any) -> Any:
    """A forward hook: the logits of an answer that is a mapping or an object with ``logits``, or a tuple that begins
    with them; anything else stays as it is."""
    if isinstance(answer, Tensor):
        return answer
    if isinstance(answer, Mapping) and "logits" in answer:
        return answer["logits"]
    if hasattr(answer, "logits"):
        return answer.logits
    if isinstance(answer, tuple | list) and answer and isinstance(answer[0], Tensor):
        return answer[0]
    return answer


def without_weights(network: nn.Module, device: str) -> nn.Module:
    """A copy whose parameters and buffers are zeros on a device; those that a state does not hold keep their values."""
    empty: dict[int, Any] = {}
    for tensor in network.state_dict(keep_vars=True).values():
        zeros = torch.zeros_like(tensor, device=device, requires_grad=False)
        empty[id(tensor)] = nn.Parameter(zeros, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else zeros
    return copy.deepcopy(network, empty)


def _trained(network: nn.Module, given: Foreign, parameters: Mapping[str, Any], label: str) -> Architecture:
    if parameters:
        raise UsageError(f"'{given.spelling}' is a trained network, which takes no parameters in brackets; leave them "
                         "out.")
    weights = in_single_precision(network.state_dict(), given.spelling)
    code = structure(network)
    if isinstance(given, LiveObject):
        given = replace(given, identity=code, value=without_weights(network, "meta"))
    else:
        code = {**given.identity, **code}
    return Architecture(label, Trained(given), f"from {given.spelling}", code=code, weights=weights,
                        is_trained=True)


def structure(network: nn.Module) -> dict[str, Any]:
    """What a key contains of a trained network besides its weights: its layers, their settings, the code of classes."""
    digest = hashlib.sha256(repr(network).encode())
    kept = network.state_dict().keys()
    for name, module in network.named_modules():
        settings = {key: value for key, value in vars(module).items()
                    if key != "training" and isinstance(value, bool | int | float | str | tuple | type(None))}
        digest.update(f"{name}{sorted(settings.items())!r}".encode())
    for name, buffer in network.named_buffers():
        if name not in kept:
            digest.update(buffer.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    kinds = {type(module) for module in network.modules() if not type(module).__module__.startswith("torch.")}
    codes = sorted({json.dumps(foreign(kind).identity, sort_keys=True) for kind in kinds})
    return {"structure": digest.hexdigest(), "classes": hashlib.sha256("".join(codes).encode()).hexdigest()}
