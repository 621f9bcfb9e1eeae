"""A training that tells how far it is and, if it was interrupted, goes on from its last kept epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from roar.datasets import Normalization
from roar.jobs.stage import Desk
from roar.jobs.streaming import Stream
from roar.jobs.training.loop import TrainingLog, plan, train
from roar.models.regularizers import Regularizer
from roar.recipes import Recipe

CURVE = "curve"  # its name in a kept state


@dataclass
class Curve:
    """What is measured after every epoch, which a resumed training still knows."""

    measure: Callable[[], Sequence[float]]
    rows: list[list[float]] = field(default_factory=list)


def train_resumably(network: nn.Module, images: Tensor | Stream, labels: Tensor, recipe: Recipe,
                    normalization: Normalization, seed: int, desk: Desk, regularizer: Regularizer | None = None,
                    curve: Curve | None = None, prepare: bool = True) -> TrainingLog:
    """As :func:`roar.jobs.training.loop.train`, with the desk told of every epoch and keeping the state now and then.

    The network ends with the weights that it would have had without the interruption, bit for bit on a CPU.
    """
    _, batches, total = plan(recipe, len(images))
    resume = _kept(desk)
    if curve is not None and resume is not None:
        curve.rows[:] = resume[CURVE].tolist()

    def on_epoch(epoch: int, loss: float) -> None:
        if curve is not None:
            curve.rows.append(list(curve.measure()))
        desk.tell(min(1.0, epoch * batches / total), f"epoch {epoch}, loss {loss:.3f}")

    def keep(state: Callable[[], dict[str, Tensor]]) -> None:
        watched = {} if curve is None else {CURVE: torch.tensor(curve.rows, dtype=torch.float64)}
        desk.save(lambda: save({**state(), **watched}))

    return train(network, images, labels, recipe, normalization, seed, on_epoch=on_epoch, checkpoint=keep,
                 resume=resume, regularizer=regularizer, prepare=prepare)


def _kept(desk: Desk) -> Mapping[str, Tensor] | None:
    """The state of an interrupted run; a damaged one is worth nothing, and the training starts again."""
    data = desk.saved()
    try:
        return load(data) if data else None
    except SafetensorError:
        return None
