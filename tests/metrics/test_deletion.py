"""Deletion and insertion without retraining, against a slow version: one image, one group of pixels at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from reference_fills import direct_solution
from safetensors.torch import load_file

from roar import pipeline
from roar.datasets.statistics import channel_mean
from roar.experiment import load_experiment
from roar.jobs.train_model import build
from roar.metrics.deletion.tasks import delete
from roar.pipeline import Session
from roar.store.shards import read_ranks

THRESHOLDS = [0, 12.5, 50, 100]
SMALL: dict[str, Any] = {
    "source": {"name": "planted:size=9,train=60,test=12,difficulty=0.2"},
    "train": {"recipe": "digits", "epochs": 3, "batch_size": 20}, "estimators": {"names": ["gradient", "oracle"]},
    "degrade": {"thresholds": THRESHOLDS, "modes": ["roar", "kar"]}, "compute": {"executor": "serial"}}


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return pipeline.prepare(load_experiment(None, {**SMALL, "store": str(tmp_path_factory.mktemp("d") / "store")}))


def literal(session: Session, folder: str, mode: str) -> tuple[list[list[bool]], list[list[float]]]:
    """Right or wrong, and the probability of the class explained, of each threshold and image.

    Deletion starts with the image and takes the most important pixels away, group by group; insertion (mode kar, from
    its other end) starts with the mean alone and puts the most important ones in.
    """
    model, source, store = session.models[0], session.source, session.store
    facts = store.manifest(model.folder)["facts"]  # type: ignore[index]
    network = build(model.network)
    network.load_state_dict(load_file(Path(store.location) / model.folder / "weights.safetensors"))
    network.eval()
    mean, std = (torch.tensor(facts[f"normalize_{part}"]).view(-1, 1, 1) for part in ("mean", "std"))
    color = channel_mean(source.train.images)
    ranks = read_ranks(store, folder)
    correct, probability = ([[] for _ in THRESHOLDS] for _ in range(2))
    for image, label, rank in zip(source.test.images, source.test.labels, ranks, strict=True):
        with torch.no_grad():
            explained = int(network(((torch.from_numpy(image) / 255 - mean) / std)[None]).argmax())
        order = np.argsort(rank)
        canvas = image.copy() if mode == "roar" else np.broadcast_to(color[:, None, None], image.shape).copy()
        counts = [int(np.floor(t * len(order) / 100 + 0.5)) for t in THRESHOLDS]
        steps = range(len(THRESHOLDS)) if mode == "roar" else reversed(range(len(THRESHOLDS)))
        done, found = 0, {}
        for step in steps:
            upto = counts[step] if mode == "roar" else len(order) - counts[step]
            for pixel in order[done:upto]:
                row, column = divmod(int(pixel), image.shape[2])
                canvas[:, row, column] = color if mode == "roar" else image[:, row, column]
            done = upto
            with torch.no_grad():
                z = network(((torch.from_numpy(canvas) / 255 - mean) / std)[None])[0]
            found[step] = (int(z.argmax()) == label, float(torch.softmax(z, 0)[explained]))
        for step, (right, chance) in found.items():
            correct[step].append(right)
            probability[step].append(chance)
    return correct, probability


def images_of(session: Session, folder: str) -> pd.DataFrame:
    return pd.read_parquet(Path(session.store.location) / folder / "images.parquet")


@pytest.mark.parametrize("mode", ["roar", "kar"])
def test_deletion_and_insertion_one_group_at_a_time(session: Session, mode: str) -> None:
    for ranking, folder in zip(pipeline.rank(session, ("test",)), delete(session), strict=True):
        correct, probability = literal(session, f"{ranking.folder}/test", mode)
        rows = images_of(session, folder).query("mode == @mode")
        curve = pd.read_parquet(Path(session.store.location) / folder / "curves.parquet").query("mode == @mode")
        for threshold, right, chances in zip(THRESHOLDS, correct, probability, strict=True):
            own = rows[rows["threshold"] == threshold]
            assert own["index"].tolist() == session.source.test.indices.tolist()
            assert own["correct"].tolist() == right
            assert own["probability"].to_numpy() == pytest.approx(chances, abs=1e-5)
            mean = curve[curve["threshold"] == threshold].iloc[0]
            assert mean["accuracy"] == np.mean(right)
            assert mean["probability"] == pytest.approx(np.mean(chances), abs=1e-5)


def test_what_is_kept_and_what_is_removed_meet_at_the_ends(session: Session) -> None:
    """Nothing replaced is the same image in both orders, and so is everything replaced."""
    for folder in delete(session):
        rows = images_of(session, folder).set_index(["mode", "threshold", "index"])["probability"]
        for threshold in (0.0, 100.0):
            assert rows["roar", threshold].to_numpy() == pytest.approx(rows["kar", threshold].to_numpy(), abs=1e-6)


def test_road_is_deletion_of_linearly_imputed_images(session: Session) -> None:
    """ROAD's images are the direct solution, up to the noise of 2.55 of 255 that is added."""
    from roar.datasets.degradation import degrade, replaced_mask
    from roar.datasets.fills.base import FillContext
    from roar.datasets.fills.registry import find_fill

    images = torch.from_numpy(session.source.test.images)
    ranks = torch.from_numpy(read_ranks(session.store, f"{pipeline.rank(session, ('test',))[0].folder}/test"))
    mean = torch.from_numpy(channel_mean(session.source.train.images))
    context = FillContext(mean, 0, "test", torch.from_numpy(session.source.test.indices))
    found = degrade(images, ranks, 50.0, "roar", find_fill("noisy-linear"), context).double().numpy()
    masks = replaced_mask(ranks, 50.0, "roar").view(-1, 9, 9).numpy()
    expected = np.stack([direct_solution(image.numpy(), mask) for image, mask in zip(images, masks, strict=True)])
    clipped = (expected < 8) | (expected > 247)
    difference = np.where(clipped, 0, found - expected)[np.broadcast_to(masks[:, None], found.shape)]
    assert np.abs(difference).max() < 5.5 * 2.55 + 1
    assert abs(difference.mean()) < 0.5
    assert difference.std() == pytest.approx(2.55, abs=0.35)
