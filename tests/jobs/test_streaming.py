"""Images that are read in parts: the same order, the same bytes, and never all of them in memory."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from picture_files import encode, picture, write_folder, write_parquet
from torch import Tensor

from roar import pipeline
from roar.datasets import Normalization, Source, open_source
from roar.datasets.degradation import degrade
from roar.datasets.fills.base import FillContext
from roar.datasets.fills.registry import find_fill
from roar.errors import DamagedArtifactError, ExperimentError, SourceError
from roar.experiment import Experiment, load_experiment
from roar.jobs import streaming
from roar.jobs.images import free_memory, placed
from roar.jobs.streaming import Cell, Stream, ahead
from roar.jobs.training import batches as feeding
from roar.jobs.training.batches import epoch_order, window_size
from roar.jobs.training.evaluation import evaluate
from roar.jobs.training.loop import TrainingLog, train
from roar.jobs.training.packing import evaluate_packed, train_packed
from roar.metrics.deletion.tasks import delete
from roar.metrics.retraining.tasks import retrain
from roar.models import create, weights_hash
from roar.pipeline import Session
from roar.recipes import Recipe
from roar.report.view import Results
from roar.seeds.streams import random_order
from roar.store.shards import RankFolder, RankReader, shard_bytes, shard_name

COLOR = Normalization((0.5, 0.4, 0.3), (0.25, 0.2, 0.3))
COUNT, WINDOW, SHARD = 70, 32, 16
MEAN = torch.tensor([100, 110, 120], dtype=torch.uint8)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeding, "BLOCK", 10)
    monkeypatch.setattr(streaming, "CHUNK", 20)


@pytest.fixture
def source(tmp_path: Path, small_blocks: None) -> Source:
    """Pictures of 8x8 pixels in row groups of four; not all of them are taken, so indices are not positions."""
    pictures = [encode(picture(i, (8, 8))) for i in range(90)]
    labels = [i % 3 for i in range(90)]
    write_parquet(tmp_path / "set" / "train-0.parquet", pictures, labels)
    write_parquet(tmp_path / "set" / "test-0.parquet", pictures[:40], labels[:40])
    return open_source(f"parquet:{tmp_path / 'set'}", limit_train=COUNT)


def windowed(**changes: Any) -> Recipe:
    return Recipe(**{"epochs": 2, "batch_size": 16, "learning_rate": 0.05, "window": WINDOW} | changes)


def ranks_of(count: int) -> np.ndarray:
    return np.stack([random_order(5, i, 64) for i in range(count)]).astype(np.uint8)


def reader(indices: np.ndarray, ranks: np.ndarray, reads: list[str] | None = None) -> RankReader:
    """Of shards that lie in a dictionary."""
    shards = {}
    for number, start in enumerate(range(0, len(indices), SHARD)):
        rows = slice(start, start + SHARD)
        nothing = np.zeros(len(indices[rows]), np.int32)
        shards[shard_name(number)] = shard_bytes(indices[rows], nothing, nothing, ranks[rows], {})

    def read(folder: str, name: str) -> bytes:
        if reads is not None:
            reads.append(name)
        return shards[name]

    return RankReader(RankFolder("rankings/r", SHARD), read)


def both(source: Source, fill: str) -> tuple[Tensor, Stream]:
    """The degraded training images in memory, and their stream."""
    split, ranks = source.train, ranks_of(COUNT)
    context = FillContext(MEAN, 3, "train", torch.from_numpy(split.indices))
    images = torch.from_numpy(split.decode(np.arange(COUNT)))
    whole = degrade(images, torch.from_numpy(ranks), 50, "roar", find_fill(fill), context)
    cell = Cell(reader(split.indices, ranks), 50, "roar", find_fill(fill), context)
    return whole, Stream(split, (3, 8, 8), cell)


# -- the order -------------------------------------------------------------------------------------------------------


def test_windows_permute_blocks_of_neighbors(small_blocks: None) -> None:
    orders = [epoch_order(windowed(), COUNT, seed=1, epoch=epoch) for epoch in (0, 1)]
    for order in orders:
        assert sorted(order) == list(range(COUNT))
        blocks = [{position // 10 for position in order[start:start + WINDOW]} for start in range(0, COUNT, WINDOW)]
        assert [len(found) for found in blocks] == [4, 4, 1]  # 3.2 blocks of 10 are at most 4, and all of 7 are met
        assert set().union(*blocks) == set(range(7))
    assert not np.array_equal(*orders)
    assert np.array_equal(orders[0], epoch_order(windowed(epochs=9), COUNT, seed=1, epoch=0))
    assert not np.array_equal(orders[0], epoch_order(windowed(), COUNT, seed=2, epoch=0))


def test_a_window_is_uniform_within() -> None:
    """With one block, every image is as likely in the first batch as any other."""
    recipe, found = windowed(window=500, batch_size=50), np.zeros(1_000)
    for epoch in range(200):
        found[epoch_order(recipe, 1_000, seed=0, epoch=epoch)[:50]] += 1
    assert found[500:].sum() == 0  # the block itself is in order, and the window its first half
    expected, spread = 20.0, np.sqrt(200 * 0.1 * 0.9)
    assert abs(found[:500].mean() - expected) < 1e-9
    assert np.abs(found[:500] - expected).max() < 5 * spread


@pytest.mark.parametrize("window", [None, COUNT, 10 * COUNT])
def test_a_window_of_everything_is_the_plain_permutation(window: int | None) -> None:
    from roar.seeds.streams import derive

    found = epoch_order(windowed(window=window), COUNT, seed=1, epoch=2)
    assert np.array_equal(found, random_order(derive(1, "batches"), 2, COUNT))


@pytest.mark.parametrize(("window", "size"), [(32, 32), (47, 32), (2, 16), (None, 64), (1_000, 64)])
def test_windows_are_whole_batches(window: int | None, size: int) -> None:
    assert window_size(windowed(window=window), COUNT) == size


def test_recipes_without_a_window_keep_their_keys() -> None:
    assert "window" not in Recipe().model_dump()
    assert "window" not in json.loads(Recipe().model_dump_json())
    assert windowed().model_dump()["window"] == WINDOW
    assert set(Recipe.model_fields) - set(Recipe().model_dump()) == {"window"}


# -- the images ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fill", ["mean", "random-color", "local-mean", "noisy-linear"])
def test_a_stream_gives_what_memory_holds(source: Source, fill: str) -> None:
    whole, stream = both(source, fill)
    assert not torch.equal(whole, torch.from_numpy(source.train.decode(np.arange(COUNT))))
    for positions in (np.arange(COUNT), np.array([69, 3, 3, 40]), np.array([], np.int64)):
        assert torch.equal(stream.read(positions), whole[torch.from_numpy(positions)])
    assert stream.shape == whole.shape


def test_one_shard_is_held_and_each_is_read_once(source: Source) -> None:
    reads: list[str] = []
    ranks, indices = ranks_of(COUNT), source.train.indices
    read = reader(indices, ranks, reads)
    assert np.array_equal(read(np.arange(COUNT), indices), ranks)
    assert reads == [shard_name(number) for number in range(5)]
    assert np.array_equal(read(np.array([65]), indices[65:66]), ranks[65:66])
    assert len(reads) == 5


def test_ranks_are_joined_by_index(source: Source) -> None:
    read = reader(source.train.indices, ranks_of(COUNT))
    positions = np.array([20, 21])
    with pytest.raises(DamagedArtifactError, match=rf"part-00001\.parquet' has no ranks of image {COUNT * 100}; "):
        read(positions, np.array([source.train.indices[20], COUNT * 100]))


@pytest.mark.parametrize("recipe", [windowed(), windowed(augmentation=("flip", "crop"), padding=2),
                                    windowed(augmentation=("resized-crop",), window=None), windowed(steps=7)])
def test_streamed_and_in_memory_are_the_same_training(source: Source, recipe: Recipe) -> None:
    labels = torch.from_numpy(source.train.labels)
    found = []
    for images in both(source, "mean"):
        network = create("simplecnn", 3, 3, 8, seed=0)
        log = train(network, images, labels, recipe, COLOR, seed=4)
        found.append((weights_hash(network.state_dict()), log.loss, evaluate(network, images, labels, COLOR, 9)))
    assert found[0] == found[1]


def test_streamed_packs_are_the_same_packs(source: Source) -> None:
    labels = torch.from_numpy(source.train.labels)
    found = []
    for images in both(source, "mean"):
        networks = [create("simplecnn", 3, 3, 8, seed=seed) for seed in range(4)]
        logs = train_packed(networks, [images] * 4, labels, windowed(), COLOR, [0, 1, 2, 0], size=4)
        assert all(isinstance(log, TrainingLog) for log in logs)
        accuracy = evaluate_packed(networks, [images] * 4, labels, COLOR, size=4)
        found.append(([weights_hash(network.state_dict()) for network in networks], accuracy))
    assert found[0] == found[1]


def test_a_stream_travels(tmp_path: Path, source: Source) -> None:
    pictures = {f"{split}/{name}": [encode(picture(i, (8, 8))) for i in range(3)]
                for split in ("train", "test") for name in ("a", "b")}
    folder = open_source(f"folder:{write_folder(tmp_path / 'folder', pictures)}")
    for one in (source, folder, open_source("digits", limit_train=20)):
        stream = Stream(one.train, (one.channels, one.height, one.width))
        there: Stream = pickle.loads(pickle.dumps(stream))
        some = np.array([2, 0])
        assert torch.equal(there.read(some), stream.read(some))


def test_images_stay_where_they_are_if_they_would_fill_the_device() -> None:
    images = torch.zeros(4, 1, 5, 5, dtype=torch.uint8)
    assert placed(images, "meta", 400.0).device.type == "meta"
    assert placed(images, "meta", 399.0) is images
    assert free_memory("cpu") > 1e18


# -- reading ahead ---------------------------------------------------------------------------------------------------


def test_the_next_is_made_while_the_present_is_used() -> None:
    made = [threading.Event() for _ in range(4)]

    def make(number: int) -> int:
        made[number].set()
        return number

    found = []
    for number in ahead(make, range(4)):
        if number < 3:
            assert made[number + 1].wait(10)
        assert not any(event.is_set() for event in made[number + 2:])  # and not the one after it
        found.append(number)
    assert found == [0, 1, 2, 3]
    assert list(ahead(make, [])) == []


def test_a_picture_that_cannot_be_read_ends_the_training(source: Source) -> None:
    def decode(positions: np.ndarray) -> np.ndarray:
        if 39 in positions:
            raise SourceError("Row 39 is a broken picture; replace or remove it.")
        return source.train.decode(positions)

    network, labels = create("simplecnn", 3, 3, 8, seed=0), torch.from_numpy(source.train.labels)
    stream = Stream(replace(source.train, decode=decode), (3, 8, 8))
    with pytest.raises(SourceError, match="Row 39 is a broken picture"):
        train(network, stream, labels, windowed(), COLOR, 0)


# -- the pipeline ----------------------------------------------------------------------------------------------------

SMALL: dict[str, Any] = {
    "estimators": {"names": ["gradient", "random"], "shard_size": 25, "samples": 2},
    "degrade": {"thresholds": [50], "fill": "random-color"},
    "train": {"epochs": 1, "batch_size": 16, "window": WINDOW},
    "retrain": {"seeds": 1, "epochs": 1, "batch_size": 16, "window": WINDOW},
}


def experiment(source: Source, store: Path, **changes: Any) -> Experiment:
    return load_experiment(None, {**SMALL, "source": {"name": source.name, "limit_train": COUNT, "limit_test": 30},
                                  "compute": {"executor": "serial"}, "store": str(store), **changes})


def all_stages(session: Session) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, bytes]]:
    """Results, deletion curves, and the bytes of weights, ranks and degraded images."""
    retrain(session)
    delete(session)
    pipeline.degrade(session)
    root = Path(session.store.location)
    files = {path.relative_to(root).as_posix(): path.read_bytes()
             for pattern in ("*.safetensors", "*.parquet") for path in root.rglob(pattern)}
    return Results(session.store).results().drop(columns="train_seconds"), Results(session.store).deletion(), files


def test_a_budget_changes_no_byte(source: Source, tmp_path: Path) -> None:
    found = []
    for name, budget in (("whole", 1.0), ("streamed", 1e-6)):
        session = pipeline.prepare(experiment(source, tmp_path / name,
                                              compute={"executor": "serial", "image_budget": budget, "pack": 4}))
        found.append(all_stages(session))
        assert session.source.train.is_decoded == (name == "whole")
    (results, curves, files), (streamed_results, streamed_curves, streamed_files) = found
    assert set(results["status"]) == {"ok"}
    assert len(results) == 3
    pd.testing.assert_frame_equal(results, streamed_results)
    pd.testing.assert_frame_equal(curves, streamed_curves)
    assert streamed_files == files


def test_ray_workers_read_for_themselves(source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeding, "BLOCK", 1_000)  # as in the workers
    compute = {"executor": "ray", "workers": 1, "image_budget": 1e-6}
    on_ray = pipeline.prepare(experiment(source, tmp_path / "ray", compute=compute))
    retrain(on_ray)
    serial = pipeline.prepare(experiment(source, tmp_path / "serial"))
    retrain(serial)
    assert not on_ray.source.train.is_decoded
    found, expected = (Results(session.store).results().drop(columns="train_seconds") for session in (on_ray, serial))
    pd.testing.assert_frame_equal(found, expected)


@pytest.mark.parametrize("section", ["train", "retrain"])
def test_without_a_window_the_remedy_is_said(source: Source, tmp_path: Path, section: str) -> None:
    changes = {section: {**SMALL[section], "window": None}}
    session = pipeline.prepare(experiment(source, tmp_path / "store", **changes,
                                          compute={"executor": "serial", "image_budget": 1e-6}))
    with pytest.raises(ExperimentError, match=rf"need 0\.000026 GB and the budget is 0\.0000010 GB; set \[{section}\] "
                                              r"window = 35, .* or raise compute\.image_budget"):
        retrain(session)
    assert not list((tmp_path / "store").glob("results/*"))


def test_channel_statistics_are_counted_once(source: Source, tmp_path: Path,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    from roar.pipeline import images

    asked = experiment(source, tmp_path / "store", compute={"executor": "serial", "image_budget": 1e-6})
    counted: list[int] = []
    honest: Callable[..., np.ndarray] = images.histogram
    monkeypatch.setattr(images, "histogram", lambda block: counted.append(len(block)) or honest(block))
    expected = images.statistics(pipeline.prepare(experiment(source, tmp_path / "store")))
    for _ in range(2):
        mean, spread = images.statistics(pipeline.prepare(asked))
        assert np.array_equal(mean, expected[0])
        assert spread == expected[1]
    assert counted == [COUNT]
    (kept,) = (tmp_path / "store" / "statistics").iterdir()
    kept.write_bytes(kept.read_bytes().replace(b"1", b"2", 1))  # what is damaged is counted again
    assert np.array_equal(images.statistics(pipeline.prepare(asked))[0], expected[0])
    assert counted == [COUNT, COUNT]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak is told by Linux's /proc only")
def test_what_is_held_stays_below_the_ceiling() -> None:
    """The benchmark, scaled down: the set is larger than the ceiling, and the ceiling is not passed."""
    script = Path(__file__).resolve().parents[2] / "benchmarks" / "streaming.py"
    sizes = {"images": 3_000, "window": 128, "batch-size": 32, "shard-size": 100, "row-group": 50, "steps": 12}
    words = [word for name, value in sizes.items() for word in (f"--{name}", str(value))]
    done = subprocess.run([sys.executable, str(script), *words], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["held"] < found["ceiling"] < found["images_and_ranks"], found
