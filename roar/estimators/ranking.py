"""The way from a network and images to ranks, for all estimators asked for at once.

    images --normalise--> x --family: g, mean and variance of g(x + e_j)--> attributions of each member
           --unit--> scores [B, P] --ranks.rank_scores--> ranks [B, P]
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from roar.errors import EstimatorError
from roar.estimators.family import Normalisation, Task, family_scores, passes_per_image
from roar.estimators.methods.matched_spectrum import checked_spectrum, surrogate_ranks
from roar.estimators.methods.oracle import checked_truth
from roar.estimators.network_checks import check_classes, checked_logits
from roar.estimators.ranks import rank_scores, rank_type
from roar.estimators.registry import Control, Explainer, Oracle, Surrogate, find, resolve
from roar.estimators.rows import rows_that_fit
from roar.estimators.units import pixels_ranked
from roar.estimators.untouched import untouched
from roar.experiment import EstimatorSettings
from roar.seeds.streams import derive

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

NO_TARGET = -1  # a control, an oracle or a surrogate explains no class


@dataclass(frozen=True, eq=False)
class RankedImages:
    """One estimator's answer for some images.

    Attributes:
        ranks: ``[N, P]`` in ``0 .. P - 1``, 0 the most important; the smallest unsigned type that holds P - 1.
        targets: the class explained, int32 ``[N]``; -1 for what explains no network.
        tied_share: share of pixels whose score equals another's of the same image.
    """

    ranks: np.ndarray
    targets: np.ndarray
    tied_share: float


def rank_images(network: nn.Module | None, images: np.ndarray | Tensor, labels: np.ndarray,
                indices: np.ndarray, normalisation: Normalisation, names: Iterable[str],
                settings: EstimatorSettings, root_seed: int, split: str, *, device: str | torch.device = "cpu",
                channel_mean: np.ndarray | None = None, num_classes: int | None = None,
                memory_budget: float | None = None, batch_size: int | None = None,
                on_progress: Callable[[int, int], None] | None = None,
                truth: np.ndarray | None = None, spectra: Mapping[str, np.ndarray] | None = None,
                lots: int | None = None) -> dict[str, RankedImages]:
    """The ranks that estimators give to images.

    The result for an image depends on the network, the image, its index, the settings, the seed and the
    split, and not on the other images; the batch size moves scores by no more than float32's rounding.

    Args:
        network: gives logits ``[N, K]`` from normalised images; left as it is found (where it is not on
            ``device``, a copy goes there). ``None`` will do where nothing that explains it is asked for.
        images: uint8 ``[N, C, H, W]``.
        labels: ``[N]``.
        indices: position of each image in its split, ``[N]``.
        names: estimators, aliases and groups.
        settings: parameters of the estimators; ``names`` and ``shard_size`` of it are not looked at.
        root_seed, split: of the noise and of the lots that break ties.
        channel_mean: mean colour of the training split in 8-bit units, ``[C]``: the reference image ``mean``
            of integrated gradients; ``None``: the normalisation's mean.
        num_classes: of the source; ``None``: labels show it.
        memory_budget: GB for the activations of a pass; ``None``: see ``rows.rows_that_fit``.
        batch_size: images per pass, instead of what the budget gives.
        on_progress: called with passes done and passes in all, counted per image.
        truth: which pixels are informative, bool ``[N, H, W]``; the oracles need it.
        spectra: of each surrogate's estimator, by the surrogate's name, float64 ``[1 or C, H, W]``; see
            ``surrogate.mean_periodogram``.
        lots: seed of the lots that break ties among scores; ``None``: derived from ``root_seed``.

    Returns:
        what each estimator gives, by its full name, in the order of ``names``.

    Raises:
        UnknownNameError: no such estimator.
        ModelError: the network does not take the images or does not give logits of their classes.
        EstimatorError: an estimator broke its contract or gave scores that are not finite.
        SourceError: an oracle is asked for, and the truth is not given or is not of the images' size.
    """
    import torch

    chosen = [find(name) for name in resolve(names)]
    pictures = torch.as_tensor(images).to(device)
    places = np.asarray(indices, dtype=np.int64)
    found: dict[str, RankedImages] = {}
    per_channel = settings.unit == "channel"
    planes = pictures.shape[1] if per_channel else 1
    for estimator in chosen:
        if isinstance(estimator, Control):
            ranks, tied_share = estimator.rank(pictures, places, root_seed, split, per_channel)
        elif isinstance(estimator, Surrogate):
            spectrum = checked_spectrum(spectra, estimator, planes, pictures.shape)
            ranks, tied_share = surrogate_ranks(spectrum, places, root_seed, split)
        elif isinstance(estimator, Oracle):
            informative = checked_truth(truth, estimator.name, pictures.shape)
            ranks, tied_share = estimator.rank(informative, places, root_seed, split, planes)
        else:
            continue
        found[estimator.name] = RankedImages(ranks, np.full(len(places), NO_TARGET, np.int32), tied_share)
    families: dict[str, list[Explainer]] = {}
    for estimator in chosen:
        if isinstance(estimator, Explainer):
            families.setdefault(estimator.family, []).append(estimator)
    if families:
        if network is None:
            raise EstimatorError(f"'{next(iter(families))}' explains a network and none was given; give one.")
        total = len(pictures) * sum(passes_per_image(family, settings) for family in families.values())
        there = _on_device(network, pictures.device)
        task = Task(there, pictures, np.asarray(labels, dtype=np.int64), places, normalisation, channel_mean,
                    settings, root_seed, split, _counter(total, on_progress))
        rows, targets = _rows_and_targets(task, num_classes, memory_budget, batch_size)
        for family in families.values():
            found |= _rank_family(task, family, targets, rows,
                                  derive(root_seed, "ties", split) if lots is None else lots)
    return {estimator.name: found[estimator.name] for estimator in chosen}


def _rows_and_targets(task: Task, num_classes: int | None, memory_budget: float | None,
                      batch_size: int | None) -> tuple[int, Tensor]:
    """How many images a pass takes, and the class explained of each image, int64 ``[N]``."""
    import torch

    if not len(task.pictures):
        return 1, torch.empty(0, dtype=torch.int64)
    with untouched(task.network, "roar"):
        with torch.no_grad():
            classes = checked_logits(task.network, task.images(slice(0, 1))).shape[1]
        check_classes(classes, task.labels, num_classes)
        rows = batch_size or rows_that_fit(task.network, task.images(slice(0, 1)), memory_budget)
        if task.settings.target == "label":
            return rows, torch.from_numpy(task.labels).to(task.pictures.device)
        with torch.no_grad():
            predicted = [checked_logits(task.network, task.images(block)).argmax(dim=1)
                         for block in _blocks(len(task.pictures), rows)]
        return rows, torch.cat(predicted)


def _rank_family(task: Task, family: Sequence[Explainer], targets: Tensor, rows: int,
                 lots: int) -> dict[str, RankedImages]:
    """The ranks of estimators that share one base, a few images at a time."""
    import torch

    count = len(task.pictures)
    pixels = pixels_ranked(task.pictures.shape, task.settings.unit == "channel")
    ranks = {estimator.name: np.empty((count, pixels), rank_type(pixels)) for estimator in family}
    tied = dict.fromkeys(ranks, 0)
    try:
        with untouched(task.network, family[0].family):
            for block in _blocks(count, rows):
                for name, scores in family_scores(task, family, targets[block], block, rows):
                    ranks[name][block], shared = rank_scores(scores, task.indices[block], lots)
                    tied[name] += shared
    except torch.OutOfMemoryError:
        raise EstimatorError(f"'{family[0].family}' ran out of memory on {targets.device} with {rows} images in a "
                             "pass; set a smaller compute.memory_budget.") from None
    explained = targets.cpu().numpy().astype(np.int32)
    return {name: RankedImages(ranks[name], explained, tied[name] / max(1, count * pixels)) for name in ranks}


def _blocks(count: int, rows: int) -> Iterator[slice]:
    """Slices of at most ``rows`` images that are as equal as can be."""
    blocks = -(-count // rows)
    edges = [count * block // blocks for block in range(blocks + 1)] if blocks else []
    return (slice(first, last) for first, last in pairwise(edges))


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
