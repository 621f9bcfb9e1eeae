"""Results: one small JSON file per job, many of them compacted into one, all of them one pandas frame.

A finished job is ``<key>.json``; one that failed by itself is ``<key>.failed.json``, so that a listing tells what is
done. Many finished ones become the lines of one ``compacted/<hash>.jsonl``, as they were, which is named by the hash
of its bytes. The same job may be there more than once (see ``roar/compaction.py``) and counts once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from math import isfinite
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from roar.errors import DamagedArtifactError, StoreError
from roar.experiment import RECURSIVE, Mode
from roar.store.artifacts import FORMAT, key_of
from roar.store.facts import FACTS, told_apart
from roar.store.files import Files
from roar.store.sealed import canonical_json, read_sealed, seal, unseal

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")

FOLDER = "results"
COMPACTED = "results/compacted"
FAILED = ".failed.json"
DONE = ".json"
_LINES = ".jsonl"
MOST_COMPACTED = 2**28  # bytes of a compacted file: half a million results of ten classes
_OF_THE_JOB = ("ranking", "mode", "fill", "threshold", "seed", "variant", "noise_seed")  # that an identity may have too
_DEFAULTS = {"noise_seed": 0}  # of columns that a row may lack
_LONGEST = 100_000  # letters of a text
_MOST_IMAGES = 2**40
_MOST_CLASSES = 1_000_000
_LOOKS = 20  # at a folder that another process compacts again and again
_AT_A_TIME = 16  # requests to a store that is far away

COLUMNS = {
    "source": "string",  # the images
    "model": "string",  # the network that was explained
    "regularizer": "string",  # its regularizer
    "retrainer": "string",  # the network that was trained on what is left
    "estimator": "string",  # whose ranking; `reference` is the shared cell at threshold 0
    "mode": "string",  # roar, kar or recursive
    "fill": "string",  # what replaced a pixel
    "threshold": "float64",  # percent of pixels replaced
    "seed": "int64",  # index of the training
    "status": "string",  # ok or failed
    "accuracy": "float64",  # on the degraded test split after the last epoch, 0 to 1; NaN if failed
    "n_test": "int64",  # images in the test split
    "chance": "float64",  # share of the test split's largest class: the accuracy of always answering it
    "epochs": "int64",
    "train_seconds": "float64",  # in mode recursive with the rankings that the row stands on
    "device": "string",
    "job": "string",  # the key of the job
    "protocol": "string",  # the key of what all cells share: images, network, recipe, root seed
    "ranking": "string",  # the key of the ranking; empty for the reference
    **FACTS,
    "control_of_ranking": "string",  # the key of the ranking of `control_of`
    "variant": "string",  # scratch, fine-tune or head-only
    "message": "string",  # why it failed, or what is to be known of a training that did not
    "noise_seed": "int64",  # of what the estimator drew; a row without it has 0
    "class_accuracy": "object",  # of the test images of each class, a list; None if failed
}


def result_file(key: str, row: Mapping[str, Any], identity: Mapping[str, Any],
                extra: Mapping[str, Any] | None = None) -> tuple[str, bytes]:
    """The path and the bytes of a job's result, one line."""
    body = {"format": FORMAT, "row": dict(row), "identity": dict(identity), **(extra or {})}
    return _path({**row, "job": key}), seal(body)


def read_result(files: Files, path: str) -> dict[str, Any]:
    """A job's ``row``, ``identity`` and whatever else was kept of it.

    Raises:
        DamagedArtifactError: the bytes are not those that were written, or are another job's.
    """
    body = read_sealed(files, path)
    if not is_result(body) or path != _path(body["row"]):
        raise DamagedArtifactError(f"'{files.location}/{path}' holds another job's result; "
                                   "`roar verify --repair` makes it again.")
    return body


