"""Retrain networks on degraded images and keep one row for each."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor, nn

from roar.datasets import Normalization
from roar.datasets.degradation import degrade
from roar.datasets.fills.base import FillContext
from roar.errors import TrainingError
from roar.jobs.images import Images, Statistics, as_tensor, read_images, read_statistics
from roar.jobs.stage import Desk, Product, Shared
from roar.jobs.streaming import Cell, Stream
from roar.jobs.train_model import build, load_network
from roar.jobs.training.loop import Evaluation, TrainingLog, evaluate
from roar.jobs.training.packing import evaluate_packed, train_packed
from roar.jobs.training.resume import train_resumably
from roar.metrics.retraining.job import HEAD_ONLY, Job
from roar.models import head_only
from roar.models.regularizers import Regularizer
from roar.recipes import Recipe
from roar.seeds.streams import derive
from roar.store.results import result_file
from roar.store.shards import RankReader

Trained = tuple[TrainingLog | TrainingError, Evaluation | None]


@dataclass(frozen=True)
class Retrain:
    """The work: jobs of one network and recipe, trained side by side in packs of ``pack``, and the root of their seeds.

    A pack is always full, the last job repeated where there are too few: in a full pack a network's bytes depend
    neither on its neighbors nor on its place (for sizes that are multiples of four, see ``packing``).
    """

    jobs: tuple[Job, ...]
    root_seed: int
    pack: int = 1


def open_worker(shared: Shared, device: str) -> Retrainer:
    return Retrainer(shared, device, read_images(shared, "train", device), read_images(shared, "test", device),
                     read_statistics(shared, device))


@dataclass(eq=False)
class Retrainer:
    """Holds the images, and those of the cells at hand: the seeds of a cell come one after another."""

    shared: Shared
    device: str
    train_images: Images
    test_images: Images
    statistics: Statistics
    cells: dict[tuple[object, ...], tuple[Tensor | Stream, Tensor | Stream]] = field(default_factory=dict)

    def __call__(self, work: Retrain, desk: Desk) -> Product:
        started = time.perf_counter()
        trained = self._packed(work, desk) if work.pack > 1 else [self._alone(work, desk)]
        seconds = (time.perf_counter() - started) / len(work.jobs)
        found = dict(row_file(job, len(self.test_images.labels), log, evaluation, self.device, seconds)
                     for job, (log, evaluation) in zip(work.jobs, trained, strict=True))
        accuracies = [evaluation.accuracy for _, evaluation in trained if evaluation]
        mean = {"accuracy": sum(accuracies) / len(accuracies)} if accuracies else {}
        errors = [str(log) for log, _ in trained if isinstance(log, TrainingError)]
        return Product(found, {**mean, "errors": errors})

    def _alone(self, work: Retrain, desk: Desk) -> Trained:
        job = work.jobs[0]
        train_images, test_images = self._degraded(work, job, desk)
        network, normalization = self._network(work, job), self._normalization(job)
        log = train_resumably(network, train_images, self.train_images.labels, job.recipe, normalization,
                              training_seed(work.root_seed, job), desk, job.network.regularization,
                              prepare=job.start is None)
        return log, evaluate(network, test_images, self.test_images.labels, normalization)

    def _packed(self, work: Retrain, desk: Desk) -> list[Trained]:
        first = work.jobs[0]

        def on_epoch(epoch: int, loss: float) -> None:
            desk.tell(epoch / first.recipe.epochs, f"epoch {epoch}, loss {loss:.3f}")

        images = [self._degraded(work, job, desk) for job in work.jobs]
        networks = [self._network(work, job) for job in work.jobs]
        seeds = [training_seed(work.root_seed, job) for job in work.jobs]
        return trained_packed(networks, images, self.train_images.labels, self.test_images.labels, first.recipe,
                              self._normalization(first), seeds, work.pack, on_epoch, first.network.regularization)

    def _network(self, work: Retrain, job: Job) -> nn.Module:
        """With the initial weights of its seed, or with those of the explained network for every seed."""
        if job.start is None:
            return fresh_network(work.root_seed, job).to(self.device)
        network = load_network(self.shared, job.network, job.start.model, "cpu")
        if job.start.variant == HEAD_ONLY:
            network = head_only(network, job.network.image)
        return network.to(self.device)

    def _normalization(self, job: Job) -> Normalization:
        return self.statistics.normalization if job.start is None else job.start.normalization

    def _degraded(self, work: Retrain, job: Job, desk: Desk) -> tuple[Tensor | Stream, Tensor | Stream]:
        """Both splits of a job's cell, degraded once for all of its seeds, or streams that degrade."""
        cell = _cell(job)
        if cell is None:
            return self.train_images.images, self.test_images.images
        if cell not in self.cells:
            wanted = {_cell(other) for other in work.jobs}
            self.cells = {kept: images for kept, images in self.cells.items() if kept in wanted}
            self.cells[cell] = (self._split(work, job, desk, "train", self.train_images),
                                self._split(work, job, desk, "test", self.test_images))
        return self.cells[cell]

    def _split(self, work: Retrain, job: Job, desk: Desk, split: str, images: Images) -> Tensor | Stream:
        assert job.fill is not None  # it has a ranking
        row, ranks = job.row, self.shared(f"{job.ranking}/{split}")
        context = FillContext(self.statistics.mean, work.root_seed, split, as_tensor(images.indices))
        how = (row["threshold"], row["mode"], job.fill, context)
        if isinstance(images.images, Stream):
            return replace(images.images, cell=Cell(RankReader(ranks, desk.artifact), *how))
        return degrade(images.images, as_tensor(ranks).to(images.images.device), *how)


