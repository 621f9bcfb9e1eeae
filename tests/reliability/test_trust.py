"""A store, a folder or an address of somebody else configures nothing: no code of theirs runs, no cluster is joined."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from roar import pipeline
from roar.datasets import source_kinds
from roar.errors import DamagedArtifactError, ExperimentError
from roar.experiment import ComputeSettings, load_experiment
from roar.metrics.repair import remake
from roar.plugins.named import DATA, code_in, without_code
from roar.progress import Silent
from roar.store.integrity import missing
from roar.store.merge import merge
from roar.store.requests import plan_bytes, read_plans
from roar.store.store import Store, open_store

SMALL: dict[str, Any] = {
    "source": {"limit_train": 40, "limit_test": 20}, "train": {"epochs": 1, "batch_size": 20},
    "estimators": {"names": ["random"], "shard_size": 20}, "compute": {"executor": "serial"},
}
PLUG_IN = """
from pathlib import Path
Path({sentinel!r}).write_text("executed")
def mine(network, images, targets):
    return images
"""


def touching(sentinel: Path) -> dict[str, Any]:
    return {"name": "subprocess:Popen", "arguments": {"args": ["touch", str(sentinel)]}}


@pytest.fixture
def asked(tmp_path: Path) -> Store:
    """A store that was asked for two rankings and has them, and lacks one shard."""
    store = str(tmp_path / "store")
    pipeline.rank(pipeline.prepare(load_experiment(None, {**SMALL, "store": store})))
    opened = open_store(store)
    for path in opened.files.list("rankings"):
        opened.files.delete(path)
    assert missing(opened)
    return opened


def replant(store: Store, changed: dict[str, Any]) -> None:
    """Change the experiment of the store's plan, and seal it as its author would."""
    (plan,) = read_plans(store)
    owner = store.description["id"]
    for path in store.files.list("plans"):
        store.files.delete(path)
    other = replace(plan, experiment={**plan.experiment, **changed})
    for folder in ("plans", "plans/copies"):
        store.files.write(f"{folder}/{other.key}.json", plan_bytes(other, owner))


# -- plans ---------------------------------------------------------------------------------------------------------


def test_a_plan_keeps_nothing_of_a_machine(asked: Store) -> None:
    (plan,) = read_plans(asked)
    assert not {"compute", "store"} & plan.experiment.keys()
    assert "root" not in plan.experiment["source"]


@pytest.mark.parametrize("section", [{"compute": {"callback": "CALLBACK"}}, {"compute": {"address": "ray://evil:1"}},
                                     {"store": "/somewhere/else"}])
def test_a_plan_that_configures_this_machine_is_no_plan(section: dict[str, Any], asked: Store, tmp_path: Path,
                                                        roar: Callable[..., Any]) -> None:
    sentinel = tmp_path / "executed"
    if section.get("compute", {}).get("callback"):
        section = {"compute": {"executor": "ray", "callback": [touching(sentinel)]}}
    replant(asked, section)
    with pytest.raises(DamagedArtifactError, match="is not the plan that was kept there"):
        read_plans(asked)
    with pytest.raises(DamagedArtifactError):
        merge(open_store(str(tmp_path / "mine")), asked)
    said = roar("verify", "--repair", "--store", asked.location)
    assert said.code == 1
    assert not sentinel.exists()
    assert not (tmp_path / "mine" / "plans").exists()


def test_repair_computes_as_its_own_command_says(asked: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[ComputeSettings] = []

    def look(session: pipeline.Session, *words: Any, **more: Any) -> None:
        seen.append(session.experiment.compute)

    monkeypatch.setattr("roar.metrics.repair.rank", look)
    mine = load_experiment(None, {"compute": {"executor": "serial", "retries": 7}})
    assert remake(asked, mine, Silent()) == []
    assert seen == [mine.compute]


@pytest.mark.parametrize("spelling", ["{file}:mine", "smoothgrad({file}:mine)"])
def test_repair_executes_no_file_that_a_plan_names(spelling: str, asked: Store, tmp_path: Path,
                                                   roar: Callable[..., Any]) -> None:
    sentinel, file = tmp_path / "executed", tmp_path / "theirs.py"
    file.write_text(PLUG_IN.format(sentinel=str(sentinel)))
    replant(asked, {"estimators": {"names": [spelling.format(file=file)], "shard_size": 20}})
    said = roar("verify", "--repair", "--executor", "serial", "--store", asked.location)
    assert said.code == 1
    assert f"would execute {file}; look at it, and add --trust '{file}:mine' to have it executed" in said.out
    assert not sentinel.exists()


@pytest.mark.parametrize("section", [{"source": {"name": "shutil:rmtree"}}, {"model": [{"name": "os:abort"}]},
                                     {"degrade": {"fill": "os:abort"}}, {"retrain": {"model": "os:abort"}}])
def test_repair_executes_no_object_that_a_plan_names(section: dict[str, Any], asked: Store,
                                                     roar: Callable[..., Any]) -> None:
    replant(asked, section)
    said = roar("verify", "--repair", "--executor", "serial", "--store", asked.location)
    assert said.code == 1
    assert "not made again: plan" in said.out and "would execute" in said.out


# -- spellings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("settings", "code"), [
    ({"estimators": {"names": ["gradient", "a/b c.py:f", "smoothgrad(x.y:z(alpha=2))", "oracle-noisy(0.2)"]}},
     ["a/b c.py:f", "x.y:z"]),
    ({"model": [{"name": "timm/resnet18"}, {"name": "mine.py:Net(width=3)"}]}, ["mine.py:Net"]),
    ({"source": {"name": "parquet:data"}, "store": "a:b"}, []),
    ({"source": {"name": "planted:size=16,classes=4"}}, []),
    ({"source": {"name": "folder:/x/y"}, "seed": 3}, []),
    ({"source": {"name": "package.module:load(size=3)"}}, ["package.module:load"]),
    ({"model": [{"regularizer": "none+mine:penalty(3)"}]}, ["mine:penalty"]),
    ({"retrain": {"regularizer": "l2(1e-5)+/home/x y/r.py:pull"}}, ["/home/x y/r.py:pull"]),
    ({"degrade": {"fill": "/home/x (1)/f.py:fill"}}, ["/home/x (1)/f.py:fill"]),
    ({"degrade": {"fill": "planted:fill"}}, ["planted:fill"]),
])
def test_what_names_code_is_found(settings: dict[str, Any], code: list[str]) -> None:
    assert list(code_in(settings)) == code
    assert list(code_in(without_code(settings)[0])) == []


