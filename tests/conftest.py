"""Where the real data lies, and what every test shares."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
os.environ.setdefault("RAY_worker_niceness", "0")  # as roar has it, for clusters that tests start themselves


def _real_data(part: str) -> Path:
    root = Path(os.environ.get("ROAR_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    path = root / part
    if not path.exists():
        pytest.skip(f"real data are not here: {part} is looked for in ROAR_TEST_DATA or in ../shared/data")
    return path


@pytest.fixture(scope="session")
def cifar10_path() -> Path:
    """The folder of the real CIFAR-10 in Hugging Face's Parquet layout."""
    return _real_data("cifar10")


@pytest.fixture(scope="session")
def weights_path() -> Path:
    """The folder of published CIFAR-10 ResNet weights, as safetensors."""
    return _real_data("weights")


@pytest.fixture(scope="session")
def imagenet() -> tuple[Path, Path]:
    """The folder of a thousand photographs of ImageNet, a test split alone, and the weights of EfficientNet-Lite0."""
    return _real_data("imagenet-samples"), _real_data("weights/imagenet-efficientnet-lite0.safetensors")


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a small run that nothing happened to; see ``roar_processes.TOML``."""
    from roar_processes import finish, start

    store = tmp_path_factory.mktemp("undisturbed") / "store"
    log = store.with_name("log")
    assert finish(start(store, log=log)) == 0, log.read_text()[-2000:]
    return store


@dataclass(frozen=True)
class Said:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture
def roar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Said]:
    """The command line, run in this process and in an empty directory."""
    from roar.cli.commands import main

    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["roar", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        return Said(int(ended.value.code or 0), printed.out, printed.err)

    return run
