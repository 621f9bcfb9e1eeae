"""Areas of deletion curves image by image, against a slow literal reference; reports without any retraining."""

from __future__ import annotations

import io
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from analysis_results import facts, with_facts
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from roar.errors import AnalysisError
from roar.metrics.deletion.areas import IMAGE_AREA_COLUMNS, image_areas, metric
from roar.metrics.deletion.frames import FOLDER, read_deletion, read_deletion_images
from roar.metrics.deletion.worker import _curves, _images
from roar.report.files import one_table, write_report
from roar.report.view import Results
from roar.store.artifacts import MANIFEST, artifact_files, file_entry, key_of, manifest_bytes
from roar.store.frames import finished_folders
from roar.store.store import Store, open_store

THRESHOLDS = (0.0, 10.0, 50.0, 90.0)


def images_of(estimator: str, mode: str = "roar", count: int = 30, thresholds: tuple[float, ...] = THRESHOLDS,
              fill: str = "mean", root: int = 0) -> pd.DataFrame:
    """Images as they lie in the store, from a seeded generator."""
    rng = np.random.default_rng([root, len(estimator)])
    rows = [{"index": i, "mode": mode, "threshold": t, "correct": bool(rng.random() > t / 100),
             "probability": float(rng.random())} for t in thresholds for i in range(count)]
    return with_facts(pd.DataFrame(rows).assign(source="digits", model="simplecnn", regularizer="recipe",
                                                estimator=estimator, fill=fill))


def area_of(frame: pd.DataFrame, image: int, column: str) -> float:
    """One image's area in percent: the trapezoids between neighboring thresholds, over their whole span."""
    curve = sorted((row["threshold"], float(row[column])) for row in frame.to_dict("records") if row["index"] == image)
    total = sum((b - a) * (f + g) / 2 for (a, f), (b, g) in pairwise(curve))
    return 100 * total / (curve[-1][0] - curve[0][0])


@pytest.mark.parametrize("mode", ["roar", "kar"])
def test_areas_are_paired_by_image(mode: str) -> None:
    frames = [images_of("vargrad", mode), images_of("random", mode)]
    table = image_areas(lambda: iter(frames))
    assert table["estimator"].tolist() == ["vargrad", "vargrad", "random", "random"]
    for measure, column in (("accuracy", "correct"), ("probability", "probability")):
        own, other = (np.array([area_of(frame, i, column) for i in range(30)]) for frame in frames)
        better = (other - own) * (1 if mode == "roar" else -1)
        row = table[(table["estimator"] == "vargrad") & (table["measure"] == measure)].iloc[0]
        assert row["area"] == pytest.approx(own.mean())
        assert row["advantage"] == pytest.approx(better.mean())
        assert row["std"] == pytest.approx(better.std(ddof=1))
        ends = stats.ttest_1samp(better, 0).confidence_interval(0.95)
        assert (row["ci_low"], row["ci_high"]) == pytest.approx((ends.low, ends.high))
        assert (row["n_test"], row["thresholds"]) == (30, 4)


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 20), st.integers(0, 2**32 - 1))
def test_the_same_images_have_no_advantage(count: int, root: int) -> None:
    random = images_of("random", count=count, root=root)
    row = image_areas(lambda: [random.assign(estimator="gradient"), random]).iloc[0]
    assert (row["advantage"], row["ci_low"], row["ci_high"]) == (0, 0, 0)


@pytest.mark.parametrize("random", [
    images_of("random", thresholds=(0.0, 90.0)), images_of("random", count=29),
    images_of("random", fill="noisy-linear"), images_of("random", "kar")])
def test_other_images_thresholds_or_fills_are_not_compared(random: pd.DataFrame) -> None:
    table = image_areas(lambda: [random, images_of("vargrad")]).set_index("estimator").loc["vargrad"]
    assert table["advantage"].isna().all()
    assert (table["note"] == "no random ranking of the same images at the same thresholds").all()
    assert table["area"].notna().all()


def test_no_images_no_rows() -> None:
    assert tuple(image_areas(list).columns) == IMAGE_AREA_COLUMNS
    assert not len(image_areas(list))


