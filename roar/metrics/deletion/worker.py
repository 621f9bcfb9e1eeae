"""Deletion without retraining: the explained network itself on the degraded test images.

The usual, cheap metric (Samek et al. 2017, arXiv:1509.06321; Petsiuk et al. 2018, arXiv:1806.07421): modes `roar` and
`kar` are its deletion and its insertion, and with the fill `noisy-linear` it is ROAD (Rong et al. 2022). It cannot tell
missing information from images that are unlike any the network has seen, which is why ROAR retrains.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from torch import Tensor, nn

from roar.datasets import Normalization
from roar.datasets.degradation import degrade
from roar.datasets.fills.base import Fill, FillContext
from roar.jobs.images import Images, Statistics, as_tensor, read_images, read_statistics
from roar.jobs.network import Network
from roar.jobs.stage import Desk, Product, Shared
from roar.jobs.streaming import Cell, Stream
from roar.jobs.train_model import load_network
from roar.jobs.training.loop import logits
from roar.store.artifacts import artifact_files
from roar.store.parquet import parquet_bytes
from roar.store.shards import RankReader

CURVES = "curves.parquet"
IMAGES = "images.parquet"


@dataclass(frozen=True)
class Delete:
    """The work: one model, one ranking, every mode and threshold.

    ``row`` holds the columns that say which model and estimator it is.
    """

    folder: str
    identity: dict[str, Any]
    row: dict[str, Any]
    ranking: str
    modes: tuple[str, ...]
    fill: Fill
    thresholds: tuple[float, ...]
    model: str  # the shared name of the weights
    network: Network
    normalization: Normalization
    root_seed: int


def open_worker(shared: Shared, device: str) -> Deleter:
    return Deleter(shared, device, read_images(shared, "test", device), read_statistics(shared, device))


@dataclass(eq=False)
class Deleter:
    """Holds the test images and the network at hand; each call makes one estimator's curves."""

    shared: Shared
    device: str
    images: Images
    statistics: Statistics
    loaded: tuple[str, nn.Module] | None = None
    intact: Tensor = field(init=False)  # the network's logits for the untouched images, [N, K]

    def __call__(self, work: Delete, desk: Desk) -> Product:
        network = self._network(work)
        curves, images = [], []
        cells = [(mode, threshold) for mode in work.modes for threshold in work.thresholds]
        for done, (mode, threshold) in enumerate(cells, start=1):
            untouched = threshold == 0 and not work.fill.whole
            z = self.intact if untouched else logits(network, self._degraded(work, mode, threshold, desk),
                                                     work.normalization)
            correct = (z.argmax(1) == self.images.labels.to(z.device)).cpu().numpy()
            probability = z.softmax(1).gather(1, self.intact.argmax(1, keepdim=True))[:, 0].cpu().numpy()
            curves.append({**work.row, "mode": mode, "fill": work.fill.name, "threshold": threshold,
                           "accuracy": float(correct.mean()), "probability": float(probability.mean(dtype=np.float64)),
                           "n_test": len(correct)})
            images.append((mode, threshold, correct, probability))
            desk.tell(done / len(cells), f"{work.row['estimator']} {threshold:g} %")
        files = {CURVES: _curves(curves), IMAGES: _images(self.images.indices, images)}
        return Product(artifact_files("deletion", work.folder, work.identity, files,
                                      {"device": self.device, **work.row}))

    def _degraded(self, work: Delete, mode: str, threshold: float, desk: Desk) -> Tensor | Stream:
        images, ranks = self.images.images, self.shared(f"{work.ranking}/test")
        context = FillContext(self.statistics.mean, work.root_seed, "test", as_tensor(self.images.indices))
        how = (threshold, mode, work.fill, context)
        if isinstance(images, Stream):
            return replace(images, cell=Cell(RankReader(ranks, desk.artifact), *how))
        return degrade(images, as_tensor(ranks).to(images.device), *how)

    def _network(self, work: Delete) -> nn.Module:
        if self.loaded is None or self.loaded[0] != work.model:
            self.loaded = (work.model, load_network(self.shared, work.network, work.model, self.device))
            self.intact = logits(self.loaded[1], self.images.images, work.normalization)
        return self.loaded[1]


def _curves(rows: list[dict[str, Any]]) -> bytes:
    import pyarrow as pa

    return parquet_bytes(pa.Table.from_pylist(rows))


def _images(indices: np.ndarray, rows: list[tuple[str, float, np.ndarray, np.ndarray]]) -> bytes:
    """Every image in every cell: was it right, and how probable was the class explained?"""
    import pyarrow as pa

    count = len(indices)
    return parquet_bytes(pa.table({
        "index": pa.array(np.tile(indices, len(rows)), pa.int64()),
        "mode": pa.array(np.repeat([mode for mode, *_ in rows], count)).dictionary_encode(),
        "threshold": pa.array(np.repeat([threshold for _, threshold, *_ in rows], count), pa.float64()),
        "correct": pa.array(np.concatenate([correct for *_, correct, _ in rows])),
        "probability": pa.array(np.concatenate([probability for *_, probability in rows]), pa.float32()),
    }))
