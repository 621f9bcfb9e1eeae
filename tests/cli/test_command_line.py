"""The command line as a person meets it: what it says, what it costs to start, how it refuses."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from roar.datasets.fills.registry import find_fill

Roar = Callable[..., Any]
COMMANDS = ["run", "train", "rank", "degrade", "agreement", "sanity", "retrain", "report", "status",
            "verify", "merge", "clean"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_the_common_flags(roar: Roar, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    said = roar(command, "--help")
    assert said.code == 0
    for flag in ("--source", "--limit-train", "--limit-test", "--model", "--weights", "--store", "--config",
                 "--address", "--executor", "--seed"):
        assert flag in said.out


def test_help_and_status_import_nothing_heavy(tmp_path: Path) -> None:
    code = ("import sys; from roar.cli.commands import main\n"
            "try: main()\n"
            "except SystemExit: pass\n"
            "heavy = {'torch', 'ray', 'pandas', 'pyarrow', 'numpy', 'matplotlib', 'captum'} & set(sys.modules)\n"
            "print('heavy:', sorted(heavy))")
    for words in (["--help"], ["status"]):
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, cwd=tmp_path,
                              check=True)
        assert done.stdout.splitlines()[-1] == "heavy: []"


def test_the_module_runs_as_the_command(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "roar", "status"], capture_output=True, text=True, cwd=tmp_path,
                          check=True)
    assert "There is no store" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("words", "sentence"), [
    (["rank", "--estimator", "vargard"], "'vargard' is not an estimator; did you mean 'vargrad'"),
    (["rank", "--source", "digit"], "'digit' is not a source; did you mean 'digits'"),
    (["rank", "--model", "simplecn"], "'simplecn' is not a model; did you mean 'simplecnn'"),
    (["retrain", "--threshold", "150"], "a threshold is the percentage of pixels replaced, from 0 to 100"),
    (["retrain", "--threshold", "0,0.5,0.125,50"], "and 0.125, 0.5 is less than one; write 12.5, 50 if a share "
     "is meant, or set percent (--percent, percent = true) for 0.125, 0.5 %"),
    (["agreement", "--threshold", "0.5"], "write 50 if a share is meant"),
    (["run", "--executor", "serial", "--cpus-per-job", "1000"], "A job asks for 1000 CPUs and no GPU, and "),
    (["run", "--cpus-per-job", "1000"], "give --cpus-per-job and --gpus-per-job that fit"),
    (["rank", "--gpus-per-job", "64"], "A job asks for 1 CPU and 64 GPUs, and this machine has"),
    (["rank", "--executor", "serial", "--gpus-per-job", "64"], "and this machine has"),
    (["retrain", "--threshold", "many"], "--threshold takes numbers with commas between them, not 'many'"),
    (["retrain", "--mode", "raor"], "degrade.modes.0 = 'raor'"),
    (["retrain", "--fill", "maen"], "'maen' is not a fill; did you mean 'mean'"),
    (["retrain", "--recipe", "digit"], "'digit' is not a recipe; did you mean 'digits'"),
    (["retrain", "--seeds", "0"], "retrain.seeds = 0"),
    (["run", "missing.toml"], "There is no file 'missing.toml'"),
    (["rank", "--samples", "0"], "estimators.samples = 0"),
    (["train", "--source", "parquet:"], "needs its PATH"),
    (["run", "--no-such-flag"], "No such option"),
])
def test_a_wrong_request_is_one_sentence_and_status_2(roar: Roar, words: list[str], sentence: str,
                                                      tmp_path: Path) -> None:
    said = roar(*words)
    assert said.code == 2
    assert sentence in " ".join(said.err.split())
    assert said.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("text", "sentence"), [
    ("[sorce]\nname = 'digits'", "'sorce' is not a key; did you mean 'source'"),
    ("[estimators]\nsampels = 3", "'sampels' is not a key; did you mean 'samples'"),
    ("[[model]]\nnmae = 'simplecnn'", "'nmae' is not a key; did you mean 'name'"),
    ("[retrain]\nepoch = 3", "'epoch' is not a key of a training section; did you mean 'epochs'"),
    ("[retrain]\nepochs = 'three'", "epochs = 'three'"),
    ("[source]\nname = 3", "source.name = 3"),
    ("[degrade]\nthresholds = [10, 101]", "degrade.thresholds.1 = 101"),
    ("model = []", "at least one [[model]]"),
    ("model = 3", "model = 3"),
    ("source = 3", "source = 3"),
    ("[source", "is not TOML"),
])
def test_a_wrong_experiment_file_names_the_key(roar: Roar, text: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "wrong.toml").write_text(text)
    said = roar("run", "wrong.toml")
    assert said.code == 2
    assert sentence in said.err
    assert [p.name for p in tmp_path.iterdir()] == ["wrong.toml"]


def picture(path: Path, mode: str = "RGB", size: int = 16) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.effect_noise((size, size), 60).convert(mode).save(path)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    root = tmp_path / "pictures"
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            for number in range(3):
                picture(root / split / name / f"{number}.jpg")
    return root


def test_a_missing_path_is_a_failure(roar: Roar, tmp_path: Path) -> None:
    said = roar("train", "--executor", "serial", "--source", "parquet:nowhere")
    assert said.code == 1
    assert "nowhere" in said.err
    assert list(tmp_path.iterdir()) == []


def test_a_truncated_picture_is_named_and_nothing_is_left(roar: Roar, pictures: Path, tmp_path: Path) -> None:
    broken = pictures / "train" / "cat" / "1.jpg"
    broken.write_bytes(broken.read_bytes()[:200])
    said = roar("train", "--executor", "serial", "--source", f"folder:{pictures}")
    assert said.code == 1
    assert str(broken) in said.err
    assert not list(tmp_path.glob("roar-store/models/**/*"))


def test_an_empty_class_is_named(roar: Roar, pictures: Path) -> None:
    (pictures / "train" / "eel").mkdir()
    said = roar("train", "--executor", "serial", "--source", f"folder:{pictures}")
    assert said.code == 1
    assert "eel" in said.err


def test_a_gray_picture_among_color_ones_is_said_once(roar: Roar, pictures: Path) -> None:
    picture(pictures / "train" / "cat" / "9.jpg", "L")
    said = roar("train", "--executor", "serial", "--source", f"folder:{pictures}", "--train-epochs", "1")
    assert said.code == 0
    assert said.err.lower().count("gray") == 1


def test_weights_that_do_not_fit_are_refused(roar: Roar, tmp_path: Path, weights_path: Path) -> None:
    said = roar("train", "--executor", "serial", "--weights", str(weights_path / "cifar10-resnet20.safetensors"))
    assert said.code == 1
    assert "cifar10-resnet20.safetensors" in said.err
    assert not list(tmp_path.glob("roar-store/models/**/*"))


def test_the_whole_line_by_stages(roar: Roar, tmp_path: Path) -> None:
    small = ["--executor", "serial", "--limit-train", "100", "--limit-test", "50"]
    ranked = roar("rank", "--estimator", "vargrad", *small)
    assert ranked.code == 0
    assert "vargrad: roar-store/rankings/digits-" in ranked.out
    said = roar("retrain", "--threshold", "50", "--seeds", "2", "--epochs", "1", *small)
    assert said.code == 0
    assert "No control is among the estimators" in " ".join(said.err.split())
    lines = said.out.splitlines()
    assert lines[0].split("\t") == ["estimator", "n", "0 %", "50 %"]
    assert lines[1].split("\t")[:2] == ["vargrad", "2"]
    for name in ("results.csv", "results.parquet", "curves.csv", "accuracy.svg", "accuracy.png"):
        assert (tmp_path / "roar-store" / "reports" / name).stat().st_size > 100
    state = roar("status")
    assert "4 done, 0 running, 0 failed, 0 missing, of 4" in " ".join(state.out.split())
    assert roar("report").out.splitlines() == lines


def test_a_report_of_nothing_says_what_to_do(roar: Roar) -> None:
    said = roar("report")
    assert said.code == 1
    assert "`roar run`" in said.err


def test_the_file_in_the_directory_lies_under_the_flags(roar: Roar, tmp_path: Path) -> None:
    (tmp_path / "roar.toml").write_text('[estimators]\nnames = ["sobel"]\n[degrade]\nthresholds = [30]\n'
                                        "[retrain]\nseeds = 3\n")
    assert "16 trainings" not in roar("run", "--dry-run").out
    assert "\n6 trainings: t = 30 %" in roar("run", "--dry-run").out
    assert "\n4 trainings: t = 30 %" in roar("run", "--dry-run", "--seeds", "2").out
    assert [p.name for p in tmp_path.iterdir()] == ["roar.toml"]


def test_lists_name_everything(roar: Roar) -> None:
    estimators = roar("list", "estimators").out
    for name in ("gradient", "smoothgrad-squared-ig", "vargrad-gb", "random", "sobel", "2017"):
        assert name in estimators
    assert "parquet:PATH" in roar("list", "sources").out
    assert "resnet50" in roar("list", "models").out


def test_british_flags_and_names_are_accepted_and_not_listed(roar: Roar) -> None:
    assert roar("status", "--normalise-mean", ".5").code == 0
    assert roar("status", "--normaliser-mean", ".5").code == 2
    assert "--normalise" not in roar("run", "--help").out
    assert find_fill("random-colour") is find_fill("random-color")
    assert "random-colour" not in roar("list", "fills").out
