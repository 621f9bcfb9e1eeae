"""Joining a Ray cluster, or starting one on this machine."""

from __future__ import annotations

import logging
import os
import re
import secrets
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from functools import lru_cache
from math import inf
from pathlib import Path

import ray
from ray._private import ray_constants
from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]
from ray.exceptions import RayTaskError
from ray.job_config import JobConfig

from roar import machine
from roar.errors import FailureError, UsageError
from roar.experiment import ComputeSettings
from roar.jobs.ray.daemons import guard
from roar.jobs.stage import check_fits

# A cluster forks a server for each client beside running threads, and now and then it dies of that at its start
# (https://github.com/ray-project/ray/issues/63202); another attempt gets another server.
ATTEMPTS = 6
_LONGEST_FOLDER = 42  # bytes: with Ray's names below it the path of a socket, of which systems take 107, some 103
_LONGEST = 500  # characters of a reason
_COLORS = re.compile(r"\x1b\[[0-9;]*m")
_FEWEST_OBJECTS = 80 * 2**20  # bytes, of which Ray asks for 75 MB
_TOKEN_NAME = "RAY_AUTH_TOKEN"


def connect(compute: ComputeSettings) -> None:
    """Join the cluster at an address, or start one here that listens on loopback only.

    Raises:
        FailureError: there is no cluster at the address, or it does not let this program in.
    """
    if ray.is_initialized():
        return
    try:
        if compute.address is None:
            _take_token()
            with _on_loopback(), _own_signals():
                ray.init("local", job_config=_own_path(), num_cpus=_local_cpus(compute),
                         object_store_memory=_local_objects(), include_dashboard=False, log_to_driver=False,
                         logging_level=logging.ERROR, _temp_dir=_folder(), _node_ip_address="127.0.0.1")
            guard()
        else:
            drop_token()
            with _own_signals():
                _join(compute.address, handed_on(compute.env))
    except (OSError, RuntimeError, ValueError) as error:
        if compute.address is None:
            raise FailureError(f"No Ray cluster can be started on this machine ({reason(error)}); mend that, or give "
                               "--executor serial.") from None
        raise FailureError(f"No Ray cluster answers at '{compute.address}' ({reason(error)}); start one with `ray "
                           "start --head`, give its token if it asks for one (RAY_AUTH_TOKEN), or leave --address "
                           "out.") from None


def reason(error: BaseException) -> str:
    """Why a call of Ray failed, in one line: of a task's error what was raised in the task, without colors."""
    lines = [line.strip() for line in _COLORS.sub("", str(error)).splitlines() if line.strip()]
    told = lines[-1] if lines and isinstance(error, RayTaskError) else " ".join(lines)
    return told[:_LONGEST] or type(error).__name__


