"""A panel's findings in words. Every claim rests on a corrected test or an interval."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from roar.analysis.contrasts import area_tests
from roar.analysis.curves import PANEL
from roar.analysis.facts import CONTROL, REFERENCE
from roar.analysis.grid import Grid
from roar.analysis.tables import signed

_KINDS = {"roar": "most important pixels (ROAR)", "kar": "least important pixels (KAR)",
          "recursive": "most important pixels, ranked again at every step with the network of the step before "
                       "(recursive ROAR),"}
LISTED = 6  # names that a sentence lists in full


def summary(grid: Grid, board: pd.DataFrame, table: pd.DataFrame) -> list[str]:
    """A panel's findings as sentences, the most important first.

    Args:
        grid: the panel.
        board: its rows of :func:`roar.analysis.leaderboard`.
        table: its rows of :func:`roar.analysis.curves`, its reference among them.
    """
    said = [_what_was_done(grid, table), _reference(table)]
    if len(grid.seeds) <= 1:
        said.append("With one seed per cell there is no spread, no interval and no test: each number below describes "
                    "one training, and no difference between them is shown to exceed chance.")
    else:
        said += _against_controls(grid, board)
        said += _order(grid, board)
    return [sentence for sentence in said if sentence]


def limits(grid: Grid, table: pd.DataFrame, results: pd.DataFrame) -> list[str]:
    """What is missing in a panel, and what cannot be concluded because of it."""
    said = []
    if not grid.controls:
        said.append("Without a control (random, sobel), the estimators are compared only with each other, and whether "
                    "any of them is better than a random ranking is unknown.")
    else:
        said += [f"No estimator is compared with {control}, because this control was not run."
                 for control in ("random", "sobel") if control not in grid.controls]
    if grid.here["mode"] == "recursive" and grid.controls:
        said.append("The controls do not depend on a network, so ranking again does not change them: their trainings "
                    "of mode ROAR are used.")
    if len(grid.estimators) == 1:
        said.append("With one estimator there is no ranking of estimators.")
    if len(grid.thresholds) == 1:
        said.append(f"With one threshold, {grid.thresholds[0]:g} %, every area assumes a straight line from t = 0.")
    if not np.isfinite(grid.reference).any():
        said.append("No training on unmodified images (t = 0) finished, so the loss of accuracy is unknown; "
                    "differences between estimators do not need it.")
    if len(grid.seeds) == 2:
        said.append("Two seeds leave one degree of freedom: intervals are very wide and tests have almost no power.")
    cells = table[table["estimator"] != REFERENCE]
    empty = cells[cells["n"] == 0]
    short = cells[(cells["n"] > 0) & (cells["n"] < len(grid.seeds))]
    if len(empty):
        said.append(f"No seed finished in {_count(len(empty), 'cell')}: {_cells(empty)}. The areas omit these "
                    "thresholds.")
    if len(short):
        said.append(f"Fewer than {len(grid.seeds)} seeds finished in {_count(len(short), 'cell')}: {_cells(short)}. "
                    "The area of an estimator uses the seeds that finished at all of its thresholds.")
    absent = len(grid.estimators) * len(grid.thresholds) - len(cells[cells["threshold"] > 0])
    if absent:
        said.append(f"{_count(absent, 'cell')} (estimator and threshold) {'was' if absent == 1 else 'were'} not run.")
    failed = int((results["status"] != "ok").sum())
    if failed:
        said.append(f"{_count(failed, 'job')} failed; the reasons are under “Failed jobs”.")
    return said


def panel_rows(frame: pd.DataFrame, here: dict[str, str]) -> pd.DataFrame:
    """The rows of a frame that belong to a panel."""
    return frame[np.logical_and.reduce([frame[key] == here[key] for key in PANEL if key in frame.columns])]


def _what_was_done(grid: Grid, table: pd.DataFrame) -> str:
    judged = [facts for facts in grid.facts.values() if not facts.is_control]
    controls = f" and {_count(len(grid.controls), 'control')}" if grid.controls else ""
    counts = table["n"]
    seeds = f"{counts.min()}" if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"
    kind = _KINDS[grid.here["mode"]]
    share = _listed([f"{t:g}" for t in grid.thresholds]) or "no"
    return (f"{_count(len(judged), 'estimator')}{controls}; {share} % of each image's {kind} replaced; {seeds} "
            f"finished seed{'' if seeds == '1' else 's'} per cell.")


def _reference(table: pd.DataFrame) -> str:
    for row in table[(table["estimator"] == REFERENCE) & (table["n"] > 0)].to_dict("records"):
        interval = "" if pd.isna(row["ci_low"]) else f" [{100 * row['ci_low']:.1f}, {100 * row['ci_high']:.1f}]"
        over = "" if pd.isna(row["ci_low"]) else f" (95 % t interval over {row['n']} seeds)"
        return (f"Networks trained on unmodified images have a test accuracy of {100 * row['mean']:.1f} %{interval}"
                f"{over}.")
    return ""


def _against_controls(grid: Grid, board: pd.DataFrame) -> list[str]:
    """The estimators that are better and worse than the controls, and how small a difference may go undetected."""
    judged = board[board["family"] != CONTROL]
    controls = [control for control in ("random", "sobel") if control in grid.controls]
    if not controls or not len(judged):
        return []
    said = []
    better = judged[np.logical_and.reduce([judged[f"{control}_verdict"] == "better" for control in controls])]
    name = "both controls, random and sobel" if len(controls) == 2 else controls[0]
    if len(better):
        said.append(f"Better than {name}: {_gaps(better, controls[0])}. These are accuracy points over {controls[0]}, "
                    "mean over t, with 95 % t intervals over the seeds.")
    else:
        said.append(f"No estimator is shown to be better than {name}.")
    first = controls[0]
    for verdict, words in (("worse", f"Worse than {first}"), ("open", f"Not significantly different from {first}"),
                           ("untested", f"Not tested against {first} (a test needs two seeds that both finished, and "
                                        "differences that vary)")):
        rows = judged[judged[f"{first}_verdict"] == verdict]
        if len(rows):
            said.append(f"{words}: {_gaps(rows, first)}.{_undetected(judged, first) if verdict == 'open' else ''}")
    return said


def _undetected(judged: pd.DataFrame, control: str) -> str:
    half = (judged[f"{control}_ci_high"] - judged[f"{control}_ci_low"]).median() / 2
    if pd.isna(half):
        return ""
    return f" The median half-width of the intervals is {half:.1f} points: differences of this size may go undetected."


def _order(grid: Grid, board: pd.DataFrame) -> list[str]:
    """Which estimator is first, as far as the tests of all pairs say so; and how many pairs have no test."""
    ranked = board[board["rank"].notna()]
    if len(ranked) < 2:
        return []
    names = [name for name in grid.estimators if name in set(ranked["estimator"])]
    tests = area_tests(grid, list(combinations(grid.estimators, 2)))
    pairs = [row for row in tests if {row["estimator"], row["other"]} <= set(names)]
    untested = sum(pd.isna(row["p_holm"]) for row in pairs)
    said = [_first(ranked)]
    if untested:
        said.append(f"{untested} of the {_count(len(pairs), 'pair')} of ranked estimators "
                    f"{'was' if untested == 1 else 'were'} not tested: a test needs two seeds that both finished, and "
                    "differences that vary.")
    return said


def _first(ranked: pd.DataFrame) -> str:
    how = "Holm-corrected over all tested pairs"
    leaders = ranked[ranked["sure_low"] == 1].to_dict("records")
    if len(leaders) != 1:
        among = f" among {_listed([row['estimator'] for row in leaders])}" if leaders else ""
        than = "any of them" if leaders else "all others"
        return f"First place is open{among}: no ranked estimator is significantly better than {than} ({how})."
    leader = leaders[0]
    name = f"{'the control ' if leader['family'] == CONTROL else ''}{leader['estimator']}"
    others, rest = len(ranked) - 1, leader["sure_high"] - 1
    if rest:
        return (f"No ranked estimator is significantly better than {name}, but first place is open: {rest} of its "
                f"{_count(others, 'difference')} from the others {'is' if rest == 1 else 'are'} not significant or "
                f"{'was' if rest == 1 else 'were'} not tested ({how}).")
    return (f"{name[0].upper() + name[1:] if leader['family'] == CONTROL else name} ranks first: its difference from "
            f"every other ranked estimator is significant ({how}).")


def _gaps(rows: pd.DataFrame, control: str) -> str:
    parts_: list[str] = []
    for row in rows.to_dict("records")[:LISTED]:
        gap = row[f"{control}_advantage"]
        low, high = row[f"{control}_ci_low"], row[f"{control}_ci_high"]
        number = "no common seed" if pd.isna(gap) else signed(gap)
        interval = " (no interval)" if pd.isna(low) and not pd.isna(gap) else "" if pd.isna(gap) else \
            f" [{signed(low)}, {signed(high)}]"
        parts_.append(f"{row['estimator']} {number}{interval}")
    more = len(rows) - len(parts_)
    return ", ".join(parts_) + (f" and {more} more" if more else "")


def _listed(words: list[str]) -> str:
    shown = words[:LISTED]
    if len(words) > LISTED:
        return ", ".join(shown) + f" and {len(words) - LISTED} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def _cells(rows: pd.DataFrame) -> str:
    return _listed([f"{row['estimator']} at {row['threshold']:g} % (n = {row['n']})"
                    for row in rows.to_dict("records")])


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def cost(results: pd.DataFrame) -> dict[str, float]:
    """Hours of finished training by kind of device, from ``train_seconds`` and ``device`` where results have them."""
    if not {"train_seconds", "device"} <= set(results.columns):
        return {}
    known = results[results["train_seconds"].notna()]
    kinds = known["device"].astype(str).str.startswith("cpu").map({True: "CPU", False: "GPU"})
    hours: dict[Any, float] = (known["train_seconds"].groupby(kinds).sum() / 3600).to_dict()
    return {str(kind): float(value) for kind, value in hours.items()}
