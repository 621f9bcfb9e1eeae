"""A report does not depend on a person's settings of matplotlib: neither whether it is written nor what it shows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SUPPORT = Path(__file__).resolve().parents[1] / "support"
DRAW = """
import hashlib, sys
sys.path.insert(0, sys.argv[1])
from analysis_results import facts, synthetic_results
from roar.analysis.curves import curves
from roar.analysis.figures import PAGE, accuracy_curves, accuracy_matrix, render
from roar.analysis.figures.inline import inline, swatch

found = curves(synthetic_results())
figures = [accuracy_curves(found), accuracy_matrix(found), accuracy_curves(found, PAGE)]
drawn = [*(render(figure, kind) for figure in figures for kind in ("svg", "png")), inline(figures[2], "chart").encode(),
         swatch(facts("vargrad")).encode()]
print(*(hashlib.sha256(data).hexdigest()[:12] for data in drawn))
"""
MATPLOTLIBRC = """
text.usetex: True
font.size: 40
font.family: serif
figure.facecolor: black
figure.constrained_layout.use: True
savefig.bbox: tight
savefig.facecolor: red
lines.linewidth: 9
xtick.labelsize: 30
axes.prop_cycle: cycler('color', ['red'])
"""


def drawn(folder: Path, **environment: str) -> str:
    outside = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    done = subprocess.run([sys.executable, "-c", DRAW, str(SUPPORT)], cwd=folder, capture_output=True, text=True,
                          env={**outside, **environment})
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> str:
    return drawn(tmp_path_factory.mktemp("plain"))


def test_figures_have_the_same_bytes_with_any_matplotlibrc(plain: str, tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_text(MATPLOTLIBRC)
    assert drawn(tmp_path) == plain


@pytest.mark.parametrize("backend", ["module://matplotlib_inline.backend_inline", "module://no_such.backend", "tkagg",
                                     "no such backend"])
def test_figures_need_no_backend(plain: str, tmp_path: Path, backend: str) -> None:
    assert drawn(tmp_path, MPLBACKEND=backend) == plain


def test_what_a_program_sets_is_left_as_it_was() -> None:
    import matplotlib as mpl

    from roar.analysis.figures.style import styled

    with mpl.rc_context({"font.size": 40.0, "text.usetex": True}):
        before = dict(mpl.rcParams)
        with styled(axes__grid=False):
            assert mpl.rcParams["font.size"] == 9.0
            assert not mpl.rcParams["text.usetex"]
            assert not mpl.rcParams["axes.grid"]
        assert dict(mpl.rcParams) == before