def trained_packed(networks: Sequence[nn.Module], images: Sequence[tuple[Tensor | Stream, Tensor | Stream]],
                   labels: Tensor, test_labels: Tensor, recipe: Recipe, normalization: Normalization,
                   seeds: Sequence[int], pack: int, on_epoch: Callable[[int, float], None],
                   regularizer: Regularizer) -> list[Trained]:
    """Train networks side by side in full packs, each on its own training images, and evaluate each on its own test
    images; a network that diverges has an error in the place of its log, and no evaluation."""
    full = [*range(len(networks)), *[len(networks) - 1] * (-len(networks) % pack)]
    logs = train_packed([networks[i] for i in full], [images[i][0] for i in full], labels, recipe, normalization,
                        [seeds[i] for i in full], pack, on_epoch, regularizer)
    whole = [i for i in full if isinstance(logs[i], TrainingLog)]
    found = evaluate_packed([networks[i] for i in whole], [images[i][1] for i in whole], test_labels, normalization,
                            pack) if whole else []
    evaluations = dict(zip(whole, found, strict=True))
    return [(logs[i], evaluations.get(i)) for i in range(len(networks))]


def fresh_network(root_seed: int, job: Job) -> nn.Module:
    """With the initial weights of the job's seed."""
    return build(job.network, derive(root_seed, "initial weights", job.row["seed"]))


def training_seed(root_seed: int, job: Job) -> int:
    return derive(root_seed, "training", job.row["seed"])


def row_file(job: Job, n_test: int, log: TrainingLog | TrainingError | str, found: Evaluation | None = None,
             device: str = "", seconds: float | None = None) -> tuple[str, bytes]:
    """The path and the bytes of a job's row; ``log`` is the reason where it failed."""
    done = isinstance(log, TrainingLog)
    return result_file(job.key, {
        **job.row, "status": "ok" if done else "failed", "accuracy": found.accuracy if found else None,
        "n_test": n_test, "epochs": log.epochs if isinstance(log, TrainingLog) else 0,
        "train_seconds": None if seconds is None else round(seconds, 3), "device": device, "job": job.key,
        "message": _note(log) if isinstance(log, TrainingLog) else str(log),
        "class_accuracy": list(found.class_accuracy) if found else None,
    }, job.identity)


def _note(log: TrainingLog) -> str:
    """What is to be known of a training that went well."""
    return "" if log.parts == 1 else ("A batch did not fit into the memory and went through the network in 2 halves, "
                                      "so batch norm saw half a batch.")


def _cell(job: Job) -> tuple[object, ...] | None:
    """What decides the images that a job sees; ``None`` where nothing is replaced."""
    row = job.row
    return None if job.ranking is None else (job.ranking, row["mode"], row["fill"], row["threshold"])
