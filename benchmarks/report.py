"""How long the whole report takes: all tables, the main figures and the page, on synthetic results.

    python benchmarks/report.py            # 20 estimators x 6 thresholds x 5 seeds, then 10,000 rows

The results are drawn by the tests' seeded generator. Targets on two cores: 15 s and 30 s.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path
from time import perf_counter

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "support"))

from analysis_results import TWENTY, synthetic_results

from roar.analysis.curves import curves
from roar.analysis.figures import accuracy_curves, accuracy_matrix, leaderboard_intervals, render
from roar.analysis.frames import TABLES, table
from roar.analysis.leaderboard import leaderboard
from roar.report.page import report_page


def measure(name: str, results: pd.DataFrame) -> None:
    """Print the seconds that each part of a report takes."""
    print(f"{name}: {len(results):,} rows")
    started = perf_counter()
    for kind in TABLES:
        begun = perf_counter()
        table(results, kind)
        print(f"  table {kind:<12} {perf_counter() - begun:6.2f} s")
    begun = perf_counter()
    page = report_page(results)
    print(f"  page {len(page.encode()) / 1e6:4.1f} MB      {perf_counter() - begun:6.2f} s")
    begun = perf_counter()
    one = results[results["model"] == results["model"].iloc[0]]
    for figure in (accuracy_curves(curves(one)), accuracy_matrix(curves(one)), leaderboard_intervals(leaderboard(one))):
        render(figure, "svg")
        render(figure, "png")
    print(f"  three figures of one panel {perf_counter() - begun:6.2f} s")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"  all                {perf_counter() - started:6.2f} s, peak memory so far {peak:.0f} MiB")


if __name__ == "__main__":
    measure("one experiment", synthetic_results(TWENTY, classes=10))
    measure("ten thousand rows", synthetic_results(TWENTY, classes=10, models=[f"model-{i:02d}" for i in range(20)]))
