"""A run that is killed at thirty moments of its life ends as if nothing had happened."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
from roar_processes import JOBS, assert_same, files_of, finish, kill, rows_of, start, wait_for

from roar.store.clean import waste
from roar.store.integrity import damages, missing
from roar.store.store import open_store

KILLS = 30
STAGES = ("train", "rank", "retrain", "delete", "report")


def written(store: Path) -> int:
    """How many files a run has put into the store, unfinished ones left out."""
    return sum(path.is_file() and not path.name.startswith(".tmp-") for path in store.rglob("*")
               if "claims" not in path.parts)


def stage(store: Path) -> str:
    """What a run is at, from what it has finished."""
    if not list(store.glob("models/*/*/manifest.json")):
        return "train"
    if len(list(store.glob("rankings/*/*/*/*/manifest.json"))) < 4 * 2:
        return "rank"
    if len(list(store.glob("results/*.json"))) < JOBS:
        return "retrain"
    return "delete" if len(list(store.glob("metrics/deletion/*/*/*/manifest.json"))) < 4 else "report"


def finished(store: Path) -> dict[Path, tuple[int, int]]:
    """Every file of a finished artifact and every result, with what changes when it is written again."""
    folders = [path.parent for path in store.rglob("manifest.json")]
    paths = [path for folder in folders for path in folder.iterdir() if not path.name.startswith(".tmp-")]
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in (*paths, *store.glob("results/*.json"))}


def test_thirty_kills_change_nothing(undisturbed: Path, tmp_path: Path) -> None:
    chance = random.Random(20261121)
    store, trained, log = tmp_path / "store", tmp_path / "trained", tmp_path / "log"
    whole, hit, unfinished = written(undisturbed), Counter[str](), 0
    known: dict[Path, tuple[int, int]] = {}
    for number in range(KILLS):
        process = start(store, log=log, trained=trained)
        there = written(store)
        # The moments lie evenly over all that a run writes; the last of them strike its report.
        aim = max(there + (there < whole - 10), round(number / KILLS * whole * 0.9) + chance.randint(0, 2))
        assert wait_for(lambda aim=aim: written(store) >= aim, process), log.read_text()[-2000:]
        wait_for(lambda: False, process, chance.uniform(0.0, 0.05))
        hit[stage(store)] += 1
        kill(process)
        unfinished += len(list(store.rglob(".tmp-*")))
        now = finished(store)
        assert {path: now[path] for path in known} == known  # what is finished is never written again
        known = now
    assert finish(start(store, log=log, trained=trained)) == 0, log.read_text()[-2000:]
    assert set(hit) == set(STAGES), hit
    assert_same(store, undisturbed)
    assert rows_of(store)["job"].is_unique
    assert len(rows_of(store)) == JOBS
    # Work in flight is one pack of four trainings; no more than that is repeated after a kill.
    assert len(trained.read_text().splitlines()) <= JOBS + 4 * KILLS
    opened = open_store(str(store))
    assert damages(opened) == []
    assert missing(opened) == []
    before = files_of(store)
    for item in waste(opened):
        opened.files.delete(item.path)
    assert not list(store.rglob(".tmp-*"))
    assert files_of(store) == before


@pytest.mark.timeout(900)
@pytest.mark.parametrize("moment", [0.25, 0.5])
def test_a_killed_cluster_leaves_a_store_to_go_on_from(undisturbed: Path, tmp_path: Path, moment: float) -> None:
    store, log = tmp_path / "store", tmp_path / "log"
    process = start(store, "run", "--executor", "ray", "--workers", "2", log=log)
    aim = round(moment * written(undisturbed))
    assert wait_for(lambda: written(store) >= aim, process, 600), log.read_text()[-2000:]
    cluster = psutil.Process(process.pid).children(recursive=True)
    kill(process)
    assert cluster
    _, alive = psutil.wait_procs(cluster, timeout=60)
    assert alive == []
    assert finish(start(store, log=log)) == 0, log.read_text()[-2000:]
    assert_same(store, undisturbed)
    assert damages(open_store(str(store))) == []


INTERRUPTED = """
import os, signal, typer
from roar.cli.flags import experiment_options
app = typer.Typer()
@app.command()
@experiment_options()
def run(experiment):
    exec("os.kill(os.getpid(), signal.SIGINT)\\nwhile True: pass")
app()
"""


def test_ctrl_c_in_code_made_from_a_string_has_the_same_status(tmp_path: Path) -> None:
    """As libraries make it; Python would die of the signal instead."""
    (tmp_path / "interrupted.py").write_text(INTERRUPTED)
    ended = subprocess.run([sys.executable, "-m", "interrupted"], cwd=tmp_path, capture_output=True, text=True,
                           preexec_fn=heeding_ctrl_c)
    assert ended.returncode == 130, ended.stderr
    assert ended.stderr == "\nInterrupted; what is finished is kept. Run the same command to resume.\n"


def heeding_ctrl_c() -> None:
    """A shell starts what runs in the background with SIGINT ignored, and children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize(("executor", "number"), [("serial", signal.SIGINT), ("serial", signal.SIGTERM),
                                                  ("ray", signal.SIGTERM)])
def test_whoever_asks_a_run_to_end_reads_one_sentence(executor: str, number: signal.Signals, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "roar", "run", "--executor", executor, "--estimator", "random", "--workers", "1"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env={**os.environ, "OMP_NUM_THREADS": "1"},
                          preexec_fn=heeding_ctrl_c) as process:
        deadline = time.monotonic() + 240
        while not list(tmp_path.glob("roar-store/models/*/*/manifest.json")):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(number)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 128 + number, said
    assert said.endswith("\nInterrupted; what is finished is kept. Run the same command to resume.\n")
    assert "SIGTERM" not in said and "Traceback" not in said
    assert not waste(open_store(str(tmp_path / "roar-store")))
