"""The report: tables, figures and one page, all from what is in the store."""

from __future__ import annotations

import hashlib
import io
import os
import platform
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from roar.deletion import read_deletion, read_deletion_areas
from roar.errors import AnalysisError, DamagedArtefactError, UnknownNameError
from roar.gallery import read_gallery
from roar.plans import class_names
from roar.ranking_agreement import read_ranking_agreement
from roar.results import finished_jobs, read_results
from roar.sanity import read_sanity
from roar.sealed import seal
from roar.status import read_status
from roar.store import Store, key_of, read_sealed, versions

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

FOLDER = "reports"
PAGE = "report.html"
CURRENT = "reports/current.json"  # what the report was made of, written last
MEASURED: dict[str, Callable[[Store], pd.DataFrame]] = {  # tables that need no retraining
    "ranking-agreement": read_ranking_agreement,
    "sanity": read_sanity,
    "deletion": read_deletion,
    "deletion-areas": read_deletion_areas,
}


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


def write_agreement(store: Store) -> Measured:
    """Write the agreement of rankings below ``reports/``: its table, and its figure where there is one to draw."""
    frame = read_ranking_agreement(store)
    return _write_measured(store, frame, _agreement_files(frame))


def _write_measured(store: Store, frame: pd.DataFrame, written: dict[str, bytes]) -> Measured:
    for name, data in written.items():
        store.files.write(f"{FOLDER}/{name}", data)
    return Measured(frame, [f"{store.location}/{FOLDER}/{name}" for name in written])


def _agreement_files(frame: pd.DataFrame) -> dict[str, bytes]:
    from roar.analysis import figures

    return _measured_files("agreement.csv", frame, {"agreement.svg": lambda: figures.agreement_heatmap(frame)})


def write_sanity(store: Store) -> Measured:
    """Write the sanity checks below ``reports/``: their table, and their figures where there are some to draw."""
    frame = read_sanity(store)
    return _write_measured(store, frame, _sanity_files(frame))


def _sanity_files(frame: pd.DataFrame) -> dict[str, bytes]:
    from roar.analysis import figures

    return _measured_files("sanity.csv", frame, {
        "sanity.svg": lambda: figures.sanity_curves(frame),
        "sanity-iou.svg": lambda: figures.sanity_curves(frame, "iou")})


def _measured_files(table: str, frame: pd.DataFrame, makers: dict[str, Callable[[], Figure]]) -> dict[str, bytes]:
    """A table and its figures by their names; none where nothing was measured."""
    from roar.analysis.figures import render

    if frame.empty:
        return {}
    files = {table: frame.to_csv(index=False).encode()}
    for name, make in makers.items():
        try:
            files[name] = render(make(), "svg")
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
        AnalysisError: there is neither a result nor a deletion curve.
    """
    from roar.analysis.curves import curves

    results = results_of(store, jobs)
    table = curves(results)
    deletion = read_deletion(store)
    sanity, agreement = read_sanity(store), read_ranking_agreement(store)
    made_of = _made_of(store, (results, deletion, sanity, agreement), experiment)
    names = _current(store, made_of) if keep_current else ()
    if not names:
        areas = read_deletion_areas(store)
        board = _leaderboard(results, sanity)
        files = {**_tables(results, table, board), **dict(_figures(results, table, deletion, board)),
                 **_agreement_files(agreement), **_sanity_files(sanity),
                 **_deletion_files(deletion, areas),
                 PAGE: page(store, results, deletion, areas, agreement, sanity, experiment).encode()}
        for name, data in files.items():
            store.files.write(f"{FOLDER}/{name}", data)
        hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
        store.files.write(CURRENT, seal({"made_of": made_of, "files": hashes}))
        names = tuple(files)
    shown = ("results.csv", "curves.csv", "leaderboard.csv", "accuracy.svg", "deletion-areas.csv",
             "deletion-curves.svg", PAGE)
    return Report(results.drop_duplicates("job"), table,
                  [f"{store.location}/{FOLDER}/{name}" for name in shown if name in names])


def _made_of(store: Store, frames: Iterable[pd.DataFrame], experiment: str) -> str:
    """The key of all that a report shows."""
    gallery = read_gallery(store)
    images = [] if gallery is None else [row.images.tobytes() for row in gallery.rows]
    parts = [*(frame.to_csv(index=False).encode() for frame in frames), *images]
    return key_of({"parts": [hashlib.sha256(part).hexdigest() for part in parts], "classes": class_names(store),
                   "labels": [] if gallery is None else [[row.estimator, row.label] for row in gallery.rows],
                   "experiment": experiment, "versions": versions()})


def _current(store: Store, made_of: str) -> tuple[str, ...]:
    """The names of a report's files where it was made of the same and lies there whole; else none."""
    try:
        told = read_sealed(store.files, CURRENT) if store.files.exists(CURRENT) else {}
    except DamagedArtefactError:
        return ()
    if told.get("made_of") != made_of:
        return ()
    paths = {name: f"{FOLDER}/{name}" for name in told["files"]}
    whole = all(store.files.exists(path) and hashlib.sha256(store.files.read(path)).hexdigest() == told["files"][name]
                for name, path in paths.items())
    return tuple(paths) if whole else ()


