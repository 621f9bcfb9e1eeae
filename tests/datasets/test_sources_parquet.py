"""Parquet files in Hugging Face's image layout: the real CIFAR-10, small ones, and broken ones."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from picture_files import encode, picture, pixels, write_parquet

from roar.datasets import open_source
from roar.datasets.sources import parquet_files
from roar.errors import SourceError, UsageError

NAMES = ("red", "green", "blue")
MALFORMED = (b"not JSON", b"[]", b'{"info": 3}', b'{"info": {"features": {"label": {"names": []}}}}',
             b'{"info": {"features": {"label": {"names": [1, 2]}}}}', b"\xff")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Two training files of 6 and 5 pictures, and a test file of 4."""
    data = [encode(picture(i)) for i in range(15)]
    write_parquet(tmp_path / "train-00000-of-00002.parquet", data[:6], [0, 1, 2, 0, 1, 2], class_names=NAMES)
    write_parquet(tmp_path / "train-00001-of-00002.parquet", data[6:11], [0, 1, 2, 0, 1], class_names=NAMES)
    write_parquet(tmp_path / "test-00000-of-00001.parquet", data[11:], [0, 1, 2, 2], class_names=NAMES)
    return tmp_path


def test_the_real_cifar10(cifar10_path: Path) -> None:
    start = time.perf_counter()
    source = open_source(f"parquet:{cifar10_path}")
    assert time.perf_counter() - start < 20  # a second or less on an idle machine
    assert (len(source.train), len(source.test)) == (50_000, 10_000)
    assert source.class_names == ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse",
                                  "ship", "truck")
    assert (source.channels, source.height, source.width, source.label) == (3, 32, 32, "cifar10")
    assert np.bincount(source.train.labels).tolist() == [5_000] * 10
    some = np.array([49_999, 0, 12_345, 10_000, 9_999, 0])
    images = source.train.decode(some)
    for position, image in zip(some.tolist(), images, strict=True):
        np.testing.assert_array_equal(source.train.decode(np.array([position]))[0], image)
    assert source.notes == []


def test_a_limit_decodes_only_what_it_takes(cifar10_path: Path) -> None:
    source = open_source(f"parquet:{cifar10_path}", limit_train=30, limit_test=10)
    assert source.train.images.shape == (30, 3, 32, 32)
    whole = open_source(f"parquet:{cifar10_path}")
    np.testing.assert_array_equal(whole.train.decode(source.train.indices), source.train.images)
    assert source.fingerprint != whole.fingerprint


def test_pictures_and_labels_come_in_order(small: Path) -> None:
    source = open_source(f"parquet:{small}")
    assert source.class_names == NAMES
    assert source.train.labels.tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1]
    assert (source.channels, source.height, source.width) == (3, 6, 8)
    np.testing.assert_array_equal(source.train.images, np.stack([pixels(picture(i)) for i in range(11)]))
    np.testing.assert_array_equal(source.test.images, np.stack([pixels(picture(i)) for i in range(11, 15)]))
    some = np.array([10, 3, 3, 7])
    np.testing.assert_array_equal(source.train.decode(some), source.train.images[some])
    assert source.train.decode(some[:0]).shape == (0, 3, 6, 8)


