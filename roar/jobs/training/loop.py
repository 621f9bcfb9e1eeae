"""The training loop: one network, images that are already degraded, one recipe, one seed.

Read `train_side_by_side` from top to bottom. The images stay 8-bit tensors on the device, or come window by window if
they do not fit; a batch is augmented and normalized there, so that an epoch costs little more than its forward and
backward passes. Every draw has a seed of its own: seed s gives the same batches whatever the images show.

Where the device's memory cannot hold a batch, it goes through the network in two halves whose gradients are added up,
from then on. The step is the same but for batch norm, which then normalizes each half by itself (and dropout's draws),
so `TrainingLog.parts` says so.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial, reduce
from typing import TYPE_CHECKING, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from roar.errors import TrainingError
from roar.jobs.streaming import Stream, Streams, alone, part
from roar.jobs.training.augmentation import augmented, draw
from roar.jobs.training.batches import epoch_order, feed
from roar.jobs.training.checkpoint import Progress, State, restore, state
from roar.jobs.training.evaluation import Evaluation, affine, evaluate, logits, side_by_side
from roar.jobs.training.optimizer import learning_rate, make_optimizer
from roar.jobs.training.penalties import decay_weights, decaying, input_gradient_penalty, weight_penalty
from roar.models.regularizers import Regularizer
from roar.seeds.streams import derive

if TYPE_CHECKING:
    from roar.datasets.statistics import Normalization
    from roar.recipes import Recipe

__all__ = ["Evaluation", "TrainingLog", "evaluate", "logits", "train", "train_side_by_side"]


T = TypeVar("T")

PREPARING_IMAGES = 5_000


@runtime_checkable
class Prepared(Protocol):
    """A network that sets its first layer from training images, such as ``roar.models.architectures.speednet``."""

    def prepare(self, images: Tensor) -> None:
        """Args: images: the first ``PREPARING_IMAGES`` of the training split, normalized, ``[N, C, H, W]``."""


@dataclass(frozen=True)
class TrainingLog:
    """What a training did.

    Args:
        epochs: passes over the images, the last one perhaps not whole.
        steps: batches.
        loss: per epoch, the mean loss of its batches, each taken before its step.
        accuracy: per epoch, the share of the (augmented) training images that were right then, in [0, 1].
        seconds: wall time, of all parts together if the training was resumed; of networks that were trained
            side by side, each has its share.
        parts: that each batch went through the network in: 2 where the memory could not hold a whole one.
    """

    epochs: int
    steps: int
    loss: tuple[float, ...]
    accuracy: tuple[float, ...]
    seconds: float
    parts: int = 1


def train(network: nn.Module, images: Tensor | Stream, labels: Tensor, recipe: Recipe, normalization: Normalization,
          seed: int, on_epoch: Callable[[int, float], None] | None = None,
          checkpoint: Callable[[Callable[[], State]], None] | None = None,
          resume: Mapping[str, Tensor] | None = None, regularizer: Regularizer | None = None,
          prepare: bool = True) -> TrainingLog:
    """Train a network in place, on the device that it is on.

    Args:
        network: gives logits ``[B, K]`` of normalized images; its initial weights are the caller's.
        images: uint8 ``[N, C, H, W]``, degraded; best on the network's device, else each batch is moved. Of a stream
            two of the recipe's windows are held.
        labels: int64 ``[N]``.
        recipe: epochs, rates and the like.
        normalization: of 8-bit images, applied after the augmentation.
        seed: of the order of batches, the augmentation and dropout.
        on_epoch: called after each epoch with its number, from 1, and its mean loss.
        checkpoint: called after each epoch with a function that returns all that is needed to go on (see
            ``roar.jobs.training.checkpoint``), so that only a state that is kept costs a copy.
        resume: such a state; the training goes on after that epoch and ends, on a CPU, with
            the very weights that it would have had without the interruption.
        regularizer: its terms are added to the loss; its dropout is in the network and what it does to the
            recipe is done by the caller (``Regularizer.over``). The logged loss is without its terms.
        prepare: whether a ``Prepared`` network sets its first layer from the images; not if it is trained already.

    Raises:
        TrainingError: the loss is not finite, the memory is exhausted, or there are fewer than two images.
    """
    (log,) = train_side_by_side(network, alone(images), labels, recipe, normalization, [seed], on_epoch,
                                checkpoint, resume, regularizer, prepare)
    if isinstance(log, TrainingError):
        raise log
    return log


def train_side_by_side(network: nn.Module, images: Tensor | Streams, labels: Tensor, recipe: Recipe,
                       normalization: Normalization, seeds: Sequence[int],
                       on_epoch: Callable[[int, float], None] | None = None,
                       checkpoint: Callable[[Callable[[], State]], None] | None = None,
                       resume: Mapping[str, Tensor] | None = None,
                       regularizer: Regularizer | None = None,
                       prepare: bool = True) -> list[TrainingLog | TrainingError]:
    """Train G networks that lie side by side in one (see ``roar.jobs.training.packing``), or one with G = 1.

    As ``train``, but ``images`` are ``[G, N, C, H, W]`` and there is a seed for each; a network that diverges
    gets its error in the list and does not disturb the others.
    """
    started = time.perf_counter()
    device = next(network.parameters()).device
    networks, count, _, height, width = images.shape
    batch_size, batches, total = plan(recipe, count)
    epochs = math.ceil(total / batches)

    network.train().to(memory_format=torch.channels_last)
    regularizer = regularizer or Regularizer()
    twice, terms = regularizer.input_gradient, regularizer.terms
    if terms and networks > 1:
        raise TrainingError(f"A regularizer that is not roar's takes one network, and {networks} lie side by side; "
                            "train them one by one (pack = 1).")
    plainly = recipe.compile and not twice and not terms  # a compiled network cannot be differentiated twice
    forward = torch.compile(network) if plainly else network
    penalty, weights = weight_penalty(network, regularizer), decaying(network)
    optimizer = make_optimizer(network, recipe)
    scaler = torch.amp.GradScaler(device.type, enabled=half(device, recipe) == torch.float16)
    progress = Progress() if resume is None else restore(resume, network, optimizer, scaler)
    spent, parts = progress.seconds, 1

    scale, shift = affine(normalization, device)
    if isinstance(network, Prepared) and resume is None and prepare:
        network.prepare((first_images(images).to(device) * scale).add_(shift))
    fed = feed(images, recipe, normalization, device)
    first_draw = count * torch.arange(networks)[:, None]  # of each network's among the draws of all
    labels = labels.to(device)

    def accumulate(parts: int, batch: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """The gradients of a batch, in so many parts; each network's loss and number of right images, ``[G]``."""
        optimizer.zero_grad()
        losses: list[Tensor] = []
        rights: list[Tensor] = []
        pieces = batch.view(networks, -1, *batch.shape[1:]).chunk(parts, 1)
        for piece, target in zip(pieces, y.chunk(parts, 1), strict=True):
            x = side_by_side((piece.flatten(0, 1).to(device, non_blocking=True) * scale).add_(shift), networks)
            x.requires_grad_(twice > 0 or bool(terms))
            target = target.flatten()
            with autocast(device, recipe):
                z = forward(x).view(len(target), -1)
                loss = F.cross_entropy(z, target, reduction="none", label_smoothing=recipe.label_smoothing)
            loss = loss.view(networks, -1).mean(1)
            objective = loss.sum()
            if twice:
                objective = objective + twice * input_gradient_penalty(objective, x)
            for term in terms:
                objective = term(network, objective, x, target)
            if parts > 1:
                share = len(target) / y.numel()
                loss, objective = loss * share, objective * share
            if penalty is not None and not losses:
                objective = objective + penalty()
            scaler.scale(objective).backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach())
            rights.append((z.detach().argmax(1) == target).view(networks, -1).sum(1))
        return reduce(torch.add, losses), reduce(torch.add, rights)

    with own_random_state(device), gpu_settings(device), out_of_memory(recipe):
        for epoch in range(len(progress.losses), epochs):
            seed_dropout(derive(seeds[0], "dropout", epoch), device)
            steps = min(batches, total - epoch * batches)
            draws = draw(recipe, count, seeds, epoch, fed.device)
            orders = {seed: epoch_order(recipe, count, seed, epoch)[:steps * batch_size] for seed in set(seeds)}
            order = torch.from_numpy(np.stack([orders[seed] for seed in seeds]))
            targets = labels[order.to(device)]
            drawn = (first_draw + order).to(fed.device)
            loss_sum = torch.zeros(networks, device=device)
            right = torch.zeros(networks, device=device, dtype=torch.int64)

            for step, (frames, places) in enumerate(fed.batches(order, batch_size)):
                here = slice(step * batch_size, (step + 1) * batch_size)
                batch = augmented(frames, places, draws, height, width, drawn[:, here].flatten())
                (loss, correct), parts = halving(accumulate, parts, batch, targets[:, here])

                rate = learning_rate(recipe, epoch * batches + step, total, batches)
                for group in optimizer.param_groups:
                    group["lr"] = rate
                decay_weights(weights, rate, regularizer.decay)
                scaler.step(optimizer)
                scaler.update()

                loss_sum += loss
                right += correct

            progress.losses.append((loss_sum / steps).tolist())  # the only wait for the device in an epoch
            progress.accuracies.append((right / (steps * batch_size)).tolist())
            progress.seconds = spent + time.perf_counter() - started
            if not any(map(math.isfinite, progress.losses[-1])):
                break
            if on_epoch is not None:
                on_epoch(epoch + 1, sum(progress.losses[-1]) / networks)
            if checkpoint is not None:
                checkpoint(partial(state, network, optimizer, scaler, progress))
    return [outcome(progress, number, epochs, total, recipe, parts) for number in range(networks)]


