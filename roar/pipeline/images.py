"""The images as the stages hand them to the workers: decoded once and shared, or streamed where they do not fit.

Which of the two never changes a result: the order of batches is a matter of the recipe (``Recipe.window``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np

from roar import machine
from roar.datasets import Normalization
from roar.datasets.statistics import channel_mean, histogram, mean_of, normalization, normalization_of
from roar.errors import DamagedArtifactError, ExperimentError
from roar.pipeline.session import Session
from roar.recipes import Recipe
from roar.store.sealed import read_sealed, seal
from roar.store.shards import rank_folder, read_ranks

GIGABYTE = 10**9
SHARE = 0.25  # of the machine's memory, where no budget is given
WINDOW = 16_000  # images, that the message proposes
_BLOCK = 250  # images that are decoded at a time


def shared_images(session: Session) -> dict[str, Callable[[], Any]]:
    """What the workers read of the source; where the images fit, after every one of them is decoded."""
    from roar.jobs.images import shared_images as shared

    streamed = streams(session)
    for split in () if streamed else (getattr(session.source, name) for name in session.source.splits):
        if not split.is_decoded:
            bar = session.reporter.begin("decode", len(split), "images")
            try:
                split.decode_all(bar.advance)
            finally:
                session.reporter.end(bar)
    return {**shared(session.source, streamed), "statistics": partial(statistics, session)}


def shared_ranks(session: Session, folders: Iterable[str]) -> dict[str, Callable[[], Any]]:
    """The ranks in these folders as the workers read them: whole, or where they lie."""
    if streams(session):
        return {folder: partial(rank_folder, session.store, folder) for folder in folders}
    splits = {"train": session.source.train, "test": session.source.test}
    return {folder: partial(read_ranks, session.store, folder, splits[folder.rpartition("/")[2]].indices)
            for folder in folders}


def streams(session: Session) -> bool:
    """Whether the images of both splits and one ranking of them are more than a node may hold."""
    return needed(session) > budget(session)


def check_window(session: Session, recipes: Iterable[Recipe], section: str) -> None:
    """Refuse a training that needs the whole split in memory where that does not fit.

    Raises:
        ExperimentError: the images stream and a recipe has no window.
    """
    if streams(session) and any(recipe.window is None for recipe in recipes):
        window = min(WINDOW, max(2, len(session.source.train) // 2))
        raise ExperimentError(f"The images with one ranking need {_shown(needed(session))} GB and the budget is "
                              f"{_shown(budget(session))} GB; set [{section}] window = {window}, so that they can be "
                              "read in parts, or raise compute.image_budget.")


def needed(session: Session) -> int:
    """Bytes of the decoded images of both splits and of one ranking of them."""
    from roar.estimators.ranks import rank_type

    source = session.source
    image = source.channels * source.height * source.width
    pixels = image if session.experiment.estimators.unit == "channel" else source.height * source.width
    return (len(source.train) + len(source.test)) * (image + pixels * rank_type(pixels).itemsize)


def budget(session: Session) -> int:
    """Bytes of images and ranks that a node may hold."""
    asked = session.experiment.compute.image_budget
    return int(asked * GIGABYTE) if asked is not None else int(SHARE * machine.memory())


def statistics(session: Session) -> tuple[np.ndarray, Normalization]:
    """The training split's channel mean in 8-bit units, uint8 ``[C]``, and what normalizes; where there is a test split
    alone, of that.

    Both follow exactly from a histogram. Where images stream it costs a pass over them, so it is kept in the store.
    """
    split = session.source.statistics_split
    if not streams(session) or split.is_decoded:
        return channel_mean(split.images), normalization(split.images)
    path = f"statistics/{session.source.label}-{session.source.fingerprint[:10]}.json"
    found = _kept(session, path)
    if found is None:
        found = np.zeros((session.source.channels, 256), np.int64)
        bar = session.reporter.begin("channel statistics", len(split), "images")
        try:
            for start in range(0, len(split), _BLOCK):
                block = split.decode(np.arange(start, min(start + _BLOCK, len(split)), dtype=np.int64))
                found += histogram(block)
                bar.advance(len(block))
        finally:
            session.reporter.end(bar)
        session.store.files.write(path, seal({"source": session.source.fingerprint, "histogram": found.tolist()}))
    return mean_of(found), normalization_of(found)


def _kept(session: Session, path: str) -> np.ndarray | None:
    """The histogram int64 ``[C, 256]`` of an earlier run; a damaged one is worth nothing."""
    if not session.store.files.exists(path):
        return None
    try:
        kept = read_sealed(session.store.files, path)
    except DamagedArtifactError:
        return None
    return np.array(kept["histogram"], np.int64) if kept.get("source") == session.source.fingerprint else None


def _shown(number: int) -> str:
    """Bytes in GB with two digits that say something."""
    return f"{number / GIGABYTE:.{max(1, 1 - math.floor(math.log10(number / GIGABYTE)))}f}"
