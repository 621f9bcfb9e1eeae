"""Sources that a user brings: arrays, data sets and functions, by object and by name, in every form the same."""

from __future__ import annotations

import importlib
import pickle
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from picture_files import encode, picture, write_folder
from PIL import Image

from roar import pipeline
from roar.datasets import SOURCES, Source, anywhere, arrays, open_source, source
from roar.errors import RoarError, SourceError, UnknownNameError, UsageError
from roar.experiment import load_experiment
from roar.metrics.retraining.tasks import retrain
from roar.pipeline import Session
from roar.pipeline.door import Objects
from roar.progress import Silent
from roar.store.requests import read_plans
from roar.store.results import read_results

TRAIN, TEST, CLASSES = 48, 24, ("circle", "ring", "square")

FILE = '''
import numpy as np
from PIL import Image

CLASSES = ["circle", "ring", "square"]


class Pictures:
    """A map-style data set, as torchvision's are."""

    classes = CLASSES

    def __init__(self, count, first):
        self.count, self.first = count, first

    def __len__(self):
        return self.count

    def __getitem__(self, i):
        if not 0 <= i < self.count:
            raise IndexError(i)
        draw = np.random.default_rng(self.first + i)
        image = draw.integers(0, 120, (8, 8, 3)) + 60 * (i % 3)
        return Image.fromarray(image.astype(np.uint8)), i % 3


def load(train=48, test=24, shift=0):
    return Pictures(train, shift), Pictures(test, 1000 + shift)


def broken():
    return Pictures(4, 0)[4]


DATA = load()
'''


def images(count: int, first: int) -> np.ndarray:
    """What ``Pictures`` gives, uint8 ``[N, H, W, C]``."""
    draws = [np.random.default_rng(first + i).integers(0, 120, (8, 8, 3)) + 60 * (i % 3) for i in range(count)]
    return np.stack(draws).astype(np.uint8)


X, X_TEST = images(TRAIN, 0), images(TEST, 1000)
Y, Y_TEST = np.arange(TRAIN) % 3, np.arange(TEST) % 3


def pictures(x: np.ndarray, y: np.ndarray) -> Any:
    """A data set of an object; its class is local, so that it travels by value."""
    class Pictures:
        classes = CLASSES

        def __len__(self) -> int:
            return len(x)

        def __getitem__(self, i: int) -> tuple[Image.Image, int]:
            return Image.fromarray(x[i]), int(y[i])

    return Pictures()


class Feature:
    """Stands for a feature of Hugging Face's, which is told by the name of its class."""

    def __init__(self, names: list[str] | None = None) -> None:
        self.names = names


def hugging_face(x: np.ndarray, y: np.ndarray) -> Any:
    """A stand-in for a Dataset of Hugging Face's."""
    picture, label = type("Image", (Feature,), {})(), type("ClassLabel", (Feature,), {})(list(CLASSES))

    class Dataset:
        def __init__(self) -> None:
            self.features = {"id": Feature(), "photo": picture, "kind": label}

        def __len__(self) -> int:
            return len(x)

        def __getitem__(self, key: int | str) -> Any:
            if isinstance(key, str):
                return y.tolist()
            return {"id": key, "photo": Image.fromarray(x[key]), "kind": int(y[key])}

    return Dataset()


def tensors(x: np.ndarray, y: np.ndarray) -> Any:
    """Float tensors in [0, 1], as ToTensor makes them, with the labels in a list."""
    class Tensors(torch.utils.data.Dataset[Any]):
        classes = CLASSES
        targets = tuple(y.tolist())

        def __len__(self) -> int:
            return len(x)

        def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
            return torch.from_numpy(x[i]).permute(2, 0, 1) / 255, int(y[i])

    return Tensors()


def first(x: np.ndarray) -> np.ndarray:
    return x.transpose(0, 3, 1, 2)


def returns(data: Any) -> Callable[[], Any]:
    def load() -> Any:
        return data

    return load


