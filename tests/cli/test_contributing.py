"""CONTRIBUTING.md says how to add an estimator; here its example is added as it says."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from roar.experiment import EstimatorSettings

REPOSITORY = Path(__file__).resolve().parents[2]
TEXT = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
LIST = "from roar.estimators import ESTIMATORS; print(*(e.name for e in ESTIMATORS.all() if '{}' in e.family))"


@pytest.mark.slow
def test_the_example_is_a_family_of_six_that_passes_the_contract(tmp_path: Path) -> None:
    """In a copy of the package, so that the real one stays as it is."""
    ignored = shutil.ignore_patterns("__pycache__")
    for part in ("roar", "tests"):
        shutil.copytree(REPOSITORY / part, tmp_path / part, ignore=ignored)
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    path = re.search(r"Write one file, `(\S+)`", TEXT)
    code = re.search(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert path and code
    (tmp_path / path[1]).write_text(code[1], encoding="utf-8")

    listed = _python(tmp_path, "-c", LIST.format("absolute"))
    told = TEXT.split("six new names")[1].split("The\nsecond")[0]
    names = re.findall(r"`((?:\w+-)*(?:absolute|abs)(?:-\w+)*)`", told)
    assert listed.split() == ["absolute-gradient", *names] and len(names) == 5
    report = _python(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "abs",
                     "tests/estimators/test_contract.py", "tests/estimators/test_estimator_registry.py")
    assert re.search(r"\d{2,} passed", report) and "failed" not in report


def _python(folder: Path, *arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments], cwd=folder, check=False, capture_output=True, text=True,
                          env={"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_what_it_names_is_there() -> None:
    for path in re.findall(r"`((?:roar|tests|docs)/[\w/.]+)`", TEXT):
        assert (REPOSITORY / path).exists() or path == "roar/estimators/methods/absolute_gradient.py", path
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^    make (\w+)", TEXT, re.MULTILINE):
        assert f"\n{target}:" in makefile
    for setting in ("ig_steps", "baseline"):
        assert setting in EstimatorSettings.model_fields
    assert importlib.util.find_spec("roar.estimators") is not None
