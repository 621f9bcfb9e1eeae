"""verify, merge, clean and `status --why`, and stores of other formats, from the command line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from analysis_results import ROW
from roar_processes import JOBS, assert_same, rows_of

from roar.jobs.stage import Desk
from roar.store.artifacts import FORMAT, MANIFEST, key_of
from roar.store.claims import claim
from roar.store.local import LocalFiles
from roar.store.results import read_results, result_file
from roar.store.sealed import seal, unseal
from roar.store.store import open_store

Roar = Callable[..., Any]


@pytest.fixture
def store(undisturbed: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "store"
    shutil.copytree(undisturbed, copy)
    return copy


def tree(store: Path) -> dict[str, bytes]:
    return {path.relative_to(store).as_posix(): path.read_bytes() for path in store.rglob("*") if path.is_file()
            and "claims" not in path.parts}


# -- status --why --------------------------------------------------------------------------------------------------


def test_why_names_everything_that_a_key_consists_of(roar: Roar, store: Path) -> None:
    row = rows_of(store).query("estimator == 'vargrad' and threshold == 70 and seed == 1").iloc[0]
    for name in (row["job"], row["job"][:8], f"{store}/results/{row['job']}.json"):
        said = roar("status", "--store", str(store), "--why", name)
        assert said.code == 0
        assert said.out.startswith(f"{row['job']}  training  digits simplecnn vargrad roar 70.0 1\n  done\n")
        for line in ("ranking", "recipe.learning_rate", "root_seed", "network.name", f"{row['accuracy']}"):
            assert line in said.out
    said = roar("status", "--store", str(store), "--why", row["ranking"])
    assert "  ranking  rankings/" in said.out
    assert "samples                      2" in said.out
    folder = next(store.glob("models/*/*"))
    for name in (folder.name, str(folder), folder.relative_to(store).as_posix()):
        assert "weights" in roar("status", "--store", str(store), "--why", name).out


def test_why_refuses_what_it_does_not_know(roar: Roar, store: Path) -> None:
    said = roar("status", "--store", str(store), "--why", "ffffffffffff")
    assert said.code == 2
    assert "Nothing in" in said.err
    said = roar("status", "--store", str(store), "--why", "rankings")
    assert said.code == 2
    assert "give more of the key" in said.err


def test_why_of_a_training_that_is_not_done_says_so(roar: Roar, store: Path) -> None:
    job = sorted(store.glob("results/*.json"))[0]
    job.unlink()
    said = roar("status", "--store", str(store), "--why", job.stem)
    assert said.code == 0
    assert "not done" in said.out


# -- verify --------------------------------------------------------------------------------------------------------


def test_verify_of_nothing_is_a_wrong_request(roar: Roar, tmp_path: Path) -> None:
    for words in (["verify"], ["verify", "--repair"], ["clean", "--yes"]):
        said = roar(*words, "--store", str(tmp_path / "nothing"))
        assert said.code == 2
        assert "There is no store" in said.err
    assert not (tmp_path / "nothing").exists()


def test_a_source_that_changed_is_not_taken_for_the_old_one(roar: Roar, store: Path) -> None:
    opened = open_store(str(store))
    for path in opened.files.list("plans"):
        body = unseal(opened.files.read(path))
        body["experiment"]["source"]["limit_train"] = 50
        plan = {"artefact": "plan", "stage": body["stage"], "source": body["fingerprint"],
                "experiment": body["experiment"]}
        opened.files.delete(path)
        opened.files.write(f"{path.rpartition('/')[0]}/{key_of(plan)}.json", seal(body))
    sorted(store.glob("results/*.json"))[0].unlink()
    said = roar("verify", "--repair", "--store", str(store))
    assert said.code == 1
    assert "'digits' holds other images than when" in said.err


def test_damaged_statistics_are_computed_again_when_they_are_needed(roar: Roar, store: Path) -> None:
    path = store / "statistics" / "digits-0123456789.json"
    path.parent.mkdir()
    path.write_bytes(seal({"source": "0" * 64, "histogram": [[1]]}))
    assert roar("verify", "--store", str(store)).code == 0
    path.write_bytes(path.read_bytes().replace(b"[[1]]", b"[[2]]"))
    said = roar("verify", "--store", str(store))
    assert said.code == 1
    assert "damaged: statistics/digits-0123456789.json is not what was written" in said.out
    assert roar("verify", "--repair", "--store", str(store)).code == 0
    assert not path.exists()


# -- merge ---------------------------------------------------------------------------------------------------------


def half(store: Path, keep: bool) -> None:
    """Keep every second result, and the rankings of one estimator less."""
    for number, path in enumerate(sorted(store.glob("results/*.json"))):
        if (number % 2 == 0) != keep:
            path.unlink()
    shutil.rmtree(next(store.glob("rankings/*/*/vargrad-*" if keep else "rankings/*/*/gradient-*")))


def test_two_halves_make_a_whole(roar: Roar, store: Path, undisturbed: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(store, other)
    half(store, True)
    half(other, False)
    before = tree(other)
    said = roar("merge", str(other), "--store", str(store))
    assert said.code == 0
    assert said.out.startswith(f"{store}: 2 artifacts and {JOBS // 2} results came from {other}; ")
    assert tree(other) == before
    assert_same(store, undisturbed)
    assert roar("verify", "--store", str(store)).code == 0
    assert " 0 artifacts and 0 results came" in roar("merge", str(other), "--store", str(store)).out
    new = tmp_path / "new"
    assert roar("merge", str(undisturbed), "--store", str(new)).code == 0
    assert_same(new, undisturbed)
    assert roar("verify", "--store", str(new)).code == 0


def change(path: Path, column: str, value: Any) -> None:
    """An honest result of another run."""
    body = unseal(path.read_bytes())
    body["row"][column] = value
    path.write_bytes(seal(body))


def test_honest_differences_are_merged_and_others_refused(roar: Roar, store: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(store, other)
    result = sorted(other.glob("results/*.json"))[0]
    change(result, "train_seconds", 99.0)
    change(result, "device", "cuda")
    assert roar("merge", str(other), "--store", str(store)).code == 0
    change(result, "accuracy", 0.123)
    before = tree(store)
    shutil.rmtree(next(store.glob("rankings/*/*/vargrad-*")))
    without = tree(store)
    said = roar("merge", str(other), "--store", str(store))
    assert said.code == 1
    assert f"The result {result.stem} has accuracy 0.123" in said.err
    assert tree(store) == without  # everything is compared before anything is copied
    assert without != before


def test_artifacts_that_disagree_are_refused(roar: Roar, store: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(store, other)
    folder = next(other.glob("models/*/*"))
    weights = folder / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    manifest = unseal((folder / MANIFEST).read_bytes())
    assert roar("merge", str(other), "--store", str(store)).code == 1  # damaged
    import hashlib
    manifest["files"]["weights.safetensors"]["sha256"] = hashlib.sha256(weights.read_bytes()).hexdigest()
    (folder / MANIFEST).write_bytes(seal(manifest, indent=1))
    said = roar("merge", str(other), "--store", str(store))
    assert said.code == 1
    assert "has other contents in" in said.err
    assert folder.name in said.err


def test_what_is_no_store_is_not_merged(roar: Roar, store: Path, tmp_path: Path) -> None:
    said = roar("merge", str(tmp_path / "nothing"), "--store", str(store))
    assert said.code == 1
    assert "There is no store at" in said.err


# -- clean ---------------------------------------------------------------------------------------------------------


def litter(store: Path) -> set[str]:
    """Leave behind what killed processes leave behind."""
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    files, folder = LocalFiles(str(store)), next(store.glob("rankings/*/*/vargrad-*/train")).relative_to(store)
    host = next(iter(_temporary_names(store))).split("-")[1]
    failed, data = result_file(key_of({"a": 1}), {**ROW, "job": key_of({"a": 1}), "status": "failed"}, {"a": 1})
    done, good = result_file(key_of({"a": 1}), {**ROW, "job": key_of({"a": 1})}, {"a": 1})
    waste = {f"results/.tmp-{host}-{dead.pid}-abc": b"x", f"{folder}/notes.txt": b"x", f"{failed}": data,
             "claims/0123456789abcdef0123.lock": b"", "checkpoints/0123456789abcdef0123": b"x",
             f"models/other/m-{'0' * 12}/weights.safetensors": b"x"}
    for path, content in {**waste, done: good}.items():
        (store / path).parent.mkdir(parents=True, exist_ok=True)
        (store / path).write_bytes(content)
    assert files.exists(done)
    return set(waste)


def _temporary_names(store: Path) -> set[str]:
    """What a file is called while it is written."""
    names = set()
    honest = os.fsync

    def spy(descriptor: int) -> None:
        names.update(path.name for path in store.glob(".tmp-*"))
        honest(descriptor)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", spy)
        LocalFiles(str(store)).write("x.bin", b"")
    (store / "x.bin").unlink()
    return names


def test_clean_removes_waste_and_nothing_else(roar: Roar, store: Path) -> None:
    before = tree(store)
    assert "0 files would be removed" in roar("clean", "--dry-run", "--store", str(store)).out
    waste = litter(store)
    (store / f".tmp-other-{os.getpid()}-abc").write_bytes(b"x")  # of another machine, and fresh: perhaps still written
    assert roar("clean", "--store", str(store)).code == 2
    assert roar("clean", "--dry-run", "--yes", "--store", str(store)).code == 2
    littered = tree(store)
    said = roar("clean", "--dry-run", "--store", str(store))
    assert all(f"{path}: " in said.out for path in waste)
    assert f"{len(waste)} files would be removed" in said.out
    assert tree(store) == littered
    assert f"{len(waste)} files removed" in roar("clean", "--yes", "--store", str(store)).out
    left = tree(store)
    assert not waste & set(left)
    assert {path: left[path] for path in before} == before


def test_shards_of_an_interrupted_run_are_no_waste(roar: Roar, store: Path) -> None:
    (next(store.glob("rankings/*/*/vargrad-*/train")) / MANIFEST).unlink()
    before = tree(store)
    assert roar("clean", "--yes", "--store", str(store)).code == 0
    assert tree(store) == before


def test_clean_removes_what_is_named(roar: Roar, store: Path, undisturbed: Path) -> None:
    folder = next(store.glob("rankings/*/*/vargrad-*"))
    job = sorted(store.glob("results/*.json"))[0].stem
    said = roar("clean", folder.name, job, "--dry-run", "--store", str(store))
    assert folder.is_dir()
    assert "2 artifacts and trainings that are named" in said.out
    assert roar("clean", folder.name, job, "--yes", "--store", str(store)).code == 0
    assert not list(folder.rglob("*.*"))
    assert len(list(store.glob("results/*.json"))) == JOBS - 1
    assert roar("clean", "no-such-name", "--yes", "--store", str(store)).code == 2
    assert roar("verify", "--repair", "--store", str(store)).code == 0
    assert_same(store, undisturbed)


def test_clean_waits_for_a_run_to_end(roar: Roar, store: Path) -> None:
    with claim(LocalFiles(str(store)), "task") as mine:
        assert mine
        said = roar("clean", "--yes", "--store", str(store))
    assert said.code == 1
    assert "A run is at work on" in said.err


# -- formats -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("body", "remedy"), [
    (seal({"format": FORMAT + 1, "needs": "7.1", "id": "x"}), "install roar-bench 7.1 or newer"),
    (b'{"format": 99, "another": "shape"}', "install a newer roar-bench"),
])
def test_a_newer_store_is_refused_by_every_command(roar: Roar, store: Path, body: bytes, remedy: str) -> None:
    (store / "store.json").write_bytes(body)
    before = tree(store)
    for words in (["status"], ["run"], ["report"], ["verify"], ["verify", "--repair"], ["clean", "--yes"],
                  ["merge", str(store)]):
        said = roar(*words, "--store", str(store))
        assert said.code == 1
        assert f"this roar reads {FORMAT}; {remedy}." in said.err
    assert tree(store) == before


@pytest.mark.parametrize("version", [1, 2])
def test_an_earlier_store_is_refused_by_every_command(roar: Roar, store: Path, version: int) -> None:
    (store / "store.json").write_bytes(seal({"format": version, "id": "x"}))
    before = tree(store)
    for words in (["status"], ["run"], ["report"], ["verify"], ["verify", "--repair"], ["clean", "--yes"]):
        said = roar(*words, "--store", str(store))
        assert said.code == 1
        assert f"has format {version}, which no release of roar wrote or reads" in said.err
    assert tree(store) == before


# -- states to go on from ------------------------------------------------------------------------------------------


def test_a_damaged_state_of_a_training_is_worth_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roar.jobs.stage.CHECKPOINT_EVERY", -1.0)
    files = LocalFiles(str(tmp_path))
    Desk(files, "task", lambda share, text: None).save(lambda: b"state of it")
    path = files.list("checkpoints")[0]

    def saved(key: str = "task") -> bytes | None:
        return Desk(files, key, lambda share, text: None).saved()

    whole = files.read(path)
    assert saved() == b"state of it"
    for damaged in (whole[:-1], whole[:40] + bytes([whole[40] ^ 1]) + whole[41:], b"", b"x" * 10):
        files.write(path, damaged)
        assert saved() is None
    other = Desk(files, "other", lambda share, text: None)
    other.save(lambda: b"state of another")
    files.write(path, next(files.read(name) for name in files.list("checkpoints") if name != path))
    assert saved() is None


def test_results_need_no_plan(tmp_path: Path) -> None:
    files = LocalFiles(str(tmp_path))
    files.write(*result_file(key_of({"a": 1}), {**ROW, "job": key_of({"a": 1})}, {"a": 1}))
    assert len(read_results(files)) == 1
