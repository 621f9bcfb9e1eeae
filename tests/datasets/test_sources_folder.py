"""Pictures in folders."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from picture_files import encode, picture, pixels, write_folder

from roar.datasets import open_source
from roar.datasets.sources import folder as folder_module
from roar.datasets.sources import hashes as hashes_module
from roar.errors import SourceError


def files(seed: int, count: int) -> list[bytes]:
    return [encode(picture(seed + i)) for i in range(count)]


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "My Birds", {
        "train/wren": files(0, 3), "train/crow": files(10, 4), "test/crow": files(20, 2), "test/wren": files(30, 1)})


def test_pictures_and_labels_come_in_order_of_names(small: Path) -> None:
    (small / "train" / "crow" / "notes.txt").write_text("no picture")
    (small / "train" / "README").write_text("no class")
    source = open_source(f"folder:{small}")
    assert source.class_names == ("crow", "wren")
    assert source.label == "my-birds"
    assert source.train.labels.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert source.test.labels.tolist() == [0, 0, 1]
    expected = np.stack([pixels(picture(seed)) for seed in (10, 11, 12, 13, 0, 1, 2)])
    np.testing.assert_array_equal(source.train.images, expected)
    np.testing.assert_array_equal(source.train.decode(np.array([6, 0])), expected[[6, 0]])


def test_deeper_folders_and_val(small: Path) -> None:
    (small / "test").rename(small / "val")
    nested = small / "train" / "wren" / "more"
    nested.mkdir()
    (nested / "x.PNG").write_bytes(encode(picture(99)))
    source = open_source(f"folder:{small}")
    assert source.train.labels.tolist() == [0] * 4 + [1] * 4
    np.testing.assert_array_equal(source.train.images[-1], pixels(picture(99)))


def test_the_fingerprint_is_of_content_not_of_place(small: Path) -> None:
    fingerprint = open_source(f"folder:{small}").fingerprint
    moved = small.rename(small.parent / "elsewhere")
    assert open_source(f"folder:{moved}").fingerprint == fingerprint
    assert open_source(f"folder:{moved}", limit_train=4).fingerprint != fingerprint
    (moved / "train" / "crow" / "000.png").write_bytes(encode(picture(77)))
    assert open_source(f"folder:{moved}").fingerprint != fingerprint


def test_the_fingerprint_of_a_large_folder_is_of_every_byte(small: Path, tmp_path: Path,
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(hashes_module, "AT_LEAST", 5)
    reads: list[str] = []
    digest = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda file, kind: (reads.append(file.name), digest(file, kind))[1])
    split = folder_module._split(small / "train", ("crow", "wren"), [], folder_module._LeftOut())
    everything = np.arange(7)

    def fingerprint() -> tuple[bytes, int]:
        reads.clear()
        return split.digest(everything), len(reads)

    before, count = fingerprint()
    assert count == 7
    assert fingerprint() == (before, 7)  # just written: the same time may hide a second change
    monkeypatch.setattr(hashes_module, "SETTLED", -10**18)
    assert fingerprint() == (before, 7)
    assert fingerprint() == (before, 0)
    for path in sorted(small.glob("train/*/*.png")):
        data, told = path.read_bytes(), path.stat()
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))  # of the same size, with the same time of its content
        os.utime(path, ns=(told.st_atime_ns, told.st_mtime_ns))
        after, count = fingerprint()
        assert after != before, path
        assert count == 1
        path.write_bytes(data)
        assert fingerprint()[0] == before


def test_a_damaged_cache_of_hashes_is_not_believed(small: Path, tmp_path: Path,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(hashes_module, "AT_LEAST", 5)
    monkeypatch.setattr(hashes_module, "SETTLED", -10**18)
    split = folder_module._split(small / "train", ("crow", "wren"), [], folder_module._LeftOut())
    before = split.digest(np.arange(7))
    (kept,) = (tmp_path / "cache" / "roar" / "hashes").iterdir()
    for at in (0, 40, -1):
        data = bytearray(kept.read_bytes())
        data[at] ^= 1
        kept.write_bytes(bytes(data))
        assert split.digest(np.arange(7)) == before
    kept.unlink()
    kept.parent.chmod(0o500)
    assert split.digest(np.arange(7)) == before
    kept.parent.chmod(0o700)


@pytest.mark.timeout(30)
def test_a_picture_that_is_no_file_is_refused_and_nothing_hangs(small: Path) -> None:
    os.mkfifo(small / "train" / "wren" / "x.png")
    with pytest.raises(SourceError, match=r"x\.png' is no file; remove it"):
        open_source(f"folder:{small}", image_size=4)


def test_missing_folders(small: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"There is no folder '.*/missing'; give the folder that holds train/"):
        open_source(f"folder:{tmp_path / 'missing'}")
    (small / "test").rename(small / "tests")
    with pytest.raises(SourceError, match="has no folder 'test' or 'val'"):
        open_source(f"folder:{small}")
    (small / "train").rename(small / "training")
    with pytest.raises(SourceError, match="has no folder 'train'"):
        open_source(f"folder:{small}")
    (tmp_path / "empty" / "train").mkdir(parents=True)
    (tmp_path / "empty" / "test").mkdir()
    with pytest.raises(SourceError, match="train' has no class folders"):
        open_source(f"folder:{tmp_path / 'empty'}")


def test_an_empty_class(small: Path) -> None:
    (small / "test" / "wren" / "000.png").unlink()
    with pytest.raises(SourceError, match=r"A class needs at least one picture, but '.*test/wren' has none"):
        open_source(f"folder:{small}")


def test_classes_that_differ_between_the_splits(small: Path) -> None:
    (small / "test" / "wren").rename(small / "test" / "robin")
    with pytest.raises(SourceError, match=r"'robin' is in '.*test' and not in '.*train'"):
        open_source(f"folder:{small}")


@pytest.mark.parametrize("kind, extension", [("PNG", ".png"), ("JPEG", ".jpg"), ("WEBP", ".webp")])
def test_a_truncated_picture_is_named_by_path(small: Path, kind: str, extension: str) -> None:
    data = encode(picture(5), kind)
    path = small / "train" / "wren" / f"broken{extension}"
    path.write_bytes(data[:-len(data) // 3])
    with pytest.raises(SourceError, match=rf"^'.*train/wren/broken{extension}' is (a broken|not a) picture"):
        _ = open_source(f"folder:{small}", image_size=4).train.images


def test_a_picture_that_vanishes(small: Path) -> None:
    source = open_source(f"folder:{small}")
    (small / "train" / "crow" / "001.png").unlink()
    with pytest.raises(SourceError, match=r"crow/001\.png' cannot be read \(No such file or directory\)"):
        _ = source.train.images


def test_sizes_that_differ_need_an_image_size(small: Path) -> None:
    (small / "train" / "wren" / "large.png").write_bytes(encode(picture(3, (20, 10))))
    with pytest.raises(SourceError, match=r"has 8x6 pixels and '.*large.png' 20x10; give --image-size"):
        open_source(f"folder:{small}")
    assert open_source(f"folder:{small}", image_size=4).train.images.shape == (8, 3, 4, 4)


def test_names_that_begin_with_a_dot_are_left_out_and_it_is_said(small: Path) -> None:
    fingerprint = open_source(f"folder:{small}").fingerprint
    for folder in (".ipynb_checkpoints", "wren/.thumbnails"):
        (small / "train" / folder).mkdir()
        (small / "train" / folder / "000.png").write_bytes(encode(picture(50)))
    (small / "test" / "wren" / "._000.png").write_bytes(b"\0\5\x16\7 what macOS leaves on other disks")
    (small / "test" / "wren" / ".DS_Store").write_bytes(b"no picture")
    source = open_source(f"folder:{small}")
    assert source.class_names == ("crow", "wren")
    assert source.fingerprint == fingerprint
    (fact,) = source.facts
    assert fact.startswith("Left out by a name that begins with a dot: ")
    assert fact.endswith(".ipynb_checkpoints and 2 more.")


def test_links_that_lead_to_pictures_that_are_read_already_are_left_out(small: Path, tmp_path: Path) -> None:
    fingerprint = open_source(f"folder:{small}").fingerprint
    outside = tmp_path / "outside"
    (outside / "loop").parent.mkdir()
    (outside / "loop").symlink_to(outside)
    (outside / "x.png").write_bytes(encode(picture(60)))
    for name, target in (("up", small / "train"), ("root", small), ("self", small / "train/wren"),
                         ("aside", small / "train/crow")):
        (small / "train" / "wren" / name).symlink_to(target)
    source = open_source(f"folder:{small}")
    assert source.fingerprint == fingerprint
    assert [fact.endswith("aside and 3 more.") for fact in source.facts] == [True]
    (small / "train" / "wren" / "more").symlink_to(outside)
    assert np.bincount(open_source(f"folder:{small}").train.labels).tolist() == [4, 4]


def test_a_class_that_is_a_link_to_another_class_is_refused(small: Path) -> None:
    for split in ("train", "test"):
        (small / split / "robin").symlink_to(small / split / "wren")
    with pytest.raises(SourceError, match=r"the folders 'robin' and 'wren' of .*train' are linked to the same"):
        open_source(f"folder:{small}")


def test_copies_of_training_pictures_in_the_test_split_are_counted(small: Path) -> None:
    assert open_source(f"folder:{small}").facts == ()
    (small / "test" / "wren" / "copy.png").write_bytes((small / "train" / "wren" / "001.png").read_bytes())
    assert open_source(f"folder:{small}").facts == (
        "1 of the 4 test images is in the training split too, which makes accuracy too high; remove them from one of "
        "the splits.",)


def test_a_class_folder_whose_name_is_not_utf8(small: Path) -> None:
    for split in ("train", "test"):
        (small / split / "wren").rename(small / split / os.fsdecode(b"caf\xe9"))
    source = open_source(f"folder:{small}")
    assert source.class_names == ("caf\\xe9", "crow")
    assert source.train.images.shape == (7, 3, 6, 8)
    assert "".join(source.class_names).encode()
