"""The way from a network and images to ranks, for all estimators asked for at once.

    images --normalize--> x --family: g, mean and variance of g(x + e_j)--> attributions of each member
           --unit--> scores [B, P] --ranks.rank_scores--> ranks [B, P]
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from roar.errors import EstimatorError
from roar.estimators.batch import Batch, Explained, Passes, RankedImages, Task
from roar.estimators.kinds import Estimator, Explainer, blocks
from roar.estimators.network_checks import check_classes, checked_logits
from roar.estimators.rows import rows_that_fit
from roar.estimators.untouched import untouched
from roar.experiment import EstimatorSettings

if TYPE_CHECKING:
    import torch
    from torch import nn


def rank_images(estimators: Sequence[Estimator], batch: Batch, explained: Explained | None,
                settings: EstimatorSettings, passes: Passes | None = None) -> dict[str, RankedImages]:
    """The ranks that estimators give to images.

    The result for an image depends on the network, the image, its index, the settings, the seed and the
    split, and not on the other images; the batch size moves scores by no more than float32's rounding.

    Args:
        explained: ``None`` will do where no estimator explains a network.
        settings: parameters of the estimators; ``names`` and ``shard_size`` of it are not looked at.

    Returns:
        what each estimator gives, by its name, in the order of ``estimators``.

    Raises:
        ModelError: the network does not take the images or does not give logits of their classes.
        EstimatorError: an estimator broke its contract or gave scores that are not finite.
        SourceError: an oracle is asked for, and the truth is not given or is not of the images' size.
    """
    import torch

    passes = passes or Passes()
    pictures = torch.as_tensor(batch.images).to(passes.device)
    task = Task(pictures, np.asarray(batch.indices, dtype=np.int64), batch, settings, say=passes.say)
    several = sorted(families(estimators), key=lambda members: members[0].explains)
    found: dict[str, RankedImages] = {}
    for members in several:
        if members[0].explains and task.explained is None:
            task = _with_network(task, explained, passes, several)
        found |= members[0].rank_family(members, task)
    return {estimator.name: found[estimator.name] for estimator in estimators}


def families(estimators: Sequence[Estimator]) -> list[list[Estimator]]:
    """Estimators of one kind and family together, in the order of their first members."""
    found: dict[tuple[type, str], list[Estimator]] = {}
    for estimator in estimators:
        found.setdefault((type(estimator), estimator.family), []).append(estimator)
    return list(found.values())


def _with_network(task: Task, explained: Explained | None, passes: Passes,
                  several: Sequence[Sequence[Estimator]]) -> Task:
    """A task with the network on the images' device, what a pass takes, and the classes explained."""
    explainers = [[member for member in members if isinstance(member, Explainer)] for members in several]
    explainers = [members for members in explainers if members]
    if explained is None:
        raise EstimatorError(f"'{explainers[0][0].family}' explains a network and none was given; give one.")
    total = len(task.pictures) * sum(members[0].passes(members, task.settings) for members in explainers)
    network = _on_device(explained.network, task.pictures.device)
    return with_targets(replace(task, explained=replace(explained, network=network),
                                count_passes=_counter(total, passes.on_progress)), passes)


def with_targets(task: Task, passes: Passes) -> Task:
    """A task with the images that a pass takes, and the class explained of each image."""
    import torch

    if not len(task.pictures):
        return replace(task, targets=torch.empty(0, dtype=torch.int64))
    assert task.explained is not None
    labels = np.asarray(task.batch.labels, dtype=np.int64)
    with untouched(task.network, "roar"):
        with torch.no_grad():
            classes = checked_logits(task.network, task.images(slice(0, 1))).shape[1]
        check_classes(classes, labels, task.explained.num_classes)
        rows = passes.batch_size or rows_that_fit(task.network, task.images(slice(0, 1)), passes.memory_budget)
        if task.settings.target == "label":
            return replace(task, rows=rows, targets=torch.from_numpy(labels).to(task.pictures.device))
        with torch.no_grad():
            predicted = [checked_logits(task.network, task.images(block)).argmax(dim=1)
                         for block in blocks(len(task.pictures), rows)]
        return replace(task, rows=rows, targets=torch.cat(predicted))


def _on_device(network: nn.Module, device: torch.device) -> nn.Module:
    """The network itself, or a copy where it is somewhere else."""
    here = all(tensor.device == device for tensor in [*network.parameters(), *network.buffers()])
    return network if here else copy.deepcopy(network).to(device)


def _counter(total: int, on_progress: Callable[[int, int], None] | None) -> Callable[[int], None]:
    done = 0

    def count(passes: int) -> None:
        nonlocal done
        done += passes
        if on_progress is not None:
            on_progress(done, total)

    return count
