"""Random rankings as smooth as an estimator's: against loops, beside their estimator, and through the whole line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import references
import torch
from explained import NORMALIZATION, pictures, small_network
from ranked import identity, names_of, rank_images
from scipy.ndimage import gaussian_filter
from scipy.stats import spearmanr

from roar import pipeline
from roar.errors import EstimatorError, UnknownNameError, UsageError
from roar.estimators import ESTIMATORS, MATCHED_SPECTRUM, MatchedSpectrum
from roar.estimators.methods.matched_spectrum import matched_spectrum_ranks, mean_periodogram
from roar.experiment import EstimatorSettings, load_experiment
from roar.metrics.deletion.tasks import delete
from roar.metrics.retraining.forecast import forecast, overview
from roar.metrics.retraining.tasks import retrain
from roar.pipeline.ranking import spectrum
from roar.report.view import Results
from roar.seeds.streams import derive
from roar.seeds.tensors import random_normal
from roar.store.shards import read_ranks


def smooth_ranks(count: int, size: int, width: float, seed: int = 0) -> np.ndarray:
    """Ranks ``[n, H W]`` of blurred noise, its border joined."""
    noise = np.random.default_rng(seed).standard_normal((count, size, size))
    maps = gaussian_filter(noise, (0, width, 2 * width), mode="wrap").reshape(count, -1)
    return maps.argsort(1).argsort(1)


def slow_periodogram(ranks: np.ndarray, planes: int, height: int, width: int) -> np.ndarray:
    """|sum_x R(x) exp(-2 pi i k x)|^2, the exponentials written out, the mean over images."""
    down = np.exp(-2j * np.pi * np.outer(np.arange(height), np.arange(height)) / height)
    across = np.exp(-2j * np.pi * np.outer(np.arange(width), np.arange(width)) / width)
    total = np.zeros((planes, height, width))
    for image in ranks.reshape(len(ranks), planes, height, width).astype(float):
        for plane in range(planes):
            scaled = (image[plane] - image[plane].mean()) / image[plane].std()
            for u in range(height):
                for v in range(width):
                    total[plane, u, v] += abs((down[u][:, None] * across[v][None] * scaled).sum()) ** 2
    return total / len(ranks)


@pytest.mark.parametrize("planes", [1, 2])
def test_the_spectrum_is_the_mean_periodogram(planes: int) -> None:
    ranks = np.random.default_rng(0).permuted(np.tile(np.arange(planes * 30), (4, 1)), axis=1).astype(np.uint8)
    found = mean_periodogram([ranks[:1], ranks[1:]], planes, 5, 6)
    np.testing.assert_allclose(found, slow_periodogram(ranks, planes, 5, 6), rtol=1e-10, atol=1e-9)
    np.testing.assert_allclose(found.sum((1, 2)), 30.0**2, rtol=1e-12)  # Parseval: each map has unit variance
    assert found.tobytes() == mean_periodogram(iter(ranks[:, None]), planes, 5, 6).tobytes()


@pytest.mark.parametrize("planes", [1, 3])
def test_matched_spectra_are_filtered_noise_as_defined(planes: int) -> None:
    spectrum = mean_periodogram([smooth_ranks(6, 8, 1.0)], 1, 8, 8).repeat(planes, axis=0)
    spectrum *= np.arange(1, planes + 1)[:, None, None]
    indices = np.array([3, 40, 7])
    ranks, tied = matched_spectrum_ranks(spectrum, indices, 5, "train")
    for row, index in zip(ranks, indices, strict=True):
        noise = random_normal(5, "random-blurred", "train", torch.tensor([index]), planes * 64).numpy()
        noise = noise.reshape(planes, 8, 8)
        kernel = [np.fft.ifft2(np.sqrt(plane)).real for plane in spectrum]
        scores = np.zeros((planes, 8, 8))
        for c, y, x in np.ndindex(planes, 8, 8):  # a convolution on the torus is what the product of transforms is
            for dy, dx in np.ndindex(8, 8):
                scores[c, y, x] += kernel[c][dy, dx] * noise[c, (y - dy) % 8, (x - dx) % 8]
        expected = references.ranks(scores.astype(np.float32).flatten(), int(index), derive(5, "ties", "train"))
        moved = np.abs(row.astype(int) - expected)
        assert moved.max() <= 1 and (moved > 0).mean() < 0.02  # rounding may swap neighbors
    assert tied < 0.01 and (np.sort(ranks, axis=1) == np.arange(planes * 64)).all()


def correlations(ranks: np.ndarray, size: int) -> np.ndarray:
    """The autocorrelation of rank maps at the lags 1 to 4 down and across, the mean over images."""
    maps = ranks.reshape(-1, size, size) - (size * size - 1) / 2
    lags = [(lag, 0) for lag in range(1, 5)] + [(0, lag) for lag in range(1, 5)]
    return np.array([(maps * np.roll(maps, lag, (1, 2))).mean() for lag in lags]) / maps.var()


@pytest.mark.parametrize(("width", "tolerance"), [(0.1, 0.01), (0.4, 0.03), (0.8, 0.03), (1.5, 0.07)])
def test_a_matched_spectrum_is_as_smooth_as_its_estimator(width: float, tolerance: float) -> None:
    ranks = smooth_ranks(300, 16, width)
    found, _ = matched_spectrum_ranks(mean_periodogram([ranks], 1, 16, 16), np.arange(300), 0, "train")
    np.testing.assert_allclose(correlations(found, 16), correlations(ranks, 16), atol=tolerance)
    if width == 1.5:
        assert correlations(ranks, 16)[0] > 0.8 > 0.1 > abs(correlations(smooth_ranks(300, 16, 0.1), 16)[0])


def test_a_matched_spectrum_knows_nothing_of_an_image_and_nothing_of_its_neighbors() -> None:
    ranks = smooth_ranks(40, 12, 1.0)
    spectrum = mean_periodogram([ranks], 1, 12, 12)
    found, _ = matched_spectrum_ranks(spectrum, np.arange(40), 0, "train")
    across = [spearmanr(one, other).statistic for one, other in zip(found, ranks, strict=True)]
    assert abs(np.mean(across)) < 0.15
    assert len({row.tobytes() for row in found}) == 40
    for part in (slice(0, 1), slice(5, 23)):
        assert matched_spectrum_ranks(spectrum, np.arange(40)[part], 0, "train")[0].tobytes() == found[part].tobytes()
    for other in (matched_spectrum_ranks(spectrum, np.arange(40), 1, "train"),
                  matched_spectrum_ranks(spectrum, np.arange(40), 0, "test")):
        assert (other[0] != found).mean() > 0.9


@pytest.mark.parametrize(("given", "canonical"), [
    ("random-blurred(vargrad)", "random-blurred(vargrad)"), ("Random_Blurred( VAR )", "random-blurred(vargrad)"),
    ("random-blurred(sg-sq-gb)", "random-blurred(smoothgrad-squared-gb)"),
    ("random-blurred(IG)", "random-blurred(integrated-gradients)")])
def test_a_matched_spectrum_is_spelled_with_any_alias(given: str, canonical: str) -> None:
    found = ESTIMATORS.find(given)
    assert names_of([given]) == (canonical,) and isinstance(found, MatchedSpectrum) and found.family == MATCHED_SPECTRUM
    assert f"random-blurred({found.of})" == canonical and not found.sees_image
    assert identity(given, EstimatorSettings()) == {"estimator": canonical, "per_channel": False}


def test_what_has_no_matched_spectrum_is_refused() -> None:
    for given in ("sobel", "oracle", "oracle-noisy(0.2)", "random-blurred(vargrad)"):
        with pytest.raises(UsageError, match="takes an estimator that explains a network"):
            names_of([f"random-blurred({given})"])
    with pytest.raises(UsageError, match=r"takes its parameter E in brackets.*write random-blurred\(vargrad\)"):
        names_of(["random-blurred"])
    with pytest.raises(UnknownNameError, match=r"'vargard' is not an estimator; did you mean .*'vargrad'"):
        names_of(["random-blurred(vargard)"])
    arguments = (small_network(), pictures(2), np.zeros(2), np.arange(2), NORMALIZATION, ["random-blurred(ig)"],
                 EstimatorSettings(), 0, "test")
    with pytest.raises(EstimatorError, match=r"needs the spectrum of 'integrated-gradients', \[1, 8, 8\], and none"):
        rank_images(*arguments)
    with pytest.raises(EstimatorError, match=r"and \[1, 4, 4\] was given"):
        rank_images(*arguments, spectra={"random-blurred(integrated-gradients)": np.ones((1, 4, 4))})


def asked(store: Path, names: list[str], **settings: Any) -> Any:
    tables: dict[str, Any] = {
        "source": {"limit_train": 50, "limit_test": 30}, "estimators": {"names": names, "shard_size": 20, "samples": 2},
        "train": {"epochs": 1, "batch_size": 25, "window": 20}, "degrade": {"thresholds": [50]},
        "retrain": {"seeds": 1, "epochs": 1, "batch_size": 25, "window": 20},
        "compute": {"executor": "serial"}, "store": str(store)}
    for section, values in settings.items():
        tables[section] = {**tables[section], **values}
    return pipeline.prepare(load_experiment(None, tables))


def shards(store: Path) -> dict[str, bytes]:
    return {path.relative_to(store).as_posix(): path.read_bytes() for path in store.rglob("part-*.parquet")}


def of_matched_spectrum(store: Path) -> dict[str, bytes]:
    return {path: data for path, data in shards(store).items() if "random-blurred(" in path}


@pytest.fixture(scope="module")
def ranked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    session = asked(tmp_path_factory.mktemp("ranked") / "store", ["random-blurred(var)"])
    pipeline.rank(session)
    return session


def test_the_rank_stage_ranks_the_estimator_first_and_then_its_matched_spectrum(ranked: Any) -> None:
    (ranking,) = pipeline.rank(ranked)
    assert ranking.of is not None and ranking.identity["of"] == ranking.of.key
    assert ranking.folder.rsplit("/", 1)[0] == ranking.of.folder.rsplit("/", 1)[0]
    kept = np.concatenate([read_ranks(ranked.store, f"{ranking.of.folder}/train")])
    expected = mean_periodogram([kept], 1, 8, 8)
    assert spectrum(ranked, ranking.of).tobytes() == expected.tobytes()
    for split in ("train", "test"):
        images = getattr(ranked.source, split)
        np.testing.assert_array_equal(read_ranks(ranked.store, f"{ranking.folder}/{split}"),
                                      matched_spectrum_ranks(expected, images.indices, 0, split)[0])


def test_the_order_of_commands_shards_and_streams_do_not_show(ranked: Any, tmp_path: Path) -> None:
    expected = of_matched_spectrum(Path(ranked.store.location))
    assert len(expected) == 3 + 2
    later = asked(tmp_path / "later", ["vargrad", "random-blurred(vargrad)", "gradient"])
    delete(later)  # the test split alone
    assert set(of_matched_spectrum(tmp_path / "later")) == {path for path in expected if "/test/" in path}
    pipeline.rank(later)
    streamed = asked(tmp_path / "streamed", ["random-blurred(vargrad)"], compute={"image_budget": 1e-6})
    pipeline.rank(streamed)
    assert of_matched_spectrum(tmp_path / "later") == of_matched_spectrum(tmp_path / "streamed") == expected
    larger = asked(tmp_path / "larger", ["random-blurred(vargrad)"], estimators={"shard_size": 50})
    for split in ("train", "test"):
        ranks = [read_ranks(s.store, f"{pipeline.rank(s)[0].folder}/{split}") for s in (ranked, larger)]
        np.testing.assert_array_equal(*ranks)


def test_per_channel_every_plane_has_a_spectrum(tmp_path: Path) -> None:
    session = asked(tmp_path / "store", ["random-blurred(gradient)"], estimators={"unit": "channel"},
                    source={"name": "planted:size=9,train=50,test=30,classes=3"})
    (ranking,) = pipeline.rank(session)
    assert spectrum(session, ranking.of).shape == (3, 9, 9)
    ranks = read_ranks(session.store, f"{ranking.folder}/test")
    assert (np.sort(ranks, axis=1) == np.arange(243)).all()


def test_controls_retrain_masks_and_spectra_beside_what_was_asked(tmp_path: Path, roar: Callable[..., Any]) -> None:
    names = ["gradient", "sobel", "random", "random-bernoulli"]
    plain, both = (asked(tmp_path / "store", names, retrain={"controls": controls, "seeds": 2})
                   for controls in ([], ["random-blurred", "mask-only"]))
    before = {job.key for job in retrain(plain)}
    jobs = retrain(both)
    assert overview(both).jobs == len(jobs) and overview(both).rankings == 5
    assert before < {job.key for job in jobs} and len(before) == 2 * (1 + 4)
    cells = {(job.row["estimator"], job.row["fill"]) for job in jobs if job.key not in before}
    assert cells == {("random-blurred(gradient)", "mean"), ("gradient", "mask-only"), ("sobel", "mask-only")}
    results = Results(both.store).results()
    assert len(results) == len(jobs) == 2 * (1 + 4 + 3) and set(results["status"]) == {"ok"}
    assert forecast(both).retrain_seconds > 0
    for path in (tmp_path / "store").rglob("random-blurred(*/**/part-00000.parquet"):
        path.unlink()
    sorted((tmp_path / "store" / "results").rglob("*.json*"))[0].unlink()
    said = roar("verify", "--repair", "--executor", "serial", "--store", str(tmp_path / "store"))
    assert said.code == 0, said.err + said.out
    assert of_matched_spectrum(tmp_path / "store")
    after = Results(both.store).results()
    columns = ["job", "accuracy"]
    assert after[columns].sort_values("job").values.tolist() == results[columns].sort_values("job").values.tolist()
    status = roar("status", "--store", str(tmp_path / "store")).out
    assert f"{len(jobs)} done, 0 running, 0 failed, 0 missing" in status


def test_the_flag_and_the_setting_are_one(tmp_path: Path, roar: Callable[..., Any]) -> None:
    said = roar("run", "--dry-run", "--control", "mask-only,random-blurred", "--limit-train", "60", "--limit-test",
                "30", "--estimator", "gradient,random", "--threshold", "50", "--seeds", "1", "--executor", "serial")
    assert said.code == 0, said.err
    assert "3 rankings" in said.out and ": gradient, random-blurred(gradient), random\n" in said.out
    assert "\n5 trainings" in said.out and "fill mean and mask-only" in said.out  # reference, 3 rankings, 1 mask
    said = roar("retrain", "--control", "mask", "--executor", "serial")
    assert said.code == 2 and "'mask-only' or 'random-blurred'" in said.err
    settings = load_experiment(None, {"retrain": {"controls": ["random-blurred", "mask-only", "mask-only"]}}).retrain
    assert settings.controls == ("mask-only", "random-blurred")
    assert settings.resolve("digits") == load_experiment(None, {}).retrain.resolve("digits")
    assert "controls" not in load_experiment(None, {}).model_dump()["retrain"]
    assert settings.model_dump()["controls"] == ("mask-only", "random-blurred")


def test_without_controls_every_key_is_what_it_was(tmp_path: Path) -> None:
    """Keys of the first format with seals, for the digits of scikit-learn and the settings by default."""
    from roar.experiment import portable
    from roar.metrics.retraining import plan as jobs_plan
    from roar.pipeline import plan
    from roar.store.requests import Plan

    session = pipeline.prepare(load_experiment(None, {"store": str(tmp_path / "store")}))
    (model,), source, experiment = session.models, session.source, session.experiment
    rankings = [plan.ranking(experiment, source, ESTIMATORS.find(name), model, "abc") for name in ("gradient", "sobel")]
    assert [ranking.folder for ranking in rankings] == [
        "rankings/digits-a28c491a27/simplecnn-061a10787b97/gradient-22bd97f2e6b4",
        "rankings/digits-a28c491a27/controls/sobel-76c76658aefe"]
    jobs = jobs_plan.jobs(session, model, rankings, {})
    assert [job.key for job in jobs[:4]] == ["528f18a9650b", "8de9a21a311b", "febb06e1bdc0", "3366ff0686d6"]
    asked = portable(experiment, map(str, session.estimators))
    assert Plan("retrain", source.name, source.fingerprint, source.class_names, asked).key == "98d7385184aa"


def test_show_draws_a_matched_spectrum(ranked: Any) -> None:
    from roar.report.heatmaps import strips

    strip = strips(ranked, [2])[2]
    scores = strip.columns[0].scores["random-blurred(vargrad)"]
    ranks = read_ranks(ranked.store, f"{pipeline.rank(ranked)[0].folder}/test")[2]
    np.testing.assert_allclose(scores.flatten(), 1 - ranks / 64, atol=1e-6)
