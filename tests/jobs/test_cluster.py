"""A cluster of two nodes that loses one of them and a worker: every job once, with the result it would have had."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

from roar.errors import FailureError, UsageError
from roar.experiment import ComputeSettings
from roar.jobs.executor import run as run_stage
from roar.jobs.stage import Outcome, Product, Stage, Task
from roar.pipeline.running import StageWatcher
from roar.progress import Silent
from roar.report.view import Results
from roar.store.store import open_store

EXPERIMENT = """
[source]
limit_train = 200
limit_test = 60
[estimators]
names = ["random", "sobel", "gradient"]
[degrade]
thresholds = [30, 50, 70]
[train]
epochs = 2
batch_size = 20
[retrain]
seeds = 4
epochs = 20
batch_size = 20
"""
OWN = """
import torch
from sklearn.datasets import load_digits
from torch import nn


def own(network, images, targets):
    return images.detach().abs()


class Net(nn.Module):
    def __init__(self, num_classes, in_channels):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(in_channels, 4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(num_classes))
        self.body(torch.zeros(1, in_channels, 8, 8))

    def forward(self, images):
        return self.body(images)


def load():
    digits = load_digits()
    images = (digits.images * 15).astype("uint8")[:, None]
    return (images[:900], digits.target[:900]), (images[900:], digits.target[900:])


def gray(images, removed, context):
    return torch.full_like(images, 128)
