"""A metric is a folder with a descriptor; command line, report and Python iterate over the descriptors."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from roar import metrics
from roar.analysis.frames import COLUMNS
from roar.errors import UnknownNameError, UsageError
from roar.metrics import METRICS, Metric
from roar.report.view import Results
from roar.store.store import open_store

COUNTER = '''
from roar.metrics import Metric, Table
from roar.pipeline import rank
from roar.registry import Paper
from roar.store.artifacts import artifact_files, key_of
from roar.store.frames import read_frames
from roar.store.parquet import parquet_bytes
from roar.store.rows import COUNT, TEXT, Rows

ROWS = Rows({"estimator": TEXT, "images": COUNT})


def measure(session):
    import pyarrow as pa

    folders = []
    for ranking in rank(session, ("test",)):
        identity = {"ranking": ranking.key}
        folder = f"metrics/counter/{ranking.estimator}-{key_of(identity)}"
        table = pa.table({"estimator": [ranking.estimator], "images": [len(session.source.test)]})
        for path, data in artifact_files("counter", folder, identity, {"t.parquet": parquet_bytes(table)}, {}).items():
            session.store.files.write(path, data)
        folders.append(folder)
    return folders


def read(store):
    return read_frames(store, "metrics/counter", "t.parquet", ROWS)


METRIC = Metric("counter", "counter", "Counts images.", Paper("None", "Nobody", 2026, ""), measure=measure,
                tables=(Table("counts", read, "an estimator"),), kept={"t.parquet": ROWS})
NUMBER = 3
'''


def names_of(metric: Metric) -> list[Any]:
    tables = [table.read for table in metric.tables]
    return [value for value in (metric.measure, metric.summary, metric.figures, metric.leaderboard, *tables) if value]


@pytest.mark.parametrize("metric", METRICS.all(), ids=lambda metric: metric.name)
def test_a_descriptor_names_functions_of_its_folder(metric: Metric) -> None:
    folder = f"roar.metrics.{metric.name.replace('-', '_')}"
    for name in names_of(metric):
        module, _, function = str(name).partition(":")
        assert module.startswith(folder)
        assert callable(getattr(__import__(module, fromlist=[function]), function))


@pytest.mark.parametrize("metric", METRICS.all(), ids=lambda metric: metric.name)
def test_every_column_of_its_tables_has_a_meaning(metric: Metric, tmp_path: Path) -> None:
    for table in metric.tables:
        frame = table.frame(open_store(str(tmp_path / "store")))
        assert frame.empty
        assert len(frame.columns)
        assert [name for name in frame.columns if name not in {*COLUMNS, *table.columns}] == []


def test_every_folder_is_a_metric() -> None:
    folders = {path.name.replace("_", "-") for path in Path(metrics.__file__).parent.iterdir()
               if (path / "__init__.py").exists()}
    assert {metric.name for metric in METRICS.all()} == folders


def test_the_list_of_metrics_loads_neither_torch_nor_pandas() -> None:
    code = "import sys, roar.metrics; print({'torch', 'pandas', 'ray', 'pyarrow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_metric_of_a_file_is_measured_and_reported(roar: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "counter.py").write_text(COUNTER)
    said = roar("measure", "counter.py:METRIC", "--limit-train", 40, "--limit-test", 20, "--train-epochs", 1,
                "--estimator", "random,sobel", "--executor", "serial")
    assert said.code == 0, said.err
    assert "random\t20" in said.out
    assert len(pd.read_csv(tmp_path / "roar-store/reports/counts.csv")) == 2
    assert roar("verify").code == 0


def test_what_is_no_metric_is_refused(roar: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "counter.py").write_text(COUNTER)
    said = roar("measure", "counter.py:NUMBER")
    assert said.code == 2
    assert "counter.py:NUMBER' is of type int, which is no metric" in said.err
    assert roar("measure", "sanity").code == 2
    with pytest.raises(UnknownNameError, match="did you mean 'sanity'"):
        METRICS.find("sanitty")
    with pytest.raises(UsageError, match="takes no parameters"):
        METRICS.find("sanity(2)")


def test_a_table_of_a_metric_has_one_door(tmp_path: Path) -> None:
    results = Results(open_store(str(tmp_path / "store")))
    pd.testing.assert_frame_equal(results.table("sanity"), results.sanity())
    with pytest.raises(UnknownNameError, match="did you mean 'sanity'"):
        results.table("sanit")
