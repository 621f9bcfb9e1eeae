"""Rank the images of one shard by every requested estimator of one family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import nn

from roar.datasets import Normalization
from roar.estimators import TRUTH, Batch, Estimator, Explained, Passes, rank_images
from roar.experiment import EstimatorSettings
from roar.jobs.images import Images, Statistics, read_images, read_statistics
from roar.jobs.network import Network
from roar.jobs.stage import Desk, Product, Shared
from roar.jobs.streaming import part
from roar.jobs.train_model import load_network
from roar.store.artifacts import file_entry
from roar.store.shards import shard_bytes, shard_name


@dataclass(frozen=True)
class RankShard:
    """The work: images ``start`` to ``stop`` of a split, estimators that share their passes, one model.

    ``folders`` maps the name of each estimator to the folder of its shards, ``identities`` to what determines its
    ranks, ``inputs`` to the shared name of what it is made from besides images: of a matched-spectrum control
    its spectrum, of attributions made elsewhere what reads them.
    """

    estimators: tuple[Estimator, ...]
    split: str
    number: int
    start: int
    stop: int
    folders: dict[str, str]
    identities: dict[str, dict[str, Any]]
    settings: EstimatorSettings
    root_seed: int
    normalization: Normalization
    model: str | None = None  # the shared name of the weights; None where no network is explained
    network: Network | None = None
    memory_budget: float | None = None  # GB
    inputs: Mapping[str, str] = field(default_factory=dict)


def open_worker(shared: Shared, device: str) -> Ranker:
    return Ranker(shared, device, read_statistics(shared, "cpu"))


@dataclass(eq=False)
class Ranker:
    """Holds the images and the network at hand; each call ranks one shard."""

    shared: Shared
    device: str
    statistics: Statistics
    splits: dict[str, Images] = field(default_factory=dict)
    loaded: tuple[str, nn.Module] | None = None
    inputs: dict[str, Any] = field(default_factory=dict)  # by shared name; a spectrum takes a pass over a ranking

    def __call__(self, work: RankShard, desk: Desk) -> Product:
        if work.split not in self.splits:
            self.splits[work.split] = read_images(self.shared, work.split, "cpu")
        images = self.splits[work.split]
        rows = slice(work.start, work.stop)
        labels, indices = images.labels[rows].numpy(), images.indices[rows]
        pictures = part(images.images, work.start, work.stop)
        notes: dict[str, None] = {}
        ranked = rank_images(
            work.estimators,
            Batch(pictures, labels, indices, work.split, work.root_seed, self._truth(work), self._inputs(work)),
            self._explained(work), work.settings,
            Passes(self.device, work.memory_budget, say=lambda note: notes.update({note: None}),
                   on_progress=lambda done, total: desk.tell(done / max(1, total),
                                                             f"{work.split} shard {work.number}")))
        files, facts = {}, {}
        for name, folder in work.folders.items():
            path = f"{folder}/{shard_name(work.number)}"
            found = ranked[name]
            description = {"identity": work.identities[name], "split": work.split, "shard": work.number,
                           "images": len(indices), "tied_share": found.tied_share}
            files[path] = shard_bytes(indices, labels, np.asarray(found.targets), found.ranks, description)
            facts[path] = {**file_entry(files[path]), **description}
        return Product(files, {"shards": facts, "images": len(indices), "notes": list(notes)})

    def _inputs(self, work: RankShard) -> dict[str, np.ndarray]:
        """What estimators are made from besides images, by the estimator's name; maps those of the shard alone."""
        found, positions = {}, np.arange(work.start, work.stop, dtype=np.int64)
        for name, shared in work.inputs.items():
            if shared not in self.inputs:
                self.inputs[shared] = self.shared(shared)
            value = self.inputs[shared]
            found[name] = value(positions) if callable(value) else value
        return found

    def _truth(self, work: RankShard) -> np.ndarray | None:
        """The informative pixels of the shard, bool ``[n, H, W]``; ``None`` where no oracle asks for them."""
        if all(estimator.family != TRUTH for estimator in work.estimators):
            return None
        truth: np.ndarray = self.shared(f"{work.split}/truth")(np.arange(work.start, work.stop, dtype=np.int64))
        return truth

    def _explained(self, work: RankShard) -> Explained | None:
        """The network of a shard; kept until another one is asked for."""
        if work.model is None or work.network is None:
            return None
        if self.loaded is None or self.loaded[0] != work.model:
            self.loaded = (work.model, load_network(self.shared, work.network, work.model, self.device))
        return Explained(self.loaded[1], work.normalization, work.network.num_classes, self.statistics.mean.numpy())
