"""How many images a forward and backward pass takes at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from roar.errors import EstimatorError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

GIGABYTE = 10**9
# On a CPU a pass of more activations than this is no faster. It is never a share of what is free: the same
# command gives the same bytes.
CPU_ACTIVATIONS = 128 * 2**20
GPU_ROWS = 4096  # on a GPU, more images in a pass gain nothing
GPU_SHARE = 0.5  # of what is free
LEAST = 3  # images in a pass under a budget: divided equally, no pass has one image, whose kernels round otherwise
TEMPORARIES = 4  # of the size of a pass's largest activation, besides what autograd keeps


def rows_that_fit(network: nn.Module, image: Tensor, memory_budget: float | None) -> int:
    """Images per pass within a budget of memory: at least three where as many would share a pass without a budget.

    A pass of one image rounds otherwise, so a budget that left one would change rankings.

    Args:
        image: one normalized image ``[1, C, H, W]`` on its device.
        memory_budget: GB that the activations of a pass may take; ``None``: half of what is free on a GPU, and
            on a CPU no bound for a single image.

    Raises:
        EstimatorError: these do not fit into the budget.
    """
    import torch

    per_row = activation_bytes(network, image)
    limits = [CPU_ACTIVATIONS]
    if image.is_cuda:
        limits = [GPU_ROWS * per_row, int(GPU_SHARE * torch.cuda.mem_get_info(image.device)[0])]
    rows = max(1, min(limits) // per_row)
    if memory_budget is None:
        return rows
    least = min(rows, LEAST)
    if least * per_row > memory_budget * GIGABYTE:
        raise EstimatorError(f"A pass of {least} images takes {least * per_row / GIGABYTE:.2g} GB of activations and "
                             f"the budget is {memory_budget:.2g} GB; raise compute.memory_budget.")
    return min(rows, int(memory_budget * GIGABYTE) // per_row)


def activation_bytes(network: nn.Module, image: Tensor) -> int:
    """Bytes that a forward and backward pass of one image takes: what autograd keeps, and temporaries."""
    import torch

    kept: dict[int, int] = {}
    weights = {tensor.untyped_storage().data_ptr() for tensor in [*network.parameters(), *network.buffers()]}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        logits = network(image.detach().requires_grad_().clone())
    del logits
    largest = max([image.nbytes, *kept.values()])
    return sum(kept.values()) + TEMPORARIES * largest
