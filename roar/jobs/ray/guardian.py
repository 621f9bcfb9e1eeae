"""A process beside a program with a cluster of its own: when the program is gone, however it ended, so is the cluster.

Run as a file, with the standard library alone: ``guardian.py FOLDER PID...``. Its standard input is a pipe that the
program holds the other end of, so its end is the program's. The processes that it was given, and those that they have
started, are killed if they are still the same ones, and the folder of the cluster is removed.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress

LOOK_EVERY = 5.0  # seconds between looks at what the cluster has started
PATIENCE = 3.0  # seconds in which a cluster may end by itself


def processes() -> dict[int, tuple[int, str]]:
    """The parent of every process, and when it was started, which tells it from a later one of the same number."""
    told = subprocess.run(["ps", "-e", "-o", "pid=,ppid=,lstart="], capture_output=True, text=True, check=False).stdout
    found = {}
    for line in told.splitlines():
        pid, parent, started = line.split(maxsplit=2)
        found[int(pid)] = int(parent), started
    return found


def grown(known: dict[int, str]) -> dict[int, str]:
    """The processes that are known and are there, with all that they have started."""
    there = processes()
    found = {pid: started for pid, started in known.items() if there.get(pid, (0, ""))[1] == started}
    while more := {pid: started for pid, (parent, started) in there.items() if parent in found and pid not in found}:
        found |= more
    return found


def main(folder: str, pids: list[int]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # what ends the program does not end its guardian
    there = processes()
    known = {pid: there[pid][1] for pid in pids if pid in there}
    ended = False
    while not ended:
        ended = bool(select.select([0], [], [], LOOK_EVERY)[0]) and not os.read(0, 4096)
        known |= grown(known)
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and grown(known):
        time.sleep(0.3)
    for pid in grown(known):
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    time.sleep(0.5)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1], [int(pid) for pid in sys.argv[2:]])
