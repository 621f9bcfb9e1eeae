"""Recursive ROAR: after every step the pixels are ranked again, by the network that was trained on what is left.

Madsen et al. 2022, "Evaluating the Faithfulness of Importance Measures in NLP by Recursively Masking Allegedly
Important Tokens and Retraining" (arXiv:2110.08412). Where one feature is as good as another, a network may use one and
ignore the other until the first is gone; a ranking that is made once cannot know that, the next network's can.

A chain is one estimator E and one seed with thresholds t_1 < t_2 < ... Network 0 is trained on intact images. E ranks
the images degraded at t_i by network i; what is replaced stays replaced, and the next k_(i+1) - k_i pixels of that
ranking join it; network i + 1 is trained from scratch on the images degraded so, with the same seed. The accumulated
set is kept as ranks, those replaced first, so each step degrades the original images, by the fill, under the whole set.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load, save
from torch import Tensor, nn

from roar.datasets.degradation import degrade, replaced_count
from roar.datasets.fills.base import FillContext
from roar.errors import RoarError, TrainingError
from roar.estimators import Batch, Estimator, Explained, Passes, rank_images
from roar.estimators.ranks import accumulated
from roar.experiment import EstimatorSettings
from roar.jobs.images import Images, Statistics, as_tensor, read_images, read_statistics
from roar.jobs.stage import Desk, Product, Shared
from roar.jobs.training.loop import TrainingLog, evaluate, train
from roar.metrics.retraining.job import Job
from roar.metrics.retraining.worker import Trained, fresh_network, row_file, trained_packed, training_seed

_PROGRESS = "progress"  # its name in a kept state


@dataclass(frozen=True)
class Recurse:
    """The work: chains of one network and recipe, trained side by side in packs of ``pack`` as ``Retrain`` does.

    Attributes:
        chains: each the jobs of one estimator and one seed, by rising threshold.
        estimators: by the names that the jobs have.
    """

    chains: tuple[tuple[Job, ...], ...]
    estimators: Mapping[str, Estimator]
    root_seed: int
    settings: EstimatorSettings
    pack: int = 1
    memory_budget: float | None = None  # GB


@dataclass(eq=False)
class Chain:
    """How far a chain is: the ranks of its images by split, ``[N, P]``, its rows by path, and why it stopped.

    ``spent``: seconds for what no row has counted yet, network 0 and the ranking that the next row stands on.
    """

    jobs: tuple[Job, ...]
    ranks: dict[str, np.ndarray] = field(default_factory=dict)
    rows: dict[str, str] = field(default_factory=dict)
    accuracies: list[float] = field(default_factory=list)
    error: str | None = None
    spent: float = 0.0

    def goes_on_at(self, step: int) -> bool:
        return self.error is None and step <= len(self.jobs)


def open_worker(shared: Shared, device: str) -> Recurser:
    return Recurser(device, {split: read_images(shared, split, device) for split in ("train", "test")},
                    read_statistics(shared, device))


@dataclass(eq=False)
class Recurser:
    """Holds the images; each call makes the rows of some chains."""

    device: str
    images: dict[str, Images]
    statistics: Statistics

    def __call__(self, work: Recurse, desk: Desk) -> Product:
        chains, first = _kept(work, desk)
        last = max(map(len, work.chains))
        for step in range(first, last + 1):
            self._step(work, [chain for chain in chains if chain.goes_on_at(step)], step, last, desk)
            desk.save(partial(_state, chains, step + 1))
        accuracies = [accuracy for chain in chains for accuracy in chain.accuracies]
        mean = {"accuracy": sum(accuracies) / len(accuracies)} if accuracies else {}
        errors = [chain.error for chain in chains if chain.error for _ in chain.jobs[len(chain.accuracies):]]
        return Product({path: text.encode() for chain in chains for path, text in chain.rows.items()},
                       {**mean, "errors": errors})

    def _step(self, work: Recurse, chains: Sequence[Chain], step: int, last: int, desk: Desk) -> None:
        """Train network ``step`` of every chain, note its row, and rank by it what is to be replaced next."""
        if not chains:
            return

        def tell(epoch: int, loss: float) -> None:
            share = (step + epoch / chains[0].jobs[0].recipe.epochs) / (last + 1)
            desk.tell(min(1.0, share), f"network {step}, epoch {epoch}, loss {loss:.3f}")

        started = time.perf_counter()
        degraded = [{split: self._degraded(work, chain, step, split) for split in self.images} for chain in chains]
        networks = [fresh_network(work.root_seed, chain.jobs[0]).to(self.device) for chain in chains]
        trained = self._trained(work, chains, networks, degraded, tell)
        seconds = (time.perf_counter() - started) / len(chains)
        for chain, images, network, (log, found) in zip(chains, degraded, networks, trained, strict=True):
            if not isinstance(log, TrainingLog):
                self._stop(chain, str(log))
                continue
            chain.spent += seconds
            if step > 0 and found is not None:
                path, row = row_file(chain.jobs[step - 1], found.n, log, found, self.device, chain.spent)
                chain.rows[path] = row.decode()
                chain.accuracies.append(found.accuracy)
                chain.spent = 0.0
            if step < len(chain.jobs):
                started = time.perf_counter()
                try:
                    self._rank(work, chain, images, network, step)
                except RoarError as error:
                    self._stop(chain, str(error))
                chain.spent += time.perf_counter() - started

    def _trained(self, work: Recurse, chains: Sequence[Chain], networks: Sequence[nn.Module],
                 degraded: Sequence[dict[str, Tensor]], tell: Callable[[int, float], None]) -> list[Trained]:
        job, labels, normalization = chains[0].jobs[0], self.images["train"].labels, self.statistics.normalization
        regularizer = job.network.regularization
        seeds = [training_seed(work.root_seed, chain.jobs[0]) for chain in chains]
        if work.pack > 1:
            return trained_packed(networks, [(images["train"], images["test"]) for images in degraded], labels,
                                  self.images["test"].labels, job.recipe, normalization, seeds, work.pack, tell,
                                  regularizer)
        try:
            log = train(networks[0], degraded[0]["train"], labels, job.recipe, normalization, seeds[0], tell,
                        regularizer=regularizer)
        except TrainingError as error:
            return [(error, None)]
        return [(log, evaluate(networks[0], degraded[0]["test"], self.images["test"].labels, normalization))]

    def _degraded(self, work: Recurse, chain: Chain, step: int, split: str) -> Tensor:
        """The original images under all that is replaced up to a step."""
        images = self.images[split].images
        assert isinstance(images, Tensor)  # streams are refused before a chain begins
        if step == 0:
            return images
        job = chain.jobs[step - 1]
        assert job.fill is not None  # a chain replaces pixels
        context = FillContext(self.statistics.mean, work.root_seed, split, as_tensor(self.images[split].indices))
        ranks = as_tensor(chain.ranks[split]).to(images.device)
        return degrade(images, ranks, job.row["threshold"], "roar", job.fill, context)

    def _rank(self, work: Recurse, chain: Chain, degraded: dict[str, Tensor], network: nn.Module, step: int) -> None:
        """Rank the images as they are now, and put what is replaced already before it."""
        job, threshold = chain.jobs[0], chain.jobs[step - 1].row["threshold"] if step else 0.0
        network.to(memory_format=torch.contiguous_format).eval()  # as it would be loaded, alone or from a pack
        for split, images in self.images.items():
            name = job.row["estimator"]
            found = rank_images(
                [work.estimators[name]],
                Batch(degraded[split], images.labels.cpu().numpy(), images.indices, split, work.root_seed),
                Explained(network, self.statistics.normalization, job.network.num_classes,
                          self.statistics.mean.cpu().numpy()),
                work.settings, Passes(self.device, work.memory_budget))[name]
            before = chain.ranks.get(split, found.ranks)
            chain.ranks[split] = accumulated(before, replaced_count(threshold, before.shape[1]), found.ranks)

    def _stop(self, chain: Chain, reason: str) -> None:
        """End a chain: the rows that it has not made say why."""
        chain.error = reason
        for job in chain.jobs[len(chain.accuracies):]:
            path, row = row_file(job, len(self.images["test"].labels), reason)
            chain.rows[path] = row.decode()


def _state(chains: Sequence[Chain], step: int) -> bytes:
    """What is needed to go on with a step, as safetensors."""
    told = {"step": step, "chains": [
        {"jobs": [job.key for job in chain.jobs], "rows": chain.rows, "accuracies": chain.accuracies,
         "error": chain.error, "spent": chain.spent} for chain in chains]}
    ranks = {f"{number}.{split}": ranks for number, chain in enumerate(chains) for split, ranks in chain.ranks.items()}
    state: bytes = save({**ranks, _PROGRESS: np.frombuffer(json.dumps(told).encode(), np.uint8)})
    return state


def _kept(work: Recurse, desk: Desk) -> tuple[list[Chain], int]:
    """The chains as an interrupted run left them, and the step they go on with; from the start where it left none."""
    data = desk.saved()
    try:
        arrays = load(data) if data else {}
    except SafetensorError:
        arrays = {}
    told: dict[str, Any] = json.loads(arrays.pop(_PROGRESS).tobytes()) if arrays else {"step": 0, "chains": []}
    if [chain["jobs"] for chain in told["chains"]] != [[job.key for job in jobs] for jobs in work.chains]:
        return [Chain(jobs) for jobs in work.chains], 0  # another run has done some of them meanwhile, or none was kept
    found = [Chain(jobs, {}, chain["rows"], chain["accuracies"], chain["error"], chain["spent"])
             for jobs, chain in zip(work.chains, told["chains"], strict=True)]
    for name, ranks in arrays.items():
        number, split = name.split(".")
        found[int(number)].ranks[split] = ranks
    return found, told["step"]