def results_of(store: Store, jobs: Collection[str] | None = None) -> pd.DataFrame:
    """The results to report; jobs that several models share stand at each of them.

    Raises:
        AnalysisError: there is none, and no deletion curve either, which needs no result.
    """
    from roar.analysis.shared import with_shared

    results = read_results(store.files, jobs)
    if results.empty and read_deletion(store).empty:
        raise AnalysisError(f"There is no result in '{store.location}' to report; "
                            "`roar run` or `roar retrain` makes some.")
    return with_shared(results)


def page(store: Store, results: pd.DataFrame, deletion: pd.DataFrame, areas: pd.DataFrame, agreement: pd.DataFrame,
         sanity: pd.DataFrame, experiment: str = "") -> str:
    """The report as one HTML page."""
    from roar.analysis.page import report_page

    return report_page(results, deletion, provenance(store, results, experiment), read_gallery(store),
                       class_names(store), agreement, sanity, areas)


def current_page(store: Store) -> str:
    """The page of all that is in the store at this moment.

    Raises:
        AnalysisError: there is neither a result nor a deletion curve.
    """
    return page(store, results_of(store), read_deletion(store), read_deletion_areas(store),
                read_ranking_agreement(store), read_sanity(store))


def one_table(store: Store, name: str, kind: str) -> bytes:
    """One table of :data:`roar.analysis.frames.TABLES` or :data:`MEASURED` as the bytes of a file.

    Raises:
        UnknownNameError: there is no such table or format.
        AnalysisError: the results do not allow it.
    """
    from roar.analysis.frames import FORMATS, TABLES, render_table, table

    if kind not in FORMATS:
        raise UnknownNameError("table format", kind, FORMATS)
    if name in MEASURED:
        return render_table(MEASURED[name](store), kind)
    if name not in TABLES:
        raise UnknownNameError("table", name, [*TABLES, *MEASURED])
    if name == "leaderboard":
        return render_table(_leaderboard(results_of(store), read_sanity(store)), kind)
    return render_table(table(results_of(store), name), kind)


def against_paper(store: Store) -> str:
    """The paper's findings with the evidence here, and the published numbers beside ours, as text."""
    from roar.analysis.paper import against_paper as compare
    from roar.analysis.tables import plain_table

    found = compare(results_of(store), read_deletion(store))
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
        "hardware": {"machine": platform.machine(), "system": platform.system(), "cpus": os.cpu_count(),
                     "devices of the trainings": ", ".join(sorted(set(results["device"].dropna()) - {""}))},
        "store": {"format": store.description["format"], "protocols": ", ".join(sorted(set(results["protocol"]))),
                  "trainings": results["job"].nunique(),
                  "rankings": results.loc[results["ranking"] != "", "ranking"].nunique()},
    }


def _tables(results: pd.DataFrame, table: pd.DataFrame, board: pd.DataFrame) -> dict[str, bytes]:
    from roar.analysis.beyond import beyond_controls

    if results.empty:
        return {}
    buffer = io.BytesIO()
    once = results.drop_duplicates("job")
    once.to_parquet(buffer, index=False)
    flat = once.drop(columns="class_accuracy", errors="ignore")
    frames = {"results.csv": flat, "curves.csv": table, "leaderboard.csv": board}
    beside = beyond_controls(results)
    frames |= {"controls.csv": beside} if len(beside) else {}
    return {**{name: frame.to_csv(index=False).encode() for name, frame in frames.items()},
            "results.parquet": buffer.getvalue()}


def _figures(results: pd.DataFrame, table: pd.DataFrame, deletion: pd.DataFrame,
             board: pd.DataFrame) -> Iterator[tuple[str, bytes]]:
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
    if len(deletion):
        makers["deletion.svg"] = lambda: figures.deletion_and_roar_curves(table, deletion)
    for name, make in makers.items():
        try:
            figure = make()
        except AnalysisError:  # too little to draw it from; the page says what is missing
            continue
        yield name, figures.render(figure, "svg")


def _deletion_files(deletion: pd.DataFrame, areas: pd.DataFrame) -> dict[str, bytes]:
    """Tables and figure of what needs no retraining."""
    from roar.analysis import figures

    if deletion.empty:
        return {}
    files = _measured_files("deletion.csv", deletion, {
        "deletion-curves.svg": lambda: figures.deletion_multiples(deletion)})
    return {**files, "deletion-areas.csv": areas.to_csv(index=False).encode()}


def _leaderboard(results: pd.DataFrame, sanity: pd.DataFrame) -> pd.DataFrame:
    from roar.analysis.leaderboard import leaderboard
    from roar.analysis.sanity import with_sanity

    return with_sanity(leaderboard(results), sanity)
