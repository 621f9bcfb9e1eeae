"""The daemons of a cluster of this program's own: they end with it, and it notices when one of them has died."""

from __future__ import annotations

import _thread
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import ray

from roar.errors import FailureError
from roar.jobs.ray import guardian

_LOOK_EVERY = 0.5  # seconds
_VITAL = ("raylet", "gcs_server")  # without which nothing goes on


def guard() -> None:
    """Have this program's own cluster end within seconds of it, also where it is killed, and remove its folder."""
    folder, daemons = session_folder(), _daemons()
    if folder is None or not daemons:
        return
    pids = [str(pid) for several in daemons.values() for pid in several]
    _guardians.append(subprocess.Popen(
        [sys.executable, "-I", "-S", guardian.__file__, folder, *pids], stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, cwd="/"))


_guardians: list[subprocess.Popen[bytes]] = []  # whose pipes are this program's life


def session_folder() -> str | None:
    """The folder of this program's own cluster; ``None`` where it joined another's."""
    node = ray._private.worker._global_node
    return str(node.get_session_dir_path()) if node is not None and node.is_head() else None


@contextmanager
def watched() -> Iterator[None]:
    """Raise when a daemon of this program's own cluster dies, where Ray would wait for ever.

    Raises:
        FailureError: one did.
    """
    vital = {name: pids for name, pids in _daemons().items() if name in _VITAL}
    if not vital or threading.current_thread() is not threading.main_thread():
        yield
        return
    died, over = list[str](), threading.Event()

    def look() -> None:
        while not over.wait(_LOOK_EVERY):
            gone = [name for name, pids in vital.items() if not all(map(_is_alive, pids))]
            if gone and not over.is_set():
                died.extend(gone)
                _thread.interrupt_main()
                return

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        try:
            yield
        finally:
            over.set()
            watcher.join()
    except BaseException:
        if died:
            _forget()
            raise FailureError(f"The {died[0]} of this program's Ray cluster died; what is finished is kept. Run "
                               "the same command to resume.") from None
        raise


def _daemons() -> dict[str, list[int]]:
    """The process ids of each kind of daemon that this program started."""
    node = ray._private.worker._global_node
    if node is None or not node.is_head():
        return {}
    return {name: [info.process.pid for info in infos] for name, infos in node.all_processes.items()}


def _is_alive(pid: int) -> bool:
    """Whether a child of this program runs; one that has ended and was not waited for yet does not."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:
        return False


def _forget() -> None:
    """Kill what is left of the cluster, so that no end of this program waits for it."""
    for pids in _daemons().values():
        for pid in pids:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
    with suppress(Exception):  # Ray may say anything of a cluster that is gone
        ray.shutdown()