def outcome(progress: Progress, number: int, epochs: int, steps: int, recipe: Recipe,
            parts: int) -> TrainingLog | TrainingError:
    """One network's log, or why it has none."""
    losses = tuple(epoch[number] for epoch in progress.losses)
    for epoch, loss in enumerate(losses, start=1):
        if not math.isfinite(loss):
            return TrainingError(f"The loss is not finite in epoch {epoch} of {epochs}, at a learning rate of "
                                 f"{recipe.learning_rate:g}; lower learning_rate or lengthen warmup_epochs.")
    accuracies = tuple(epoch[number] for epoch in progress.accuracies)
    return TrainingLog(epochs, steps, losses, accuracies, progress.seconds / len(progress.losses[0]), parts)


def halving(attempt: Callable[[int, Tensor, Tensor], T], parts: int, batch: Tensor, y: Tensor) -> tuple[T, int]:
    """What ``attempt`` gives, once more in two parts if the memory is exhausted; and in how many it was."""
    try:
        return attempt(parts, batch, y), parts
    except torch.OutOfMemoryError:
        if parts > 1 or y.shape[1] < 4:
            raise
    # Only here, where the error is gone, has what the attempt had allocated been freed.
    return attempt(2, batch, y), 2


def first_images(images: Tensor | Streams) -> Tensor:
    """Of the first network, uint8 ``[n, C, H, W]``."""
    if isinstance(images, Tensor):
        return images[0, :PREPARING_IMAGES]
    return part(images.members[0], 0, PREPARING_IMAGES)


