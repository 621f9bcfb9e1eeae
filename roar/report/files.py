"""The report: tables, figures and one page, all from what is in the store."""

from __future__ import annotations

import hashlib
import io
import platform
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from roar import machine
from roar.errors import AnalysisError, DamagedArtifactError, UnknownNameError
from roar.metrics import Metric, metrics_of
from roar.registry import load
from roar.report.gallery import read_gallery
from roar.report.leaderboard import leaderboard_of
from roar.store.artifacts import key_of, versions
from roar.store.requests import class_names
from roar.store.results import finished_jobs, read_results
from roar.store.sealed import read_sealed, seal
from roar.store.status import read_status
from roar.store.store import Store

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

FOLDER = "reports"
PAGE = "report.html"
VERDICTS = ("areas", "tests", "pairs", "ranks", "agreement", "findings", "paper", "paper-order", "faithfulness")
CURRENT = "reports/current.json"  # what the report was made of, written last


@dataclass(frozen=True, eq=False)
class Report:
    """What was reported: the frames, and the files by their full names."""

    results: pd.DataFrame
    curves: pd.DataFrame
    files: list[str]


@dataclass(frozen=True, eq=False)
class Measured:
    """What was measured without retraining: the frame, and its table and figure by their full names."""

    frame: pd.DataFrame
    files: list[str]


def write_metric(store: Store, metric: Metric) -> Measured:
    """Write the tables of a metric below ``reports/``, and those of its figures that there is enough to draw."""
    frames = metric.frames(store)
    written = metric_files(metric, frames)
    for name, data in written.items():
        store.files.write(f"{FOLDER}/{name}", data)
    return Measured(frames[metric.tables[0].name], [f"{store.location}/{FOLDER}/{name}" for name in written])


def measured(store: Store) -> dict[str, pd.DataFrame]:
    """The tables of all metrics by name, as they are in the store."""
    return {name: frame for metric in metrics_of(store) for name, frame in metric.frames(store).items()}


def metric_files(metric: Metric, frames: Mapping[str, pd.DataFrame]) -> dict[str, bytes]:
    """The tables and figures of a metric by file name; none where nothing was measured."""
    from roar.analysis.figures import render
    from roar.analysis.spreadsheets import csv_bytes

    own = {table.name: frames[table.name] for table in metric.tables}
    files = {f"{name}.csv": csv_bytes(frame) for name, frame in own.items() if len(frame)}
    for name, draw in (load(metric.figures)(frames) if files and metric.figures else {}).items():
        try:
            files[name] = render(draw(), "svg")
        except AnalysisError:  # too little to draw it from
            continue
    return files


def write_report(store: Store, jobs: Collection[str] | None = None, experiment: str = "",
                 keep_current: bool = False) -> Report:
    """Write tables, figures and the page below ``reports/``.

    Args:
        jobs: the keys of the jobs to report; default: all that are in the store.
        experiment: the experiment as TOML, shown on the page so that it can be run again.
        keep_current: leave a report as it is that was made of the same things by the same versions.

    Raises:
        AnalysisError: there is neither a result nor a row of a metric's table.
    """
    from roar.analysis.chance import above_chance, at_chance
    from roar.analysis.curves import curves

    frames = measured(store)
    results = results_of(store, frames, jobs)
    frames |= {"results": results, "curves": curves(results)}
    made_of = _made_of(store, frames.values(), experiment)
    names = _current(store, made_of) if keep_current else ()
    if not names:
        metrics = metrics_of(store)
        board = leaderboard_of(above_chance(results, at_chance(results)), frames, metrics)
        files = {**_tables(results, frames["curves"], board), **dict(_figures(results, frames["curves"], board)),
                 **{name: data for metric in metrics for name, data in metric_files(metric, frames).items()},
                 PAGE: page(store, results, frames, experiment).encode()}
        for name, data in files.items():
            store.files.write(f"{FOLDER}/{name}", data)
        hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
        store.files.write(CURRENT, seal({"made_of": made_of, "files": hashes}))
        names = tuple(files)
    shown = ("results.csv", "curves.csv", "leaderboard.csv", "accuracy.svg", "deletion-areas.csv",
             "deletion-curves.svg", PAGE)
    return Report(results.drop_duplicates("job"), frames["curves"],
                  [f"{store.location}/{FOLDER}/{name}" for name in shown if name in names])


