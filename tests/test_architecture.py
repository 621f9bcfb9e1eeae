"""Imports point down only, and what is heavy is imported where it is used."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGE = REPOSITORY / "roar"

# Who may import whom, area by area; a single file of roar/ is an area of its own.
GROUND = {"errors", "seeds", "experiment", "sealed", "store", "files", "remote_files", "results", "compaction",
          "claims",
          "plans", "shards", "progress", "recipes"}
ALLOWED = {
    "errors": set(), "seeds": set(), "progress": set(), "recipes": set(),
    "experiment": {"errors", "recipes"},
    "sealed": set(),
    "files": {"errors", "remote_files"},
    "remote_files": {"errors", "files"},
    "claims": {"files"},
    "results": {"errors", "experiment", "files", "sealed", "store"},
    "compaction": {"claims", "errors", "files", "results", "sealed"},
    "plans": {"errors", "files", "sealed", "store"},
    "store": {"errors", "files", "results", "sealed", "analysis", "deletion", "plans", "ranking_agreement",
              "sanity", "status"},
    "shards": {"errors", "store"},
    "datasets": GROUND,
    "models": GROUND,
    "estimators": GROUND | {"datasets"},
    "jobs": GROUND | {"datasets", "models", "estimators"},
    "analysis": GROUND,
    "plan": GROUND | {"datasets", "models", "estimators", "jobs"},
    "degraded": GROUND | {"datasets", "plan"},
    "deletion": GROUND | {"analysis", "stored_frames"},
    "ranking_agreement": GROUND | {"stored_frames"},
    "sanity": GROUND | {"stored_frames"},
    "stored_frames": GROUND,
    "gallery": GROUND | {"datasets", "analysis", "pipeline", "plan"},
    "serving": GROUND | {"deletion", "reporting"},
    "reporting": GROUND | {"analysis", "deletion", "gallery", "ranking_agreement", "sanity", "status"},
    "status": GROUND,
    "comparison": GROUND | {"analysis", "reporting"},
    "auditing": GROUND | {"analysis", "pipeline"},
    "showing": GROUND | {"analysis", "datasets", "estimators", "jobs", "pipeline", "plan", "reporting"},
    "activating": GROUND | {"analysis", "datasets", "models", "pipeline", "plan", "reporting", "showing"},
    "pipeline": GROUND | {"deletion", "datasets", "models", "estimators", "jobs", "analysis", "plan", "degraded",
                         "gallery",
                          "reporting"},
    "terminal": set(),
    "catalogue": GROUND,
    "cleaning": GROUND | {"catalogue", "integrity", "jobs"},
    "integrity": GROUND,
    "merging": GROUND | {"integrity"},
    "repair": GROUND | {"integrity", "pipeline"},
    "upkeep": GROUND | {"cleaning", "integrity", "merging", "options", "repair", "terminal"},
    "options": {"errors", "experiment"},
}
TOP = {"cli", "__main__", "__init__"}


def imports(path: Path) -> set[str]:
    """Every module that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} if node.module != "roar" else {f"roar.{alias.name}" for alias in node.names}
    return found


def area(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_point_down(path: Path) -> None:
    here = area(path)
    used = {name.split(".")[1] for name in imports(path) if name.startswith("roar.")}
    if here not in TOP:
        assert used <= ALLOWED[here] | {here}
    assert "cli" not in used or here == "__main__"


def test_ray_is_behind_one_seam() -> None:
    users = {path.relative_to(PACKAGE).as_posix() for path in FILES
             if any(name.split(".")[0] == "ray" for name in imports(path))}
    assert users
    assert all(user.startswith("jobs/ray_") for user in users)


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