def test_the_sources_that_are_followed_by_no_object_are_known() -> None:
    assert {kind.name for kind in source_kinds() if kind.argument is not None} == set(DATA)


# -- a file that is found ------------------------------------------------------------------------------------------


def test_a_file_that_is_found_runs_no_code_and_joins_no_cluster(tmp_path: Path, roar: Callable[..., Any]) -> None:
    sentinel = tmp_path / "executed"
    (tmp_path / "theirs.py").write_text(PLUG_IN.format(sentinel=str(sentinel)))
    (tmp_path / "roar.toml").write_text(f"""
[source]
limit_train = 40
limit_test = 20
[train]
epochs = 1
[estimators]
names = ["random", "theirs.py:mine"]
[compute]
executor = "serial"
address = "ray://evil:10001"
[[compute.callback]]
name = "subprocess:Popen"
arguments = {{ args = ["touch", {json.dumps(str(sentinel))}] }}
""")
    said = roar("rank")
    assert said.code == 0, said.err
    assert not sentinel.exists()
    assert ("Ignored in roar.toml, which --config does not name: compute.callback; compute.address; estimators.names "
            "= theirs.py:mine. Look at the file and give --config roar.toml") in said.err
    assert [line.partition(":")[0] for line in said.out.splitlines()] == ["random"]
    assert "Ignored" not in roar("rank", "--config", "roar.toml").err  # it was named


def test_a_callback_is_one_of_tunes_before_it_is_called(tmp_path: Path) -> None:
    from roar.jobs.ray.environment import prepare

    prepare()
    from roar.jobs.ray.callbacks import loggers

    sentinel = tmp_path / "executed"
    with pytest.raises(ExperimentError, match=r"'subprocess:Popen' is not a subclass of ray\.tune\.Callback"):
        loggers(ComputeSettings(callback=[touching(sentinel)]), "rank")
    assert not sentinel.exists()


# -- what lies beside ----------------------------------------------------------------------------------------------

POISON = "from pathlib import Path\nPath({sentinel!r}).write_text(__name__)\nraise ImportError('poisoned')\n"
NOTEBOOK = """
import sys
sys.path.insert(0, "")      # as a notebook has it, whose modules were imported before the poison lay beside it
import os, statistics, torch
from roar.cli.commands import main
from roar.jobs.ray.environment import prepare
prepare()
import roar.jobs.ray.tune
os.chdir({where!r})
sys.argv = ["roar", *{words!r}]
main()
"""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("how", ["command", "notebook"])
def test_what_lies_in_the_working_directory_reaches_no_worker(how: str, tmp_path: Path) -> None:
    sentinel, where = tmp_path / "imported", tmp_path / "where"
    where.mkdir()
    for name in ("torch", "statistics", "datasets", "numpy", "ray", "pyarrow", "random", "json"):
        (where / f"{name}.py").write_text(POISON.format(sentinel=str(sentinel)))
    words = ["rank", "--estimator", "random", "--limit-train", "40", "--limit-test", "20", "--train-epochs", "1",
             "--workers", "1"]
    code = (f"import sys; sys.argv = ['roar', *{words!r}]; from roar.cli.commands import main; main()"
            if how == "command" else NOTEBOOK.format(where=str(where), words=words))
    script = tmp_path / "script" / "run.py"
    script.parent.mkdir()
    script.write_text(code)
    ended = subprocess.run([sys.executable, str(script)], cwd=where if how == "command" else tmp_path, timeout=280,
                           capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert not sentinel.exists(), sentinel.read_text()
    assert "random: " in ended.stdout
