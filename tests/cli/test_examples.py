"""The notebook runs as it stands, cell after cell."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

NOTEBOOK = Path(__file__).resolve().parents[2] / "examples" / "digits.ipynb"


def last_value(code: str, names: dict[str, Any]) -> Any:
    """Run a cell; what its last line is worth, as a notebook would show it."""
    tree = ast.parse(code)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), names) if isinstance(last, ast.Expr) else None


def test_the_notebook_runs_and_shows_tables_and_figures() -> None:
    names: dict[str, Any] = {}
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    shown = [last_value("".join(cell["source"]), names) for cell in cells]
    assert sum(isinstance(value, pd.DataFrame) and not value.empty for value in shown) == 3
    assert sum(isinstance(value, Figure) for value in shown) == 2
    assert "3 rankings" not in names["store"]._repr_html_()
    assert "4 rankings" in names["store"]._repr_html_()
