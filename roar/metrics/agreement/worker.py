"""Do two rankings name the same pixels? Every two estimators of a network, or every two networks of one estimator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from roar.analysis.noise import samples_for
from roar.jobs.stage import Desk, Product, Shared
from roar.metrics.similarity import Similarity, averages, every_two, image_table, images_at_a_time, joined
from roar.store.artifacts import artifact_files
from roar.store.parquet import parquet_bytes
from roar.store.shards import RankFolder, RankReader

PAIRS = "pairs.parquet"
IMAGES = "images.parquet"
NOISE = "noise"  # the comparison of one estimator's rankings under several noise seeds
SEEDS = ("noise_seed", "other_noise_seed")


@dataclass(frozen=True)
class Member:
    """One ranking that is compared: whose it is, and where it lies."""

    model: Mapping[str, Any]  # the columns that say which network it is of
    estimator: Mapping[str, str]  # and which estimator's
    tied_share: float
    where: RankFolder
    noise_seed: int = 0
    samples: int = 0  # J of an ensemble


@dataclass(frozen=True)
class Agree:
    """The work: within each group every two members, over all images of the test split.

    ``row`` holds the columns that all pairs share.
    """

    folder: str
    identity: dict[str, Any]
    row: dict[str, Any]
    groups: tuple[tuple[Member, ...], ...]
    thresholds: tuple[float, ...]


def open_worker(shared: Shared, device: str) -> Agreer:
    return Agreer(np.asarray(shared("test/indices")), device)


@dataclass(frozen=True, eq=False)
class Agreer:
    """Holds where the test images are in their split; each call compares the rankings of one model or group."""

    indices: np.ndarray
    device: str

    def __call__(self, work: Agree, desk: Desk) -> Product:
        pairs: list[dict[str, Any]] = []
        values: list[Similarity] = []
        for done, group in enumerate(work.groups):
            found, pixels = self._compared(group, work.thresholds, desk, (done, len(work.groups)))
            for a, b in combinations(range(len(group)), 2):
                own = Similarity(found.spearman[:, a, b], found.iou[:, a, b])
                pairs.append({**_named(group[a], group[b]), **_noise(group[a], group[b], own, work.row["across"]),
                              "averages": averages(own, work.thresholds, pixels)})
                values.append(own)
        names = ["model", "estimator", "other_model", "other", *(SEEDS if work.row["across"] == NOISE else ())]
        words = {name: [str(pair[name]) for pair in pairs] for name in names}
        files = {PAIRS: _pairs(work.row, pairs), IMAGES: parquet_bytes(image_table(words, self.indices, values))}
        members = [{**member.model, **member.estimator, "tied_share": member.tied_share}
                   for group in work.groups for member in group]
        return Product(artifact_files("agreement", work.folder, work.identity, files,
                                      {**work.row, "members": members}))

    def _compared(self, group: Sequence[Member], thresholds: Sequence[float], desk: Desk,
                  place: tuple[int, int]) -> tuple[Similarity, int]:
        """Every two members on every image, ``[N, E, E]``, and P; of each member one shard is held at a time."""
        readers = [RankReader(member.where, desk.artifact) for member in group]
        parts, pixels = [], 1
        for block in self._blocks(readers):
            rankings = [reader(block, self.indices[block]) for reader in readers]
            parts.append(every_two(rankings, thresholds))
            pixels = rankings[0].shape[1]
            desk.tell((place[0] + (block[-1] + 1) / len(self.indices)) / place[1], f"{len(group)} rankings")
        return joined(parts), pixels

    def _blocks(self, readers: Sequence[RankReader]) -> Iterator[np.ndarray]:
        """Positions of images whose rankings are compared at a time."""
        pixels = readers[0](np.arange(1), self.indices[:1]).shape[1]
        size = images_at_a_time(len(readers), pixels)
        for start in range(0, len(self.indices), size):
            yield np.arange(start, min(start + size, len(self.indices)), dtype=np.int64)


def _named(first: Member, second: Member) -> dict[str, Any]:
    """The columns of a pair; those of the second begin with ``other_``, and its estimator is ``other``."""
    other = {**second.model, **second.estimator, "tied_share": second.tied_share}
    return {**first.model, **first.estimator, "tied_share": first.tied_share,
            **{"other" if name == "estimator" else f"other_{name}": value for name, value in other.items()}}


def _noise(first: Member, second: Member, found: Similarity, across: str) -> dict[str, Any]:
    """The columns that tell the rankings of one estimator apart, and the number of samples that would mend it."""
    samples = first.samples if across == NOISE else 0
    return {"noise_seed": first.noise_seed, "other_noise_seed": second.noise_seed, "samples": samples,
            "samples_needed": samples_for(found.spearman, samples) if samples else float("nan")}


def _pairs(row: dict[str, Any], pairs: Sequence[dict[str, Any]]) -> bytes:
    """A row for each pair and measure: the mean over images."""
    import pyarrow as pa

    return parquet_bytes(pa.Table.from_pylist([
        {**row, **{key: value for key, value in pair.items() if key != "averages"}, **measured}
        for pair in pairs for measured in pair["averages"]]))
