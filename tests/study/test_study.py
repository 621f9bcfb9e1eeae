"""A study from Python: the same as the command line, with objects in the place of names."""

from __future__ import annotations

import pydoc
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import captum.attr
import numpy as np
import pandas as pd
import pytest
import torch
from roar_processes import files_of, rows_of
from torch import Tensor, nn

import roar as face
from roar.errors import ExperimentError, ModelError, UnknownNameError
from roar.experiment import load_experiment, to_toml

SMALL: dict[str, Any] = {"train_epochs": 1, "epochs": 1, "executor": "serial", "limit_train": 60, "limit_test": 20}


def mine(network: nn.Module, images: Tensor, targets: Tensor, *, alpha: float = 1.0) -> Tensor:
    """The gradient's absolute value, times a number."""
    images = images.detach().requires_grad_()
    score = network(images).gather(1, targets[:, None]).sum()
    return alpha * torch.autograd.grad(score, images)[0].abs()


class MyNet(nn.Module):
    def __init__(self, num_classes: int, in_channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(in_channels, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
                                  nn.Linear(16, num_classes))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"logits": self.body(images)}


def gray(images: Tensor, removed: Tensor, context: Any) -> Tensor:
    return torch.full_like(images, 128)


def pictures(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    images = draw.integers(0, 60, (count, 1, 8, 8), dtype=np.uint8)
    images[np.arange(count), 0, 2, 2 * labels + 1] = 255
    return images, labels


def test_the_public_names() -> None:
    assert dir(face) == ["Study", "__version__", "arrays", "errors", "estimator", "fill", "model", "open_store",
                         "regularizer", "source", "testing"]
    for name in dir(face):
        assert getattr(face, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'Studdy'"):
        _ = face.Studdy


@pytest.mark.parametrize("threshold", [0.5, 0.99])
def test_a_threshold_below_one_percent_has_to_be_meant(tmp_path: Path, threshold: float) -> None:
    refused = rf"{threshold:g} is less than one; write {100 * threshold:g} if a share is meant"
    with pytest.raises(ExperimentError, match=refused):
        face.Study("digits", thresholds=[0, threshold], store=tmp_path / "store")
    file = tmp_path / "experiment.toml"
    file.write_text(f"[degrade]\nthresholds = [{threshold}]\n")
    with pytest.raises(ExperimentError, match=refused):
        load_experiment(file)
    file.write_text(f"[degrade]\nthresholds = [{threshold}]\npercent = true\n")
    for meant in (load_experiment(file),
                  face.Study("digits", thresholds=[threshold], percent=True, store=tmp_path / "store").experiment):
        assert meant.degrade.thresholds == (threshold,)
        again = file.with_name("again.toml")
        again.write_text(to_toml(meant))
        assert load_experiment(again).degrade == meant.degrade
    assert "percent" not in load_experiment(None).model_dump()["degrade"]


def test_help_is_a_page_for_a_newcomer() -> None:
    page = pydoc.render_doc(face, renderer=pydoc.plaintext)
    assert all(name in page for name in ("roar.Study(", "study.run()", "check_estimator", "roar.arrays("))
    about = pydoc.render_doc(face.Study, renderer=pydoc.plaintext)
    assert all(name in about for name in ("source:", "thresholds:", "leaderboard(", "compare(", "table("))


def test_a_study_is_made_without_torch(tmp_path: Path) -> None:
    code = (f"import sys, roar; roar.Study(store={str(tmp_path / 'store')!r}).results; "
            "print({'torch', 'ray', 'captum', 'matplotlib'} & set(sys.modules))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_it_has_the_bytes_and_rows_of_the_command(roar: Callable[..., Any], tmp_path: Path) -> None:
    said = roar("run", "--limit-train", 60, "--limit-test", 20, "--train-epochs", 1, "--epochs", 1, "--estimator",
                "gradient,random", "--threshold", 50, "--seeds", 2, "--executor", "serial", "--store",
                tmp_path / "there")
    assert said.code == 0, said.err
    study = face.Study("digits", "simplecnn", ["gradient", "random"], thresholds=[50], seeds=2, store=tmp_path / "here",
                       **SMALL).run()
    assert files_of(tmp_path / "here") == files_of(tmp_path / "there")
    pd.testing.assert_frame_equal(rows_of(study.store), rows_of(tmp_path / "there"))
    reports = [{path.name: path.read_bytes() for path in (tmp_path / place / "reports").glob("*.csv")
                if path.name != "results.csv"} for place in ("here", "there")]
    assert reports[0] == reports[1]
    plans = [sorted(path.name for path in (tmp_path / place / "plans").glob("*.json")) for place in ("here", "there")]
    assert plans[0] == plans[1]


def test_objects_go_where_names_go(tmp_path: Path) -> None:
    study = face.Study(source=face.arrays(train=pictures(60, 0), test=pictures(30, 1)), model=MyNet, fill=gray,
                       estimators=["gradient", mine, captum.attr.Occlusion, "smoothgrad", "random"], thresholds=[50],
                       seeds=2, store=tmp_path / "store", train_epochs=1, epochs=1, executor="serial", samples=2)
    study.run()
    rows = study.results()
    assert (rows["status"] == "ok").all()
    assert set(rows["estimator"]) == {"reference", "gradient", "mine", "Occlusion", "smoothgrad", "random"}
    assert set(rows["model"]) == {"MyNet"}
    assert set(rows["fill"]) == {"none", "gray"}
    assert set(study.curves()["estimator"]) == set(rows["estimator"])
    assert {"mine", "Occlusion"} <= set(study.curves()["estimator"])
    assert len(study.compare("mine", "gradient"))
    assert (tmp_path / "store/reports/report.html").exists()
    agreeing = study.measure("agreement").table("ranking-agreement")
    assert {"mine", "Occlusion"} <= {*agreeing["estimator"], *agreeing["other"]}
    again = face.Study(source=face.arrays(train=pictures(60, 0), test=pictures(30, 1)), model=MyNet, fill=gray,
                       estimators=["gradient", mine, captum.attr.Occlusion, "smoothgrad", "random"], thresholds=[50],
                       seeds=2, store=tmp_path / "store", train_epochs=1, epochs=1, executor="serial", samples=2)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "store/rankings").rglob("*.parquet")}
    again.rank()
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "store/rankings").rglob("*.parquet")} == before


def test_a_trained_network_is_explained_as_it_is(tmp_path: Path) -> None:
    network = MyNet(10, 1)
    study = face.Study(model=network, estimators=["gradient", "random"], thresholds=[50], seeds=1,
                       store=tmp_path / "store", **SMALL)
    assert set(study.measure("deletion").table("deletion")["estimator"]) == {"gradient", "random"}
    with pytest.raises(ModelError, match=r"one trained network, .* --retrain-model"):
        study.run()


def test_what_is_no_setting_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="'epoch' is not a setting of a study; did you mean 'epochs'"):
        face.Study(epoch=3)
    with pytest.raises(ExperimentError, match=r"retrain.seeds = 0 in the command line is refused"):
        face.Study(seeds=0)
    with pytest.raises(UnknownNameError, match="did you mean 'gradient'"):
        face.Study(estimators=["gradeint"], store=tmp_path / "store").rank()
