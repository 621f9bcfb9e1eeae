"""The notebook runs as it stands, cell after cell, in the kernel of a notebook."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / "examples" / "digits.ipynb"


def shown(cell: Any) -> str:
    """What a cell shows, as text and HTML."""
    data = [output.get("data", {}) for output in cell["outputs"]]
    return "".join(str(part) for parts in data for part in parts.values())


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["serial", "ray"])
def test_the_notebook_runs_and_shows_tables_figures_and_progress(executor: str, tmp_path: Path) -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        cell["source"] = cell["source"].replace('executor="serial"', f'executor="{executor}"')
    nbclient.NotebookClient(notebook, timeout=280, resources={"metadata": {"path": str(tmp_path)}}).execute()
    cells = [cell for cell in notebook.cells if cell["cell_type"] == "code"]
    assert sum("<table" in shown(cell) for cell in cells) >= 4
    assert sum(any("image/png" in output.get("data", {}) for output in cell["outputs"]) for cell in cells) == 2
    run = next(cell for cell in cells if cell["source"] == "study.run()")
    assert "<progress" in shown(run)
    assert "retrain: 27 of 27 networks" in shown(run)
    assert "absolute_gradient" in shown(run)
