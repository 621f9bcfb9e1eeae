"""Runs as they begin by default where a place is missing: no home, no or a long folder for temporary files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from roar.errors import FailureError, SourceError
from roar.jobs.ray import environment

REPOSITORY = Path(__file__).resolve().parents[2]
WORDS = ["rank", "--estimator", "random", "--limit-train", "30", "--limit-test", "10", "--train-epochs", "1",
         "--workers", "1"]
NOBODY = """
import pwd

def unknown(uid):
    raise KeyError(uid)

pwd.getpwuid = unknown
"""


def run(folder: Path, *words: str, without: tuple[str, ...] = (), **changes: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name not in without}
    return subprocess.run([sys.executable, "-m", "roar", *words], cwd=folder, capture_output=True, text=True,
                          env={**kept, "OMP_NUM_THREADS": "1", **changes}, timeout=240)


def test_a_cluster_works_below_a_long_folder_for_temporary_files(tmp_path: Path) -> None:
    """The path of a socket has at most 107 bytes."""
    long = tmp_path / ("a-long-name-" * 9)
    long.mkdir()
    done = run(tmp_path, *WORDS, without=("RAY_TMPDIR",), TMPDIR=str(long))
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "random: roar-store/rankings/" in done.stdout


@pytest.mark.parametrize("folder", ["/proc/nowhere", "here", "", "/tmp/" + 40 * "x"])
def test_a_cluster_falls_back_to_a_folder_that_it_can_use(folder: str, tmp_path: Path,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    from roar.jobs.ray import cluster

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", folder)
    assert cluster._folder() == "/tmp/ray"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("case", ["read-only", "unknown user"])
def test_a_cluster_needs_no_home(tmp_path: Path, case: str) -> None:
    """A user who is only a number, as containers have it, has neither a home nor a name."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(NOBODY)
    if case == "read-only":
        done = run(tmp_path, *WORDS, without=("RAY_AUTH_TOKEN",), HOME="/proc/nowhere")
    else:
        done = run(tmp_path, *WORDS, without=("RAY_AUTH_TOKEN", "HOME", "USER", "LOGNAME", "USERNAME"),
                   PYTHONPATH=f"{tmp_path / 'site'}:{REPOSITORY}")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "random: roar-store/rankings/" in done.stdout


def test_downloads_without_a_home_ask_for_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    from roar.datasets.sources import hashes, torchvision

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert hashes.user_cache() is None
    with pytest.raises(SourceError, match="give a folder with --root"):
        torchvision.cache_folder(None)
    assert not environment._has_token() or "RAY_AUTH_TOKEN" in os.environ


def test_where_nothing_can_be_written_the_remedy_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    from roar.jobs.ray import cluster

    monkeypatch.setattr(cluster.os, "access", lambda place, mode: False)
    with pytest.raises(FailureError, match="set RAY_TMPDIR to one, or give --executor serial"):
        cluster._folder()
