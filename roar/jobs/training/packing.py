"""Train several small networks as one: they differ in their images and seeds and share every call.

A small network on small images spends its time between calculations, and a convolution of few channels fills no
vector unit. So G networks lie side by side in one whose convolutions have G groups. Each sees the initial
weights, the batches and the augmentation that it would see alone, and differs from the network trained alone by
the rounding of float32 sums only. In packs of one size that is a multiple of four, a network's bytes depend neither on
its neighbors nor on its place (other sizes leave a rest that is summed in another order), so who needs the same
bytes twice fills every pack.

Milliseconds per network for the passes over 128 images of 8x8 pixels by `simplecnn`, one thread with AVX-512:

    alone                                     1.8
    torch.func.vmap over stacked weights      2.7    its convolutions give up channels-last
    patch matrices and batched products       2.1    for the convolutions alone
    groups, 2 networks                        1.1
    groups, 4 to 16 networks                  0.8    0.46 of it for the convolutions

At 32x32 pixels the convolutions are at the processor's peak alone already and nothing is won.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from roar.errors import ModelError, TrainingError
from roar.jobs.streaming import Stream, together
from roar.jobs.training.evaluation import Evaluation, counted
from roar.jobs.training.loop import TrainingLog, train_side_by_side
from roar.models.regularizers import Regularizer

if TYPE_CHECKING:
    from roar.datasets.statistics import Normalization
    from roar.recipes import Recipe

__all__ = ["evaluate_packed", "measured_pack_size", "pack", "pack_size", "train_packed", "unpack"]

PACK = 12  # networks; more win nothing and need more memory. A multiple of 4: see the docstring
SMALL = 16 * 16  # pixels of an image, under which a pack wins on a CPU


@runtime_checkable
class Packable(Protocol):
    """A network class whose members can lie side by side; see ``roar.models.architectures.simplecnn``."""

    def side_by_side(self, networks: int) -> nn.Module:
        """A network that holds so many, each tensor the concatenation of theirs along the first dimension."""


def pack_size(network: nn.Module, image: torch.Size | Sequence[int], device: torch.device | str = "cpu") -> int:
    """How many such networks to train at a time, by the measurements above: the same on every machine.

    Networks with dropout stay alone: side by side they would share one stream of random numbers.

    Args:
        image: ``[C, H, W]``.
    """
    small = image[1] * image[2] < SMALL
    dropout = any(isinstance(m, nn.Dropout) and m.p > 0 for m in network.modules())
    if isinstance(network, Packable) and small and not dropout and torch.device(device).type == "cpu":
        return PACK
    return 1


def measured_pack_size(network: nn.Module, image: torch.Size | Sequence[int], recipe: Recipe,
                       sizes: Sequence[int] = (1, 4, 8, 12, 16), steps: int = 5) -> int:
    """The size among ``sizes`` that trains a network fastest here, by a few steps on noise for each of them.

    It depends on the machine and on what else it does; ``pack_size`` does not.
    """
    from roar.datasets.statistics import Normalization

    if not isinstance(network, Packable):
        return 1
    short = recipe.model_copy(update={"steps": steps, "compile": False})
    channels = (0.5,) * image[0]
    images = torch.randint(0, 256, (recipe.batch_size, *image), dtype=torch.uint8,
                           generator=torch.Generator().manual_seed(0))
    labels = torch.zeros(recipe.batch_size, dtype=torch.int64)

    def seconds(size: int) -> float:
        whole = network.side_by_side(size)
        stacked = images.expand(size, *images.shape)
        best = float("inf")
        for _ in range(3):
            started = time.perf_counter()
            train_side_by_side(whole, stacked, labels, short, Normalization(channels, channels), range(size))
            best = min(best, time.perf_counter() - started)
        return best / size

    return min(sizes, key=seconds)


def train_packed(networks: Sequence[nn.Module], images: Sequence[Tensor | Stream] | Tensor, labels: Tensor,
                 recipe: Recipe, normalization: Normalization, seeds: Sequence[int], size: int | None = None,
                 on_epoch: Callable[[int, float], None] | None = None,
                 regularizer: Regularizer | None = None) -> list[TrainingLog | TrainingError]:
    """Train networks of one architecture in place, ``size`` at a time.

    Args:
        networks: on one device, with the initial weights that each would have alone.
        images: for each network uint8 ``[N, C, H, W]``, of all or of none a stream.
        labels: int64 ``[N]``, the same for all.
        recipe, normalization: as for ``train``.
        seeds: of each network's batches and augmentation.
        size: networks in a pack; default: ``pack_size``.
        on_epoch: called after each epoch of each pack with its number and its mean loss.
        regularizer: as for ``train``.

    Returns:
        for each network its log, or the error of one that diverged: the others are not disturbed.

    Raises:
        ModelError: the networks are not of one architecture, or ``size`` is over 1 and they cannot be packed.
        TrainingError: the memory is exhausted, or there are fewer than two images.
    """
    size = size or pack_size(networks[0], images[0].shape[1:], next(networks[0].parameters()).device)
    logs: list[TrainingLog | TrainingError] = []
    for start in range(0, len(networks), size):
        here = slice(start, start + size)
        members = networks[here]
        whole = pack(members)
        logs += train_side_by_side(whole, together(images[here]), labels, recipe, normalization, seeds[here],
                                   on_epoch, regularizer=regularizer)
        unpack(whole, members)
    return logs


def evaluate_packed(networks: Sequence[nn.Module], images: Sequence[Tensor | Stream] | Tensor, labels: Tensor,
                    normalization: Normalization, size: int | None = None) -> list[Evaluation]:
    """The accuracy of each network on its own images; arguments and errors as for ``train_packed``."""
    size = size or pack_size(networks[0], images[0].shape[1:], next(networks[0].parameters()).device)
    found: list[Evaluation] = []
    for start in range(0, len(networks), size):
        here = slice(start, start + size)
        found += counted(pack(networks[here]), together(images[here]), labels, normalization)
    return found


def pack(networks: Sequence[nn.Module]) -> nn.Module:
    """One network with the weights of several; of a single one it is that network itself.

    Raises:
        ModelError: they are not of one architecture, or it is none that can be packed.
    """
    first = networks[0]
    if len(networks) == 1:
        return first
    if not isinstance(first, Packable):
        raise ModelError(f"Networks of the class {type(first).__name__} cannot be packed; train them one at a "
                         "time (size = 1).")
    states = [network.state_dict() for network in networks]
    shapes = [{name: tensor.shape for name, tensor in state.items()} for state in states]
    if any(type(network) is not type(first) for network in networks) or any(s != shapes[0] for s in shapes):
        raise ModelError("The networks of a pack must be of one architecture, for the same channels and classes; "
                         "pack the others apart.")
    whole = first.side_by_side(len(networks)).to(next(first.parameters()).device)
    whole.load_state_dict({name: torch.cat([state[name] for state in states]) if tensor.ndim else tensor
                           for name, tensor in states[0].items()})
    return whole


def unpack(whole: nn.Module, networks: Sequence[nn.Module]) -> None:
    """Give each network its weights back out of a pack of them."""
    if whole is networks[0]:
        return
    for number, network in enumerate(networks):
        network.load_state_dict({name: tensor.chunk(len(networks))[number] if tensor.ndim else tensor
                                 for name, tensor in whole.state_dict().items()})
