"""Results as the pipeline would give them, from a seeded generator: nothing here is measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from roar.analysis.facts import Facts

THRESHOLDS = (0.0, 10.0, 30.0, 50.0, 70.0, 90.0)
SIX = ("gradient", "smoothgrad", "smoothgrad-squared", "vargrad", "random", "sobel")
ENSEMBLES = ("smoothgrad", "smoothgrad-magnitude", "smoothgrad-squared", "vargrad")
TWENTY = (
    "gradient", "gradient-magnitude", *ENSEMBLES,
    "integrated-gradients", "integrated-gradients-magnitude", *(f"{name}-ig" for name in ENSEMBLES),
    "guided-backprop", "guided-backprop-magnitude", *(f"{name}-gb" for name in ENSEMBLES),
    "random", "sobel")
STRENGTH = {  # accuracy lost at t = 90
    "base": 0.02, "magnitude": 0.14, "smoothgrad": 0.01, "smoothgrad-magnitude": 0.15,
    "smoothgrad-squared": 0.42, "vargrad": 0.45, "random": 0.10, "sobel": 0.06}


def facts_named(estimator: str) -> dict[str, str]:
    """The columns that say what an estimator is; one that roar does not have is a base of a family of its own."""
    from roar.errors import RoarError
    from roar.estimators import ESTIMATORS

    if estimator == "reference":
        return {"family": "reference", "base": "reference", "ensemble": "base", "control_of": ""}
    try:
        known = ESTIMATORS.find(estimator).facts
    except RoarError:
        known = {"family": estimator, "base": estimator, "ensemble": "base", "control_of": ""}
    return {name: value for name, value in known.items() if name != "estimator"}


def facts(estimator: str) -> Facts:
    """What is known of an estimator of roar's."""
    return Facts(estimator, **facts_named(estimator))


def with_facts(frame: pd.DataFrame, column: str = "estimator", prefix: str = "") -> pd.DataFrame:
    """A frame with the columns that say what its estimators are, in the place of those that it has."""
    known = {name: facts_named(name) for name in frame[column].unique()}
    return frame.assign(**{f"{prefix}{key}": [known[name][key] for name in frame[column]]
                           for key in ("family", "base", "ensemble", "control_of")})


def synthetic_results(estimators: Sequence[str] = SIX, thresholds: Sequence[float] = THRESHOLDS,
                      seeds: int = 5, std: float = 0.004, source: str = "digits",
                      models: Iterable[str] = ("simplecnn",), mode: str = "roar",
                      failed: Sequence[tuple[str, float, int]] = (), root: int = 0,
                      classes: int = 0) -> pd.DataFrame:
    """Plausible results: accuracy falls with t by an estimator's strength; seeds shift all cells together.

    ``failed`` lists (estimator, threshold, seed); ``classes`` > 0 adds the column ``class_accuracy``.
    """
    rng = np.random.default_rng(root)
    rows = []
    for model in models:
        shift = rng.normal(0, std, seeds)
        cells = [("reference", 0.0)] + [(e, t) for e in estimators for t in thresholds if t > 0]
        for estimator, threshold in cells:
            known = facts_named(estimator)
            strength = STRENGTH.get(estimator if known["family"] == "control" else known["ensemble"], 0.2)
            strength *= {"integrated-gradients": 0.9, "guided-backprop": 1.1}.get(known["family"], 1.0)
            for seed in range(seeds):
                ok = (estimator, threshold, seed) not in failed
                accuracy = 0.93 - strength * (threshold / 90) ** 1.3 + shift[seed] + rng.normal(0, std)
                row = {
                    "source": source, "model": model, "regularizer": "recipe", "retrainer": model,
                    "estimator": estimator, **known, "architecture": model, "model_seed": 0, "variant": "scratch",
                    "mode": "roar" if estimator == "reference" else mode,
                    "fill": "mean", "threshold": threshold, "seed": seed, "status": "ok" if ok else "failed",
                    "accuracy": float(np.clip(accuracy, 0, 1)) if ok else np.nan, "n_test": 400, "epochs": 20,
                    "train_seconds": 2.5 if ok else np.nan, "device": "cpu",
                    "job": f"{estimator}-{threshold:g}-{seed}",
                    "message": "" if ok else "TrainingError: the loss became NaN in epoch 3; lower the rate."}
                if classes:
                    per_class = np.clip(accuracy + rng.normal(0, 0.05, classes), 0, 1)
                    row["class_accuracy"] = list(per_class) if ok else None
                rows.append(row)
    return pd.DataFrame(rows)


def with_controls(results: pd.DataFrame, blurred: float = 0.05, shape: float = 0.3, std: float = 0.004,
                  root: int = 1) -> pd.DataFrame:
    """The results and, for every estimator that is no control, its two controls.

    Under the equally smooth random ranking the accuracy is higher by ``blurred`` at t = 90; on the masks alone it
    falls from chance + ``shape`` to chance at t = 90.
    """
    rng = np.random.default_rng(root)
    judged = results[~results["estimator"].isin(["random", "sobel"]) & (results["threshold"] > 0)]
    t = judged["threshold"] / 90
    noise = rng.normal(0, std, (2, len(judged)))
    smooth = judged.assign(estimator="random-blurred(" + judged["estimator"] + ")", family="matched-spectrum",
                           base="random-blurred", ensemble="base", control_of=judged["estimator"],
                           accuracy=(judged["accuracy"] + blurred * t + noise[0]).clip(0, 1))
    masks = judged.assign(fill="mask-only", accuracy=(0.1 + shape * (1 - t) + noise[1]).clip(0, 1))
    masks = masks.assign(accuracy=masks["accuracy"].where(judged["status"] == "ok"))
    return pd.concat([results, *(part.assign(job=name + part["job"]) for name, part in
                                 (("blurred-", smooth), ("masks-", masks)))], ignore_index=True)


def deletion_of(strength: dict[str, float], mode: str = "roar", n_test: int = 10_000) -> pd.DataFrame:
    """Deletion curves that fall in a straight line from 93 % by so much at t = 90."""
    cells = [("reference", 0.0, 0.93)] + [(name, t, 0.93 - lost * t / 90) for name, lost in strength.items()
                                         for t in (10.0, 30.0, 50.0, 70.0, 90.0)]
    return pd.DataFrame([{"source": "digits", "model": "simplecnn", "regularizer": "recipe", "estimator": name,
                          **facts_named(name), "architecture": "simplecnn", "model_seed": 0, "mode": mode,
                          "fill": "mean", "threshold": t, "accuracy": accuracy, "n_test": n_test}
                         for name, t, accuracy in cells])


ROW = {"source": "digits", "model": "simplecnn", "regularizer": "none", "retrainer": "simplecnn", "estimator": "sobel",
       "mode": "roar", "fill": "mean", "threshold": 50.0, "seed": 0, "status": "ok", "accuracy": 0.5, "n_test": 10,
       "epochs": 1, "train_seconds": 1.0, "device": "cpu", "job": "k", "protocol": "p1", "ranking": "r1",
       "family": "control", "base": "sobel", "ensemble": "base", "control_of": "", "control_of_ranking": "",
       "architecture": "simplecnn", "model_seed": 0, "variant": "scratch", "message": ""}