def plan(recipe: Recipe, count: int) -> tuple[int, int, int]:
    """Images in a batch, batches in an epoch and batches in all, for ``count`` images.

    A last, smaller batch is left out: its images are in others in other epochs, and batch norm needs company.
    """
    if count < 2:
        raise TrainingError(f"A training needs at least 2 images, not {count}; raise limit_train.")
    batch_size = min(recipe.batch_size, count)
    batches = count // batch_size
    return batch_size, batches, recipe.steps or recipe.epochs * batches


def half(device: torch.device, recipe: Recipe) -> torch.dtype | None:
    """The recipe's half precision on a GPU, and none on a CPU."""
    if device.type != "cuda" or recipe.precision == "float32":
        return None
    return torch.bfloat16 if recipe.precision == "bfloat16" else torch.float16


def autocast(device: torch.device, recipe: Recipe) -> AbstractContextManager[object]:
    dtype = half(device, recipe)
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype=dtype)


def gpu_settings(device: torch.device) -> AbstractContextManager[object]:
    """On a GPU, let cuDNN time its algorithms once: all batches have one shape."""
    return torch.backends.cudnn.flags(enabled=True, benchmark=True) if device.type == "cuda" else nullcontext()


def own_random_state(device: torch.device) -> AbstractContextManager[object]:
    """Keep what dropout draws away from torch's global random state."""
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])


def seed_dropout(seed: int, device: torch.device) -> None:
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


@contextmanager
def out_of_memory(recipe: Recipe) -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError:
        raise TrainingError(f"The GPU's memory cannot hold a batch of {recipe.batch_size} images; lower "
                            "batch_size or set precision = \"bfloat16\".") from None