"""
# Ray's own test cluster leaves its log files open.
pytestmark = [pytest.mark.filterwarnings("ignore::ResourceWarning"),
              pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")]
JOBS = 4 * (1 + 3 * 3)
CLIENT_PORT = 9_957


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    import ray
    from ray.cluster_utils import Cluster

    from roar.jobs.ray.cluster import drop_token

    drop_token()  # of this process's own cluster, which an earlier test may have started
    monkeypatch.setenv("GRPC_ENABLE_FORK_SUPPORT", "false")  # a client's server dies when a test wants it to, ...
    monkeypatch.setenv("RAY_CLIENT_SERVER_CHECK_CHANNEL_TIMEOUT_S", "5")  # ... and is missed soon, ...
    monkeypatch.setenv("RAY_CLIENT_RECONNECT_GRACE_PERIOD", "5")  # ... and soon given up
    ray.shutdown()  # an earlier test may have left its own cluster running
    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False,
                                                          "ray_client_server_port": CLIENT_PORT})
    found.add_node(num_cpus=1)
    found.wait_for_nodes()
    yield found
    found.shutdown()


@pytest.mark.parametrize(("asked", "job"), [({"gpus_per_job": 1.0}, "1 CPU and 1 GPU"),
                                            ({"cpus_per_job": 64.0}, "64 CPUs and no GPU"),
                                            ({"cpus_per_job": 2.0}, "2 CPUs and no GPU")])
def test_what_no_node_has_is_refused_before_the_work(cluster: Any, tmp_path: Path, asked: dict[str, float],
                                                     job: str) -> None:
    """Two nodes have two CPUs together, and none of them has two."""
    import ray

    def opened(shared: Any, device: str) -> Any:
        raise AssertionError("no worker is opened")

    store, loaded = open_store(str(tmp_path / "store")), []
    compute = ComputeSettings(address=cluster.address, **asked)
    try:
        with pytest.raises(UsageError, match=f"A job asks for {job}, and the cluster at '{cluster.address}' has 1 CPU "
                                             "and no GPU on each node; give --cpus-per-job"):
            run_stage(Stage("a test", opened, {"images": lambda: loaded.append(1)}, [Task("task-0", 0)]),
                      compute, store, StageWatcher(Silent()))
    finally:
        ray.shutdown()
    assert loaded == []


def run(folder: Path, *words: str) -> subprocess.Popen[str]:
    (folder / "roar.toml").write_text(EXPERIMENT)
    return subprocess.Popen([sys.executable, "-m", "roar", "run", *words], cwd=folder, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            env={**os.environ, "OMP_NUM_THREADS": "1"})


def finished(folder: Path) -> int:
    return len(list(folder.glob("roar-store/results/*.json")))


def a_worker(folder: Path) -> int:
    """The process that holds a task at this moment."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for path in folder.glob("roar-store/claims/*.lock"):
            with contextlib.suppress(OSError, ValueError):
                return int(json.loads(path.read_text())["pid"])
    raise AssertionError("no worker holds a task")


def wait_for(folder: Path, count: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 240
    while finished(folder) < count:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.timeout(600)
def test_a_lost_node_and_a_killed_worker_lose_nothing(cluster: Any, tmp_path: Path) -> None:
    disturbed, calm = tmp_path / "disturbed", tmp_path / "calm"
    disturbed.mkdir()
    calm.mkdir()
    with run(disturbed, "--address", cluster.address) as process:
        wait_for(disturbed, 5, process)
        os.kill(a_worker(disturbed), signal.SIGKILL)
        wait_for(disturbed, 12, process)
        cluster.remove_node(cluster.worker_nodes.copy().pop(), allow_graceful=False)
        output = process.communicate(timeout=400)[0]
        assert process.returncode == 0, output
    with run(calm, "--executor", "serial") as process:
        output = process.communicate(timeout=300)[0]
        assert process.returncode == 0, output
    found, expected = (Results(open_store(str(folder / "roar-store"))).results().drop(columns="train_seconds")
                       for folder in (disturbed, calm))
    assert len(found) == JOBS == 40
    assert found["job"].is_unique
    assert set(found["status"]) == {"ok"}
    pd.testing.assert_frame_equal(found, expected)


def clients_server(address: str) -> psutil.Process:
    """The process that the cluster at an address starts for a program outside it."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for process in psutil.process_iter(["cmdline"]):
            words = process.info["cmdline"] or []
            if {"--mode=specific-server", f"--address={address}"} <= set(words):
                return process
        time.sleep(0.05)
    raise AssertionError("the cluster starts no server for the program")


@pytest.mark.timeout(600)
def test_a_program_outside_the_cluster_drives_it_although_its_server_dies_at_its_start(
        cluster: Any, tmp_path: Path) -> None:
    small = ("--estimator", "random,own.py:own", "--model", "own.py:Net", "--source", "own.py:load", "--fill",
             "own.py:gray", "--threshold", "50", "--seeds", "1", "--epochs", "2")
    far, here = tmp_path / "far", tmp_path / "here"
    for folder in (far, here):
        folder.mkdir()
        (folder / "own.py").write_text(OWN)
    with run(far, "--address", f"ray://127.0.0.1:{CLIENT_PORT}", *small) as process:
        clients_server(cluster.address).kill()
        output = process.communicate(timeout=300)[0]
        assert process.returncode == 0, output
    with run(here, "--executor", "serial", *small) as process:
        output = process.communicate(timeout=300)[0]
        assert process.returncode == 0, output
    found, expected = (Results(open_store(str(folder / "roar-store"))).results().drop(columns="train_seconds")
                       for folder in (far, here))
    assert set(found["estimator"]) == {"reference", "random", "own"}
    assert set(found["model"]) == {"Net"}
    assert set(found["fill"]) == {"none", "gray"}
    pd.testing.assert_frame_equal(found, expected)


@pytest.mark.timeout(300)
def test_a_task_that_kills_its_worker_costs_no_other_and_says_why(tmp_path: Path) -> None:
    import ray

    def open_worker(read: Any, device: str) -> Any:
        def work(number: int, desk: Any) -> Product:
            if number == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            return Product({}, {"number": number})
        return work

    store = open_store(str(tmp_path / "store"))
    _ = store.description
    seen: dict[str, Outcome] = {}
    tasks = [Task(f"task-{number}", number) for number in range(3)]
    ray.shutdown()
    try:
        run_stage(Stage("a test", open_worker, {}, tasks), ComputeSettings(retries=1, workers=1), store,
                  StageWatcher(Silent(), on_success=lambda outcome: seen.update({outcome.key: outcome}),
                               on_failure=lambda outcome: seen.update({outcome.key: outcome})))
    finally:
        ray.shutdown()
    assert {key: outcome.facts.get("number") for key, outcome in seen.items()} == {"task-0": 0, "task-1": None,
                                                                                  "task-2": 2}
    assert str(seen["task-1"].error).startswith("The worker died more often than the retries allow: The actor died")


def test_a_worker_without_its_node_ends_and_an_error_of_a_task_does_not_end_it(
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from ray.exceptions import RayTaskError

    from roar.jobs.ray import desk as ray_desk

    class Ended(BaseException):
        pass

    def answers(error: Exception) -> None:
        def get(reference: Any) -> None:
            raise error
        monkeypatch.setattr(ray_desk.ray, "get", get)

    def end(status: int) -> None:
        raise Ended(status)

    monkeypatch.setattr(ray_desk.os, "_exit", end)
    answers(BrokenPipeError("Broken pipe"))
    with pytest.raises(Ended, match="1"):
        ray_desk.fetch("a reference")
    assert capsys.readouterr().err == "This worker is cut off from its cluster (Broken pipe); it ends.\n"
    answers(RayTaskError("files", "a trace", OSError("disk full")))
    with pytest.raises(RayTaskError):
        ray_desk.fetch("a reference")


@pytest.mark.timeout(120)
def test_a_module_that_a_node_lacks_is_the_cause_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket
    import types

    import ray

    from roar.errors import RoarError

    here = types.ModuleType("only_here")
    exec("class Work:\n    pass", here.__dict__)
    monkeypatch.setitem(sys.modules, "only_here", here)

    def open_worker(read: Any, device: str) -> Any:
        read("data")
        return lambda work, desk: Product({}, {})

    store = open_store(str(tmp_path / "store"))
    _ = store.description
    for task, data in ((here.Work(), 1), (1, here.Work())):
        ray.shutdown()
        try:
            with pytest.raises(RoarError) as raised:
                run_stage(Stage("a test", open_worker, {"data": lambda data=data: data},  # type: ignore[misc]
                                [Task("task", task)]), ComputeSettings(workers=1), store, StageWatcher(Silent()))
        finally:
            ray.shutdown()
        assert str(raised.value) == (f"The module 'only_here' is missing on the node '{socket.gethostname()}'; install "
                                     "it there as on the program's.")


def test_a_cluster_that_starts_no_server_for_a_program_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    from roar.jobs.ray import cluster as ray_cluster

    attempts = []

    def init(**settings: Any) -> None:
        attempts.append(settings["address"])
        raise ConnectionAbortedError("Initialization failure from server:\nTraceback ...\nRuntimeError: it died.\n")

    monkeypatch.setattr(ray_cluster.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray_cluster.ray, "init", init)
    with pytest.raises(FailureError, match=r"'ray://head:10001' answers but started no server .* \(RuntimeError: it"):
        ray_cluster.connect(ComputeSettings(address="ray://head:10001"))
    assert attempts == ["ray://head:10001"] * ray_cluster.ATTEMPTS


def test_the_variables_that_are_asked_for_reach_the_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    from roar.jobs.ray import cluster as ray_cluster

    joined: list[dict[str, Any]] = []
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("OTHER_TOKEN", "other")
    monkeypatch.setattr(ray_cluster.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray_cluster.ray, "init", lambda **settings: joined.append(settings))
    ray_cluster.connect(ComputeSettings(address="ray://head:10001", env=("AWS_ACCESS_*",)))
    ray_cluster.connect(ComputeSettings(address="ray://head:10001"))
    assert [settings["runtime_env"] for settings in joined] == [{"env_vars": {"AWS_ACCESS_KEY_ID": "key"}}, None]


def test_the_reason_of_a_clusters_error_is_what_was_raised_in_the_task() -> None:
    from ray.exceptions import RayTaskError

    from roar.jobs.ray.cluster import reason

    text = "\x1b[36mray::run()\x1b[39m (pid=7)\n  File \"a.py\", line 3\nPermissionError: no such bucket"
    assert reason(RayTaskError("run", text, OSError())) == "PermissionError: no such bucket"
    assert reason(RuntimeError("\x1b[31mfirst\x1b[0m\n\n second")) == "first second"
    assert reason(RuntimeError()) == "RuntimeError"


def test_a_callback_that_raises_anything_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from roar.errors import ExperimentError
    from roar.experiment import CallbackSettings
    from roar.jobs.ray.callbacks import loggers

    (tmp_path / "raising_callback.py").write_text(
        "from ray import tune\nclass Raising(tune.Callback):\n    def __init__(self):\n"
        "        raise RuntimeError('MLflow was not found')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ExperimentError, match=r"'raising_callback:Raising' cannot be made \(MLflow was not found\)"):
        loggers(ComputeSettings(callback=(CallbackSettings(name="raising_callback:Raising"),)), "rank")
