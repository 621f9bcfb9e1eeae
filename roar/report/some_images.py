"""A few test images of a session as a ranking degrades them, for figures; reads what these need and no more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from roar.store.shards import RankReader, rank_folder

if TYPE_CHECKING:
    from roar.pipeline import Session
    from roar.pipeline.plan import Ranking


def stored_ranks(session: Session, ranking: Ranking, positions: np.ndarray) -> np.ndarray:
    """The ranks ``[n, P]`` of the test images at some positions, from the shards that hold them."""
    reader = RankReader(rank_folder(session.store, f"{ranking.folder}/test"), session.store.read_file)
    order = np.argsort(positions, kind="stable")  # so that no shard is read twice
    ranks = reader(positions[order], session.source.test.indices[positions[order]])
    return ranks[np.argsort(order, kind="stable")]


def degraded_steps(session: Session, positions: np.ndarray, ranks: np.ndarray,
                   thresholds: Sequence[float]) -> np.ndarray:
    """The test images at n positions as a retrained network sees them, uint8 ``[n, thresholds, H, W, C]``.

    They are degraded in the first mode that ranks once, by the fill of the experiment.
    """
    import torch

    from roar.datasets.degradation import degrade
    from roar.datasets.fills.base import FillContext
    from roar.pipeline.images import statistics

    source, settings = session.source, session.experiment.degrade
    images = torch.from_numpy(source.test.decode(positions))
    mean = torch.from_numpy(statistics(session)[0])
    context = FillContext(mean, session.experiment.seed, "test", torch.from_numpy(source.test.indices[positions]))
    steps = [degrade(images, torch.from_numpy(ranks), threshold, settings.fixed_modes[0], session.fill, context)
             for threshold in thresholds]
    if not steps:
        return np.empty((len(positions), 0, source.height, source.width, source.channels), np.uint8)
    stacked: np.ndarray = torch.stack(steps, dim=1).permute(0, 1, 3, 4, 2).numpy()
    return stacked
