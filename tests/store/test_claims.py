"""A task is held by one process at a time, and a dead process holds nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from roar.store.claims import claim, is_claimed, running
from roar.store.local import LocalFiles

HOLD = """
import sys, time
from roar.store.claims import claim
from roar.store.local import LocalFiles
with claim(LocalFiles(sys.argv[1]), "task") as mine:
    print(mine, flush=True)
    time.sleep(60)
"""

COUNT = """
import sys
from pathlib import Path
from roar.store.claims import claim
from roar.store.local import LocalFiles
root, made = sys.argv[1], 0
for number in range(200):
    with claim(LocalFiles(root), str(number)) as mine:
        done = Path(root) / f"done-{number}"
        if mine and not done.exists():
            with done.open("x"):
                made += 1
print(made)
"""


def test_a_claim_excludes_others_until_it_ends(tmp_path: Path) -> None:
    files = LocalFiles(str(tmp_path))
    with claim(files, "task") as first, claim(files, "task") as second, claim(files, "other") as third:
        assert (first, second, third) == (True, False, True)
        assert is_claimed(files, "task")
        assert running(files) == 2
    assert not is_claimed(files, "task")
    assert running(files) == 0
    with claim(files, "task") as again:
        assert again
    assert list((tmp_path / "claims").iterdir()) == []


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    files = LocalFiles(str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        with claim(files, "task") as mine:
            assert not mine
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    deadline = time.monotonic() + 5
    while is_claimed(files, "task") and time.monotonic() < deadline:
        time.sleep(0.01)
    with claim(files, "task") as mine:
        assert mine


def test_four_processes_do_nothing_twice(tmp_path: Path) -> None:
    together = [subprocess.Popen([sys.executable, "-c", COUNT, str(tmp_path)], stdout=subprocess.PIPE, text=True)
                for _ in range(4)]
    assert sum(int(process.communicate()[0]) for process in together) == 200