def _made_of(store: Store, frames: Iterable[pd.DataFrame], experiment: str) -> str:
    """The key of all that a report shows."""
    from roar.analysis.spreadsheets import csv_bytes

    gallery = read_gallery(store)
    images = [] if gallery is None else [row.images.tobytes() for row in gallery.rows]
    parts = [*(csv_bytes(frame) for frame in frames), *images]
    return key_of({"parts": [hashlib.sha256(part).hexdigest() for part in parts], "classes": class_names(store),
                   "labels": [] if gallery is None else [[row.estimator, row.label] for row in gallery.rows],
                   "experiment": experiment, "versions": versions()})


def _current(store: Store, made_of: str) -> tuple[str, ...]:
    """The names of a report's files where it was made of the same and lies there whole; else none."""
    try:
        told = read_sealed(store.files, CURRENT) if store.files.exists(CURRENT) else {}
    except DamagedArtifactError:
        return ()
    if told.get("made_of") != made_of:
        return ()
    paths = {name: f"{FOLDER}/{name}" for name in told["files"]}
    whole = all(store.files.exists(path) and hashlib.sha256(store.files.read(path)).hexdigest() == told["files"][name]
                for name, path in paths.items())
    return tuple(paths) if whole else ()


def results_of(store: Store, frames: Mapping[str, pd.DataFrame] | None = None,
               jobs: Collection[str] | None = None) -> pd.DataFrame:
    """The results to report; jobs that several models share stand at each of them.

    Args:
        frames: the tables of the metrics, so that what was measured without retraining can be reported alone.

    Raises:
        AnalysisError: there is none, and no table of a metric has a row either.
    """
    from roar.analysis.shared import with_shared

    results = read_results(store.files, jobs)
    if results.empty and not any(len(frame) for frame in (frames or {}).values()):
        raise AnalysisError(f"There is no result in '{store.location}' to report; "
                            "`roar run` or `roar retrain` makes some.")
    return with_shared(results)


def page(store: Store, results: pd.DataFrame, frames: Mapping[str, pd.DataFrame], experiment: str = "") -> str:
    """The report as one HTML page."""
    from roar.report.page import report_page

    return report_page(results, frames, provenance(store, results, experiment), read_gallery(store), class_names(store),
                       metrics_of(store))


def current_page(store: Store) -> str:
    """The page of all that is in the store at this moment.

    Raises:
        AnalysisError: there is neither a result nor a row of a metric's table.
    """
    frames = measured(store)
    return page(store, results_of(store, frames), frames)


def one_table(store: Store, name: str, kind: str) -> bytes:
    """One table, by its name, as the bytes of a file.

    Raises:
        UnknownNameError: there is no such table or format.
        AnalysisError: the results do not allow it.
    """
    from roar.analysis.frames import FORMATS, render_table

    if kind not in FORMATS:
        raise UnknownNameError("table format", kind, FORMATS)
    return render_table(table(store, name), kind)


def table(store: Store, name: str) -> pd.DataFrame:
    """One table by its name: of the results, or of a metric.

    Raises:
        UnknownNameError: there is no such table.
        AnalysisError: the results do not allow it.
    """
    from roar.analysis import frames

    tables = {table.name: table for metric in metrics_of(store) for table in metric.tables}
    if name in tables:
        return tables[name].frame(store)
    if name not in frames.TABLES:
        raise UnknownNameError("table", name, [*frames.TABLES, *tables])
    if name == "leaderboard":
        return leaderboard_of(_judged(results_of(store)), measured(store), metrics_of(store))
    if name == "classes":
        from roar.analysis.classes import per_class

        return per_class(results_of(store), class_names(store))
    results = results_of(store)
    return frames.table(_judged(results) if name in VERDICTS else results, name)