FORMS: dict[str, Callable[[], Any]] = {
    "channels last": lambda: arrays(train=(X, Y), test=(X_TEST, Y_TEST), class_names=CLASSES),
    "channels first": lambda: arrays(train=(first(X), list(Y)), test=(first(X_TEST), Y_TEST.astype(np.uint8)),
                                     class_names=CLASSES),
    "floats": lambda: arrays(train=(X.astype(np.float32) / 255, Y), test=(X_TEST / 255, Y_TEST), class_names=CLASSES),
    "tensors": lambda: arrays(train=(torch.from_numpy(X), torch.from_numpy(Y)),
                              test=(torch.from_numpy(X_TEST) / 255, torch.from_numpy(Y_TEST)), class_names=CLASSES),
    "a pair of data sets": lambda: (pictures(X, Y), pictures(X_TEST, Y_TEST)),
    "a dictionary": lambda: {"train": tensors(X, Y), "test": pictures(X_TEST, Y_TEST)},
    "a dictionary of pairs": lambda: {"train": pictures(X, Y), "test": (X_TEST, Y_TEST)},
    "Hugging Face's": lambda: {"train": hugging_face(X, Y), "validation": hugging_face(X_TEST, Y_TEST)},
    "a function": lambda: returns((pictures(X, Y), pictures(X_TEST, Y_TEST))),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "my_data.py"
    path.write_text(FILE)
    return path


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An installed package ``toy_pictures`` with the entry points ``toy`` and ``toy-broken``."""
    site = tmp_path / "site"
    (site / "toy_pictures-1.5.dist-info").mkdir(parents=True)
    (site / "toy_pictures.py").write_text(FILE)
    for name, text in {"METADATA": "Metadata-Version: 2.1\nName: toy-pictures\nVersion: 1.5\n",
                       "top_level.txt": "toy_pictures\n",
                       "entry_points.txt": "[roar.sources]\ntoy = toy_pictures:load\ndigits = toy_pictures:load\n"
                                           "toy-broken = toy_nothing:load\n"}.items():
        (site / "toy_pictures-1.5.dist-info" / name).write_text(text)
    monkeypatch.syspath_prepend(site)
    yield "toy_pictures"
    sys.modules.pop("toy_pictures", None)


def reference() -> Source:
    return open_source(FORMS["channels last"]())


# -- forms ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_the_same_source(form: str) -> None:
    found, expected = open_source(FORMS[form]()), reference()
    assert found.fingerprint == expected.fingerprint
    assert found.class_names == CLASSES
    assert (found.channels, found.height, found.width, found.splits) == (3, 8, 8, ("train", "test"))
    np.testing.assert_array_equal(found.train.images, first(X))
    np.testing.assert_array_equal(found.test.decode(np.array([5, 2])), first(X_TEST)[[5, 2]])
    assert found.train.labels.tolist() == Y.tolist()


def test_every_spelling_is_the_same_source(file: Path, toy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    names = ["my_data.py:load", f"{file}:load", f"{file}:load(train=48, test=24)", f"{file}:DATA", f"{toy}:load",
             "toy", "toy(shift=0)"]
    assert {open_source(name).fingerprint for name in names} == {reference().fingerprint}
    assert open_source(f"{file}:load(shift=1)").fingerprint != reference().fingerprint
    assert len(open_source(f"{file}:load(train=30)").train) == 30
    assert [open_source(name).label for name in ("my_data.py:load", f"{toy}:load", "toy")] == [
        "my-data-load", "toy-pictures-load", "toy"]


def test_an_edited_source_has_another_fingerprint(file: Path) -> None:
    before = reference().fingerprint
    touched = X.copy()
    touched[7, 0, 0, 0] ^= 1
    labels = Y.copy()
    labels[[0, 1]] = labels[[1, 0]]
    edits = ((touched, Y, CLASSES), (X, labels, CLASSES), (X, Y, ("a", "b", "c")), (X, Y, None), (X[::-1], Y, CLASSES))
    prints = [open_source(arrays(train=(x, y), test=(X_TEST, Y_TEST), class_names=names)).fingerprint
              for x, y, names in edits]
    prints.append(open_source((pictures(touched, Y), pictures(X_TEST, Y_TEST))).fingerprint)
    assert prints[0] == prints.pop()
    assert len({before, *prints}) == 6
    name = f"{file}:load"
    assert open_source(name).fingerprint == before
    file.write_text(f"# a comment changes no image\n{FILE}")
    assert open_source(name).fingerprint == before
    file.write_text(FILE.replace("60 * (i % 3)", "61 * (i % 3)"))
    assert open_source(name).fingerprint != before


def test_limits_read_no_more_than_they_take() -> None:
    reads: list[int] = []
    data = tensors(X, Y)
    honest = type(data).__getitem__
    type(data).__getitem__ = lambda self, i: (reads.append(i), honest(self, i))[1]
    opened = open_source((data, pictures(X_TEST, Y_TEST)), limit_train=6, limit_test=3)
    probes = reads[:16]
    assert sorted({*reads} - {*probes}) == sorted({*opened.train.indices.tolist()} - {*probes})
    assert opened.fingerprint == open_source(FORMS["channels first"](), limit_train=6, limit_test=3).fingerprint


def test_pictures_are_decoded_as_those_of_a_folder_are(tmp_path: Path) -> None:
    from torchvision.datasets import ImageFolder

    files = {f"{split}/{name}": [encode(picture(10 * number + i, (9, 6 + i))) for i in range(3)]
             for number, split in enumerate(("train", "test")) for name in ("a", "b")}
    root = write_folder(tmp_path / "folder", files)
    pair = ImageFolder(root / "train"), ImageFolder(root / "test")
    found, expected = open_source(pair, image_size=5), open_source(f"folder:{root}", image_size=5)
    np.testing.assert_array_equal(found.train.images, expected.train.images)
    assert found.class_names == expected.class_names
    with pytest.raises(SourceError, match=r"one size unless --image-size is given, and image 0 of 'train' has 9x6 "):
        open_source(pair)


def test_gray_images_and_those_of_both_kinds() -> None:
    gray = [(Image.fromarray(X[i, :, :, 0]), int(Y[i])) for i in range(6)]
    mixed = [*gray[:5], (Image.fromarray(X[5]), int(Y[5]))]
    assert open_source((gray, gray)).channels == 1
    opened = open_source((gray, mixed))
    assert opened.channels == 3
    np.testing.assert_array_equal(opened.test.images[0], np.repeat(X[0, None, :, :, 0], 3, axis=0))
    assert "6 grayscale pictures of the training split were converted to color." in opened.notes
    assert open_source(arrays(train=(X[..., 0], Y), test=(X_TEST[..., 0], Y_TEST))).channels == 1


def test_floats_are_rounded_as_is_said() -> None:
    x = np.array([0, 0.0019, 0.002, 0.5, 0.998, 1], np.float64).repeat(16).reshape(6, 1, 4, 4)
    opened = open_source(arrays(train=(x, [0, 1] * 3), test=(x.astype(np.float16), [0, 1] * 3)))
    assert opened.train.images[:, 0, 0, 0].tolist() == [0, 0, 1, 128, 254, 255]
    assert opened.class_names == ("0", "1")
    every = (np.arange(256, dtype=np.float32) / 255).reshape(16, 1, 4, 4)
    opened = open_source(arrays(test=(every, [0, 1] * 8)))
    assert opened.test.images.ravel().tolist() == list(range(256))


def test_image_size_scales_every_form() -> None:
    for form in ("channels first", "a pair of data sets"):
        opened = open_source(FORMS[form](), image_size=4)
        assert (opened.height, opened.train.images.shape) == (4, (TRAIN, 3, 4, 4))
        assert opened.fingerprint == open_source(FORMS["floats"](), image_size=4).fingerprint


def test_progress_is_shown_once(tmp_path: Path) -> None:
    class Recorder(Silent):
        def __init__(self) -> None:
            self.bars: list[tuple[str, float, str]] = []
            self.done = self.ended = 0.0

        def begin(self, title: str, total: float, unit: str) -> Any:
            self.bars.append((title, total, unit))
            return self

        def advance(self, amount: float, text: str = "") -> None:
            self.done += amount

        def end(self, bar: Any) -> None:
            self.ended += 1

    told: list[tuple[int, int]] = []
    open_source(FORMS["a pair of data sets"](), on_progress=lambda done, total: told.append((done, total)))
    assert told == [(0, TRAIN), (TRAIN, TRAIN), (0, TEST), (TEST, TEST)]
    reporter = Recorder()
    pipeline.prepare(load_experiment(None, {"store": str(tmp_path)}), reporter,
                     Objects(source=FORMS["a pair of data sets"]()))
    assert reporter.bars == [("read", TRAIN, "images"), ("read", TEST, "images")]
    assert (reporter.done, reporter.ended) == (TRAIN + TEST, 2)


# -- what a function is called with ----------------------------------------------------------------------------------


def test_a_function_gets_what_it_names(tmp_path: Path) -> None:
    def load(seed: int, image_size: int | None, root: str = "elsewhere", *, twice: bool = False) -> Any:
        asked.append((seed, image_size, root, twice))
        return FORMS["floats"]()

    asked: list[Any] = []
    open_source(load, seed=3)
    open_source(load, root=tmp_path, image_size=4)
    assert asked == [(3, None, "elsewhere", False), (0, 4, str(tmp_path), False)]


@pytest.mark.parametrize("brackets, error, message", [
    ("(shfit=1)", UsageError, r"my_data.py:load' takes \(train, test, shift\) and .* unexpected .* 'shfit'"),
    ("(shift)", UsageError, "are spelled name=value, each once, not 'shift'"),
    ("(shift=1", UsageError, "does not close")])
def test_parameters_that_are_wrong(file: Path, brackets: str, error: type[RoarError], message: str) -> None:
    with pytest.raises(error, match=message):
        open_source(f"{file}:load{brackets}")


def test_parameters_where_there_can_be_none(file: Path) -> None:
    with pytest.raises(UsageError, match=r"DATA' is no function, so it takes no parameters such as 'shift'"):
        open_source(f"{file}:DATA(shift=1)")
    file.write_text("def load(path): pass")
    with pytest.raises(UsageError, match=r"load' takes \(path\) and .*\(missing a required argument: 'path'\); "):
        open_source(f"{file}:load")


# -- names -----------------------------------------------------------------------------------------------------------


def test_a_known_kind_before_the_colon_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, toy: str) -> None:
    (tmp_path / "parquet.py").write_text("def load(): raise AssertionError")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SourceError, match="There is no folder 'load'"):
        open_source("parquet:load")
    assert open_source("digits").label == "digits"  # an entry point of that name does not take its place
    with pytest.raises(UnknownNameError, match="did you mean 'toy'"):
        open_source("tyo")


def test_what_is_installed_is_listed_and_not_imported(toy: str, roar: Callable[..., Any]) -> None:
    said = roar("list", "sources")
    assert said.code == 0
    assert "toy\ttoy_pictures:load of toy-pictures 1.5\n" in said.out
    assert "toy-broken\ttoy_nothing:load of toy-pictures 1.5\n" in said.out
    assert said.out.count("\ndigits\t") == 1
    assert toy not in sys.modules
    assert not any(name.startswith("torchvision") for name in sys.modules if "roar" in name)


def test_a_decorator_gives_a_name() -> None:
    try:
        @source("drawn")
        def draw(train: int = TRAIN) -> Any:
            return arrays(train=(X[:train], Y[:train]), test=(X_TEST, Y_TEST), class_names=CLASSES)

        assert open_source("drawn").fingerprint == open_source(draw).fingerprint == reference().fingerprint
        assert open_source("drawn").label == open_source(draw).label == "drawn"
        assert draw is not None
        assert len(draw().train[1]) == TRAIN

        @source("drawn")  # as a notebook's cell does that is run again
        def draw_less() -> Any:
            return draw(12)

        assert len(open_source("drawn").train) == 12
    finally:
        SOURCES.values.pop("drawn", None)
    for name, message in (("digits", "is a source of roar's"), ("a:b", "no colon and no brackets")):
        with pytest.raises(UsageError, match=message):
            source(name)
    assert SOURCES.adapted(FORMS["floats"](), "mine").name == "mine"


def test_a_name_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    same = ("digits", "planted:size=16,classes=4", "parquet:s3://bucket/set", "package.module:load", "mine", "(oops)")
    assert [anywhere(name) for name in same[:-1]] == list(same[:-1])
    assert anywhere("parquet:a/../b (1)") == f"parquet:{tmp_path}/b (1)"
    assert anywhere("folder:b") == f"folder:{tmp_path}/b"
    assert anywhere("x/my_data.py:load(size=3)") == f"{tmp_path}/x/my_data.py:load(size=3)"


# -- what is wrong is said in one sentence ---------------------------------------------------------------------------


def described(x: Any, y: Any, **more: Any) -> Callable[[], Any]:
    return lambda: arrays(train=(x, y), test=(X_TEST, Y_TEST), **more)


class Noisy:
    """A data set with random augmentation."""

    classes = CLASSES
    targets = Y

    def __len__(self) -> int:
        return TRAIN

    def __getitem__(self, i: int) -> Any:
        return np.random.default_rng().integers(0, 256, (8, 8, 3), dtype=np.uint8), int(Y[i])


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "whole numbers": (described(X.astype(np.int64), Y), r"uint8, or floats in \[0, 1\], and 'train' has int64"),
    "floats that are too large": (described(X.astype(float), Y), r"'train' has floats from 0 to 239; divide"),
    "normalized floats": (described(X / 127.5 - 1, Y), r"'train' has floats from -1 to"),
    "not a number": (described(np.full((TRAIN, 8, 8), np.nan), Y), "'train' has floats from nan to nan"),
    "four channels": (described(np.zeros((TRAIN, 8, 8, 4), np.uint8), Y), r"and 'train' has \[48, 8, 8, 4\]"),
    "flat": (described(X.reshape(TRAIN, -1), Y), r"1 or 3 channels, and 'train' has \[48, 192\]"),
    "no pixels": (described(X[:, :0], Y), r"'train' has \[48, 0, 8, 3\]"),
    "fewer labels": (described(X, Y[:-1]), "'train' has 48 images and 47 labels"),
    "labels in a table": (described(X, Y[:, None]), r"'train' has int64 of the shape \[48, 1\]"),
    "labels that are no integers": (described(X, Y / 1), "Labels are integers .* 'train' has float64"),
    "an empty split": (described(X[:0], Y[:0]), "A split has one image or more, and 'train' has none"),
    "one class": (described(X, Y * 0), "two classes or more, and all labels of the training split are 0"),
    "a negative label": (described(X, Y - 1), r"0 \.\. K-1 for K classes .3 in these images., but one is -1"),
    "a label without a name": (described(X, Y, class_names=("a", "b")), ".2 in these images., but one is 2"),
    "a label beyond all bounds": (described(X, Y * 10**6), "100000 in these images., but one is 1000000"),
    "no pair": (lambda: arrays(test=X_TEST), r"a pair of images and labels, not ndarray; write test=\(x, y\)"),
    "nothing": (lambda: None, r"A source is roar\.arrays\(.*, not NoneType; return one"),
    "images and labels alone": (lambda: (X, Y), "not tuple of 2; return one of these"),
    "one data set": (lambda: pictures(X, Y), "not Pictures; return one"),
    "no test split": (lambda: {"train": pictures(X, Y)}, "A source has a test split, and this one has 'train'"),
    "iterated alone": (lambda: {"test": iter([])}, "'test' is a pair .* or a data set with __len__"),
    "an empty data set": (lambda: ([], pictures(X, Y)), "'train' has none; add images or leave it out"),
    "items that are no pairs": (lambda: {"test": [X[0], X[1]]}, "pair .image, label., and item 0 of 'test' is ndarray"),
    "a label that is a word": (lambda: {"test": [(X[0], "ring")]}, "image 0 of 'test' has 'ring'; give the number"),
    "an image that is a word": (lambda: {"test": [("x.png", 0)]}, r"1 or 3 channels, and image 0 of 'test' has \[1\]"),
    "items that fail": (lambda: {"test": type("D", (), {"__len__": lambda self: 2,
                                                        "__getitem__": lambda self, i: {}["photo"]})()},
                        r"Image 0 of 'test' cannot be read \(KeyError: 'photo'\)"),
    "other classes": (lambda: (pictures(X, Y), type("D", (type(pictures(X, Y)),), {"classes": ["circle", "square"]})()),
                      "Both splits name the same classes .* differ in 'ring'"),
    "other channels": (lambda: arrays(train=(X, Y), test=(X_TEST[..., 0], Y_TEST)), "some have 1 and some have 3"),
    "another size": (described(X[:, :4, :4], Y), r"image 0 of 'train' has 4x4 pixels and image 0 of 'test' 8x8"),
    "no image column": (lambda: {"test": type("D", (), {"features": {"text": Feature()}})()},
                        "a column with the feature Image, and 'test' has 'text'; name one 'image'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_images_are_one_sentence(case: str) -> None:
    make, message = WRONG[case]
    for given in (lambda: open_source(make()), lambda: open_source(lambda: make())):
        with pytest.raises(SourceError, match=message) as raised:
            given()
        assert "\n" not in str(raised.value)
        assert str(raised.value).endswith(".")


@pytest.mark.parametrize("text, name, error, message", [
    (None, "load", UsageError, "There is no file '.*my_data.py'"),
    ("def load(:", "load", UsageError, "cannot be run .line 1: SyntaxError"),
    ("import nothing_of_the_kind", "load", UsageError, "ModuleNotFoundError"),
    (FILE, "lode", UsageError, "defines no 'lode'"),
    (FILE, "broken", SourceError, r"The source '.*:broken' failed \(line 21: IndexError: 4\); correct it"),
    ("def load(): return 3", "load", SourceError, "not int; return one of these")])
def test_a_broken_file_is_one_sentence(file: Path, text: str | None, name: str, error: type[RoarError],
                                       message: str) -> None:
    if text is None:
        file.unlink()
    else:
        file.write_text(text)
    with pytest.raises(error, match=message) as raised:
        open_source(f"{file}:{name}")
    assert "\n" not in str(raised.value)


def test_a_broken_entry_point_breaks_what_names_it_alone(toy: str) -> None:
    with pytest.raises(UsageError, match="needs the package 'toy_nothing', which is not installed"):
        open_source("toy-broken")
    assert len(open_source("toy").train) == TRAIN


def test_a_data_set_that_differs_when_it_is_read_again_is_refused() -> None:
    opened = open_source((Noisy(), pictures(X_TEST, Y_TEST)))
    with pytest.raises(SourceError, match="image 0 of 'train' is not; leave random augmentation out"):
        _ = opened.train.images


def test_listed_labels_that_are_not_those_of_the_items() -> None:
    shifted = tensors(X, Y)
    type(shifted).targets = ((Y + 1) % 3).tolist()  # as of a data set whose target_transform shifts them
    assert open_source((shifted, pictures(X_TEST, Y_TEST))).fingerprint == reference().fingerprint
    late = tensors(X, Y)
    type(late).targets = [*Y[:1].tolist(), 2, *Y[2:].tolist()]
    with pytest.raises(SourceError, match="image 1 of 'train' has 2 and then 1; correct the data set"):
        open_source((late, pictures(X_TEST, Y_TEST)))


# -- the pipeline ----------------------------------------------------------------------------------------------------

SMALL: dict[str, Any] = {
    "estimators": {"names": ["gradient", "random"], "shard_size": 20}, "degrade": {"thresholds": [50]},
    "train": {"epochs": 1, "batch_size": 16, "window": 20},
    "retrain": {"seeds": 1, "epochs": 1, "batch_size": 16, "window": 20},
}
STREAMED = 1e-6  # GB


def prepared(store: Path, given: Any, *, executor: str = "serial", budget: float | None = None) -> Session:
    compute = {"executor": executor, "image_budget": budget, "pack": 3, "workers": 1}
    asked = load_experiment(None, {**SMALL, "compute": compute, "store": str(store),
                                   "source": {"name": given} if isinstance(given, str) else {}})
    return pipeline.prepare(asked, objects=Objects(source=None if isinstance(given, str) else given))


def rows(session: Session) -> pd.DataFrame:
    keys = [job.key for job in retrain(session)]
    found = read_results(session.store.files, keys).drop(columns=["train_seconds", "source"])
    assert set(found["status"]) == {"ok"}, found["message"].tolist()
    return found


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return rows(prepared(tmp_path_factory.mktemp("expected"), FORMS["channels last"]()))


@pytest.mark.parametrize("form, budget", [
    ("tensors", STREAMED), ("a dictionary", STREAMED), ("Hugging Face's", None), ("a function", None)])
def test_every_form_gives_the_same_rows(tmp_path: Path, expected: pd.DataFrame, form: str,
                                        budget: float | None) -> None:
    session = prepared(tmp_path / "store", FORMS[form](), budget=budget)
    pd.testing.assert_frame_equal(rows(session), expected)
    assert session.source.train.is_decoded == (budget is None)


@pytest.mark.parametrize("form, budget", [
    ("a file", None), ("a file", STREAMED), ("a package", None), ("a pair of data sets", STREAMED),
    ("a function", STREAMED)])
def test_ray_gives_the_same_rows(tmp_path: Path, file: Path, toy: str, expected: pd.DataFrame, form: str,
                                 budget: float | None) -> None:
    """The file is gone before a worker begins: its text travels."""
    given = {"a file": f"{file}:load", "a package": f"{toy}:load"}.get(form) or FORMS[form]()
    session = prepared(tmp_path / "store", given, executor="ray", budget=budget)
    file.unlink()
    pd.testing.assert_frame_equal(rows(session), expected)
    assert session.source.train.is_decoded == (budget is None)


def test_a_source_of_a_file_travels(file: Path) -> None:
    opened = open_source(f"{file}:load")
    sent = pickle.dumps(opened.test)
    assert len(sent) < 12_000  # the text and not the images
    file.unlink()
    np.testing.assert_array_equal(pickle.loads(sent).decode(np.array([3, 1])), first(X_TEST)[[3, 1]])


def test_a_data_set_of_a_module_beside_the_program_travels(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(file.parent)
    module = importlib.import_module("my_data")
    try:
        for given in (module.load(), module.load):
            sent = pickle.dumps(open_source(given).test)
            code = ("import pickle, sys; split = pickle.loads(sys.stdin.buffer.read()); import numpy as np; "
                    "print(split.decode(np.array([3])).sum())")
            done = subprocess.run([sys.executable, "-c", code], input=sent, capture_output=True, cwd="/", check=False)
            assert done.returncode == 0, done.stderr.decode()
            assert int(done.stdout) == X_TEST[3].sum()
    finally:
        sys.modules.pop("my_data")


def test_what_cannot_travel_is_one_sentence(tmp_path: Path) -> None:
    pair = pictures(X, Y), pictures(X_TEST, Y_TEST)
    pair[0].handle = (tmp_path / "open").open("w")
    try:
        session = prepared(tmp_path / "store", pair, executor="ray", budget=STREAMED)
        with pytest.raises(RoarError, match=r"'images' cannot travel to a worker .*FILE\.py:object") as raised:
            pipeline.train(session)
    finally:
        pair[0].handle.close()
    assert "\n" not in str(raised.value)


def test_the_plan_names_the_file_from_anywhere(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    session = prepared(tmp_path / "store", "my_data.py:load(train=30)")
    pipeline.train(session)
    (plan,) = read_plans(session.store)
    assert plan.source == "my_data.py:load(train=30)"
    assert plan.experiment["source"]["name"] == f"{file}:load(train=30)"
    monkeypatch.chdir("/")
    again = pipeline.prepare(load_experiment(None, {**plan.experiment, "store": str(tmp_path / "store")}))
    assert again.source.fingerprint == plan.fingerprint == session.source.fingerprint


def test_the_file_that_is_executed_is_said(file: Path, roar: Callable[..., Any]) -> None:
    said = roar("rank", "--source", f"{file}:load", "--estimator", "random", "--executor", "serial",
                "--train-epochs", "1")
    assert said.code == 0, said.err
    assert re.sub(r"\s+", "", said.err).count(f"Thisrunexecutes{file}.") == 1
    wrong = roar("rank", "--source", f"{file}:lode", "--executor", "serial")
    assert wrong.code == 2
    assert "defines no 'lode'" in wrong.err
