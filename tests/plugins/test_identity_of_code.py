"""What identifies code that is not roar's: stable from run to run, another one whenever the code is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types
from pathlib import Path

import cloudpickle
import numpy as np
import pytest
import torch

from roar.errors import UsageError
from roar.plugins import FileObject, LiveObject, PackageObject, defined_in, executed_files, foreign
from roar.plugins.identity import Description

PROGRAM = """
import functools, json, re
import numpy as np
import torch
from roar.plugins import foreign

SCALE = 2
TABLE = {"b": [1, 2], "a": {3.0, "x", (1, 2)}}
WEIGHTS = torch.arange(4.0)
ARRAY = np.arange(3)
PATTERN = re.compile("a+")

class Helper:
    factor = 3
    def __init__(self): self.state = {"k": [1.5]}
    def scaled(self, x): return x * self.factor
    @property
    def name(self): return "helper"
    @staticmethod
    def plain(x): return x

HELPER = Helper()

def decorated(times):
    def wrap(function):
        @functools.wraps(function)
        def inner(*a): return function(*a) * times
        return inner
    return wrap

@decorated(4)
def helper(x):
    return inner_helper(x) + sum(y * SCALE for y in TABLE["b"])

def inner_helper(x):
    if x in {"red", "green", "blue"}: return 0
    return HELPER.scaled(x) + WEIGHTS.sum() + ARRAY.sum() + len(PATTERN.pattern)

def unused(x):
    return x

def mine(network, images, targets, *, alpha=1):
    return helper(images) * alpha

