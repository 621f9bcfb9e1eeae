"""The gallery: a few test images as every estimator degrades them, kept beside the reports."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from roar.store.shards import RankReader, rank_folder
from roar.store.store import Store

if TYPE_CHECKING:
    from roar.analysis.gallery import Gallery
    from roar.pipeline import Session
    from roar.pipeline.plan import Ranking

FILE = "reports/gallery.npz"


def make_gallery(session: Session, rankings: list[Ranking]) -> Gallery:
    """The first test image of the first class and of the middle one, at every threshold, for every estimator."""
    import torch

    from roar.analysis.gallery import Gallery, GalleryRow
    from roar.datasets.degradation import degrade
    from roar.datasets.fills.base import FillContext
    from roar.pipeline.images import statistics

    source, settings = session.source, session.experiment.degrade
    mean = torch.from_numpy(statistics(session)[0])
    wanted = sorted({0, source.num_classes // 2})
    positions = np.array([int(np.flatnonzero(source.test.labels == label)[0]) for label in wanted
                          if (source.test.labels == label).any()])
    images = torch.from_numpy(source.test.decode(positions))
    context = FillContext(mean, session.experiment.seed, "test", torch.from_numpy(source.test.indices[positions]))
    thresholds = tuple(sorted({0.0, *settings.thresholds}))
    rows = []
    for ranking in rankings:
        reader = RankReader(rank_folder(session.store, f"{ranking.folder}/test"), session.store.read_file)
        ranks = torch.from_numpy(reader(positions, source.test.indices[positions]))
        steps = [degrade(images, ranks, t, settings.fixed_modes[0], session.fill, context).numpy() for t in thresholds]
        for number, position in enumerate(positions):
            strip = np.stack([step[number].transpose(1, 2, 0) for step in steps])
            rows.append(GalleryRow(ranking.estimator, source.class_names[source.test.labels[position]], strip))
    return Gallery(thresholds, tuple(rows))


def keep_gallery(store: Store, gallery: Gallery) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, thresholds=np.array(gallery.thresholds),
                        estimators=np.array([row.estimator for row in gallery.rows]),
                        labels=np.array([row.label for row in gallery.rows]),
                        images=np.stack([row.images for row in gallery.rows]))
    store.files.write(FILE, buffer.getvalue())


def read_gallery(store: Store) -> Gallery | None:
    """The gallery of the last run, ``None`` where there is none."""
    from roar.analysis.gallery import Gallery, GalleryRow

    if not store.files.exists(FILE):
        return None
    with np.load(io.BytesIO(store.files.read(FILE)), allow_pickle=False) as kept:
        rows = zip(kept["estimators"], kept["labels"], kept["images"], strict=True)
        return Gallery(tuple(kept["thresholds"].tolist()),
                       tuple(GalleryRow(str(name), str(label), images) for name, label, images in rows))
