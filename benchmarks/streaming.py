"""Rank and retrain on more images than the memory may hold, and compare the peak with the stated ceiling.

    python benchmarks/streaming.py                     20,000 images of 64x64 pixels, two minutes
    python benchmarks/streaming.py --images 3000       seconds

A synthetic set is written as Parquet. A process of its own then ranks all of it at random and retrains for one epoch,
whole and degraded, with a budget that holds next to nothing. It prints one JSON object, in MB: what was held above what
the process needs without them, the ceiling (`roar.jobs.streaming.ceiling`), and what the images and one ranking take.
Linux only. The allocators are told to give back at once what is freed, so that the peak is what was held; left alone
(`--usual-allocators`), they keep some tens of MB.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SIZE, CLASSES = 64, 10
MB = 10**6
GIVES_BACK = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536", "ARROW_DEFAULT_MEMORY_POOL": "system"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000, help="training images; there is one batch of test images")
    parser.add_argument("--window", type=int, default=512)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--shard-size", type=int, default=500)
    parser.add_argument("--row-group", type=int, default=200)
    parser.add_argument("--steps", type=int, help="of a retraining; default: an epoch")
    parser.add_argument("--folder", type=Path, help="where the set and the store lie; default: a temporary folder")
    parser.add_argument("--usual-allocators", action="store_true")
    parser.add_argument("--measured", action="store_true", help=argparse.SUPPRESS)  # this is the inner process
    arguments = parser.parse_args()
    if arguments.measured:
        print(json.dumps(measure(arguments)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        write_set(folder / "set", {"train": arguments.images, "test": arguments.batch_size}, arguments.row_group)
        numbers = [str(word) for name in ("images", "window", "batch_size", "shard_size", "row_group")
                   for word in (f"--{name.replace('_', '-')}", getattr(arguments, name))]
        numbers += ["--steps", str(arguments.steps)] if arguments.steps else []
        command = [sys.executable, __file__, "--measured", "--folder", str(folder), *numbers]
        environment = os.environ | ({} if arguments.usual_allocators else GIVES_BACK)
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
        print(done.stdout.splitlines()[-1])


def write_set(folder: Path, counts: dict[str, int], row_group: int) -> None:
    """Noise on ten colors, so that a network learns something and no codec packs it."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image

    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    colors = generator.integers(64, 192, (CLASSES, 3))
    names = [str(label) for label in range(CLASSES)]
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": names}}
    schema = pa.schema([("image", pa.struct([("bytes", pa.binary())])), ("label", pa.int64())],
                       {"huggingface": json.dumps({"info": {"features": features}})})
    for split, count in counts.items():
        with pq.ParquetWriter(folder / f"{split}-00000-of-00001.parquet", schema, compression="none") as file:
            for start in range(0, count, row_group):
                labels = generator.integers(0, CLASSES, min(row_group, count - start))
                pictures = []
                for label in labels:
                    noise = generator.integers(-64, 64, (SIZE, SIZE, 3))
                    buffer = io.BytesIO()
                    picture = Image.fromarray((colors[label] + noise).clip(0, 255).astype(np.uint8))
                    picture.save(buffer, "PNG", compress_level=1)
                    pictures.append({"bytes": buffer.getvalue()})
                file.write_table(pa.table({"image": pictures, "label": labels}, schema))


def measure(arguments: argparse.Namespace) -> dict[str, float]:
    """Peak memory of ranking and retraining, above the peak of a training that needs no images."""
    import torch

    from roar.datasets import Normalization
    from roar.jobs.streaming import ceiling
    from roar.jobs.training.loop import train
    from roar.models import create
    from roar.recipes import Recipe

    torch.set_num_threads(1)
    run(arguments, arguments.batch_size)  # loads every library
    one_image, steps = torch.zeros(1, 3, SIZE, SIZE, dtype=torch.uint8), 30  # until the heap grows no more
    train(create("simplecnn", CLASSES, 3, SIZE), one_image.expand(steps * arguments.batch_size, -1, -1, -1),
          torch.zeros(steps * arguments.batch_size, dtype=torch.int64),
          Recipe(epochs=1, batch_size=arguments.batch_size), Normalization((0.5,) * 3, (0.5,) * 3), seed=0)
    baseline = peak()
    restart_peak()
    started = time.perf_counter()
    needed = run(arguments, None)
    held, image, ranks = peak() - baseline, 3 * SIZE**2, 2 * SIZE**2
    (file,) = (arguments.folder / "set").glob("train-*.parquet")
    picture = file.stat().st_size / arguments.images
    most = ceiling(arguments.images, image, ranks, arguments.window, arguments.shard_size,
                   arguments.row_group, picture)
    return {"seconds": round(time.perf_counter() - started, 1), "baseline": round(baseline / MB),
            "images_and_ranks": round(needed / MB), "held": round(held / MB), "ceiling": round(most / MB),
            "images": arguments.images}


def run(arguments: argparse.Namespace, limit: int | None) -> int:
    """One ranking and one retraining; returns the bytes that all images and ranks take."""
    from roar import pipeline
    from roar.experiment import load_experiment
    from roar.metrics.retraining.tasks import retrain
    from roar.pipeline.images import needed, streams
    from roar.report.view import Results

    training = {"window": arguments.window, "batch_size": arguments.batch_size, "epochs": 1}
    session = pipeline.prepare(load_experiment(None, {
        "source": {"name": f"parquet:{arguments.folder / 'set'}", "limit_train": limit, "limit_test": limit},
        "train": {**training, "steps": 1}, "retrain": {**training, "seeds": 1, "steps": arguments.steps},
        "estimators": {"names": ["random"], "shard_size": arguments.shard_size}, "degrade": {"thresholds": [50.0]},
        "compute": {"executor": "serial", "image_budget": 1e-4}, "store": str(arguments.folder / "store")}))
    if not streams(session):
        raise SystemExit("The images fit into the budget; nothing would be shown.")
    retrain(session)
    failed = Results(session.store).results().query("status != 'ok'")
    if len(failed):
        raise SystemExit(failed["message"].iloc[0])
    return needed(session)


def restart_peak() -> None:
    """Let the kernel count the peak from here."""
    Path("/proc/self/clear_refs").write_text("5")


def peak() -> int:
    """The most memory that was held, in bytes."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    if found is None:
        raise SystemExit("The kernel does not tell the peak of the memory.")
    return 1024 * int(found[1])


if __name__ == "__main__":
    main()