def _judged(results: pd.DataFrame) -> pd.DataFrame:
    """The results of networks that learned.

    Raises:
        AnalysisError: no network did.
    """
    from roar.analysis.chance import above_chance, at_chance, warnings

    found = at_chance(results)
    judged = above_chance(results, found)
    if judged.empty and len(found):
        raise AnalysisError(" ".join(warnings(found)))
    return judged


def against_paper(store: Store) -> str:
    """The paper's findings with the evidence here, and the published numbers beside ours, as text."""
    from roar.analysis.paper import against_paper as compare
    from roar.analysis.tables import plain_table
    from roar.metrics.deletion.areas import deletion_areas

    frames = measured(store)
    found = compare(results_of(store, frames), deletion_areas(frames["deletion"], frames["deletion-areas"]))
    findings = "\n".join(f"{row.finding}. {row.claim}\n   {row.verdict}: {row.evidence}"
                         for row in found.findings.itertuples())
    return f"{findings}\n\n{plain_table(found.order)}\n{plain_table(found.beside)}"


def watch(store: Store, pause: float = 3.0) -> Iterator[Report]:
    """Write the report again whenever there are new results, until every planned job has one."""
    seen: object = None
    while True:
        state = finished_jobs(store.files)
        if state != seen and any(state):
            seen = state
            yield write_report(store)
        if not read_status(store).missing:
            return
        time.sleep(pause)


def provenance(store: Store, results: pd.DataFrame, experiment: str) -> dict[str, Any]:
    """Where the numbers come from."""
    import datetime

    return {
        "created": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "experiment": experiment,
        "commands": ["roar run experiment.toml", "roar report"],
        "versions": versions(),
        "hardware": {"machine": platform.machine(), "system": platform.system(), "cpus": machine.cpus(),
                     "devices of the trainings": ", ".join(sorted(set(results["device"].dropna()) - {""}))},
        "store": {"format": store.description["format"], "protocols": ", ".join(sorted(set(results["protocol"]))),
                  "trainings": results["job"].nunique(),
                  "rankings": results.loc[results["ranking"] != "", "ranking"].nunique()},
    }


def _tables(results: pd.DataFrame, table: pd.DataFrame, board: pd.DataFrame) -> dict[str, bytes]:
    from roar.analysis.beyond import beyond_controls
    from roar.analysis.spreadsheets import csv_bytes

    if results.empty:
        return {}
    buffer = io.BytesIO()
    once = results.drop_duplicates("job")
    once.to_parquet(buffer, index=False)
    flat = once.drop(columns="class_accuracy", errors="ignore")
    frames = {"results.csv": flat, "curves.csv": table, "leaderboard.csv": board}
    beside = beyond_controls(results)
    frames |= {"controls.csv": beside} if len(beside) else {}
    return {**{name: csv_bytes(frame) for name, frame in frames.items()},
            "results.parquet": buffer.getvalue()}


def _figures(results: pd.DataFrame, table: pd.DataFrame, board: pd.DataFrame) -> Iterator[tuple[str, bytes]]:
    """Every figure that the results allow, as SVG; the first one as PNG too."""
    from roar.analysis import figures
    from roar.analysis.beyond import control_curves

    if results.empty:
        return
    main = figures.accuracy_curves(table)
    yield "accuracy.svg", figures.render(main, "svg")
    yield "accuracy.png", figures.render(main, "png")
    makers: dict[str, Callable[[], Figure]] = {
        "matrix.svg": lambda: figures.accuracy_matrix(table),
        "leaderboard.svg": lambda: figures.leaderboard_intervals(board),
        "controls.svg": lambda: figures.curves_beside_controls(table, control_curves(results)),
    }
    for name, make in makers.items():
        try:
            figure = make()
        except AnalysisError:  # too little to draw it from; the page says what is missing
            continue
        yield name, figures.render(figure, "svg")
