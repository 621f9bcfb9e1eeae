"""The gallery: a few test images as every estimator degrades them, kept beside the reports."""

from __future__ import annotations

import io
import zipfile
import zlib
from typing import TYPE_CHECKING

import numpy as np

from roar.report.some_images import degraded_steps, stored_ranks
from roar.store.artifacts import GALLERY
from roar.store.sealed import is_whole_archive, sealed_archive
from roar.store.store import Store, damaged

if TYPE_CHECKING:
    from roar.analysis.gallery import Gallery
    from roar.pipeline import Session
    from roar.pipeline.plan import Ranking

MOST = 2**28  # bytes, packed and unpacked: strips of 1,000 estimators at 224 x 224 have fewer


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
    store.files.write(GALLERY, sealed_archive(buffer.getvalue()))


def read_gallery(store: Store) -> Gallery | None:
    """The gallery of the last run, ``None`` where there is none.

    Raises:
        DamagedArtifactError: it is not what was written.
    """
    from roar.analysis.gallery import Gallery, GalleryRow

    if not store.files.exists(GALLERY):
        return None
    data = store.files.read(GALLERY, MOST)
    if not is_whole_archive(data):
        raise damaged(store, GALLERY, "is not what was written")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > MOST:
                raise damaged(store, GALLERY, f"unpacks to more than {MOST:,} bytes")
        with np.load(io.BytesIO(data), allow_pickle=False) as kept:
            thresholds, names, labels, images = (kept[key] for key in ("thresholds", "estimators", "labels", "images"))
    except (ValueError, KeyError, OSError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error):
        raise damaged(store, GALLERY, "is no gallery") from None
    if not (images.ndim == 5 and images.dtype == np.uint8 and images.shape[4] in (1, 3)
            and thresholds.shape == images.shape[1:2] and thresholds.dtype.kind in "fiu"
            and names.shape == labels.shape == images.shape[:1] and names.dtype.kind == labels.dtype.kind == "U"):
        raise damaged(store, GALLERY, "is no gallery")
    return Gallery(tuple(thresholds.tolist()), tuple(
        GalleryRow(str(name), str(label), strip) for name, label, strip in zip(names, labels, images, strict=True)))
