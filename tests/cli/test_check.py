"""`roar check`, what is listed besides roar's own, and which commands execute code that is not roar's."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

OWN = '''
"""An estimator of somebody's own."""
import torch

with open({marker!r}, "a") as file:
    file.write("x")


def own(network, images, targets, *, alpha=1.0):
    """The gradient, scaled."""
    explained = network(images).gather(1, targets[:, None]).sum()
    return alpha * torch.autograd.grad(explained, images)[0]


def twice(network, images, targets):
    return own(network, images, targets) + own(network, images, targets)


class Explainer:
    """Of captum's kind."""
    def __init__(self, network, layer):
        self.network = network

    def attribute(self, inputs, target=None):
        return inputs


def helper(x):
    return x


def draws(network, images, targets):
    return torch.rand_like(images)
'''
SMALL = ["--executor", "serial", "--limit-train", "60", "--limit-test", "30", "--train-epochs", "1", "--epochs", "1",
         "--seeds", "1", "--threshold", "50"]


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    path = tmp_path / "elsewhere" / "my_method.py"
    path.parent.mkdir()
    path.write_text(OWN.format(marker=str(path.parent / "marker")))
    return path


def executes(said: Any, plugin: Path) -> int:
    """How often it is said that the file is executed; a terminal breaks lines where it likes."""
    return "".join(said.err.split()).count(f"Thisrunexecutes{plugin}.")


def test_check_prints_rules_and_costs(roar: Callable[..., Any], plugin: Path, tmp_path: Path) -> None:
    said = roar("check", f"{plugin}:own(alpha=2)")
    assert said.code == 0
    assert executes(said, plugin) == 1
    lines = said.out.splitlines()
    assert lines[0] == "own(alpha=2): 8 test images of digits, simplecnn not trained"
    assert [line.split("  ")[0] for line in lines[1:-1]] == ["kept"] * 4
    assert lines[-1].startswith("per image: 0.0 % of the pixels tie, ")
    assert lines[-1].endswith("s, 1 forward and 1 backward passes")
    assert not (tmp_path / "roar-store").exists()


@pytest.mark.parametrize(("name", "passes"), [("integrated-gradients", "25 forward and 25 backward"),
                                              ("smoothgrad", "15 forward and 15 backward"),
                                              ("random", "0 forward and 0 backward")])
def test_check_counts_passes(roar: Callable[..., Any], name: str, passes: str) -> None:
    assert f"{passes} passes" in roar("check", name).out


def test_check_says_which_rule_is_broken(roar: Callable[..., Any], plugin: Path) -> None:
    said = roar("check", f"{plugin}:draws")
    assert said.code == 1
    assert [line.split()[0] for line in said.out.splitlines()[1:]] == ["kept", "BROKE"]
    assert "Error: 'draws' draws random numbers" in said.err and "draws(per_image=true)" in said.err
    assert "same answer twice under one seed" in roar("check", f"{plugin}:draws(per_image=true)").out


def test_check_takes_source_and_model(roar: Callable[..., Any], plugin: Path) -> None:
    said = roar("check", f"{plugin}:own", "--source", "planted", "--model", "linear")
    assert said.out.startswith("own: 8 test images of planted, linear not trained") and said.code == 0
    np.save(plugin.parent / "test.npy", np.ones((30, 8, 8), np.float32))
    said = roar("check", f"precomputed({plugin.parent}/{{split}}.npy)", "--limit-test", "30")
    assert "per image: 100.0 % of the pixels tie" in said.out


def test_a_file_lists_what_it_defines(roar: Callable[..., Any], plugin: Path) -> None:
    said = roar("list", "estimators", "--plugin", str(plugin))
    rows = [line.split("\t") for line in said.out.splitlines()]
    assert [row[0] for row in rows] == ["estimator", *(f"{plugin}:{name}" for name in ("own", "twice", "Explainer",
                                                                                       "draws"))]
    assert rows[1][1:] == ["alpha", "The gradient, scaled."]
    assert "needs layer; give it in brackets" in rows[3][2]
    assert f"There is no file '{plugin}x'" in roar("list", "estimators", "--plugin", f"{plugin}x").err


def test_installed_estimators_are_listed_and_not_imported(roar: Callable[..., Any], tmp_path: Path,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "listedtoy.py").write_text("raise RuntimeError('imported')\n")
    info = tmp_path / "listedtoy-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: listedtoy\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[roar.estimators]\ntheirs = listedtoy:f\ngradient = listedtoy:f\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    said = roar("list", "estimators")
    assert "theirs\t\tinstalled\tlistedtoy 1.2\t" in said.out.splitlines()
    assert said.out.count("\ngradient\t") == 1 and "listedtoy" not in sys.modules
    assert "smoothgrad(X)" in said.out and "precomputed(FILE)" in said.out
    broken = roar("check", "theirs")
    assert broken.code == 2 and "'listedtoy:f' cannot be imported (RuntimeError: imported)" in broken.err


def test_only_what_makes_something_executes_a_file(roar: Callable[..., Any], plugin: Path, tmp_path: Path) -> None:
    """A plan and a roar.toml that name a file do not run it by being looked at."""
    marker = plugin.parent / "marker"
    said = roar("rank", *SMALL[:8], "--estimator", f"{plugin}:own")
    assert said.code == 0 and executes(said, plugin) == 1
    assert marker.read_text() == "x"
    (tmp_path / "roar.toml").write_text(f"[estimators]\nnames = ['{plugin}:own']\n")
    plugin.write_text(plugin.read_text() + "\n")  # another text, which is not loaded yet
    for words in (["status"], ["report"], ["verify"], ["merge", "roar-store", "--into", "other"], ["clean"],
                  ["list", "estimators"]):
        roar(*words)
        assert marker.read_text() == "x", words
    unnamed = roar("rank", *SMALL[:8], "--estimator", "random")
    assert unnamed.code == 0 and marker.read_text() == "x"
    assert "Ignoredinroar.toml,which--configdoesnotname:estimators.names" in "".join(unnamed.err.split())
    again = roar("rank", *SMALL[:8], "--config", "roar.toml")
    assert again.code == 0 and marker.read_text() == "xx" and executes(again, plugin) == 1


def test_a_plan_asks_for_the_file_from_any_directory(roar: Callable[..., Any], plugin: Path, tmp_path: Path,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(plugin.parent)
    store = str(tmp_path / "store")
    assert roar("rank", *SMALL[:8], "--store", store, "--estimator", "my_method.py:own(alpha=2),random").code == 0
    monkeypatch.chdir("/")
    from roar.store.requests import read_plans
    from roar.store.store import open_store

    (plan,) = read_plans(open_store(store))
    assert plan.experiment["estimators"]["names"] == [f"{plugin}:own(alpha=2)", "random"]
    folder = next(Path(store).glob("rankings/*/*/own(alpha=2)-*/test"))
    for file in folder.iterdir():
        file.unlink()
    assert roar("verify", "--store", store).code == 1
    words = ["verify", "--repair", "--store", store, "--executor", "serial"]
    unnamed = roar(*words)
    assert unnamed.code == 1 and executes(unnamed, plugin) == 0
    assert f"would execute {plugin}; look at it, and add --trust '{plugin}:own'" in unnamed.out
    named = roar(*words, "--trust", f"{plugin}:own")
    assert named.code == 0 and executes(named, plugin) == 1
    assert (folder / "manifest.json").exists()


def test_retraining_does_not_take_up_somebodys_code_by_itself(roar: Callable[..., Any], plugin: Path) -> None:
    assert roar("rank", *SMALL[:8], "--estimator", f"{plugin}:own,random,smoothgrad(deeplift)").code == 0
    said = roar("retrain", *SMALL)
    assert said.code == 0 and "This run executes" not in said.err
    assert f"'{plugin}:own'wasaskedforinthisstorebefore;nameitwith--estimator" in "".join(said.err.split())
    assert "own" not in said.out and "smoothgrad(deeplift)" in said.out and "random" in said.out
