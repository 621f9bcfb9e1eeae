"""CIFAR-10, CIFAR-100, SVHN and Fashion-MNIST, read and downloaded by torchvision."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np

from roar.datasets.registry import source_kind
from roar.datasets.source import Request, WholeSource
from roar.datasets.sources.arrays import array_split
from roar.datasets.sources.hashes import user_cache
from roar.errors import SourceError

# What torchvision raises when a download or a file fails; URLError is an OSError.
FAILED = (RuntimeError, OSError, HTTPException, EOFError, ValueError, LookupError, AssertionError,
          tarfile.TarError, zlib.error)


@source_kind("cifar10", "60,000 photographs, 3x32x32, 10 classes; downloaded")
def open_cifar10(argument: str, request: Request) -> WholeSource:
    """Krizhevsky 2009: 50,000 and 10,000 images."""
    from torchvision.datasets import CIFAR10

    train, test = _both(CIFAR10, "CIFAR-10", ("cifar-10-python.tar.gz",), request.root, train={"train": True},
                        test={"train": False})
    return _source("cifar10", train.classes, (train.data.transpose(0, 3, 1, 2), train.targets),
                   (test.data.transpose(0, 3, 1, 2), test.targets), request)


@source_kind("cifar100", "60,000 photographs, 3x32x32, 100 classes; downloaded")
def open_cifar100(argument: str, request: Request) -> WholeSource:
    """Krizhevsky 2009, the 100 fine classes: 50,000 and 10,000 images."""
    from torchvision.datasets import CIFAR100

    train, test = _both(CIFAR100, "CIFAR-100", ("cifar-100-python.tar.gz",), request.root, train={"train": True},
                        test={"train": False})
    return _source("cifar100", train.classes, (train.data.transpose(0, 3, 1, 2), train.targets),
                   (test.data.transpose(0, 3, 1, 2), test.targets), request)


@source_kind("svhn", "99,289 house numbers, 3x32x32, 10 classes; downloaded")
def open_svhn(argument: str, request: Request) -> WholeSource:
    """Netzer et al. 2011, without the extra images: 73,257 and 26,032 images."""
    from torchvision.datasets import SVHN

    train, test = _both(SVHN, "SVHN", ("train_32x32.mat", "test_32x32.mat"), request.root, train={"split": "train"},
                        test={"split": "test"})
    return _source("svhn", "0123456789", (train.data, train.labels), (test.data, test.labels), request)


@source_kind("fashion-mnist", "70,000 pieces of clothing, 1x28x28, 10 classes; downloaded")
def open_fashion_mnist(argument: str, request: Request) -> WholeSource:
    """Xiao et al. 2017: 60,000 and 10,000 images."""
    from torchvision.datasets import FashionMNIST

    archives = tuple(f"FashionMNIST/raw/{split}-{part}-ubyte.gz" for split in ("train", "t10k")
                     for part in ("images-idx3", "labels-idx1"))
    train, test = _both(FashionMNIST, "Fashion-MNIST", archives, request.root, train={"train": True},
                        test={"train": False})
    return _source("fashion-mnist", train.classes, (train.data.numpy()[:, None], train.targets),
                   (test.data.numpy()[:, None], test.targets), request)


def cache_folder(root: str | Path | None) -> Path:
    """Where downloads go: ``root``, else ``$XDG_CACHE_HOME/roar``, else ``~/.cache/roar``.

    Raises:
        SourceError: there is neither.
    """
    folder = user_cache() if root is None else Path(root).expanduser()
    if folder is None:
        raise SourceError("This user has no home, where downloads are kept; give a folder with --root.")
    return folder


def _both(dataset: Callable[..., Any], name: str, archives: tuple[str, ...], root: str | Path | None,
          train: dict[str, Any], test: dict[str, Any]) -> tuple[Any, Any]:
    """torchvision's train and test objects, downloaded unless they are there.

    Raises:
        SourceError: they are not there and cannot be downloaded; the message says what to put where.
    """
    folder = cache_folder(root)
    try:
        return dataset(root=folder, download=False, **train), dataset(root=folder, download=False, **test)
    except FAILED:
        pass  # missing or damaged: torchvision says the same of both
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return dataset(root=folder, download=True, **train), dataset(root=folder, download=True, **test)
    except FAILED as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise SourceError(f"{name} could neither be read from '{folder}' nor downloaded ({reason}); put "
                          f"{', '.join(archives)} there, or use parquet:PATH.") from None


def _source(label: str, class_names: Any, train: tuple[np.ndarray, Any], test: tuple[np.ndarray, Any],
            request: Request) -> WholeSource:
    splits = [array_split(images, np.asarray(labels), request.image_size) for images, labels in (train, test)]
    channels, height, width = train[0].shape[1:]
    return WholeSource(label, tuple(class_names), channels, request.image_size or height, request.image_size or width,
                       splits[0], splits[1])
