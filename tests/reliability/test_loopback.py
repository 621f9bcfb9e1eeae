"""A cluster that roar starts is reached from this machine only, and has the priority that roar was given."""

from __future__ import annotations

import ipaddress
import json
import os
import subprocess
import sys
from typing import Any

import pytest

CLUSTER = """
import json, os, psutil
from pathlib import Path
from roar.jobs.ray.environment import prepare
prepare()
import ray
from roar.experiment import ComputeSettings
from roar.jobs.ray.cluster import connect
connect(ComputeSettings(workers=2))
@ray.remote
class Worker:
    def ready(self):
        return True
workers = [Worker.remote() for _ in range(2)]
ray.get([worker.ready.remote() for worker in workers])
here = psutil.Process()
ours = {process.pid: process.name() for process in [here, *here.children(recursive=True)]}
token = os.environ["RAY_AUTH_TOKEN"]
session = Path(ray._private.worker._global_node.get_session_dir_path())
print(json.dumps({
    "token": token, "files": [str(path) for path in session.rglob("*") if path.is_file()
                              and token.encode() in path.read_bytes()],
    "home": os.listdir(Path.home()), "mode": os.environ["RAY_AUTH_MODE"],
    "shown": [pid for pid in ours if token in " ".join(psutil.Process(pid).cmdline())],
    "listening": [[ours[found.pid], found.laddr.ip] for found in psutil.net_connections("inet")
                  if found.status == psutil.CONN_LISTEN and found.pid in ours],
    "niceness": [[name, psutil.Process(pid).nice()] for pid, name in ours.items()]}))
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    plain = {name: value for name, value in os.environ.items()
             if name != "RAY_worker_niceness" and not name.startswith("RAY_AUTH")}
    plain["HOME"] = str(tmp_path_factory.mktemp("home"))
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", CLUSTER], capture_output=True, text=True,
                          cwd=tmp_path_factory.mktemp("cluster"), env=plain)
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_every_port_of_a_local_cluster_listens_on_loopback(cluster: dict[str, Any]) -> None:
    listening = cluster["listening"]
    assert {"raylet", "gcs_server"} <= {name for name, _ in listening}
    assert sum("Worker" in name for name, _ in listening) == 2
    for name, host in listening:
        address = ipaddress.ip_address(host)
        inner = getattr(address, "ipv4_mapped", None) or address
        assert inner.is_loopback, (name, host)


def test_its_workers_do_not_give_way_to_every_other_program(cluster: dict[str, Any]) -> None:
    """Ray lowers their priority by 15: beside two busy processes on two cores a run of 50 s then takes over 400 s."""
    given = os.getpriority(os.PRIO_PROCESS, 0)
    assert [nice for name, nice in cluster["niceness"] if "Worker" in name] == [given, given]


def test_its_token_is_its_own_and_in_no_file(cluster: dict[str, Any]) -> None:
    """Ray's default is one token for all clusters, for good, in ~/.ray/auth_token, which everybody may read."""
    assert cluster["mode"] == "token"
    assert len(cluster["token"]) == 64
    assert cluster["files"] == cluster["shown"] == []
    assert ".ray" not in cluster["home"]
