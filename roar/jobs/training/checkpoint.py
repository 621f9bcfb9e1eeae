"""All that a training needs to go on after an epoch, as tensors by name: to be kept as safetensors.

    network.<name>              weights and buffers
    optimizer.<number>.<key>    the optimizer's state of each parameter, e.g. its momentum
    scaler.<key>                the loss scale, with float16
    log.loss, log.accuracy      by epoch and network
    log.seconds
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

State = dict[str, Tensor]


@dataclass
class Progress:
    """What a training has behind it: by epoch and network the losses and accuracies, and the seconds spent."""

    losses: list[list[float]] = field(default_factory=list)
    accuracies: list[list[float]] = field(default_factory=list)
    seconds: float = 0.0


def state(network: nn.Module, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler,
          progress: Progress) -> State:
    """The state after an epoch, copied to the CPU."""
    tensors = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    for number, values in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{key}": v for key, v in values.items() if isinstance(v, Tensor)}
    numbers = {f"scaler.{key}": value for key, value in scaler.state_dict().items()} | {
        "log.loss": progress.losses, "log.accuracy": progress.accuracies, "log.seconds": progress.seconds}
    tensors |= {name: torch.tensor(value, dtype=torch.float64) for name, value in numbers.items()}
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}


def restore(saved: Mapping[str, Tensor], network: nn.Module, optimizer: torch.optim.Optimizer,
            scaler: torch.amp.GradScaler) -> Progress:
    """Undo ``state``."""
    network.load_state_dict(_part(saved, "network"))
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    values: dict[int, State] = {}
    for name, tensor in _part(saved, "optimizer").items():
        number, key = name.split(".", 1)
        values.setdefault(int(number), {})[key] = _laid_out(tensor, parameters[int(number)])
    optimizer.load_state_dict({**optimizer.state_dict(), "state": values})
    if scaler.is_enabled():
        numbers = {key: tensor.item() for key, tensor in _part(saved, "scaler").items()}
        scaler.load_state_dict({**numbers, "_growth_tracker": int(numbers["_growth_tracker"])})
    log = _part(saved, "log")
    return Progress(log["loss"].tolist(), log["accuracy"].tolist(), log["seconds"].item())


def _laid_out(tensor: Tensor, like: Tensor) -> Tensor:
    """A copy with the strides of a parameter of that shape: fused optimizers take them to be equal."""
    return torch.empty_like(like).copy_(tensor) if tensor.shape == like.shape else tensor.clone()


def _part(saved: Mapping[str, Tensor], prefix: str) -> State:
    return {name[len(prefix) + 1:]: tensor for name, tensor in saved.items() if name.startswith(prefix + ".")}
