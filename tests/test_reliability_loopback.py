"""A cluster that roar starts is reached from this machine only."""

from __future__ import annotations

import ipaddress
import json
import subprocess
import sys
from pathlib import Path

CLUSTER = """
import json, psutil, ray
from roar.experiment import ComputeSettings
from roar.jobs.ray_cluster import connect
connect(ComputeSettings(workers=2))
@ray.remote
class Worker:
    def ready(self):
        return True
workers = [Worker.remote() for _ in range(2)]
ray.get([worker.ready.remote() for worker in workers])
here = psutil.Process()
ours = {process.pid: process.name() for process in [here, *here.children(recursive=True)]}
print(json.dumps([[ours[found.pid], found.laddr.ip] for found in psutil.net_connections("inet")
                  if found.status == psutil.CONN_LISTEN and found.pid in ours]))
"""


def test_every_port_of_a_local_cluster_listens_on_loopback(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", CLUSTER], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    listening = json.loads(done.stdout.splitlines()[-1])
    assert {"raylet", "gcs_server"} <= {name for name, _ in listening}
    assert sum("Worker" in name for name, _ in listening) == 2
    for name, host in listening:
        address = ipaddress.ip_address(host)
        inner = getattr(address, "ipv4_mapped", None) or address
        assert inner.is_loopback, (name, host)