def is_result(body: Mapping[str, Any]) -> bool:
    """Whether what was unsealed is the result of the job whose key it bears, and can be one."""
    row, identity = body.get("row"), body.get("identity")
    try:
        return (isinstance(row, dict) and isinstance(identity, dict)
                and all(_fits(row.get(column, _DEFAULTS.get(column)), kind) for column, kind in COLUMNS.items())
                and _is_possible(row)
                and all(row.get(column) == identity[column] for column in _OF_THE_JOB if column in identity)
                and row["job"] == key_of(identity))
    except (ValueError, RecursionError):
        return False


def _fits(value: object, kind: str) -> bool:
    """Whether a value has the type of its column; a missing number is ``None``, never NaN."""
    if kind == "string":
        return isinstance(value, str) and len(value) <= _LONGEST
    if kind == "object":
        return True
    if kind == "int64":
        return type(value) is int and 0 <= value < 2**63
    if type(value) is int:
        return abs(value) < 2**63
    return value is None or (type(value) is float and isfinite(value))


def _is_possible(row: Mapping[str, Any]) -> bool:
    """Whether the values are in the ranges of ``COLUMNS`` and of its vocabulary."""
    named = all(row[column] for column in ("source", "model", "architecture", "retrainer", "variant", "estimator",
                                           "family", "base", "ensemble", "fill", "job"))
    threshold, seconds, classes = row["threshold"], row["train_seconds"], row.get("class_accuracy")
    if row.get("chance") is not None and not _is_share(row["chance"]):
        return False
    if not (named and row["mode"] in get_args(Mode) and threshold is not None and 0 <= threshold <= 100
            and (seconds is None or seconds >= 0) and row["n_test"] < _MOST_IMAGES):
        return False
    if row["status"] == "failed":
        return row["accuracy"] is None
    return (row["status"] == "ok" and _is_share(row["accuracy"]) and row["n_test"] > 0
            and (classes is None or (isinstance(classes, list) and 0 < len(classes) <= _MOST_CLASSES
                                     and all(share is None or _is_share(share) for share in classes))))


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def read_lines(files: Files, path: str) -> list[bytes]:
    """The results of a compacted file, each as the bytes of its own file.

    Raises:
        DamagedArtifactError: the bytes are not those that the file's name promises.
    """
    data = files.read(path, MOST_COMPACTED)
    if path != compacted_name(data):
        raise DamagedArtifactError(f"'{files.location}/{path}' is not what was written; "
                                   "`roar verify --repair` makes it again.")
    return data.splitlines()


def read_compacted(files: Files, path: str) -> list[dict[str, Any]]:
    """The results of a compacted file.

    Raises:
        DamagedArtifactError: the bytes are not those that the file's name promises, or a line is no result.
    """
    lines = read_lines(files, path)
    try:
        bodies = [unseal(line) for line in lines]
    except ValueError:
        bodies = [{}]
    if not all(is_result(body) and body["row"]["status"] == "ok" for body in bodies):
        raise DamagedArtifactError(f"'{files.location}/{path}' holds what is no result; `roar verify --repair` keeps "
                                   "the others.")
    return bodies


def compacted_name(data: bytes) -> str:
    return f"{COMPACTED}/{hashlib.sha256(data).hexdigest()[:20]}{_LINES}"


def compacted_files(files: Files) -> list[str]:
    return [path for path in files.list(COMPACTED) if path.endswith(_LINES)]


def single_files(files: Files) -> list[str]:
    """The results that are not compacted, failed ones among them."""
    return [path for path in files.list(FOLDER) if path.endswith(DONE) and path.count("/") == 1]


def is_done(files: Files, path: str) -> bool:
    """Whether a file is there; a result may be there as a line of a compacted file."""
    if files.exists(path):
        return True
    folder, _, name = path.rpartition("/")
    return folder == FOLDER and any(name.removesuffix(DONE) in _compacted_jobs(files, compacted)
                                    for compacted in compacted_files(files))


def finished_jobs(files: Files) -> tuple[set[str], set[str]]:
    """The keys of the jobs that are done and of those that failed."""
    def look() -> tuple[set[str], set[str]]:
        names = [path.rpartition("/")[2] for path in single_files(files)]
        failed = {name.removesuffix(FAILED) for name in names if name.endswith(FAILED)}
        done = {name.removesuffix(DONE) for name in names if not name.endswith(FAILED)}
        done = done.union(*(_compacted_jobs(files, path) for path in compacted_files(files)))
        return done, failed - done
    return while_compacted(files, look)


