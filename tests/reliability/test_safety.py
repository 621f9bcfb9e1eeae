"""Nothing that comes from data or configuration runs code or leaves the store; looking at a store costs little."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from roar.errors import UsageError
from roar.store.artifacts import MANIFEST, file_entry, key_of, manifest_bytes
from roar.store.compaction import compact
from roar.store.local import LocalFiles
from roar.store.location import open_files
from roar.store.store import open_store

PACKAGE = Path(__file__).resolve().parents[2] / "roar"
CODE = PACKAGE / "plugins" / "__init__.py"  # the one door of somebody's code: what a person names, and what Ray carries
UNPICKLERS = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def test_what_reads_a_store_does_not_know_the_door_of_code() -> None:
    for path in (PACKAGE / "store").rglob("*.py"):
        assert "roar.plugins" not in path.read_text(encoding="utf-8"), path


@pytest.mark.parametrize("path", sorted(set(PACKAGE.rglob("*.py")) - {CODE}),
                         ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_module_can_load_a_pickle(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert not {alias.name.split(".")[0] for alias in node.names} & UNPICKLERS
        elif isinstance(node, ast.ImportFrom):
            assert (node.module or "").split(".")[0] not in UNPICKLERS
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            safe = called == "torch.load" and any(word.arg == "weights_only" and ast.unparse(word.value) == "True"
                                                  for word in node.keywords)
            assert safe or called not in ("torch.load", "torch.jit.load", "pd.read_pickle", "eval", "exec")
            assert not any(word.arg == "allow_pickle" and ast.unparse(word.value) != "False" for word in node.keywords)


@pytest.mark.parametrize("verb", ["read", "write", "exists", "size", "list", "delete"])
@pytest.mark.parametrize("path", ["../outside", "a/../../outside", "/etc/passwd", "a//b", "a\x00b"])
def test_no_verb_of_a_store_leaves_it(verb: str, path: str, tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(b"secret")
    (tmp_path / "store").mkdir()
    for files in (LocalFiles(str(tmp_path / "store")), open_files("mock:///store")):
        with pytest.raises(UsageError, match="made of plain names"):
            getattr(files, verb)(path, *([b"x"] if verb == "write" else []))
    assert (tmp_path / "outside").read_bytes() == b"secret"


def test_a_manifest_cannot_name_a_file_outside(tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(b"secret")
    store = open_store(str(tmp_path / "store"))
    folder = f"models/m-{key_of({'a': 1})}"
    name = "../../../outside"
    store.files.write(f"{folder}/{MANIFEST}", manifest_bytes("model", {"a": 1}, {name: file_entry(b"secret")}, {}))
    with pytest.raises(UsageError, match="made of plain names"):
        store.read_file(folder, name)


def test_status_of_a_full_store_imports_nothing_heavy(undisturbed: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(undisturbed, store)
    compact(open_store(str(store)).files, at_least=1)
    code = ("import sys; from roar.cli.commands import main\n"
            "try: main()\n"
            "except SystemExit: pass\n"
            "heavy = {'torch', 'ray', 'pandas', 'pyarrow', 'numpy', 'matplotlib', 'captum'} & set(sys.modules)\n"
            "print('heavy:', sorted(heavy))")
    for words, allowed in ((["status"], set()), (["status", "--why", "models"], set()), (["clean", "--dry-run"], set()),
                           (["verify"], {"numpy", "pyarrow", "pandas"})):  # which looks at the meaning of rankings
        done = subprocess.run([sys.executable, "-c", code, *words, "--store", str(store)], capture_output=True,
                              text=True, cwd=tmp_path, check=True)
        assert "Error" not in done.stderr
        heavy = set(ast.literal_eval(done.stdout.splitlines()[-1].removeprefix("heavy: ")))
        assert heavy <= allowed, words