def _folder() -> str:
    """Where the cluster of this program keeps its sockets and logs: where Ray would, if that is possible.

    Raises:
        FailureError: no folder that can be written has a path that is short enough for a socket.
    """
    asked = Path(os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp", "ray")
    for folder in (asked, *map(Path, ("/tmp/ray", "/var/tmp/ray", "/dev/shm/ray"))):
        if folder.is_absolute() and len(os.fsencode(folder)) <= _LONGEST_FOLDER:
            with suppress(OSError):
                folder.mkdir(parents=True, exist_ok=True)
                if os.access(folder, os.W_OK | os.X_OK):
                    return str(folder)
    raise FailureError(f"A Ray cluster needs a folder whose path has at most {_LONGEST_FOLDER} bytes, and neither "
                       f"'{asked}' nor /tmp is one that can be written; set RAY_TMPDIR to one, or give --executor "
                       "serial.")


def _take_token() -> None:
    """Have a cluster of this program's own ask for a token that lives as long as the program and is in no file.

    Ray's default is one for all clusters of a user, for good, in a file that everybody may read.
    """
    if not {_TOKEN_NAME, f"{_TOKEN_NAME}_PATH"} & os.environ.keys():
        os.environ[_TOKEN_NAME] = _token()
        AuthenticationTokenLoader.instance().reset_cache()


def drop_token() -> None:
    """Leave another's cluster to the token that is kept for it."""
    if os.environ.get(_TOKEN_NAME) == _token():
        del os.environ[_TOKEN_NAME]
        AuthenticationTokenLoader.instance().reset_cache()


@lru_cache(maxsize=1)
def _token() -> str:
    return secrets.token_hex(32)


def handed_on(names: Iterable[str]) -> dict[str, str]:
    """The variables of this program's environment with these names, of which ``AWS_*`` is a pattern."""
    return {name: value for name, value in os.environ.items() if any(fnmatchcase(name, asked) for asked in names)}


def _join(address: str, variables: dict[str, str]) -> None:
    for _ in range(ATTEMPTS):
        try:
            ray.init(address=address, job_config=None if address.startswith("ray://") else _own_path(),
                     runtime_env={"env_vars": variables} if variables else None,
                     log_to_driver=False, logging_level=logging.ERROR)
            return
        except ConnectionAbortedError as error:
            last = str(error).strip().splitlines()[-1]  # of the cluster's traceback
    raise FailureError(f"The Ray cluster at '{address}' answers but started no server for this program in {ATTEMPTS} "
                       f"attempts ({last}); look at ray_client_server*.err in /tmp/ray/session_latest/logs on its "
                       "head node, or run there with `--address auto`.")


class _ImportPath(list[str]):
    """What workers put in front of their import path, the last one foremost; Ray adds nothing to it."""

    def extend(self, paths: Iterable[str]) -> None:
        """Nothing: Ray would have workers look first into the working directory and beside the script."""


def _own_path() -> JobConfig:
    """Have workers import from where this program does, and in that order.

    Directories that Python adds by itself, the working directory and that of the script, come last, so that a
    ``torch.py`` or ``statistics.py`` that lies there by chance takes nothing's place. The one that this program has
    roar from stays where it is.
    """
    mine = Path(__file__).resolve().parents[3]
    asked = {Path(place).resolve() for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place}
    by_itself = {Path.cwd(), Path(sys.argv[0]).resolve().parent} - asked - {mine}
    places = [Path(place).resolve() for place in sys.path]
    path = [place for place in places if place not in by_itself] + [place for place in places if place in by_itself]
    config = JobConfig()
    config._py_driver_sys_path = _ImportPath(map(str, reversed(list(dict.fromkeys(path)))))
    return config


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep what this program does on SIGTERM: Ray would print where in its libraries the process is and end it."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Have every port of a local cluster listen on 127.0.0.1.

    Ray turns that address into one that other machines reach unless clusters of several machines are off, as they
    are on a Mac, where they ask the firewall; see ``ray._private.services.resolve_ip_for_localhost``.
    """
    several, ray_constants.ENABLE_RAY_CLUSTER = ray_constants.ENABLE_RAY_CLUSTER, False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = several


def _local_cpus(compute: ComputeSettings) -> int:
    """All CPUs that this program may use, or as many as the workers asked for need."""
    wanted = int((compute.workers or 0) * compute.cpus_per_job + 0.999)
    return max(machine.cpus(), wanted)


def _local_objects() -> int | None:
    """Bytes of shared memory for objects where this program may use less than the machine has; Ray sees few limits."""
    if machine.memory() == machine.physical_memory():
        return None
    return max(_FEWEST_OBJECTS, int(ray_constants.DEFAULT_OBJECT_STORE_MEMORY_PROPORTION * machine.memory()))


def gpus_of_a_job(compute: ComputeSettings) -> float:
    """As many GPUs as are asked for; else one where the cluster has any.

    Raises:
        UsageError: no node has the CPUs and GPUs of a job, and none with them will be started.
    """
    gpus = compute.gpus_per_job
    if gpus is None:
        gpus = 1.0 if ray.cluster_resources().get("GPU", 0) else 0.0
    try:
        check_fits((compute.cpus_per_job, gpus), nodes(), f"the cluster at '{compute.address or 'this machine'}'")
    except UsageError:
        most = ray.get(ray.remote(num_cpus=0)(_at_most).remote())
        if most.get("CPU", 0) < compute.cpus_per_job or most.get("GPU", 0) < gpus:
            raise
    return gpus


def _at_most() -> dict[str, float]:
    """What a cluster that starts nodes by itself may grow to; nothing of one that does not."""
    return ray._private.state.state.get_max_resources_from_cluster_config() or {}


def nodes() -> list[tuple[float, float]]:
    """CPUs and GPUs of each node that there is."""
    resources = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [(float(found.get("CPU", 0)), float(found.get("GPU", 0))) for found in resources]


def largest_node(gpus: float) -> float:
    """The most CPUs of a node that has so many GPUs."""
    return max((cpus for cpus, has in nodes() if has >= gpus), default=inf)


def is_client() -> bool:
    """Whether this process drives the cluster from outside, over ``ray://``."""
    return ray.util.client.ray.is_connected()  # type: ignore[no-any-return]
