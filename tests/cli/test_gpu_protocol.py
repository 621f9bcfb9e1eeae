"""The protocol for a GPU, on a CPU: its slices stop, go on and end with every network once."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
from pretended_device import plain_optimizers, pretended_device

__all__ = ["plain_optimizers"]
SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu_protocol.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    specification = importlib.util.spec_from_file_location("gpu_protocol", SCRIPT)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["gpu_protocol"] = module
    specification.loader.exec_module(module)
    return module


def run(script: ModuleType, monkeypatch: pytest.MonkeyPatch, out: Path, *more: str) -> list[dict[str, object]]:
    arguments = ["--source", "digits", "--limit-train", "200", "--limit-test", "50", "--model", "simplecnn",
                 "--recipe", "digits", "--estimators", "random,gradient", "--thresholds", "50", "--seeds", "2"]
    monkeypatch.setattr(sys, "argv", ["gpu_protocol.py", "--out", str(out), *arguments, *more])
    script.main()
    path = out / "results.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_slices_stop_and_go_on(script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert run(script, monkeypatch, tmp_path / "late", "--minutes", "0") == []
    whole = run(script, monkeypatch, tmp_path / "whole")
    assert len(whole) == len({(r["estimator"], r["threshold"], r["seed"]) for r in whole}) == 6
    assert run(script, monkeypatch, tmp_path / "whole") == whole

    kept = (tmp_path / "whole" / "results.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "whole" / "results.jsonl").write_text("".join(kept[:3]) + kept[3][:20])  # killed while writing
    again = run(script, monkeypatch, tmp_path / "whole")
    assert [r["accuracy"] for r in again] == [r["accuracy"] for r in whole]


def test_other_settings_are_refused(script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run(script, monkeypatch, tmp_path, "--minutes", "0")
    with pytest.raises(SystemExit, match="other images or settings"):
        run(script, monkeypatch, tmp_path, "--minutes", "0", "--limit-train", "100")


@pytest.mark.usefixtures("plain_optimizers")
@pytest.mark.filterwarnings("ignore:for .*copying from a non-meta parameter:UserWarning")  # it is copied
def test_it_mixes_no_devices(script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
                             capsys: pytest.CaptureFixture[str]) -> None:
    network = ("--source", "planted:size=12", "--limit-train", "100", "--model", "speednet", "--recipe", "cifar10-fast",
               "--estimators", "smoothgrad,sobel")
    monkeypatch.setattr(script, "load_recipe", lambda name: {"epochs": 1, "batch_size": 50})
    with pretended_device(monkeypatch):
        there = run(script, monkeypatch, tmp_path / "there", *network)
    assert "on a pretended GPU" in capsys.readouterr().out
    here = run(script, monkeypatch, tmp_path / "here", *network)
    assert len(there) == 6
    for one, other in zip(there, here, strict=True):
        assert [one[name] for name in ("estimator", "threshold", "seed")] == [
            other[name] for name in ("estimator", "threshold", "seed")]
        assert one["loss"] == pytest.approx(other["loss"], rel=0.05)