def test_what_a_curve_is_called() -> None:
    assert [metric(mode, fill) for mode, fill in (("roar", "mean"), ("kar", "mean"), ("roar", "noisy-linear"))] == [
        "deletion", "insertion", "ROAD"]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with deletion curves of three estimators in two modes and nothing else."""
    found = open_store(str(tmp_path / "store"))
    _ = found.description
    for estimator in ("gradient", "random", "sobel"):
        row: dict[str, Any] = {"source": "digits", "model": "simplecnn", "regularizer": "recipe",
                               **facts(estimator).columns, "ranking": estimator, "control_of_ranking": "",
                               "architecture": "simplecnn", "model_seed": 0}
        cells, curves = [], []
        for mode in ("roar", "kar"):
            for t, part in images_of(estimator, mode).groupby("threshold"):
                correct, probability = (part[name].to_numpy() for name in ("correct", "probability"))
                cells.append((mode, float(t), correct, probability))
                curves.append({**row, "mode": mode, "fill": "mean", "threshold": float(t),
                               "accuracy": float(correct.mean()), "probability": float(probability.mean()),
                               "n_test": len(correct)})
        identity = {"artefact": "deletion", "estimator": estimator, "fill": "mean"}
        folder = f"{FOLDER}/digits/simplecnn/{estimator}-{key_of(identity)}"
        files = {"curves.parquet": _curves(curves), "images.parquet": _images(np.arange(30), cells)}
        entries = {name: file_entry(data) for name, data in files.items()}
        files[MANIFEST] = manifest_bytes("deletion", identity, entries, row)
        for name, data in files.items():
            found.files.write(f"{folder}/{name}", data)
    return found


def test_the_images_are_read_one_artifact_at_a_time(store: Store) -> None:
    frames = read_deletion_images(store)
    first = next(frames)
    assert first["estimator"].unique().tolist() == ["gradient"]
    expected = images_of("gradient").sort_values(["threshold", "index"])
    own = first[first["mode"] == "roar"].sort_values(["threshold", "index"])
    np.testing.assert_array_equal(own["correct"], expected["correct"])
    np.testing.assert_allclose(own["probability"], expected["probability"], rtol=1e-6)
    assert [frame["estimator"].iloc[0] for frame in frames] == ["random", "sobel"]


def test_two_settings_of_one_estimator_are_two_curves(store: Store) -> None:
    """Random under another key joins; both names have their keys in every table, and both keep their rows."""
    found = [folder for folder in finished_folders(store, FOLDER) if "random" in folder]
    data = {name: store.read_file(found[0], name) for name in ("curves.parquet", "images.parquet")}
    facts_before = store.manifest(found[0])["facts"]
    frame = pq.read_table(io.BytesIO(data["curves.parquet"])).to_pandas().assign(ranking="aa11bb000000")
    stream = io.BytesIO()
    frame.to_parquet(stream, index=False)
    data["curves.parquet"] = stream.getvalue()
    identity = {"artefact": "deletion", "estimator": "random", "fill": "mean", "other": 1}
    for path, written in artifact_files("deletion", f"{FOLDER}/digits/simplecnn/random-{key_of(identity)}", identity,
                                        data, {**facts_before, "ranking": "aa11bb000000"}).items():
        store.files.write(path, written)
    names = {"random (random)", "random (aa11bb)"}
    table = read_deletion(store)
    assert set(table.query("base == 'random'")["estimator"]) == names
    assert table["estimator"].value_counts().nunique() == 1
    assert {frame["estimator"].iloc[0] for frame in read_deletion_images(store)} >= names


def test_a_store_without_any_retraining_has_a_report(store: Store) -> None:
    written = write_report(store)
    folder = Path(store.location) / "reports"
    assert {path.name for path in folder.iterdir()} == {"deletion.csv", "deletion-areas.csv", "deletion-curves.svg",
                                                       "report.html", "current.json"}
    assert [Path(name).name for name in written.files] == ["deletion-areas.csv", "deletion-curves.svg", "report.html"]
    page = (folder / "report.html").read_text(encoding="utf-8")
    for words in ("No network was retrained", "deletion, without retraining", "insertion, without retraining",
                  "digits · simplecnn</bdi></h1>"):
        assert words in page
    areas = pd.read_csv(folder / "deletion-areas.csv")
    for column in ("area", "advantage", "ci_low", "n_test"):
        np.testing.assert_allclose(areas[column], Results(store).deletion_areas()[column])
    assert len(areas) == 3 * 2 * 2
    for name in ("deletion", "deletion-areas"):
        assert len(one_table(store, name, "csv").splitlines()) > 12


def test_an_empty_store_has_nothing_to_report(tmp_path: Path) -> None:
    empty = open_store(str(tmp_path / "empty"))
    _ = empty.description
    with pytest.raises(AnalysisError, match="no result"):
        write_report(empty)


def test_one_quantity_has_one_interval_on_a_page() -> None:
    """The area over random beside ROAR's is that of the table of areas, interval and all."""
    from roar.metrics.deletion.areas import DELETION_PANEL, deletion_areas

    images = pd.DataFrame([{**dict.fromkeys(DELETION_PANEL, "x"), **facts("gradient").columns, "measure": measure,
                            "control": "random", "advantage": 10.5, "ci_low": 8.1, "ci_high": 13.0, "n_test": 30,
                            "thresholds": 3} for measure in ("accuracy", "probability")])
    [row] = deletion_areas(pd.DataFrame(), images).to_dict("records")
    assert (row["advantage"], row["ci_low"], row["ci_high"]) == (10.5, 8.1, 13.0)
