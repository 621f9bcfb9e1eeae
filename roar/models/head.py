"""The head of a network: the linear layer that gives the logits."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from roar.errors import ModelError

_PROBED = 2  # images


def head(network: nn.Module, image: Sequence[int]) -> nn.Linear:
    """The linear layer whose output is the logits, but for a fixed factor such as that of ``architectures.speednet``.

    It is found and verified by a probe: the layer with weights that is called last must be linear, and when its output
    is replaced by noise, the logits must be that noise. The network is left as it was.

    Args:
        image: ``[C, H, W]`` that the network takes.

    Raises:
        ModelError: there is no such layer, since the logits come from a convolution, a pooling or several layers.
    """
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        with torch.no_grad():
            found = _last_linear(network, image)
            if found is not None and _gives_logits(network, found, image):
                return found
    finally:
        for module, mode in modes.items():
            module.training = mode
    raise ModelError(f"{type(network).__name__} has no head: its logits are not the output of one linear layer, so "
                     'the variant "head-only" cannot train it; set variant = "fine-tune" or choose another model.')


def _last_linear(network: nn.Module, image: Sequence[int]) -> nn.Linear | None:
    """The layer with weights that is called last, if it is linear and is called once."""
    called: list[nn.Module] = []
    hooks = [module.register_forward_hook(lambda layer, *_: called.append(layer))
             for module in network.modules() if module.state_dict() and not any(module.children())]
    _logits(network, image, hooks)
    last = called[-1] if called else None
    return last if isinstance(last, nn.Linear) and called.count(last) == 1 else None


def _gives_logits(network: nn.Module, layer: nn.Linear, image: Sequence[int]) -> bool:
    noise: list[Tensor] = []

    def replaced(module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> Tensor:
        noise.append(torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).to(output))
        return noise[0]

    logits = _logits(network, image, [layer.register_forward_hook(replaced)])
    if logits.shape != noise[0].shape:
        return False
    factor = (logits * noise[0]).sum() / noise[0].square().sum()
    return bool(factor != 0) and torch.allclose(logits, factor * noise[0], rtol=1e-4, atol=1e-6)


def _logits(network: nn.Module, image: Sequence[int], hooks: Sequence[torch.utils.hooks.RemovableHandle]) -> Tensor:
    """Of a few random images, with hooks that are removed then."""
    images = torch.randn(_PROBED, *image, generator=torch.Generator().manual_seed(0))
    try:
        logits: Tensor = network(images.to(next(network.parameters())))
    finally:
        for hook in hooks:
            hook.remove()
    return logits


def head_only(network: nn.Module, image: Sequence[int]) -> HeadOnly:
    """The network with everything frozen but its head; arguments and errors as for :func:`head`."""
    trained = head(network, image)
    network.requires_grad_(False)
    trained.requires_grad_(True)
    return HeadOnly(network)


class HeadOnly(nn.Module):
    """A network whose norms use the running statistics that they have, in training too; dropout still acts."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[N, K]`` of normalized images ``[N, C, H, W]``."""
        logits: Tensor = self.network(images)
        return logits

    def train(self, mode: bool = True) -> HeadOnly:
        super().train(mode)
        for module in self.network.modules():
            if isinstance(module, nn.modules.batchnorm._NormBase):
                module.eval()
        return self