def test_the_fingerprint_is_of_content_not_of_files(small: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    fingerprint = open_source(f"parquet:{small}").fingerprint
    other = tmp_path_factory.mktemp("other")
    data = [encode(picture(i)) for i in range(15)]
    write_parquet(other / "train-0.parquet", data[:11], [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1], class_names=NAMES,
                  row_group_size=100)
    test = other / "test-0.parquet"
    write_parquet(test, data[11:], [0, 1, 2, 2], class_names=NAMES, row_group_size=1)
    assert open_source(f"parquet:{other}").fingerprint == fingerprint
    write_parquet(test, data[11:], [0, 1, 2, 1], class_names=NAMES)
    relabeled = open_source(f"parquet:{other}").fingerprint
    write_parquet(test, [*data[11:14], data[13]], [0, 1, 2, 2], class_names=NAMES)
    repainted = open_source(f"parquet:{other}").fingerprint
    assert len({fingerprint, relabeled, repainted}) == 3
    assert open_source(f"parquet:{other}", image_size=4).fingerprint != repainted


def test_other_column_names_and_no_class_names(tmp_path: Path) -> None:
    data = [encode(picture(i)) for i in range(4)]
    for split in ("train", "validation"):
        write_parquet(tmp_path / f"{split}-0.parquet", data, [0, 1, 2, 3], image="img", label="fine_label")
    assert open_source(f"parquet:{tmp_path}").class_names == ("0", "1", "2", "3")


@pytest.mark.parametrize("metadata", MALFORMED)
def test_malformed_metadata_name_no_classes(small: Path, metadata: bytes) -> None:
    for file in small.glob("*.parquet"):
        pq.write_table(pq.read_table(file).replace_schema_metadata({b"huggingface": metadata}), file)
    assert open_source(f"parquet:{small}").class_names == ("0", "1", "2")


def test_a_url(small: Path) -> None:
    assert (open_source(f"parquet:{small.as_uri()}").fingerprint == open_source(f"parquet:{small}").fingerprint)


def test_unknown_kinds_of_url_and_missing_folders(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"'nowhere://x' cannot be opened .*; give a folder or a URL"):
        open_source("parquet:nowhere://x")
    with pytest.raises(SourceError, match=r"There is no folder '.*/missing'; give the folder that holds train-"):
        open_source(f"parquet:{tmp_path / 'missing'}")
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(SourceError, match="file'"):
        open_source(f"parquet:{tmp_path / 'file'}")


def test_missing_splits(small: Path) -> None:
    next(small.glob("test-*")).unlink()
    with pytest.raises(SourceError, match=r"holds no test-\*\.parquet and has only train-00000-of-00002\.parquet, "):
        open_source(f"parquet:{small}")
    for file in small.glob("train-*"):
        file.unlink()
    with pytest.raises(SourceError, match=r"holds no train-\*\.parquet and has no Parquet files"):
        open_source(f"parquet:{small}")


def test_missing_columns(tmp_path: Path, small: Path) -> None:
    first = small / "train-00000-of-00002.parquet"
    table = pq.read_table(first)
    pq.write_table(table.drop_columns("label"), first)
    with pytest.raises(SourceError, match=r"The labels are the column called 'label', and .* has none .*--label-col"):
        open_source(f"parquet:{small}")
    pq.write_table(table.drop_columns("image"), first)
    with pytest.raises(SourceError, match=r"has no struct column with binary 'bytes'.*label: int64\)"):
        open_source(f"parquet:{small}")
    pq.write_table(table, first)
    second = small / "train-00001-of-00002.parquet"
    pq.write_table(pq.read_table(second).rename_columns(["picture", "label"]), second)
    with pytest.raises(SourceError, match=r"train-00001-of-00002.* lacks the columns of .*train-00000-of-00002"):
        open_source(f"parquet:{small}")


@pytest.mark.parametrize("label, value", [(-1, "-1"), (3, "3"), (None, "null")])
def test_labels_outside_of_the_classes(small: Path, label: int | None, value: str) -> None:
    write_parquet(small / "train-00001-of-00002.parquet", [encode(picture(i)) for i in range(6)],
                  [0, 1, 2, 0, 1, label], class_names=NAMES)
    with pytest.raises(SourceError, match=rf"in 0 \.\. 2, but 'label' is {value} in row 5 of '.*train-00001"):
        open_source(f"parquet:{small}")


def test_a_test_label_that_training_does_not_have(tmp_path: Path) -> None:
    data = [encode(picture(i)) for i in range(3)]
    write_parquet(tmp_path / "train-0.parquet", data, [0, 1, 1])
    write_parquet(tmp_path / "test-0.parquet", data, [0, 1, 2])
    with pytest.raises(SourceError, match=r"in 0 \.\. 1, but 'label' is 2 in row 2 of '.*test-0"):
        open_source(f"parquet:{tmp_path}")


def test_a_label_that_would_make_too_many_classes(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write_parquet(tmp_path / f"{split}-0.parquet", [encode(picture(0))] * 2, [0, 2**62])
    with pytest.raises(SourceError, match=rf"in 0 \.\. 99999, but 'label' is {2**62} in row 1 of"):
        open_source(f"parquet:{tmp_path}")


def test_labels_beyond_64_bits(small: Path) -> None:
    file = small / "train-00000-of-00002.parquet"
    labels = pa.array([2**63 + 5] * 6, type=pa.uint64())
    pq.write_table(pq.read_table(file).set_column(1, "label", labels), file)
    with pytest.raises(SourceError, match="train-00000"):
        open_source(f"parquet:{small}")


def test_no_rows(small: Path) -> None:
    write_parquet(small / "test-00000-of-00001.parquet", [], [], class_names=NAMES)
    with pytest.raises(SourceError, match="has no rows; a split needs at least one picture"):
        open_source(f"parquet:{small}")


def test_an_empty_file_beside_a_full_one_is_fine(small: Path) -> None:
    fingerprint = open_source(f"parquet:{small}").fingerprint
    (small / "test-00000-of-00001.parquet").rename(small / "test-00000-of-00002.parquet")
    write_parquet(small / "test-00001-of-00002.parquet", [], [], class_names=NAMES)
    assert open_source(f"parquet:{small}").fingerprint == fingerprint


def test_not_parquet_at_all(small: Path) -> None:
    (small / "train-00001-of-00002.parquet").write_bytes(b"PAR1 but no more")
    with pytest.raises(SourceError, match=r"train-00001-of-00002.parquet' cannot be read as Parquet"):
        open_source(f"parquet:{small}")


@pytest.mark.parametrize("broken, message", [
    (encode(picture(0, (64, 64)))[:-40], "is a broken picture"),
    (encode(picture(0, (64, 64)), "JPEG")[:900], "is a broken picture"),
    (b"these are words", "is not a picture in any of PNG, JPEG"), (b"", "is not a picture")])
def test_a_broken_picture_is_named_by_file_and_row(small: Path, broken: bytes, message: str) -> None:
    whole = encode(picture(0, (64, 64)))
    write_parquet(small / "train-00001-of-00002.parquet", [whole] * 9 + [broken], [0] * 10, class_names=NAMES)
    for file in ("train-00000-of-00002", "test-00000-of-00001"):
        write_parquet(small / f"{file}.parquet", [whole], [0], class_names=NAMES)
    with pytest.raises(SourceError, match=rf"^Row 9 of '.*train-00001-of-00002\.parquet' {message}"):
        _ = open_source(f"parquet:{small}").train.images


def test_a_null_picture(small: Path) -> None:
    write_parquet(small / "test-00000-of-00001.parquet", [encode(picture(0)), None], [0, 1], class_names=NAMES)
    with pytest.raises(SourceError, match=r"There is no picture in row 1 of '.*test-00000"):
        _ = open_source(f"parquet:{small}").test.images


def test_sizes_that_differ_need_an_image_size(small: Path) -> None:
    write_parquet(small / "test-00000-of-00001.parquet", [encode(picture(0, (9, 7)))], [0], class_names=NAMES)
    with pytest.raises(SourceError, match=r"has 8x6 pixels and row 0 of '.*test-0.* 9x7; give --image-size"):
        open_source(f"parquet:{small}")
    assert open_source(f"parquet:{small}", image_size=5).test.images.shape == (1, 3, 5, 5)


def test_a_size_that_differs_where_nobody_looked(tmp_path: Path) -> None:
    data = [encode(picture(0))] * 1_500
    write_parquet(tmp_path / "test-0.parquet", data[:1], [0], class_names=NAMES)
    data[1] = encode(picture(1, (7, 6)))
    write_parquet(tmp_path / "train-0.parquet", data, [0] * 1_500, class_names=NAMES, row_group_size=1_000)
    source = open_source(f"parquet:{tmp_path}")
    with pytest.raises(SourceError, match=r"8x6 pixels, but row 1 of .* has 7x6; give --image-size"):
        _ = source.train.images


def test_a_label_that_is_a_mistake_makes_no_classes(tmp_path: Path) -> None:
    """100,000 classes of six images would be trained."""
    for split in ("train", "test"):
        pictures = [{"bytes": encode(picture(seed))} for seed in range(6)]
        table = pa.table({"img": pictures, "label": [0, 1, 0, 1, 0, 99_999]})
        pq.write_table(table, tmp_path / f"{split}-0.parquet")
    with pytest.raises(SourceError, match="99999"):
        open_source(f"parquet:{tmp_path}")


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for split in ("train", "test"):
        table = pa.table({"img": [{"bytes": bytes(2_000_000)}, {"bytes": bytes(2_000_000)}], "label": [0, 1]})
        pq.write_table(table, tmp_path / f"{split}-0.parquet", compression="zstd", use_dictionary=False)
    monkeypatch.setattr(parquet_files, "MOST_UNPACKED", 1_000_000)
    with pytest.raises(SourceError, match=r"Row group 0 of .* unpacks from [0-9,]+ to 4,000,\d+ bytes, as no picture"):
        open_source(f"parquet:{tmp_path}")


def table_of(count: int, **columns: object) -> pa.Table:
    """Pictures in the column image, and other columns."""
    pictures = [{"bytes": encode(picture(seed))} for seed in range(count)]
    return pa.table({"image_id": list(range(count)), "image": pictures, **columns})


def both(folder: Path, table: pa.Table) -> str:
    for split in ("train", "test"):
        pq.write_table(table, folder / f"{split}-0.parquet")
    return f"parquet:{folder}"


@pytest.mark.parametrize("labels, names, numbers", [
    (["dog", "cat", "dog", "ant"], ("ant", "cat", "dog"), [2, 1, 2, 0]),
    ([True, False, False, True], ("false", "true"), [1, 0, 0, 1]),
    (pa.array(["b", "a", "b", "b"]).dictionary_encode(), ("a", "b"), [1, 0, 1, 1])])
def test_texts_and_truth_values_are_classes(tmp_path: Path, labels: object, names: tuple[str, ...],
                                            numbers: list[int]) -> None:
    source = open_source(both(tmp_path, table_of(4, patient=[7, 8, 9, 9], label=labels)))
    assert source.class_names == names
    assert source.train.labels.tolist() == source.test.labels.tolist() == numbers
    assert source.facts[0] == ("The column 'image' holds the pictures and 'label' the labels; the splits are train and "
                               "test.")


def test_no_column_that_nobody_called_a_label_is_one(tmp_path: Path) -> None:
    name = both(tmp_path, table_of(4, patient=[0, 1, 0, 1], __index_level_0__=[0, 1, 2, 3]))
    with pytest.raises(SourceError, match=r"The labels are the column called 'label', and .* has none .*patient.*"
                                          r"--label-column"):
        open_source(name)
    source = open_source(name, label_column="patient")
    assert source.train.labels.tolist() == [0, 1, 0, 1]
    with pytest.raises(SourceError, match="--label-column"):
        open_source(name, label_column="species")
    with pytest.raises(UsageError, match="The source 'digits' has no columns, so none called 'patient'"):
        open_source("digits", label_column="patient")


def test_labels_that_are_floats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"Labels are integers, texts or truth values, and 'label' of .* is double"):
        open_source(both(tmp_path, table_of(4, label=[0.0, 1.0, 0.0, 1.0])))


def test_two_class_labels_without_the_usual_name_need_a_choice(tmp_path: Path) -> None:
    data, folder = [encode(picture(seed)) for seed in range(2)], tmp_path
    for split in ("train", "test"):
        file = write_parquet(folder / f"{split}-0.parquet", data, [0, 1], class_names=NAMES, label="species")
    assert open_source(f"parquet:{folder}").class_names == NAMES
    table = pq.read_table(file)
    features = {name: {"_type": "ClassLabel", "names": list(NAMES)} for name in ("species", "color")}
    both(folder, table.append_column("color", pa.array([1, 0])).replace_schema_metadata(
        {b"huggingface": json.dumps({"info": {"features": features}})}))
    with pytest.raises(SourceError, match="--label-column"):
        open_source(f"parquet:{folder}")
    assert open_source(f"parquet:{folder}", label_column="color").test.labels.tolist() == [1, 0]


def test_a_text_that_training_does_not_have(tmp_path: Path) -> None:
    pq.write_table(table_of(3, label=["a", "b", "b"]), tmp_path / "train-0.parquet")
    pq.write_table(table_of(3, label=["a", "b", "c"]), tmp_path / "test-0.parquet")
    with pytest.raises(SourceError, match=r"Labels are 'a', 'b', but 'label' is c in row 2 of '.*test-0"):
        open_source(f"parquet:{tmp_path}")


def test_texts_in_one_file_and_integers_in_another(tmp_path: Path) -> None:
    pq.write_table(table_of(2, label=["a", "b"]), tmp_path / "train-0.parquet")
    pq.write_table(table_of(2, label=[0, 1]), tmp_path / "train-1.parquet")
    pq.write_table(table_of(2, label=[0, 1]), tmp_path / "test-0.parquet")
    with pytest.raises(SourceError, match=r"'label' holds other labels in .*train-1.* than in .*train-0"):
        open_source(f"parquet:{tmp_path}")


@pytest.mark.parametrize("gone", [0, 2, 4])
def test_shards_that_are_not_all_there_are_refused(tmp_path: Path, gone: int) -> None:
    data = [encode(picture(seed)) for seed in range(2)]
    for number in range(5):
        write_parquet(tmp_path / f"train-{number:05d}-of-00005.parquet", data, [0, 1])
    write_parquet(tmp_path / "test-00000-of-00001.parquet", data, [0, 1])
    assert len(open_source(f"parquet:{tmp_path}").train) == 10
    (tmp_path / f"train-{gone:05d}-of-00005.parquet").unlink()
    with pytest.raises(SourceError, match=rf"The split 'train' of .* has 5 files by their names, of which 4 are there "
                                          rf"and {gone:05d} is missing"):
        open_source(f"parquet:{tmp_path}")


@pytest.mark.parametrize("unlabeled", [[-1] * 4, [None] * 4])
def test_a_test_split_without_labels_gives_way_to_a_validation_split(tmp_path: Path, unlabeled: list[int | None]
                                                                     ) -> None:
    data = [encode(picture(seed)) for seed in range(12)]
    for start, split, labels in ((0, "train", [0, 1, 2, 0]), (4, "validation", [2, 1, 0, 0]), (8, "test", unlabeled)):
        write_parquet(tmp_path / f"{split}-0.parquet", data[start:start + 4], labels, class_names=NAMES)
    source = open_source(f"parquet:{tmp_path}")
    assert source.test.labels.tolist() == [2, 1, 0, 0]
    np.testing.assert_array_equal(source.test.images[0], pixels(picture(4)))
    assert source.facts == (
        "The column 'image' holds the pictures and 'label' the labels; the splits are train and validation.",
        "The labels of the test split are all -1 or missing, so it is not used.")
    (tmp_path / "validation-0.parquet").unlink()
    with pytest.raises(SourceError, match=r"in row 0 of '.*test-0"):
        open_source(f"parquet:{tmp_path}")


@pytest.mark.parametrize("train, test", [
    ("data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"),
    ("default/train/0000.parquet", "default/test/0000.parquet"), ("train/0000.parquet", "validation/0000.parquet"),
    ("train.parquet", "test.parquet"), ("plain_text/train-0.parquet", "plain_text/val-0.parquet")])
def test_layouts(small: Path, tmp_path_factory: pytest.TempPathFactory, train: str, test: str) -> None:
    folder = tmp_path_factory.mktemp("layout")
    data = [encode(picture(i)) for i in range(15)]
    write_parquet(folder / train, data[:11], [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1], class_names=NAMES)
    write_parquet(folder / test, data[11:], [0, 1, 2, 2], class_names=NAMES)
    (folder / ".cache" / "train").mkdir(parents=True)
    assert open_source(f"parquet:{folder}").fingerprint == open_source(f"parquet:{small}").fingerprint


def test_several_data_sets_in_one_folder_need_a_choice(small: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("subsets")
    for subset in ("full", "cropped"):
        for split in ("train", "test"):
            write_parquet(folder / subset / f"{split}-0.parquet", [encode(picture(i)) for i in range(2)], [0, 1])
    with pytest.raises(SourceError, match=r"several data sets \(cropped, full\); .*parquet:.*/cropped"):
        open_source(f"parquet:{folder}")
    assert len(open_source(f"parquet:{folder}/full").train) == 2


def test_a_split_in_files_of_two_kinds_is_refused(small: Path) -> None:
    write_parquet(small / "train.parquet", [encode(picture(0))], [0], class_names=NAMES)
    with pytest.raises(SourceError, match=r"The split 'train' of .* is in 'train.parquet' and in files called 'train-"):
        open_source(f"parquet:{small}")


def test_copies_of_training_pictures_are_counted(small: Path) -> None:
    data = [encode(picture(i)) for i in (0, 1, 11, 12)]
    write_parquet(small / "test-00000-of-00001.parquet", data, [0, 1, 2, 2], class_names=NAMES)
    assert open_source(f"parquet:{small}").facts[1].startswith("2 of the 4 test images are in the training split too")


@pytest.mark.slow
def test_a_row_group_of_more_than_two_gigabytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_files, "MOST_UNPACKED", 2**33)
    seen = encode(picture(3))
    long = pa.array([seen + bytes(200_000_000)], pa.large_binary()).take(pa.array([0] * 11))  # decoders stop before
    column = pa.StructArray.from_arrays([long], ["bytes"])
    large = pa.table({"image": column, "label": [0, 1] * 5 + [0]})
    pq.write_table(large, tmp_path / "train-0.parquet", compression="zstd", use_dictionary=False, write_batch_size=1)
    pq.write_table(large.slice(9), tmp_path / "test-0.parquet", compression="zstd", write_batch_size=1)
    del large, column, long
    source = open_source(f"parquet:{tmp_path}")
    assert source.train.labels.tolist() == [0, 1] * 5 + [0]
    np.testing.assert_array_equal(source.train.decode(np.array([10]))[0], pixels(picture(3)))
