"""The report from a store: files, tables on the command line, against the paper, while it runs."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from analysis_results import SIX, synthetic_results

from roar.report.files import watch, write_report
from roar.report.view import Results
from roar.store.artifacts import key_of
from roar.store.results import result_file
from roar.store.store import Store, open_store

Roar = Callable[..., Any]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with the results of six estimators, two thresholds and three seeds."""
    found = open_store(str(tmp_path / "roar-store"))
    _ = found.description
    for row in synthetic_results(SIX, (0.0, 50.0, 90.0), 3, failed=[("vargrad", 90.0, 1)]).to_dict("records"):
        put(found, row)
    return found


def put(store: Store, row: dict[str, Any]) -> None:
    clean = {name: None if value != value else value for name, value in row.items()}
    ranking = "" if row["estimator"] == "reference" else f"{row['estimator']:0<12}"
    identity = {name: row[name] for name in ("estimator", "threshold", "seed")}
    job = key_of(identity)
    store.files.write(*result_file(job, {**clean, "job": job, "protocol": "p" * 12, "ranking": ranking,
                                         "control_of_ranking": "",
                                         "class_accuracy": None}, identity))


def test_a_report_has_tables_figures_and_a_page(store: Store) -> None:
    written = write_report(store)
    folder = Path(store.location) / "reports"
    assert {"results.csv", "results.parquet", "curves.csv", "leaderboard.csv", "accuracy.svg", "accuracy.png",
            "matrix.svg", "leaderboard.svg", "report.html"} <= {path.name for path in folder.iterdir()}
    results = pd.read_csv(folder / "results.csv")
    assert len(results) == len(written.results) == 3 + 6 * 2 * 3
    assert list(pd.read_parquet(folder / "results.parquet")["job"]) == list(results["job"])
    curves = pd.read_csv(folder / "curves.csv").set_index(["estimator", "threshold"])
    assert curves.loc[("vargrad", 90.0), "n"] == 2
    assert curves.loc[("sobel", 90.0), "mean"] == pytest.approx(
        results.query("estimator == 'sobel' and threshold == 90")["accuracy"].mean())
    assert "TrainingError: the loss became NaN" in (folder / "report.html").read_text(encoding="utf-8")


def test_a_report_of_the_same_is_left_as_it_is(store: Store) -> None:
    def moments() -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in (Path(store.location) / "reports").iterdir()}

    first = write_report(store, keep_current=True)
    written = moments()
    again = write_report(store, keep_current=True)
    assert moments() == written
    assert again.files == first.files
    pd.testing.assert_frame_equal(again.curves, first.curves)
    page = Path(store.location) / "reports" / "report.html"
    whole = page.read_bytes()
    page.write_bytes(whole[:-100])
    write_report(store, keep_current=True)
    assert page.read_bytes()[-100:] == whole[-100:]
    before = moments()
    row = synthetic_results(SIX, (0.0, 50.0, 90.0), 4).query("estimator == 'vargrad' and seed == 3").iloc[0]
    put(store, row.to_dict())
    write_report(store, keep_current=True)
    assert all(moment > before[name] for name, moment in moments().items())
    before = moments()
    write_report(store)
    assert all(moment > before[name] for name, moment in moments().items())


@pytest.mark.parametrize(("kind", "read"), [
    ("csv", lambda data: pd.read_csv(io.BytesIO(data))),
    ("json", lambda data: pd.DataFrame(json.loads(data))),
    ("parquet", lambda data: pd.read_parquet(io.BytesIO(data))),
])
def test_a_table_goes_through_a_pipe(store: Store, kind: str, read: Callable[[bytes], pd.DataFrame]) -> None:
    done = subprocess.run([sys.executable, "-m", "roar", "report", "--table", "leaderboard", "--format", kind],
                          capture_output=True, cwd=Path(store.location).parent, check=True)
    board = read(done.stdout)
    assert set(board["estimator"]) == set(SIX)
    assert done.stderr == b""


def test_text_and_markdown_have_no_decoration(store: Store, roar: Roar) -> None:
    from roar.report.files import one_table

    assert one_table(store, "curves", "text").startswith(b"source\tmodel\t")
    assert one_table(store, "curves", "markdown").startswith(b"| source | model |")
    assert b"\\begin{tabular}" in one_table(store, "curves", "latex")


def test_unknown_tables_and_formats_name_the_nearest(store: Store, roar: Roar) -> None:
    assert "did you mean 'leaderboard'" in roar("report", "--table", "leaderbord").err
    assert "did you mean 'markdown'" in roar("report", "--table", "curves", "--format", "markdwn").err
    assert roar("report", "--against", "papre").code == 2


def test_against_the_paper_gives_findings_with_evidence(store: Store, roar: Roar) -> None:
    said = roar("report", "--against", "paper")
    assert said.code == 0
    for number in range(1, 5):
        assert f"\n{number}. " in "\n" + said.out
    assert "imagenet" in said.out
    assert "not measured" in said.out  # there are no deletion curves


def test_watching_ends_when_nothing_is_missing(store: Store) -> None:
    assert [len(written.results) for written in watch(store, pause=0.01)] == [39]


def test_frames_on_the_store(store: Store) -> None:
    assert set(Results(store).leaderboard()["estimator"]) == set(SIX)
    assert len(Results(store).compare("vargrad", "sobel")) == 3
    assert "roar-store" in Results(store)._repr_html_()
    assert Results(store).deletion().empty


def test_the_page_is_served_on_loopback_only(store: Store) -> None:
    command = [sys.executable, "-m", "roar", "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(store.location).parent) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().split()[0]
            assert address.startswith("http://127.0.0.1:")
            with urllib.request.urlopen(address, timeout=60) as answer:
                assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
                assert answer.headers["Refresh"]
                assert b"vargrad" in answer.read()
            with pytest.raises(urllib.error.HTTPError):
                urllib.request.urlopen(address + "store.json", timeout=60)
        finally:
            process.terminate()
