"""Networks, fills and regularizers from files, from an installed package and from a program: serial and on Ray."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from roar.experiment import load_experiment
from roar.pipeline import prepare
from roar.store.results import read_results
from roar.store.store import open_store

REPOSITORY = Path(__file__).resolve().parents[2]
CODE = '''
import torch
from torch import nn


class Net(nn.Module):
    """Answers with a dict, and has a ReLU that works in place."""

    def __init__(self, num_classes, in_channels, width=4):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, width, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.fc = nn.Linear(width * 4, num_classes)

    def forward(self, images):
        features = nn.functional.adaptive_avg_pool2d(self.relu(self.conv(images)), 2).flatten(1)
        return {"logits": self.fc(features), "features": features}


def haze(images, removed, context, *, low=0):
    return torch.where(removed, torch.randint(low, 256, images.shape, dtype=torch.uint8), images)


def pull(network, loss, images, targets, *, strength=0.1):
    return loss + strength * sum(weight.square().sum() for weight in network.parameters())
'''
TOML = """
[source]
limit_train = 60
limit_test = 30
[[model]]
name = "own.py:Net(width=6)"
regularizer = "own.py:pull(strength=0.01)+l1(1e-5)"
[[model]]
name = "toy-net"
regularizer = "toy-pull"
[train]
epochs = 1
[estimators]
names = ["gradient", "guided-backprop", "random"]
[degrade]
thresholds = [50]
fill = "{fill}"
[retrain]
epochs = 1
seeds = 1
"""
PROGRAM = '''
import json
import sys

import pandas as pd

from roar.datasets.fills.registry import FILLS
from roar.experiment import load_experiment
from roar.metrics.deletion.tasks import delete
from roar.metrics.retraining.tasks import retrain
from roar.models import MODELS
from roar.models.regularizers import REGULARIZERS
from roar.pipeline import prepare
from roar.pipeline.door import Objects
from roar.store.results import read_results

WIDTH = 5  # a global of the program, which travels with what uses it


class Wide(Net):
    def __init__(self, num_classes, in_channels):
        super().__init__(num_classes, in_channels, WIDTH)


if __name__ == "__main__":
    torch.manual_seed(0)
    objects = Objects(
        models={"factory": MODELS.adapted(Wide, "factory"), "trained": MODELS.adapted(Net(10, 1), "trained")},
        regularizers={"tug": REGULARIZERS.adapted(pull, "tug")}, fills={"mist": FILLS.adapted(haze, "mist")})
    rows = []
    for executor in ("serial", "ray"):
        session = prepare(load_experiment(None, {
            "source": {"limit_train": 60, "limit_test": 30}, "train": {"epochs": 1}, "store": f"store-{executor}",
            "model": [{"name": "factory", "regularizer": "tug"}, {"name": "trained"}],
            "estimators": {"names": ["gradient", "random"]}, "degrade": {"thresholds": [50], "fill": "mist"},
            "retrain": {"epochs": 1, "seeds": 1, "model": "factory", "regularizer": "tug"},
            "compute": {"executor": executor}}), objects=objects)
        jobs, folders = retrain(session), delete(session)
        found = read_results(session.store.files).drop(columns="train_seconds")
        rows.append((found, sorted(folders)))
    pd.testing.assert_frame_equal(rows[0][0], rows[1][0])
    assert rows[0][1] == rows[1][1]
    print(json.dumps({"rows": len(found), "status": found["status"].unique().tolist(), "curves": len(folders),
                      "fills": sorted(found["fill"].unique()), "models": sorted(found["model"].unique()),
                      "retrainers": sorted(found["retrainer"].unique())}))
'''


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a file of code and, in ``site``, an installed package that declares entry points."""
    (tmp_path / "own.py").write_text(CODE)
    site, info = tmp_path / "site", tmp_path / "site" / "toy_parts-1.2.dist-info"
    info.mkdir(parents=True)
    (site / "toy_parts.py").write_text(CODE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-parts\nVersion: 1.2\n")
    (info / "top_level.txt").write_text("toy_parts\n")
    (info / "RECORD").write_text("toy_parts.py,,\n")
    (info / "entry_points.txt").write_text(
        "[roar.models]\ntoy-net = toy_parts:Net\nbroken-net = toy_parts:Nothing\nsimplecnn = toy_parts:Nothing\n"
        "[roar.fills]\ntoy-haze = toy_parts:haze\n[roar.regularizers]\ntoy-pull = toy_parts:pull\n")
    return tmp_path


def python(place: Path, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{place / 'site'}"}
    done = subprocess.run([sys.executable, *words], cwd=place, env=environment, capture_output=True, text=True,
                          check=False, timeout=600)
    assert done.returncode == code, done.stdout[-2000:] + done.stderr[-4000:]
    assert "Traceback" not in done.stderr
    return done


def rows(store: Path) -> pd.DataFrame:
    return read_results(open_store(str(store)).files).drop(columns="train_seconds")


@pytest.mark.slow
def test_files_and_installed_packages_give_the_same_rows_on_serial_and_on_ray(place: Path) -> None:
    (place / "asked.toml").write_text(TOML.format(fill="own.py:haze(low=100)"))
    for executor in ("serial", "ray"):
        python(place, "-m", "roar", "run", "asked.toml", "--executor", executor, "--store", executor)
    found = rows(place / "serial")
    pd.testing.assert_frame_equal(found, rows(place / "ray"))
    assert found["status"].eq("ok").all()
    assert {*zip(found["model"], found["regularizer"], strict=True)} == {
        ("Net(width=6)", "l1(1e-5)+pull(strength=0.01)"), ("toy-net", "toy-pull")}
    assert {*found["fill"]} == {"none", "haze(low=100)"}
    assert len(found) == 2 * (1 + 3)
    for kind in ("models", "rankings", "metrics"):
        files = [{path.relative_to(place / executor): path.read_bytes() for path in (place / executor / kind).rglob("*")
                  if path.is_file() and path.suffix != ".json"} for executor in ("serial", "ray")]
        assert files[0] == files[1] and files[0]


@pytest.mark.slow
def test_objects_of_a_program_give_the_same_rows_on_serial_and_on_ray(place: Path) -> None:
    (place / "program.py").write_text(CODE + PROGRAM)
    told = json.loads(python(place, "program.py").stdout.splitlines()[-1])
    assert told == {"rows": 2 * 1 + 1 + 1, "status": ["ok"], "curves": 4, "fills": ["mist", "none"],
                    "models": ["factory", "trained"], "retrainers": ["factory"]}


def test_installed_things_are_listed_and_found_without_being_imported_before(place: Path) -> None:
    (place / "site" / "toy_parts.py").write_text(f"open({str(place / 'imported')!r}, 'w')\n{CODE}")
    for kind, name, value in (("models", "toy-net", "Net"), ("fills", "toy-haze", "haze"),
                              ("regularizers", "toy-pull", "pull")):
        listed = python(place, "-m", "roar", "list", kind).stdout
        assert f"{name}\t" in listed and f"toy_parts:{value}, from toy-parts 1.2" in listed
    assert not (place / "imported").exists()
    assert python(place, "-m", "roar", "list", "models").stdout.count("simplecnn\t") == 1  # a built-in name wins
    said = python(place, "-m", "roar", "train", "--model", "toy-nut", code=2).stderr
    assert "'toy-nut' is not a model; did you mean 'toy-net'" in said
    said = python(place, "-m", "roar", "train", "--model", "broken-net", code=2).stderr
    assert "'toy_parts:Nothing' does not exist" in said and said.count("\n") == 1


def asked(place: Path, **tables: Any) -> Any:
    return load_experiment(None, {"source": {"limit_train": 40, "limit_test": 20}, "train": {"epochs": 1},
                                  "estimators": {"names": ["random"]}, "compute": {"executor": "serial"},
                                  "degrade": {"thresholds": [50]}, "retrain": {"epochs": 1, "seeds": 2},
                                  "store": str(place / "store"), **tables})


def test_an_edited_network_is_another_one_beside_the_old_one(place: Path) -> None:
    tables = {"model": [{"name": f"{place}/own.py:Net"}]}
    first = prepare(asked(place, **tables)).models[0]
    assert prepare(asked(place, **tables)).models[0].folder == first.folder
    (place / "own.py").write_text(CODE.replace("width=4", "width=7"))
    edited = prepare(asked(place, **tables)).models[0]
    assert edited.folder != first.folder
    assert edited.label == first.label == "Net"


def test_an_edited_fill_gives_rows_that_are_told_apart(place: Path) -> None:
    from roar.metrics.retraining.tasks import retrain
    from roar.pipeline import degrade

    tables = {"degrade": {"thresholds": [50], "fill": f"{place}/own.py:haze"}}
    folders = []
    for text in (CODE, CODE.replace("randint(low", "randint(low + 50")):
        (place / "own.py").write_text(text)
        session = prepare(asked(place, **tables))
        jobs = retrain(session)
        folders += degrade(session)
        assert {job.row["fill"] for job in jobs} == {"none", "haze"}
    found = rows(place / "store")
    assert len(found) == 2 * (1 + 2)  # the reference is shared
    names = sorted({*found["fill"]} - {"none"})
    assert len(names) == 2 and all(name.startswith("haze (") for name in names)
    assert found.groupby("fill").size().to_dict() == {**dict.fromkeys(names, 2), "none": 2}
    assert len(set(folders)) == 2 and all("/roar-haze-50-" in folder for folder in folders)
