"""Rank the images of one shard by every requested estimator of one family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import nn

from roar.datasets import Normalisation
from roar.estimators import TRUTH, find, rank_images
from roar.experiment import EstimatorSettings
from roar.jobs.images import Images, Statistics, read_images, read_statistics
from roar.jobs.network import Network
from roar.jobs.stage import Desk, Product, Shared
from roar.jobs.streaming import part
from roar.jobs.train_model import load_network
from roar.store.artefacts import file_entry
from roar.store.shards import shard_bytes, shard_name


@dataclass(frozen=True)
class RankShard:
    """The work: images ``start`` to ``stop`` of a split, estimators that share their passes, one model.

    ``folders`` maps each estimator to the folder of its shards, ``identities`` to what determines its ranks.
    """

    split: str
    number: int
    start: int
    stop: int
    folders: dict[str, str]
    identities: dict[str, dict[str, Any]]
    settings: EstimatorSettings
    root_seed: int
    normalisation: Normalisation
    model: str | None = None  # the shared name of the weights; None where no network is explained
    network: Network | None = None
    memory_budget: float | None = None  # GB
    spectra: Mapping[str, str] = field(default_factory=dict)  # of surrogates: the shared name of each one's spectrum


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
    spectra: dict[str, np.ndarray] = field(default_factory=dict)  # by shared name; each takes a pass over a ranking

    def __call__(self, work: RankShard, desk: Desk) -> Product:
        if work.split not in self.splits:
            self.splits[work.split] = read_images(self.shared, work.split, "cpu")
        images = self.splits[work.split]
        rows = slice(work.start, work.stop)
        labels, indices = images.labels[rows].numpy(), images.indices[rows]
        pictures = part(images.images, work.start, work.stop)
        ranked = rank_images(
            self._network(work), pictures, labels, indices, work.normalisation, list(work.folders),
            work.settings, work.root_seed, work.split, device=self.device, memory_budget=work.memory_budget,
            channel_mean=self.statistics.mean.numpy(), num_classes=work.network.num_classes if work.network else None,
            truth=self._truth(work), spectra=self._spectra(work),
            on_progress=lambda done, total: desk.tell(done / max(1, total), f"{work.split} shard {work.number}"))
        files, facts = {}, {}
        for name, folder in work.folders.items():
            path = f"{folder}/{shard_name(work.number)}"
            found = ranked[name]
            description = {"identity": work.identities[name], "split": work.split, "shard": work.number,
                           "images": len(indices), "tied_share": found.tied_share}
            files[path] = shard_bytes(indices, labels, np.asarray(found.targets), found.ranks, description)
            facts[path] = {**file_entry(files[path]), **description}
        return Product(files, {"shards": facts, "images": len(indices)})

    def _spectra(self, work: RankShard) -> dict[str, np.ndarray]:
        """The spectrum of each surrogate's estimator, by the surrogate's name."""
        for shared in work.spectra.values():
            if shared not in self.spectra:
                self.spectra[shared] = self.shared(shared)
        return {name: self.spectra[shared] for name, shared in work.spectra.items()}

    def _truth(self, work: RankShard) -> np.ndarray | None:
        """The informative pixels of the shard, bool ``[n, H, W]``; ``None`` where no oracle asks for them."""
        if all(find(name).family != TRUTH for name in work.folders):
            return None
        truth: np.ndarray = self.shared(f"{work.split}/truth")(np.arange(work.start, work.stop, dtype=np.int64))
        return truth

    def _network(self, work: RankShard) -> nn.Module | None:
        """The network of a shard; kept until another one is asked for."""
        if work.model is None or work.network is None:
            return None
        if self.loaded is None or self.loaded[0] != work.model:
            self.loaded = (work.model, load_network(self.shared, work.network, work.model, self.device))
        return self.loaded[1]
