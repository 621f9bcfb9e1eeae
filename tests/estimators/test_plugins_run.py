"""An estimator of a file, of an installed package and of a program: the whole way, in this process and on Ray."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

FILE = '''
from roar.estimators.methods.gradient import input_gradient


def own(network, images, targets, *, alpha=1.0):
    return input_gradient(network, images, targets).abs() ** alpha
'''
PACKAGE = '''
import torch


def theirs(network, images, targets, *, power=1):
    """Draws one of five noisy copies."""
    points = images.detach() + 0.1 * torch.randn_like(images)
    points.requires_grad_()
    return torch.autograd.grad(network(points).gather(1, targets[:, None]).sum(), points)[0] ** power
'''
PROGRAM = '''
import json, sys
from pathlib import Path
from roar import pipeline
from roar.estimators import ESTIMATORS, estimator
from roar.experiment import load_experiment
from roar.metrics.retraining.tasks import retrain
from roar.pipeline.door import Objects
from roar.report.view import Results

SCALE = {scale}


def helper(images):
    return images.detach().abs() * SCALE


@estimator("program's own")
def mine(network, images, targets):
    return helper(images) + images.detach()


class Explainer:
    def __init__(self, network):
        self.network = network

    def attribute(self, inputs, target=None):
        return helper(inputs) * self.network(inputs).gather(1, target[:, None])[..., None, None]


if __name__ == "__main__":
    executor, store, file = sys.argv[1:]
    own = {{name: ESTIMATORS.adapted(value) for name, value in (("mine", mine), ("Explainer", Explainer))}}
    asked = load_experiment(None, {{
        "source": {{"limit_train": 40, "limit_test": 20}}, "train": {{"epochs": 1, "batch_size": 20}},
        "estimators": {{"names": [f"{{file}}:own(alpha=2)", f"vargrad({{file}}:own)", "theirs-drawn(per_image=true)",
                                  "random", *own], "samples": 2, "shard_size": 15}},
        "degrade": {{"thresholds": [50]}}, "retrain": {{"seeds": 1, "epochs": 1, "batch_size": 20}},
        "compute": {{"executor": executor, "workers": 2}}, "store": store}})
    session = pipeline.prepare(asked, objects=Objects(estimators=own))
    text = Path(file).read_text()
    Path(file).unlink()  # its text has been read, and no worker needs it on its disk
    try:
        retrain(session)
    finally:
        Path(file).write_text(text)
    found = Results(session.store).results().drop(columns=["train_seconds", "device"])
    print(json.dumps({{"rows": json.loads(found.to_json(orient="records")), "hashes": {{
        str(shard.relative_to(store)): shard.read_bytes().hex() for shard in sorted(Path(store).glob(
            "rankings/**/part-*.parquet"))}}}}))
'''


def run(folder: Path, executor: str, scale: int = 2) -> dict[str, Any]:
    store = folder / f"{executor}-{scale}"
    (folder / "program.py").write_text(PROGRAM.format(scale=scale))
    paths = [str(folder / "site"), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    done = subprocess.run([sys.executable, str(folder / "program.py"), executor, str(store), str(folder / "own.py")],
                          capture_output=True, text=True, cwd="/", env={
                              **os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, paths))})
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file, and a package as an installer leaves it: a module and its metadata."""
    root = tmp_path_factory.mktemp("plugins")
    (root / "own.py").write_text(FILE)
    site = root / "site"
    info = site / "toytheirs-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "toytheirs.py").write_text(PACKAGE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toytheirs\nVersion: 1.0\n")
    (info / "RECORD").write_text("toytheirs.py,,\ntoytheirs-1.0.dist-info/METADATA,,\n")
    (info / "entry_points.txt").write_text("[roar.estimators]\ntheirs-drawn = toytheirs:theirs\n")
    return root


@pytest.fixture(scope="module")
def serial(folder: Path) -> dict[str, Any]:
    return run(folder, "serial")


@pytest.mark.slow
def test_on_ray_the_rows_and_the_rankings_are_those_of_this_process(folder: Path, serial: dict[str, Any]) -> None:
    rows = serial["rows"]
    assert [row["status"] for row in rows] == ["ok"] * 7
    assert {row["estimator"] for row in rows} == {
        "reference", "random", "own(alpha=2)", "vargrad(own)", "theirs-drawn(per_image=true)", "program's own",
        "Explainer"}
    assert len(serial["hashes"]) == 6 * (3 + 2)
    on_ray = run(folder, "ray")
    assert on_ray["rows"] == rows
    assert on_ray["hashes"] == serial["hashes"]


@pytest.mark.slow
def test_an_edited_function_gets_another_key_and_the_tables_tell_the_two_apart(
        folder: Path, serial: dict[str, Any], tmp_path: Path) -> None:
    before = {row["estimator"]: row["ranking"] for row in serial["rows"]}
    assert {row["estimator"]: row["ranking"] for row in run(folder, "serial")["rows"]} == before  # nothing is new
    after = {row["estimator"]: row["ranking"] for row in run(folder, "serial", scale=3)["rows"]}
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"program's own", "Explainer"}  # through a helper's constant
    (folder / "own.py").write_text(FILE.replace(".abs()", ".square()"))
    found = run(folder, "serial")["rows"]
    names = {row["estimator"] for row in found}
    key = before["own(alpha=2)"][:6]
    assert f"own(alpha=2) ({key})" in names and len([name for name in names if name.startswith("own(alpha=2) (")]) == 2
    assert len(found) == 7 + 2


def test_every_stage_takes_an_estimator_of_ones_own(tmp_path: Path) -> None:
    """Sanity checks, chains of mode recursive, deletion, agreement and heat maps rank by the object they are given."""
    from roar import pipeline
    from roar.estimators import ESTIMATORS
    from roar.estimators.methods.gradient import input_gradient
    from roar.experiment import load_experiment
    from roar.metrics import METRICS
    from roar.metrics.retraining.tasks import retrain
    from roar.pipeline.door import Objects
    from roar.report.heatmaps import strips
    from roar.report.view import Results

    def mine(network: Any, images: Any, targets: Any) -> Any:
        return input_gradient(network, images, targets)

    session = pipeline.prepare(load_experiment(None, {
        "source": {"limit_train": 40, "limit_test": 20}, "train": {"epochs": 1, "batch_size": 20},
        "estimators": {"names": ["gradient", "random", "mine"]},
        "degrade": {"thresholds": [50], "modes": ["recursive"]},
        "retrain": {"seeds": 1, "epochs": 1, "batch_size": 20, "controls": ["random-blurred"]}, "sanity": {"steps": 1},
        "compute": {"executor": "serial"}, "store": str(tmp_path / "store")}),
        objects=Objects(estimators={"mine": ESTIMATORS.adapted(mine)}))
    retrain(session)
    rows = Results(session.store).results().set_index("estimator")
    assert rows.loc["mine", "accuracy"] == rows.loc["gradient", "accuracy"]
    assert "random-blurred(mine)" in rows.index
    for name in ("sanity", "deletion", "agreement"):
        METRICS.find(name).run(session)
    checked = Results(session.store).sanity()
    columns = ["mean", "measure", "kind", "step"]
    assert checked[checked["estimator"] == "mine"][columns].to_dict("list") == checked[
        checked["estimator"] == "gradient"][columns].to_dict("list")
    (strip,) = strips(session, [3]).values()
    assert (strip.columns[0].scores["mine"] == strip.columns[0].scores["gradient"]).all()
