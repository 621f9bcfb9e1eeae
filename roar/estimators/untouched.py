"""A network that is explained comes out as it went in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from roar.errors import EstimatorError

if TYPE_CHECKING:
    from torch import Tensor, nn


@contextmanager
def untouched(network: nn.Module, estimator: str) -> Iterator[None]:
    """Freeze a network in evaluation mode, and put everything back at the end, bit for bit.

    Within, parameters need no gradients, so that no pass keeps what only they need, and gradients of the
    images are recorded even where the caller has switched that off.

    Args:
        estimator: who uses the network, for the error.

    Raises:
        EstimatorError: the estimator changed a parameter, a buffer, a ``.grad``, a hook or the mode; all is
            put back first.
    """
    import torch

    parts = {(module, kind): dict(vars(module)[kind]) for module in network.modules() for kind in _kinds()}
    modes = {module: module.training for module in network.modules()}
    parameters = {parameter: (parameter.requires_grad, parameter.grad) for parameter in network.parameters()}
    values = {tensor: tensor.detach().clone() for tensor in [*parameters, *network.buffers()]}
    network.eval()
    for parameter in parameters:
        parameter.requires_grad_(False)
    changed: list[str] = []
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
        changed = _changed(parts, modes, parameters, values)
    finally:
        for (module, kind), part in parts.items():
            vars(module)[kind].clear()
            vars(module)[kind].update(part)
        for module, mode in modes.items():
            module.training = mode
        for parameter, (needed, gradient) in parameters.items():
            parameter.requires_grad_(needed)
            parameter.grad = gradient
        with torch.no_grad():
            for tensor, value in values.items():
                if not _same_bits(tensor, value):
                    tensor.copy_(value)
    if changed:
        raise EstimatorError(f"'{estimator}' changed the network it explains ({', '.join(changed)}), which has "
                             "been put back; an estimator must leave the network unchanged.")


def _changed(parts: dict[tuple[nn.Module, str], dict[str, object]], modes: dict[nn.Module, bool],
             parameters: dict[nn.Parameter, tuple[bool, Tensor | None]],
             values: dict[Tensor, Tensor]) -> list[str]:
    """What of a frozen network is not as it was when it was frozen."""
    found = {kind.strip("_").replace("_", " ") for (module, kind), part in parts.items()
             if [*map(id, part.values())] != [*map(id, vars(module)[kind].values())]}
    if any(module.training for module in modes):
        found.add("evaluation mode")
    if any(parameter.requires_grad or parameter.grad is not gradient
           for parameter, (_, gradient) in parameters.items()):
        found.add("gradients of parameters")
    if not all(_same_bits(tensor, value) for tensor, value in values.items()):
        found.add("values of parameters or buffers")
    return sorted(found)


def _kinds() -> list[str]:
    """The names of a module's own tables: its parameters, buffers, submodules and every sort of hook."""
    from torch import nn

    return [name for name, value in vars(nn.Module()).items() if isinstance(value, dict)]


def _same_bits(one: Tensor, other: Tensor) -> bool:
    """Equality that also holds for NaN with NaN and tells 0.0 from -0.0."""
    import torch

    def bits(tensor: Tensor) -> Tensor:
        return tensor.detach().contiguous().reshape(-1).view(torch.uint8)

    return torch.equal(bits(one), bits(other))
