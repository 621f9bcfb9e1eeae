"""An estimator on a few images: which rules of the contract it keeps, and what it costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from roar.errors import EstimatorError
from roar.estimators.batch import Batch, Explained, Passes, Task
from roar.estimators.kinds import Estimator, Explainer
from roar.estimators.ranking import rank_images, with_targets
from roar.estimators.untouched import untouched
from roar.experiment import EstimatorSettings

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Rule:
    """A rule of the contract; ``broken`` is the sentence that says how, ``None`` where it is kept."""

    text: str
    broken: str | None = None


@dataclass(frozen=True)
class Examination:
    """What an estimator did with a few images.

    Attributes:
        rules: up to the first that it broke, or all.
        notes: what it says of itself.
        tied_share: share of pixels that tie, in [0, 1].
        seconds, forward, backward: of one image; passes are counted in images.
    """

    rules: tuple[Rule, ...]
    notes: tuple[str, ...] = ()
    tied_share: float = float("nan")
    seconds: float = float("nan")
    forward: float = float("nan")
    backward: float = float("nan")

    @property
    def broken(self) -> str | None:
        """The first broken rule's sentence."""
        return next((rule.broken for rule in self.rules if rule.broken is not None), None)


def examine(estimator: Estimator, batch: Batch, explained: Explained, settings: EstimatorSettings) -> Examination:
    """Run the contract on some images.

    Raises:
        ModelError: the network does not take the images.
    """
    notes = dict.fromkeys(estimator.notes)
    passes = Passes(say=lambda note: notes.update({note: None}))
    rules: list[Rule] = []
    for text, check in _rules(estimator, batch, explained, settings, passes):
        try:
            check()
        except EstimatorError as error:
            return Examination((*rules, Rule(text, str(error))), tuple(notes))
        rules.append(Rule(text))
    task = _task(batch, explained, settings, passes)
    with _counted(explained.network) as counts:
        started = time.perf_counter()
        estimator.map_family([estimator], task)
        seconds = time.perf_counter() - started
    ranked = rank_images([estimator], batch, explained, settings, passes)[estimator.name]
    count = len(batch)
    return Examination(tuple(rules), tuple(notes), ranked.tied_share, seconds / count, counts[0] / count,
                       counts[1] / count)


def _rules(estimator: Estimator, batch: Batch, explained: Explained, settings: EstimatorSettings,
           passes: Passes) -> Iterator[tuple[str, Callable[[], Any]]]:
    """The rules in the order in which they build on each other."""
    yield ("finite attributions of the images' size, type and device, and a network left as it was",
           lambda: estimator.map_family([estimator], _task(batch, explained, settings, passes)))
    if isinstance(estimator, Explainer):
        task = _task(batch, explained, settings, passes)

        for text, check in estimator.method.checks(task, len(batch)).items():
            yield text, partial(_within, task, estimator.family, check)
    yield "ranks that are the same twice, whatever the batch", lambda: _check_ranks(
        estimator, batch, explained, settings)


def _task(batch: Batch, explained: Explained, settings: EstimatorSettings, passes: Passes) -> Task:
    import torch

    task = Task(torch.as_tensor(batch.images), np.asarray(batch.indices, np.int64), batch, settings, explained,
                say=passes.say)
    return with_targets(task, passes)


def _within(task: Task, family: str, check: Callable[[], None]) -> None:
    with untouched(task.network, family):
        check()


def _check_ranks(estimator: Estimator, batch: Batch, explained: Explained, settings: EstimatorSettings) -> None:
    """Refuse ranks that change from one call to the next.

    Raises:
        EstimatorError: they do.
    """
    first, again = (rank_images([estimator], batch, explained, settings)[estimator.name].ranks for _ in range(2))
    if not np.array_equal(first, again):
        raise EstimatorError(f"'{estimator.name}' ranked {int((first != again).any(axis=1).sum())} of {len(batch)} "
                             "images otherwise when it was asked again; keep no state from call to call.")


@contextmanager
def _counted(network: nn.Module) -> Iterator[list[int]]:
    """Count the images that go through a network, forward and backward."""
    counts = [0, 0]

    def backward(gradient: Tensor) -> None:
        counts[1] += len(gradient)

    def forward(module: nn.Module, given: tuple[Any, ...], logits: Any) -> None:
        counts[0] += len(logits)
        if logits.requires_grad:
            logits.register_hook(backward)

    handle = network.register_forward_hook(forward)
    try:
        yield counts
    finally:
        handle.remove()


def untrained(network: nn.Module) -> nn.Module:
    """A fresh network away from the point where it begins, for there it is special: all biases are zero, so that its
    gradient is the same along a ray, which hides what is random."""
    import torch

    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in [*network.named_parameters(), *network.named_buffers()]:
            if tensor.ndim == 1 and tensor.is_floating_point() and not name.endswith("running_var"):
                tensor.add_(0.1 * torch.randn(tensor.shape, generator=generator))
    return network.eval()
