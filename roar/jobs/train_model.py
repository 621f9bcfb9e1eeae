"""Train one network to be explained, or take in the weights of one that somebody else trained."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import torch
from safetensors.torch import load
from torch import Tensor, nn

from roar import models
from roar.datasets import Normalization
from roar.errors import ModelError
from roar.jobs.images import Images, Statistics, read_images, read_statistics
from roar.jobs.network import Network
from roar.jobs.stage import Desk, Product, Shared
from roar.jobs.training.loop import TrainingLog, evaluate, logits
from roar.jobs.training.measures import calibration_error, loss_and_accuracy, sparsity, weight_norm
from roar.jobs.training.resume import Curve, train_resumably
from roar.recipes import Recipe
from roar.seeds.streams import derive, random_order
from roar.store.artifacts import artifact_files

WEIGHTS = "weights.safetensors"
HISTORY = "history.parquet"
SHUFFLED = "shuffled"  # labels


@dataclass(frozen=True)
class TrainModel:
    """The work: which network, how it is trained or whose weights it gets, and where it goes."""

    network: Network
    folder: str
    identity: dict[str, Any]
    root_seed: int
    seed: int
    recipe: Recipe
    weights: str | None = None  # the shared name of weights that somebody else trained
    normalize_mean: tuple[float, ...] | None = None
    normalize_std: tuple[float, ...] | None = None
    shuffled: bool = False  # trained on the training labels in another order, from which nothing can be learned


def build(network: Network, seed: int | None = None) -> nn.Module:
    """A network of the architecture asked for, with fresh weights."""
    return models.create(network.architecture, network.num_classes, network.in_channels, network.image_size, seed,
                         network.regularization.dropout)


def load_network(shared: Shared, network: Network, name: str, device: str) -> nn.Module:
    """A network with the weights of this shared name, in evaluation mode on a device."""
    body = build(network)
    body.load_state_dict(load(shared(name)))
    return body.to(device).eval()


def open_worker(shared: Shared, device: str) -> Trainer:
    return Trainer(shared, read_images(shared, "train", device), read_images(shared, "test", device),
                   read_statistics(shared, device), device)


@dataclass(frozen=True, eq=False)
class Trainer:
    """Holds the images; each call makes one network."""

    shared: Shared
    train_images: Images
    test_images: Images
    statistics: Statistics
    device: str

    def __call__(self, work: TrainModel, desk: Desk) -> Product:
        normalization = self._normalization(work)
        if work.weights is None:
            network, log, on_test = self._trained(work, normalization, desk)
        else:
            network = load_network(self.shared, work.network, work.weights, self.device)
            log, on_test = TrainingLog(0, 0, (), (), 0.0), []
        found = evaluate(network, self.test_images.images, self.test_images.labels, normalization)
        z, labels = logits(network, self.test_images.images, normalization), self.test_images.labels
        facts = {
            "test_accuracy": found.accuracy, "n_test": found.n, "epochs": log.epochs,
            "test_loss": loss_and_accuracy(z, labels)[0], "calibration_error": calibration_error(z, labels),
            "sparsity": sparsity(network), "weight_norm": weight_norm(network),
            "name": work.network.name, "regularizer": work.network.regularizer, "seed": work.seed,
            "weights": models.weights_hash(network.state_dict()),
            "normalize_mean": normalization.mean, "normalize_std": normalization.std,
            **({"batch_parts": log.parts} if log.parts > 1 else {}),
            **(self._fitted(network, work, normalization) if work.shuffled else {}),
        }
        files = {WEIGHTS: models.weights_bytes(network.state_dict()), HISTORY: _history(log, on_test)}
        return Product(artifact_files("model", work.folder, work.identity, files, {**facts, "device": self.device}),
                       facts)

    def _trained(self, work: TrainModel, normalization: Normalization,
                 desk: Desk) -> tuple[nn.Module, TrainingLog, list[list[float]]]:
        """The network, its log, and loss and accuracy on the test split after every epoch."""
        network = build(work.network, derive(work.root_seed, "explained initial weights", work.seed)).to(self.device)
        test = self.test_images
        curve = Curve(lambda: loss_and_accuracy(logits(network, test.images, normalization), test.labels))
        log = train_resumably(network, self.train_images.images, self._labels(work), work.recipe, normalization,
                              derive(work.root_seed, "explained training", work.seed), desk,
                              work.network.regularization, curve)
        return network, log, curve.rows

    def _labels(self, work: TrainModel) -> Tensor:
        """The training labels, int64 ``[N]``; shuffled ones are a permutation, so every class keeps its number."""
        labels = self.train_images.labels
        if not work.shuffled:
            return labels
        order = random_order(derive(work.root_seed, "shuffled labels", work.seed), 0, len(labels))
        return labels[torch.from_numpy(order).to(labels.device)]

    def _fitted(self, network: nn.Module, work: TrainModel, normalization: Normalization) -> dict[str, Any]:
        """How far a network fitted the shuffled labels: accuracy on the training images, not augmented, in [0, 1]."""
        fitted = evaluate(network, self.train_images.images, self._labels(work), normalization)
        return {"labels": SHUFFLED, "train_accuracy": fitted.accuracy}

    def _normalization(self, work: TrainModel) -> Normalization:
        own = self.statistics.normalization
        mean, std = work.normalize_mean or own.mean, work.normalize_std or own.std
        channels = work.network.in_channels
        for name, values in (("mean", mean), ("std", std)):
            if len(values) != channels:
                raise ModelError(f"normalize_{name} needs one number per channel, {channels}, not {len(values)}; "
                                 "give as many as the images have channels.")
        return Normalization(tuple(mean), tuple(std))


def _history(log: TrainingLog, on_test: list[list[float]]) -> bytes:
    """The learning curve, one row per epoch: loss (cross entropy, nats) and accuracy on the (augmented) training
    images as they were seen, and on the test split after the epoch."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"epoch": pa.array(range(1, len(log.loss) + 1), pa.int32()),
                      "train_loss": pa.array(log.loss, pa.float64()),
                      "train_accuracy": pa.array(log.accuracy, pa.float64()),
                      "test_loss": pa.array([loss for loss, _ in on_test], pa.float64()),
                      "test_accuracy": pa.array([accuracy for _, accuracy in on_test], pa.float64())})
    buffer = io.BytesIO()
    pq.write_table(table, buffer, write_page_checksum=True)
    return buffer.getvalue()
