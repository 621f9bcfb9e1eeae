"""The images as every worker reads them: shared arrays in, tensors on the device out."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from roar.datasets import Normalization, Source
from roar.jobs.stage import Shared
from roar.jobs.streaming import Stream


@dataclass(frozen=True, eq=False)
class Images:
    """One split: images uint8 ``[N, C, H, W]`` or a stream of them, labels int64 ``[N]``, indices int64 ``[N]``."""

    images: Tensor | Stream
    labels: Tensor
    indices: np.ndarray


@dataclass(frozen=True, eq=False)
class Statistics:
    """Of the training split, or of a test split alone: what replaces a pixel, uint8 ``[C]``, and what normalizes."""

    mean: Tensor
    normalization: Normalization


def shared_images(source: Source, streamed: bool = False) -> dict[str, Callable[[], Any]]:
    """What the workers read of a source, by name: every image, decoded, or what they need to read them.

    Of informative pixels it is the function that gives them, streamed or not: few need them, and a shard at a time.
    """
    found: dict[str, Callable[[], Any]] = {}
    for name, split in (("train", source.train), ("test", source.test)):
        found |= {f"{name}/{part}": partial(getattr, split, part) for part in ("images", "labels", "indices")}
        if streamed:
            found[f"{name}/images"] = partial(Stream, replace(split), (source.channels, source.height, source.width))
        if split.truth is not None:
            found[f"{name}/truth"] = partial(getattr, split, "truth")
    return found


def read_images(shared: Shared, split: str, device: str) -> Images:
    """A split on the device; on the CPU it is the shared array itself, which nobody may write to. Or its stream.

    Images that are too many for a GPU stay where they are.
    """
    images = shared(f"{split}/images")
    if not isinstance(images, Stream):
        images = placed(as_tensor(images), device, free_memory(device))
    return Images(images, as_tensor(shared(f"{split}/labels")).to(device),
                  np.asarray(shared(f"{split}/indices")))


def placed(images: Tensor, device: str, free: float) -> Tensor:
    """The images on the device if they leave room there for as many degraded ones and for the work, else as they are:
    then each batch is moved."""
    return images.to(device) if images.nbytes <= free / 4 else images


def free_memory(device: str) -> float:
    """Bytes; of a CPU it does not matter here."""
    return torch.cuda.mem_get_info(device)[0] if torch.device(device).type == "cuda" else math.inf


def read_statistics(shared: Shared, device: str) -> Statistics:
    mean, norm = shared("statistics")
    return Statistics(as_tensor(mean).to(device), norm)


def as_tensor(array: np.ndarray) -> Tensor:
    """A tensor over an array's memory, also where it is shared between processes and read-only."""
    if array.flags.writeable:
        return torch.from_numpy(array)
    import warnings

    with warnings.catch_warnings():  # the warning is about writing, which nobody does
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(array)
