"""torchvision's sources, from small files in torchvision's own formats; nothing is downloaded."""

from __future__ import annotations

import gzip
import pickle
import struct
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import scipy.io
import torchvision.datasets
from torchvision.datasets import CIFAR10, CIFAR100, SVHN

from roar.datasets import open_source
from roar.datasets.sources.torchvision import cache_folder
from roar.errors import SourceError


def images(seed: int, count: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise URLError("no network in tests")
    for module in (torchvision.datasets.cifar, torchvision.datasets.mnist):
        monkeypatch.setattr(module, "download_and_extract_archive", refuse)
    monkeypatch.setattr(torchvision.datasets.svhn, "download_url", refuse)


def write_cifar(folder: Path, dataset: type[CIFAR10], monkeypatch: pytest.MonkeyPatch, key: str,
                names: list[str]) -> None:
    """Two images per file, in the pickled batches that the archive holds."""
    place = folder / dataset.base_folder
    place.mkdir(parents=True)
    for attribute in ("train_list", "test_list"):
        files = [name for name, _ in getattr(dataset, attribute)]
        monkeypatch.setattr(dataset, attribute, [[name, None] for name in files])  # None: no checksum
        for i, name in enumerate(files):
            batch = {"data": images(i, 2, 3072), key: [i % len(names), (i + 1) % len(names)]}
            (place / name).write_bytes(pickle.dumps(batch))
    monkeypatch.setattr(dataset, "meta", {**dataset.meta, "md5": None})
    (place / dataset.meta["filename"]).write_bytes(pickle.dumps({dataset.meta["key"]: names}))


def test_cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar(tmp_path, CIFAR10, monkeypatch, "labels", ["cat", "dog", "emu"])
    source = open_source("cifar10", root=tmp_path)
    assert source.class_names == ("cat", "dog", "emu")
    assert (source.label, source.channels, source.height, source.width) == ("cifar10", 3, 32, 32)
    assert source.train.images.shape == (10, 3, 32, 32)
    assert source.train.labels.tolist() == [0, 1, 1, 2, 2, 0, 0, 1, 1, 2]
    np.testing.assert_array_equal(source.test.images, images(0, 2, 3072).reshape(2, 3, 32, 32))
    assert open_source("cifar10", root=tmp_path, image_size=16).test.images.shape == (2, 3, 16, 16)


def test_cifar100(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar(tmp_path, CIFAR100, monkeypatch, "fine_labels", ["apple", "bee"])
    source = open_source("cifar100", root=tmp_path)
    assert (source.label, source.num_classes, len(source.train)) == ("cifar100", 2, 2)


def test_svhn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {split: [url, name, None] for split, (url, name, _) in SVHN.split_list.items()}
    monkeypatch.setattr(SVHN, "split_list", files)
    for split in ("train", "test"):
        scipy.io.savemat(tmp_path / files[split][1], {"X": images(0, 32, 32, 3, 4), "y": [[1], [10], [9], [2]]})
    source = open_source("svhn", root=tmp_path)
    assert source.class_names == tuple("0123456789")
    assert source.train.labels.tolist() == [1, 0, 9, 2]  # the files call the digit 0 "10"
    np.testing.assert_array_equal(source.train.images, images(0, 32, 32, 3, 4).transpose(3, 2, 0, 1))


def test_fashion_mnist(tmp_path: Path) -> None:
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for split in ("train", "t10k"):
        pictures = struct.pack(">HBBIII", 0, 8, 3, 3, 28, 28) + images(0, 3, 28, 28).tobytes()
        (raw / f"{split}-images-idx3-ubyte").write_bytes(pictures)
        (raw / f"{split}-labels-idx1-ubyte").write_bytes(struct.pack(">HBBI", 0, 8, 1, 3) + bytes([5, 0, 9]))
    source = open_source("fashion-mnist", root=tmp_path)
    assert (source.channels, source.height, source.num_classes) == (1, 28, 10)
    assert source.class_names[9] == "Ankle boot"
    assert source.test.labels.tolist() == [5, 0, 9]
    np.testing.assert_array_equal(source.train.images, images(0, 3, 28, 28)[:, None])


@pytest.mark.parametrize("name, archive", [
    ("cifar10", "cifar-10-python.tar.gz"), ("cifar100", "cifar-100-python.tar.gz"),
    ("svhn", "train_32x32.mat, test_32x32.mat"), ("fashion-mnist", "FashionMNIST/raw/train-images-idx3-ubyte.gz")])
def test_offline_the_error_says_what_to_put_where(tmp_path: Path, name: str, archive: str) -> None:
    with pytest.raises(SourceError) as caught:
        open_source(name, root=tmp_path / "cache")
    message = str(caught.value)
    assert f"could neither be read from '{tmp_path / 'cache'}' nor downloaded" in message
    assert "no network in tests" in message
    assert f"put {archive}" in message
    assert "parquet:PATH" in message


def test_damaged_files(tmp_path: Path) -> None:
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for split in ("train", "t10k"):
        for part in ("images-idx3", "labels-idx1"):
            (raw / f"{split}-{part}-ubyte").write_bytes(gzip.compress(b"nothing")[:7])
    with pytest.raises(SourceError, match="Fashion-MNIST could neither be read from"):
        open_source("fashion-mnist", root=tmp_path)


def test_where_downloads_go(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert cache_folder(None) == tmp_path / "cache" / "roar"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder(None) == tmp_path / ".cache" / "roar"
    assert cache_folder("~/data") == tmp_path / "data"
