"""Degraded images as a data set on disk, in Hugging Face's layout, so that ``parquet:PATH`` reads them again."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from roar.datasets import Source
from roar.pipeline.images import statistics
from roar.pipeline.plan import safe
from roar.pipeline.ranking import artifacts_of, rank
from roar.pipeline.running import claimed
from roar.pipeline.session import Session, asked_for, keep_plan
from roar.store.artifacts import MANIFEST, file_entry, key_of, manifest_bytes
from roar.store.shards import RankReader, rank_folder
from roar.store.store import Store

if TYPE_CHECKING:
    from roar.datasets.fills.base import Fill

IMAGES_PER_FILE = 10_000


@asked_for("degrade")
def degrade(session: Session) -> list[str]:
    """The folders of the degraded data sets, one per ranking, mode and threshold, written where missing.

    Of a source with a test split alone, a data set holds that.
    """
    settings, images = session.experiment.degrade, len(session.source.train) + len(session.source.test)
    rankings, cells = rank(session), {}
    for ranking in rankings:
        for mode in settings.fixed_modes:
            for threshold in settings.thresholds:
                identity = {**ranking.identity, "artefact": "degraded", "mode": mode, **session.fill.identity,
                            "threshold": threshold}
                folder = cell_folder(ranking.folder, mode, session.fill.name, threshold, identity)
                cells[folder] = (ranking, identity, mode, threshold)
    keep_plan(session, "degrade", [*artifacts_of(session, rankings), *cells])
    missing = [folder for folder in cells if session.store.manifest(folder) is None]
    if missing:
        mean = statistics(session)[0]
        for folder in missing:
            ranking, identity, mode, threshold = cells[folder]
            with claimed(session, folder):
                if session.store.manifest(folder) is not None:  # another run has made it meanwhile
                    continue
                bar = session.reporter.begin(f"degrade {ranking.estimator} {threshold:g} %", images, "images")
                write_degraded(session.store, session.source, mean, ranking.folder, folder, identity,
                               mode, session.fill, threshold, session.experiment.seed, bar.advance)
                session.reporter.end(bar)
    return list(cells)


def cell_folder(ranking_folder: str, mode: str, fill: str, threshold: float, identity: dict[str, Any]) -> str:
    """Where a degraded data set lies; ``identity`` is that of its ranking, with the cell."""
    below = ranking_folder.removeprefix("rankings/")
    return f"degraded/{below}/{mode}-{safe(fill)}-{threshold:g}-{key_of(identity)}"


def write_degraded(store: Store, source: Source, channel_mean: np.ndarray, ranking_folder: str, folder: str,
                   identity: dict[str, Any], mode: str, fill: Fill, threshold: float, root_seed: int,
                   tell: Callable[[int], None]) -> dict[str, Any]:
    """Write the splits of one cell as lossless PNG in Parquet; returns the facts of its manifest.

    The images are those that a retrained network sees, bit for bit. One file's are held at a time.
    """
    import torch

    from roar.datasets.degradation import degrade, replaced_count
    from roar.datasets.fills.base import FillContext

    mean = torch.from_numpy(channel_mean)
    entries, facts = {}, {"mode": mode, "fill": fill.name, "threshold": threshold, "mean": mean.tolist()}
    for split in source.splits:
        images = getattr(source, split)
        reader = RankReader(rank_folder(store, f"{ranking_folder}/{split}"), store.read_file)
        files = -(-len(images) // IMAGES_PER_FILE)
        for number in range(files):
            rows = np.arange(number * IMAGES_PER_FILE, min((number + 1) * IMAGES_PER_FILE, len(images)))
            ranks = reader(rows, images.indices[rows])
            context = FillContext(mean, root_seed, split, torch.from_numpy(images.indices[rows]))
            degraded = degrade(torch.from_numpy(images.at(rows)), torch.from_numpy(ranks), threshold, mode, fill,
                               context).numpy()
            name = f"{split}-{number:05d}-of-{files:05d}.parquet"
            data = _parquet(degraded, images.labels[rows], source.class_names, tell)
            store.files.write(f"{folder}/{name}", data)
            entries[name] = file_entry(data)
        facts |= {f"{split}_images": len(images), "pixels": ranks.shape[1],
                  "replaced": replaced_count(threshold, ranks.shape[1])}
    store.files.write(f"{folder}/{MANIFEST}", manifest_bytes("degraded", identity, entries, facts))
    return facts


def _parquet(images: np.ndarray, labels: np.ndarray, class_names: tuple[str, ...],
             tell: Callable[[int], None]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    features = {"img": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": list(class_names)}}
    pictures = pa.array([{"bytes": data, "path": None} for data in _pngs(images, tell)],
                        pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    table = pa.table({"img": pictures, "label": pa.array(labels, pa.int64())}).replace_schema_metadata(
        {"huggingface": json.dumps({"info": {"features": features}})})
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="none", write_page_checksum=True, row_group_size=1_000)
    return buffer.getvalue()


def _pngs(images: np.ndarray, tell: Callable[[int], None]) -> Iterator[bytes]:
    from PIL import Image

    for number, image in enumerate(images, start=1):
        pixels = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
        buffer = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG", compress_level=1)
        yield buffer.getvalue()
        if number % 500 == 0 or number == len(images):
            tell((number - 1) % 500 + 1)
