"""The tables people read."""

from __future__ import annotations

import io

import pandas as pd
import pytest
from analysis_results import SIX, synthetic_results
from rich.console import Console

from roar.analysis.curves import curves
from roar.analysis.tables import accuracy_table, plain_table, rich_table, varying


def test_the_cells_are_percent_with_half_an_interval() -> None:
    table = accuracy_table(curves(synthetic_results(std=0.0)))
    assert list(table["estimator"]) == list(SIX)
    assert list(table.columns[-7:]) == ["n", "0 %", "10 %", "30 %", "50 %", "70 %", "90 %"]
    random = table.set_index("estimator").loc["random"]
    assert random["0 %"] == "93.0±0.0"
    assert random["90 %"] == "83.0±0.0"  # 93 points less the generator's 10


def test_the_spread_may_be_the_standard_deviation() -> None:
    results = synthetic_results(["random"], [0.0, 50.0], seeds=3)
    results.loc[results["estimator"] == "random", "accuracy"] = [0.5, 0.6, 0.7]
    assert accuracy_table(curves(results), "std")["50 %"].item() == "60.0±10.0"
    half = accuracy_table(curves(results), "interval", digits=0)
    assert half["50 %"].item() == "60±25"  # 4.3027 * 10 / sqrt(3)


def test_failed_missing_and_single_cells_are_told_apart() -> None:
    failed = [*[("sobel", 90.0, seed) for seed in range(5)], ("random", 90.0, 0), ("random", 90.0, 1)]
    results = synthetic_results(["random", "sobel"], [0.0, 50.0, 90.0], failed=failed)
    results = results.query("not (estimator == 'sobel' and threshold == 50)")
    table = accuracy_table(curves(results)).set_index("estimator")
    assert table.loc["sobel", "90 %"] == "failed"
    assert table.loc["sobel", "50 %"] == ""
    assert table.loc["random", "n"] == "3-5"
    single = accuracy_table(curves(synthetic_results(seeds=1)))
    assert not single["90 %"].str.contains("±").any()


def test_a_run_of_the_reference_alone_has_a_table() -> None:
    table = accuracy_table(curves(synthetic_results([])))
    assert list(table["estimator"]) == ["reference"]
    assert list(table.columns[-2:]) == ["n", "0 %"]


def test_columns_that_say_nothing_can_be_dropped() -> None:
    table = accuracy_table(curves(synthetic_results(models=("a", "b"))))
    assert list(varying(table).columns[:4]) == ["model", "retrainer", "estimator", "n"]


def test_plain_text_can_be_read_back() -> None:
    table = varying(accuracy_table(curves(synthetic_results())))
    back = pd.read_csv(io.StringIO(plain_table(table)), sep="\t", dtype=str)
    assert back.to_numpy().tolist() == table.astype(str).to_numpy().tolist()


@pytest.mark.parametrize("width", [80, 200])
def test_a_terminal_never_cuts_a_number(width: int) -> None:
    table = varying(accuracy_table(curves(synthetic_results())))
    table.loc[0, "estimator"] = "[red]gradient[/red]"
    console = Console(width=width, file=io.StringIO())
    console.print(rich_table(table))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "…" not in shown
    assert "[red]" in shown
    for value in table.drop(columns="estimator").to_numpy().ravel():
        assert value in shown
