"""The protocol's results are those of the version before the layout of the code changed, bit for bit.

``recorded_results.json`` was written by that version on the CPU and with the PyTorch that it names: the SHA-256 of the
ranks of every shard, and every accuracy. Other kernels round otherwise, so elsewhere there is nothing to compare with.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from roar import pipeline
from roar.experiment import load_experiment
from roar.metrics.retraining.tasks import retrain
from roar.report.view import Results

RECORDED = json.loads((Path(__file__).resolve().parents[1] / "support/recorded_results.json").read_text())
INSTRUCTIONS = {"avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile"}


def environment() -> dict[str, Any]:
    """What decides how sums of floats are rounded: PyTorch, and the instructions that its kernels choose by."""
    info = Path("/proc/cpuinfo")
    flags = info.read_text().partition("flags")[2].partition("\n")[0].split() if info.exists() else []
    return {"torch": torch.__version__, "cpu": sorted(INSTRUCTIONS & set(flags))}


same_kernels = pytest.mark.skipif(
    environment() != RECORDED["environment"],
    reason=f"recorded with {RECORDED['environment']}, and this is {environment()}: floats round otherwise")


def made(store: Path, tables: dict[str, Any]) -> dict[str, Any]:
    """The hashes and accuracies of an experiment, in the form of the recorded ones."""
    asked = load_experiment(None, {**tables, "compute": {"executor": "serial"}, "store": str(store)})
    session = pipeline.prepare(asked)
    retrain(session)
    ranks = {}
    for shard in sorted(store.glob("rankings/*/*/*/*/part-*.parquet")):
        estimator = shard.parent.parent.name.rpartition("-")[0]
        values = np.array(pq.read_table(shard)["rank"].combine_chunks().flatten())
        ranks[f"{estimator}/{shard.parent.name}/{shard.name}"] = hashlib.sha256(values.tobytes()).hexdigest()
    rows = Results(session.store).results().to_dict("records")
    return {"ranks": ranks, "accuracies": {
        f"{row['estimator']} {row['mode']} {row['fill']} {row['threshold']:g} seed {row['seed']}": row["accuracy"]
        for row in rows}}


@same_kernels
@pytest.mark.slow
def test_the_demo_on_digits(tmp_path: Path) -> None:
    assert made(tmp_path / "store", {}) == RECORDED["digits"]


@same_kernels
@pytest.mark.slow
def test_eighteen_estimators_on_cifar10(tmp_path: Path, cifar10_path: Path) -> None:
    assert made(tmp_path / "store", {
        "source": {"name": f"parquet:{cifar10_path}", "limit_train": 200, "limit_test": 100},
        "train": {"epochs": 3}, "estimators": {"names": ["paper"]},
        "degrade": {"thresholds": [50, 90], "modes": ["roar", "kar"]},
        "retrain": {"epochs": 2, "seeds": 1}}) == RECORDED["cifar10"]