print(json.dumps(foreign(mine).identity))
"""


def identity_of(text: str, tmp_path: Path, seed: int = 0) -> dict[str, str]:
    path = tmp_path / "program.py"
    path.write_text(text)
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, check=True, env={
        **os.environ, "PYTHONHASHSEED": str(seed)})
    found: dict[str, str] = json.loads(done.stdout)
    return found


def identity_here(text: str, tmp_path: Path) -> dict[str, str]:
    """The same in this process: a second and more are those of Python's start and torch's import."""
    path = tmp_path / f"program{len(list(tmp_path.iterdir()))}.py"
    path.write_text(text)
    space: dict[str, object] = {"__name__": "__main__"}
    exec(compile(text.replace("print(", "found = ("), str(path), "exec"), space)
    found: dict[str, str] = json.loads(str(space["found"]))
    return found


def test_two_runs_of_one_program_agree_and_what_the_function_uses_changes_its_identity(tmp_path: Path) -> None:
    first = identity_of(PROGRAM, tmp_path)
    assert first == identity_of(PROGRAM, tmp_path, seed=7)  # the order of sets and the addresses of objects are others
    assert first == identity_here(PROGRAM, tmp_path)
    assert set(first) == {"source", "object"} and first["object"] == "mine"
    assert first == identity_here(PROGRAM.replace("def unused(x):\n    return x", "def unused(x):\n    return 2 * x"),
                                  tmp_path)
    for old, new in (("SCALE = 2", "SCALE = 3"), ("alpha=1", "alpha=2"), ("* alpha", "/ alpha"), ("[1.5]", "[2.5]"),
                     ("factor = 3", "factor = 4"), ("@decorated(4)", "@decorated(5)"), ('"green"', '"gray"'),
                     ("x * self.factor", "x - self.factor"), ("arange(4.0)", "arange(5.0)"),
                     ('"x", (1, 2)', '"y", (1, 2)')):
        assert old in PROGRAM
        assert identity_here(PROGRAM.replace(old, new), tmp_path) != first, old


def test_what_is_typed_into_an_interpreter_has_an_identity_too() -> None:
    def typed(text: str) -> str:
        space: dict[str, object] = {"__name__": "__main__"}
        exec(text, space)
        return Description(space["f"]).sha256

    one = "def f(x):\n    return [y + K for y in x if y in {'a', 'b'}]\nK = 1\n"
    assert typed(one) == typed(one)
    assert len({typed(one), typed(one.replace("K = 1", "K = 2")), typed(one.replace("y + K", "y - K"))}) == 3


@pytest.mark.parametrize(("one", "other"), [
    (torch.zeros(2), torch.zeros(3)), (torch.zeros(2), torch.zeros(2, dtype=torch.float64)),
    (np.zeros(2), np.ones(2)), (np.zeros((2, 1)), np.zeros((1, 2))), ({"a": 1}, {"a": 2}), ([1, 2], [2, 1]),
    (torch.float32, torch.float64), (1, True), ("1", 1), ((1,), [1]), (None, ()), (Path("a"), Path("b")),
    (torch.nn.Linear(2, 2, bias=False), torch.nn.Linear(2, 2))])
def test_values_that_differ_are_told_apart(one: object, other: object) -> None:
    assert Description(one).sha256 != Description(other).sha256
    assert Description(one).sha256 == Description(one).sha256


def test_a_value_that_contains_itself_has_an_end() -> None:
    around: list[object] = [1]
    around.append(around)
    assert Description(around).sha256 == Description(around).sha256
    assert Description(around).sha256 != Description([1, [1]]).sha256


# -- a file --------------------------------------------------------------------------------------------------------


def test_a_file_is_its_text_and_travels_without_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine.py"
    path.write_text("class A:\n    @staticmethod\n    def f(x):\n        return x + 1\n")
    monkeypatch.chdir(tmp_path)
    found = foreign("mine.py:A.f")
    assert isinstance(found, FileObject)
    assert (found.name, found.spelling, found.file) == ("f", f"{path}:A.f", str(path))
    assert foreign(str(path) + ":A.f").identity == found.identity
    sent = cloudpickle.dumps(found)
    path.write_text("def f(x):\n    return x\n")
    with pytest.raises(UsageError, match="defines no 'A', but f; correct the name"):
        foreign("mine.py:A.f")
    path.unlink()
    assert cloudpickle.loads(sent).load()(1) == 2
    with pytest.raises(UsageError, match=r"There is no file 'mine\.py'"):
        foreign("mine.py:A.f")


@pytest.mark.parametrize(("text", "said"), [
    ("def f(:\n", r"line 1: SyntaxError: "), ("x = 1\nraise ValueError('a\\nb')\n", r"line 2: ValueError: a b"),
    ("import sys\nsys.exit(3)\n", "SystemExit: 3"), ("import no_such_package\n", "no_such_package"),
    (b"\xff\xfe", "is not UTF-8 text")])
def test_a_file_that_cannot_be_run_is_one_sentence(tmp_path: Path, text: str | bytes, said: str) -> None:
    path = tmp_path / "broken.py"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UsageError, match=said) as raised:
        foreign(f"{path}:f")
    assert "\n" not in str(raised.value)


def test_a_file_that_imports_its_neighbor_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "neighborhood.py").write_text("K = 1\n")
    (tmp_path / "mine.py").write_text("from neighborhood import K\ndef f():\n    return K\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UsageError, match=r"imports 'neighborhood' from .*would not travel.*put it into the file"):
        foreign(f"{tmp_path}/mine.py:f")
    monkeypatch.delitem(sys.modules, "neighborhood")


def test_every_file_is_named_once_before_it_is_executed(tmp_path: Path) -> None:
    marker, path = tmp_path / "ran", tmp_path / "mine.py"
    path.write_text(f"open({str(marker)!r}, 'a').close()\ndef f(): pass\ndef g(): pass\n")
    said: list[tuple[str, bool]] = []
    with executed_files(lambda file: said.append((file, marker.exists()))):
        foreign(f"{path}:f")
        foreign(f"{path}:g")
        assert sorted(defined_in(str(path))) == ["f", "g"]
    assert said == [(str(path), False)] and marker.exists()


# -- a package and a program ---------------------------------------------------------------------------------------


def test_an_object_of_a_package_is_its_version_and_travels_by_name() -> None:
    import captum
    from captum.attr import Occlusion

    found, spelled = foreign(Occlusion), foreign("captum.attr:Occlusion")
    assert isinstance(found, PackageObject) and found == spelled
    assert found.identity == {"distribution": "captum", "version": captum.__version__,
                              "object": "captum.attr:Occlusion"}
    assert found.load() is Occlusion and cloudpickle.loads(cloudpickle.dumps(found)).load() is Occlusion
    with pytest.raises(UsageError, match=r"needs the package 'no_such_package', which is not installed"):
        foreign("no_such_package.attr:f")
    with pytest.raises(UsageError, match="defines no 'Nothing'"):
        foreign("captum.attr:Nothing")


def test_an_object_beside_a_program_travels_by_value_with_what_it_uses(tmp_path: Path) -> None:
    """A module that is not installed is on no other node."""
    module = types.ModuleType("beside")
    module.__file__ = str(tmp_path / "beside.py")
    Path(module.__file__).write_text("K = 5\ndef helper(x):\n    return x + K\ndef f(x):\n    return helper(x)\n")
    sys.modules["beside"] = module
    exec(compile(Path(module.__file__).read_text(), module.__file__, "exec"), module.__dict__)
    found = foreign(module.f)
    assert isinstance(found, LiveObject) and found.modules == ("beside",)
    (tmp_path / "sent").write_bytes(cloudpickle.dumps(found))
    del sys.modules["beside"]
    code = (f"import pickle; print(pickle.load(open({str(tmp_path / 'sent')!r}, 'rb')).load()(2))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="/")
    assert done.stdout == "7\n", done.stderr


def test_what_cannot_travel_is_one_sentence() -> None:
    import threading

    lock = threading.Lock()

    def f(network: object, images: object, targets: object) -> object:
        return lock

    with pytest.raises(UsageError, match="'f' cannot travel to a worker"):
        cloudpickle.dumps(foreign(f))