def all_results(files: Files, jobs: Collection[str] | None = None) -> list[dict[str, Any]]:
    """Every job's result once (or those of some jobs), in the order of their keys."""
    def look() -> list[dict[str, Any]]:
        found = [body for path in compacted_files(files) for body in read_compacted(files, path)]
        paths = [path for path in single_files(files) if jobs is None or _job(path) in jobs]
        found += at_once(lambda path: read_result(files, path), paths)
        return [body for body in each_once(found) if jobs is None or body["row"]["job"] in jobs]
    return while_compacted(files, look)


def each_once(results: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """One result per job: one that is done rather than one that failed, and of two always the same one."""
    best: dict[str, dict[str, Any]] = {}
    for body in results:
        key = body["row"]["job"]
        if key not in best or (body != best[key] and _preference(body) < _preference(best[key])):
            best[key] = body
    return [best[key] for key in sorted(best)]


def read_results(files: Files, jobs: Collection[str] | None = None) -> pd.DataFrame:
    """Every job's row (or those of some jobs), in the order of the cells; the columns are those of ``COLUMNS``."""
    import pandas as pd

    found = all_results(files, None if jobs is None else frozenset(jobs))
    codes = [key_of(body["identity"]["fill_code"]) if "fill_code" in body["identity"] else "" for body in found]
    frame = pd.DataFrame([{**_DEFAULTS, **body["row"]} for body in found], columns=list(COLUMNS)).astype(COLUMNS)
    frame = _told_apart(frame.assign(fill_code=pd.Series(codes, dtype="string")))[list(COLUMNS)]
    order = ["source", "model", "regularizer", "retrainer", "mode", "fill", "estimator", "threshold", "noise_seed",
             "seed", "job"]
    return frame.sort_values(order, ignore_index=True)


def while_compacted(files: Files, look: Callable[[], T]) -> T:
    """What a look at the results finds, again while a file that was listed is gone when it is read.

    Rows are in their new file before they leave the old one, so the next look finds them there.
    """
    for _ in range(_LOOKS - 1):
        listed = (compacted_files(files), single_files(files))
        try:
            return look()
        except DamagedArtifactError:
            raise
        except StoreError:
            if listed == (compacted_files(files), single_files(files)):
                raise
    return look()


def at_once(read: Callable[[str], T], paths: Collection[str]) -> list[T]:
    """Read many small files, several at a time: it is waiting that takes long."""
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        return list(pool.map(read, paths))


@lru_cache(maxsize=64)
def _compacted_jobs(files: Files, path: str) -> frozenset[str]:
    """The jobs of a compacted file, which never changes under its name."""
    return frozenset(body["row"]["job"] for body in read_compacted(files, path))


def _path(row: Mapping[str, Any]) -> str:
    return f"{FOLDER}/{row['job']}" + (DONE if row["status"] == "ok" else FAILED)


def _job(path: str) -> str:
    return path.rpartition("/")[2].removesuffix(FAILED).removesuffix(DONE)


def _preference(body: Mapping[str, Any]) -> tuple[bool, bytes]:
    return body["row"]["status"] != "ok", hashlib.sha256(canonical_json(body)).digest()


def _told_apart(frame: pd.DataFrame) -> pd.DataFrame:
    """Names that say which is which where one store holds two protocols, two settings of one estimator, or two fills
    of one name whose code differs.

    In mode recursive a ranking belongs to no explained model, so its key is another one with the same settings.
    """
    network = ["model", "regularizer", "retrainer"]
    frame = told_apart(frame, network, {"source": "protocol"})
    frame = told_apart(frame.assign(once=frame["mode"] != RECURSIVE), ["source", *network, "once"])
    return told_apart(frame, ["source", *network], {"fill": "fill_code"})
