"""The gallery: a few test images as every estimator degrades them, kept beside the reports."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from roar.report.some_images import degraded_steps, stored_ranks
from roar.store.store import Store

if TYPE_CHECKING:
    from roar.analysis.gallery import Gallery
    from roar.pipeline import Session
    from roar.pipeline.plan import Ranking

FILE = "reports/gallery.npz"


def make_gallery(session: Session, rankings: list[Ranking]) -> Gallery:
    """The first test image of the first class and of the middle one, at every threshold, for every estimator."""
    from roar.analysis.gallery import Gallery, GalleryRow

    source = session.source
    wanted = sorted({0, source.num_classes // 2})
    positions = np.array([int(np.flatnonzero(source.test.labels == label)[0]) for label in wanted
                          if (source.test.labels == label).any()])
    thresholds = tuple(sorted({0.0, *session.experiment.degrade.thresholds}))
    rows = []
    for ranking in rankings:
        steps = degraded_steps(session, positions, stored_ranks(session, ranking, positions), thresholds)
        rows += [GalleryRow(ranking.estimator, source.class_names[source.test.labels[position]], strip)
                 for position, strip in zip(positions, steps, strict=True)]
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
