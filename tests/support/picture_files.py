"""Small sources on disk for tests: folders of pictures and Parquet files in Hugging Face's layout."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

COLORS = {"red": (220, 30, 20), "green": (20, 200, 40), "blue": (10, 30, 230)}


def picture(seed: int, size: tuple[int, int] = (8, 6), mode: str = "RGB") -> Image.Image:
    """Random pixels; ``size`` is (width, height)."""
    width, height = size
    shape = (height, width, 3) if mode == "RGB" else (height, width)
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def write_folder(root: Path, pictures: Mapping[str, Sequence[bytes]], extension: str = ".png") -> Path:
    """``pictures``: "train/red" -> the encoded pictures of that class."""
    for place, files in pictures.items():
        (root / place).mkdir(parents=True)
        for i, data in enumerate(files):
            (root / place / f"{i:03d}{extension}").write_bytes(data)
    return root


def write_parquet(path: Path, pictures: Sequence[bytes | None], labels: Sequence[int | None], *,
                  class_names: Sequence[str] | None = None, image: str = "image", label: str = "label",
                  row_group_size: int = 4) -> Path:
    """One file of a split."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({image: pa.array([{"bytes": data, "path": None} for data in pictures],
                                      type=pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
                      label: pa.array(labels, type=pa.int64())})
    if class_names is not None:
        features = {image: {"_type": "Image"}, label: {"names": list(class_names), "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({b"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path, row_group_size=row_group_size)
    return path


def pixels(image: Image.Image) -> np.ndarray:
    """As a source holds it, uint8 ``[C, H, W]``."""
    array = np.asarray(image)
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
