"""The pointing game: tasks, worker and table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from roar.errors import UsageError
from roar.jobs.stage import Desk, Product, Shared, Task
from roar.pipeline import Session, asked_for, plan, rank
from roar.pipeline.running import make
from roar.pipeline.session import keep_plan
from roar.store.artifacts import MANIFEST, artifact_files, key_of
from roar.store.facts import FACTS, NETWORK, ROWS, told_apart
from roar.store.frames import read_frames
from roar.store.parquet import parquet_bytes
from roar.store.rows import COUNT, POSITION, SHARE, TEXT, TRUTH, Rows
from roar.store.shards import RankFolder, RankReader, rank_folder

if TYPE_CHECKING:
    import pandas as pd

    from roar.store.store import Store

FOLDER = "metrics/pointing-game"
COLUMNS = {"source": "string", "model": "string", "regularizer": "string", "estimator": "string", "hits": "float64",
           "hits_low": "float64", "hits_high": "float64", "hits_by_chance": "float64", "n": "int64",
           **FACTS, "folder": "string"}
POINTS = Rows({  # what `points.parquet` may hold
    **dict.fromkeys(["source", "model", "regularizer", "estimator"], TEXT), **ROWS, "count": COUNT,
    "n": replace(COUNT, low=1), "share": SHARE,
}, possible=lambda frame: bool((frame["count"] <= frame["n"]).all()))
IMAGES = Rows({"index": POSITION, "hit": TRUTH}, keys=("index",))  # what `images.parquet` may hold
_BLOCK = 250  # images whose ranks are held at a time


@asked_for("pointing-game")
def pointing_game(session: Session) -> list[str]:
    """The folders of the hits of every ranking of the test images, made where they are missing.

    Raises:
        UsageError: the source does not know which pixels are informative.
    """
    if session.source.test.truth is None:
        raise UsageError(f"The pointing game needs a source that knows its informative pixels, which "
                         f"'{session.source.name}' does not; take 'planted' or 'hooker-toy'.")
    tasks = []
    for ranking in rank(session, ("test",)):
        model = ranking.model or session.models[0]
        identity = {"artefact": "pointing-game", "source": session.source.fingerprint, "ranking": ranking.key}
        folder = f"{FOLDER}/{plan.source_folder(session.source)}/{ranking.folder.split('/')[2]}/" \
                 f"{ranking.folder.rsplit('/', 1)[-1].rpartition('-')[0]}-{key_of(identity)}"
        row = {"source": session.source.label, **model.facts, **ranking.facts}
        tasks.append(Task(folder, Point(folder, identity, row, rank_folder(session.store, f"{ranking.folder}/test")),
                          (f"{folder}/{MANIFEST}",)))
    keep_plan(session, "pointing-game", [task.key for task in tasks])

    def shared(missing: Sequence[Task]) -> Mapping[str, Callable[[], Any]]:
        return {"test/indices": lambda: session.source.test.indices, "test/truth": lambda: session.source.test.truth}

    return make(session, "pointing-game", "rankings", tasks, "roar.metrics.pointing_game.game:open_worker", shared)


@dataclass(frozen=True)
class Point:
    """The work: one ranking; ``row`` holds the columns that say whose it is."""

    folder: str
    identity: dict[str, Any]
    row: dict[str, Any]
    ranking: RankFolder


def open_worker(shared: Shared, device: str) -> Callable[[Point, Desk], Product]:
    """A worker that reads the ranks a block at a time; it needs no device."""
    indices, truth = np.asarray(shared("test/indices")), shared("test/truth")

    def point(work: Point, desk: Desk) -> Product:
        import pyarrow as pa

        reader, hits, informative = RankReader(work.ranking, desk.artifact), [], []
        for start in range(0, len(indices), _BLOCK):
            block = np.arange(start, min(start + _BLOCK, len(indices)), dtype=np.int64)
            pixels = truth(block).reshape(len(block), -1)
            hits.append(hit(reader(block, indices[block]), pixels))
            informative.append(pixels.mean(axis=1))
            desk.tell((block[-1] + 1) / len(indices), work.row["estimator"])
        every = np.concatenate(hits)
        images = pa.table({"index": pa.array(indices, pa.int64()), "hit": pa.array(every)})
        points = pa.Table.from_pylist([{**work.row, "count": int(every.sum()), "n": len(every),
                                        "share": float(np.concatenate(informative).mean())}])
        files = {"points.parquet": parquet_bytes(points), "images.parquet": parquet_bytes(images)}
        return Product(artifact_files("pointing-game", work.folder, work.identity, files, work.row))

    return point


def hit(ranks: np.ndarray, informative: np.ndarray) -> np.ndarray:
    """Whether the top pixel of each image is informative, bool ``[N]``.

    Args:
        ranks: ``[N, P]``, 0 the most important; of channel values ``[N, C P]``, channel by channel.
        informative: bool ``[N, P]``.
    """
    top = ranks.argmin(axis=1) % informative.shape[1]
    answer: np.ndarray = informative[np.arange(len(informative)), top]
    return answer


def read_hits(store: Store) -> pd.DataFrame:
    """One row per estimator of a model: the share of hits with Wilson's interval over the test images.

    Raises:
        DamagedArtifactError: a file is not what was written, or holds what cannot be.
    """
    from statsmodels.stats.proportion import proportion_confint

    rows = told_apart(read_frames(store, FOLDER, "points.parquet", POINTS), NETWORK)
    low, high = proportion_confint(rows["count"], rows["n"], alpha=0.05, method="wilson") if len(rows) else ([], [])
    rows = rows.assign(hits=100 * rows["count"] / rows["n"], hits_low=low, hits_high=high,
                       hits_by_chance=100 * rows["share"])
    rows[["hits_low", "hits_high"]] *= 100
    return rows[list(COLUMNS)].astype(COLUMNS).sort_values(
        [*NETWORK, "hits"], ascending=[True, True, True, False], ignore_index=True)
