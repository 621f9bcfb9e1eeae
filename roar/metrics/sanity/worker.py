"""Does an estimator notice that the network it explains has lost what it learned?

The sanity checks of Adebayo et al. 2018 (NeurIPS, arXiv:1810.03292): the rankings of the trained network against those
of the same architecture with layers drawn anew (section 3.1, cascading from the output to the input, or one at a time)
or trained on shuffled labels (section 3.2). An estimator whose ranking stays the same explains something else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from torch import Tensor, nn

from roar.datasets import Normalization
from roar.errors import DamagedArtifactError
from roar.estimators import Batch, Estimator, Explained, Passes, rank_images
from roar.experiment import EstimatorSettings
from roar.jobs.images import Images, Statistics, read_images, read_statistics
from roar.jobs.network import Network
from roar.jobs.stage import Desk, Product, Shared
from roar.jobs.streaming import part
from roar.jobs.train_model import build, load_network
from roar.metrics.sanity.settings import FITTED_ON
from roar.metrics.similarity import Similarity, averages, image_table, joined, one_by_one
from roar.models.layers import Layer, fit_batch_norms, redraw
from roar.seeds.streams import derive
from roar.store.artifacts import artifact_files
from roar.store.parquet import parquet_bytes
from roar.store.shards import RankFolder, ShardRows, read_rows, shard_name

AVERAGES = "averages.parquet"
IMAGES = "images.parquet"
TOGETHER = 64  # images of a batch that batch norms are fitted on, at most


@dataclass(frozen=True)
class Check:
    """The work: one network that is randomized in one way, all estimators that explain it.

    Attributes:
        estimators: those that explain the network.
        row: the columns that say which network it is and how it is randomized.
        rankings: where each estimator's ranking of the real network lies.
        facts: the columns that say whose each of these rankings is.
        weights: the shared name of the real network's weights, or of those trained on shuffled labels.
        redrawn: the layers that are drawn anew; none where labels were shuffled.
        fitted: the batch norms whose running statistics are computed again for what is drawn anew.
        train_accuracy: of the network on the shuffled training labels, in [0, 1].
    """

    folder: str
    identity: dict[str, Any]
    estimators: tuple[Estimator, ...]
    row: dict[str, Any]
    rankings: Mapping[str, RankFolder]
    facts: Mapping[str, Mapping[str, str]]
    weights: str
    redrawn: tuple[Layer, ...]
    fitted: tuple[str, ...]
    network: Network
    normalization: Normalization
    settings: EstimatorSettings
    thresholds: tuple[float, ...]
    root_seed: int
    train_accuracy: float | None = None  # on shuffled labels
    memory_budget: float | None = None  # GB


def open_worker(shared: Shared, device: str) -> Checker:
    return Checker(shared, device, read_statistics(shared, "cpu"))


@dataclass(eq=False)
class Checker:
    """Holds the test images; each call randomizes a network and compares all rankings, shard by shard."""

    shared: Shared
    device: str
    statistics: Statistics
    images: Images = field(init=False)

    def __post_init__(self) -> None:
        self.images = read_images(self.shared, "test", "cpu")

    def __call__(self, work: Check, desk: Desk) -> Product:
        network, names = self._randomized(work), list(work.rankings)
        found: dict[str, list[Similarity]] = {name: [] for name in names}
        tied = dict.fromkeys(names, 0.0)
        count, size = len(self.images.indices), work.rankings[names[0]].shard_size
        pixels = 1
        for number, start in enumerate(range(0, count, size)):
            stop = min(start + size, count)
            first = self._real(work, names[0], number, start, stop, desk)
            ranked = self._ranked(work, network, first.targets, start, stop, desk)
            for name in names:
                real = first if name == names[0] else self._real(work, name, number, start, stop, desk)
                found[name].append(one_by_one(real.ranks, ranked[name].ranks, work.thresholds))
                tied[name] += ranked[name].tied_share * (stop - start) / count
            pixels = first.ranks.shape[1]
        return self._product(work, {name: joined(parts) for name, parts in found.items()}, tied, pixels)

    def _randomized(self, work: Check) -> nn.Module:
        """Each layer drawn anew has a seed of its own, so it is the same in every network that has it drawn anew.

        The running statistics of a fresh batch norm (mean 0, variance 1) are those of no images: with them activations
        may die out or explode from layer to layer, as the initializer has it, and the check would judge that.
        """
        network = load_network(self.shared, work.network, work.weights, "cpu")
        redraw(network, work.redrawn, lambda layer: fresh_state(work.network, work.root_seed, layer))
        network = network.to(self.device).eval()
        fit_batch_norms(network, work.fitted, self._normalized(work.normalization))
        return network

    def _normalized(self, normalization: Normalization) -> Iterator[Tensor]:
        """The first :data:`FITTED_ON` test images in batches of about equal size."""
        count = min(FITTED_ON, len(self.images.indices))
        batches = -(-count // TOGETHER)
        edges = [count * number // batches for number in range(batches + 1)]
        for first, last in pairwise(edges):
            yield normalization.apply(part(self.images.images, first, last).to(self.device))

    def _ranked(self, work: Check, network: nn.Module, targets: np.ndarray, start: int, stop: int,
                desk: Desk) -> Mapping[str, Any]:
        """The rankings of some images for the classes that are explained of the real network.

        Tied pixels fall by lots of their own: under those of the real ranking, ties in the same places would agree.
        """
        done, share = start / len(self.images.indices), (stop - start) / len(self.images.indices)
        return rank_images(
            work.estimators,
            Batch(part(self.images.images, start, stop), targets, self.images.indices[start:stop], "test",
                  work.root_seed, lots=derive(work.root_seed, "sanity", "ties")),
            Explained(network, work.normalization, work.network.num_classes, self.statistics.mean.numpy()),
            work.settings.model_copy(update={"target": "label"}),
            Passes(self.device, work.memory_budget, on_progress=lambda passes, total: desk.tell(
                done + share * passes / max(1, total), work.row["layers"])))

    def _real(self, work: Check, name: str, number: int, start: int, stop: int, desk: Desk) -> ShardRows:
        """One shard of an estimator's ranking of the real network."""
        folder = work.rankings[name].folder
        rows = read_rows(desk.artifact(folder, shard_name(number)), f"{folder}/{shard_name(number)}",
                         work.rankings[name].permutations)
        if not np.array_equal(rows.indices, self.images.indices[start:stop]):
            raise DamagedArtifactError(f"'{folder}/{shard_name(number)}' has ranks of other images; "
                                       "`roar verify --repair` makes it again.")
        return rows

    def _product(self, work: Check, found: Mapping[str, Similarity], tied: Mapping[str, float],
                 pixels: int) -> Product:
        import pyarrow as pa

        fitted = float("nan") if work.train_accuracy is None else work.train_accuracy
        rows = [{**work.row, "train_accuracy": fitted, **work.facts[name], "tied_share": tied[name], **measured}
                for name, own in found.items() for measured in averages(own, work.thresholds, pixels)]
        table = image_table({"estimator": list(found)}, self.images.indices, list(found.values()))
        files = {AVERAGES: parquet_bytes(pa.Table.from_pylist(rows)), IMAGES: parquet_bytes(table)}
        return Product(artifact_files("sanity", work.folder, work.identity, files,
                                      {**work.row, "device": self.device}))


def fresh_state(network: Network, root_seed: int, layer: Layer) -> Mapping[str, Any]:
    """A network of the architecture as it begins, drawn for one layer."""
    return build(network, derive(root_seed, "sanity", layer.name)).state_dict()


def names_of(chosen: Sequence[Layer]) -> str:
    """What to call a group of layers: its one name, or the first and the last."""
    return chosen[0].name if len(chosen) == 1 else f"{chosen[0].name} … {chosen[-1].name}"
