"""A cluster of a program's own ends with it, and a program whose cluster has died says so."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

RUN = [sys.executable, "-m", "roar", "retrain", "--executor", "ray", "--workers", "1", "--estimator", "random",
       "--threshold", "10,30,50,70,90", "--seeds", "50"]


def begun(where: Path) -> subprocess.Popen[str]:
    """A run whose workers are at work."""
    process = subprocess.Popen(RUN, cwd=where, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                               env={**os.environ, "OMP_NUM_THREADS": "1"}, start_new_session=True)
    deadline = time.monotonic() + 200
    while not list(where.glob("roar-store/results/*.json")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return process


def folder_of(cluster: list[psutil.Process]) -> Path:
    (raylet,) = (one for one in cluster if one.name() == "raylet")
    return Path(next(word for word in raylet.cmdline() if word.startswith("--session_dir=")).partition("=")[2])


@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP])
def test_a_cluster_ends_within_seconds_of_its_program(number: signal.Signals, tmp_path: Path) -> None:
    process = begun(tmp_path)
    cluster = [one for one in psutil.Process(process.pid).children(recursive=True)
               if "guardian.py" not in " ".join(one.cmdline())]
    folder = folder_of(cluster)
    assert folder.is_dir()
    process.send_signal(number)
    process.communicate(timeout=20)
    _, alive = psutil.wait_procs(cluster, timeout=10)
    assert alive == []
    deadline = time.monotonic() + 10
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not folder.exists()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["raylet", "gcs_server"])
def test_a_daemon_that_dies_is_one_sentence(name: str, tmp_path: Path) -> None:
    process = begun(tmp_path)
    cluster = psutil.Process(process.pid).children(recursive=True)
    (daemon,) = (one for one in cluster if one.name().startswith(name[:15]))
    daemon.kill()
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 1
    assert said.splitlines()[-1] == (f"Error: The {name} of this program's Ray cluster died; what is finished is kept. "
                                     "Run the same command to resume.")
    assert "Traceback" not in said
