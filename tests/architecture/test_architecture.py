"""Imports point down only, and what is heavy is imported where it is used."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = REPOSITORY / "roar"

# Who may import whom, folder by folder; a file at the top of roar/ is a folder of its own. There are no exceptions.
GROUND = {"errors", "machine", "options", "progress", "settings", "recipes", "experiment", "plugins", "registry",
          "seeds"}
ARROWS = {
    "errors": set(),
    "machine": set(),
    "progress": {"errors"},
    "seeds": {"errors"},
    "plugins": {"errors"},
    "settings": {"errors"},
    "registry": {"errors", "plugins"},
    "recipes": {"errors", "settings"},
    "experiment": {"errors", "recipes", "settings"},
    "options": {"errors", "experiment", "recipes", "registry", "settings"},
    "store": GROUND,
    "datasets": GROUND,
    "models": GROUND,
    "estimators": GROUND,
    "analysis": GROUND,
    "jobs": GROUND | {"store", "datasets", "models", "estimators"},
    "pipeline": GROUND | {"store", "datasets", "models", "estimators", "jobs"},
    "metrics": GROUND | {"store", "datasets", "models", "estimators", "jobs", "pipeline", "analysis"},
    "report": GROUND | {"store", "datasets", "models", "estimators", "jobs", "pipeline", "analysis",
                        "metrics"},
    "audit": GROUND | {"store", "pipeline", "analysis", "metrics", "report"},
}
ARROWS["study"] = ARROWS["testing"] = ARROWS["cli"] = {*GROUND, *ARROWS}
ARROWS["__main__"] = {"cli"}
ARROWS["__init__"] = {"study", "testing", "report", "datasets", "estimators", "models", "metrics", "errors",
                      "experiment"}
MOST_AT_THE_TOP = 8


def imports(path: Path) -> set[str]:
    """Every module of roar that a file imports, anywhere in it, and every package besides."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in names}
    return found


def module(path: Path) -> str:
    """The dotted name of a file."""
    return ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")


def area(name: str) -> str:
    """The folder or top file that a module of roar lies in."""
    return (*name.split("."), "__init__")[1]


FILES = sorted(PACKAGE.rglob("*.py"))
MODULES = {module(path): path for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_point_down(path: Path) -> None:
    name = module(path)
    used = {area(other) for other in imports(path) if other in MODULES}
    assert used <= ARROWS[area(name)] | {area(name)}


def test_no_file_imports_itself_by_way_of_others() -> None:
    arrows = {name: {other for other in imports(path) if other in MODULES} - {name} for name, path in MODULES.items()}
    left = dict(arrows)
    while ends := [name for name, others in left.items()
                   if not others & left.keys() or not any(name in others for others in left.values())]:
        for name in ends:
            del left[name]
    assert not left, f"a circle is among {sorted(left)}"


def test_the_top_of_the_package_is_small() -> None:
    names = [path.name for path in PACKAGE.glob("*.py")]
    assert len(names) <= MOST_AT_THE_TOP, names


def test_ray_is_behind_one_seam() -> None:
    users = {path.relative_to(PACKAGE).as_posix() for path in FILES
             if any(name.split(".")[0] == "ray" for name in imports(path))}
    assert users
    assert all(user.startswith("jobs/ray/") for user in users)


@pytest.mark.parametrize("module", ["roar", "roar.analysis.curves", "roar.analysis.figures", "roar.store.store",
                                    "roar.store.results"])
def test_analysis_loads_without_torch_or_ray(module: str) -> None:
    code = f"import sys, {module}; print({{'torch', 'ray', 'captum'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_worker_loads_without_what_its_tasks_may_not_need() -> None:
    """Each stage opens workers anew: torchvision and torch's compiler would be two seconds of every one."""
    code = ("import sys, roar.metrics.retraining.worker, roar.jobs.rank_shard, roar.metrics.deletion.worker; "
            "print({'torchvision', 'torch._dynamo', 'captum', 'timm', 'matplotlib'} & set(sys.modules))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_the_links_lead_into_the_package() -> None:
    for name in ("estimators", "datasets", "jobs", "analysis"):
        link = REPOSITORY / name
        assert link.is_symlink()
        assert link.resolve() == PACKAGE / name


def test_the_serial_executor_needs_no_ray(tmp_path: Path) -> None:
    code = ("import sys; sys.modules['ray'] = None\n"
            "from roar.cli.commands import main\n"
            "sys.argv = 'roar retrain --executor serial --estimator random --threshold 50 --seeds 1'.split()\n"
            "sys.argv += '--limit-train 60 --limit-test 30 --train-epochs 1 --epochs 1'.split()\n"
            "main()")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("estimator\tn\t0 %\t50 %")


def test_without_ray_the_remedy_is_said(tmp_path: Path) -> None:
    code = ("import sys; sys.modules['ray'] = None\n"
            "from roar.cli.commands import main\n"
            "sys.argv = 'roar train --limit-train 60 --limit-test 30'.split()\n"
            "main()")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert "--executor serial" in done.stderr
    assert "Traceback" not in done.stderr


SHOWN = {"estimator", "base", "family", "ensemble", "model", "retrainer", "control_of", "other", "other_model"}
TAKES_APART = {"split", "rsplit", "partition", "rpartition", "startswith", "endswith", "removeprefix", "removesuffix",
               "extract", "match", "fullmatch", "search", "findall", "sub"}


def called(node: ast.expr) -> str:
    """What an expression is called: a variable, an attribute or a column, also as ``str(...)`` or ``....str``."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return called(node.value) if node.attr == "str" else node.attr
    if isinstance(node, ast.Subscript):
        return str(node.slice.value) if isinstance(node.slice, ast.Constant) else called(node.value)
    if isinstance(node, ast.Call) and node.args and called(node.func) == "str":
        return called(node.args[0])
    return ""


def names_taken_apart(code: str) -> list[int]:
    """The lines where what is shown of an estimator or a network is taken apart; what it is has columns of its own."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in TAKES_APART:
            found += [node.lineno] * any(called(one) in SHOWN for one in (node.func.value, *node.args))
        elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice) and called(node.value) in SHOWN:
            found.append(node.lineno)
    return found


@pytest.mark.parametrize("folder", ["analysis", "audit", "metrics", "report"])
def test_no_name_is_taken_apart(folder: str) -> None:
    found = {path.relative_to(PACKAGE).as_posix(): lines for path in sorted((PACKAGE / folder).rglob("*.py"))
             if (lines := names_taken_apart(path.read_text(encoding="utf-8")))}
    assert found == {}


@pytest.mark.parametrize("line", [
    'base = estimator.removesuffix("-magnitude")', 'estimator.partition("(")[0] in ORACLES',
    'seed = model.partition("#")[2]', '_KEY.sub("", estimator)', 're.fullmatch(pattern, str(here["retrainer"]))',
    'frame["estimator"].str.extract(pattern)', 'str(row["estimator"]).startswith("vargrad")',
    "estimator[len(ensemble):]", 'p.base.partition("(")[0]',
])
def test_a_name_that_is_taken_apart_is_noticed(line: str) -> None:
    assert names_taken_apart(line) == [1]
