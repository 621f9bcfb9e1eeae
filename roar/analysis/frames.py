"""Every table by name, what its columns mean, and the formats it can be written in."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Literal

import pandas as pd

from roar.analysis import beyond, classes, contrasts, faithfulness, leaderboard, paper, ranks
from roar.analysis import stability as agreement
from roar.analysis.curves import CELL, RESULT_COLUMNS, checked, curves, in_order
from roar.analysis.facts import FACTS, facts_of
from roar.analysis.spreadsheets import csv_bytes
from roar.analysis.tables import accuracy_table, plain_table
from roar.errors import UnknownNameError, shown

Format = Literal["csv", "json", "latex", "markdown", "parquet", "text"]
FORMATS: tuple[Format, ...] = ("csv", "json", "latex", "markdown", "parquet", "text")

TABLES: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "results": lambda results: tidy(results),
    "curves": curves,
    "accuracy": lambda results: accuracy_table(curves(results)),
    "leaderboard": leaderboard.leaderboard,
    "areas": contrasts.areas,
    "tests": contrasts.against_controls,
    "controls": beyond.beyond_controls,
    "faithfulness": faithfulness.faithfulness,
    "pairs": contrasts.pairwise,
    "ranks": ranks.ranks,
    "agreement": agreement.agreement,
    "classes": classes.per_class,
    "findings": paper.findings,
    "paper": lambda results: paper.against_paper(results).beside,
    "paper-order": lambda results: paper.against_paper(results).order,
}

COLUMNS: dict[str, str] = {
    "source": "the labeled images",
    "model": "the network that is explained",
    "regularizer": "its regularizer",
    "retrainer": "the architecture that is trained on degraded images",
    "estimator": "what ranked the pixels; `reference` is the cell at threshold 0 that all share",
    "family": "of the estimator: estimators of one family share forward and backward passes; `control`, "
              "`truth` and `matched-spectrum` are families too",
    "base": "the method that the estimator is, or that it is an ensemble around",
    "ensemble": "which ensemble it is: `base`, `magnitude`, `smoothgrad`, `smoothgrad-magnitude`, "
                "`smoothgrad-squared` or `vargrad`",
    "control_of": "the estimator that this one is a control of, by its name in this table; empty for the others",
    "control_of_ranking": "the key of that estimator's ranking",
    "architecture": "of the network that is explained",
    "model_seed": "of the network that is explained",
    "variant": "where the retraining starts: `scratch`, `fine-tune` or `head-only`; `none` where nothing is retrained",
    "mode": "what is replaced: `roar`: the most important pixels; `kar`: the least; `recursive`: the most "
            "important, ranked again at every step",
    "fill": "what replaces a pixel",
    "threshold": "percent of an image's pixels that are replaced; NaN means over all thresholds",
    "seed": "of the training",
    "status": "`ok` or `failed`",
    "accuracy": "on the degraded test split after the last epoch, in [0, 1]; NaN where the job failed",
    "class_accuracy": "the same per class: a list of K numbers in [0, 1], NaN for a class without test images",
    "n_test": "test images",
    "chance": "share of the test split's largest class, the accuracy of always answering it; in `controls` in percent",
    "epochs": "of the training",
    "train_seconds": "wall time of the training, seconds",
    "device": "device of the training",
    "job": "the job's key in the store",
    "message": "why it failed",
    "mean": "mean accuracy over seeds, in [0, 1]; in the table `paper` in percent",
    "std": "standard deviation over seeds, n - 1 in the denominator; unit of the mean or advantage it follows",
    "n": "seeds that count; in `ranking-agreement` and `sanity` test images",
    "ci_low": "lower end of the 95 % t interval over seeds, unit of the mean or advantage",
    "ci_high": "its upper end",
    "boot_low": "lower end of the 95 % percentile bootstrap interval over seeds, accuracy points",
    "boot_high": "its upper end",
    "advantage": "how much better the estimator is, accuracy points, mean over t; positive is better",
    "control": "the control that the estimator is compared with",
    "other": "the other estimator",
    "p": "two-sided paired t test that the advantage is zero",
    "p_holm": "p corrected by Holm's method over the tests of the panel (of the estimators compared)",
    "note": "what these numbers do not show, and why",
    "thresholds": "how many thresholds the area spans, 0 included",
    "noise_seed": "of what the estimator draws, from 0 on: each has a ranking of its own",
    "noise_seeds": "rankings of the estimator or the control under other noise, whose variance the interval covers",
    "noise_std": "standard deviation of the area between noise seeds, accuracy points; NaN with one",
    "mean_accuracy": "mean over t and seeds, percent",
    "rank": "1 is best; NA where the estimator cannot be ranked",
    "rank_low": "lower end of the rank's 95 % bootstrap interval",
    "rank_high": "its upper end",
    "sure_low": "best rank that the Holm-corrected tests of all pairs leave open",
    "sure_high": "worst such rank",
    "class_index": "number of the class, from 0",
    "class": "name of the class",
    "spearman": "Spearman's rank correlation, in [-1, 1]",
    "kendall": "Kendall's tau-b, in [-1, 1]",
    "estimators": "how many the correlation is over",
    "across": "what differs between the two places: `threshold`, `mode`, `fill` or `model`; between two rankings: the "
              "`estimators` of one network, the `seeds` of the network, or the `noise` of an estimator",
    "other_model": "the network of the other ranking",
    "measure": "`spearman`: rank correlation over all pixels; `iou`: intersection over union of the pixels on top",
    "by_chance": "the mean that two independent random rankings have",
    "tied_share": "share of pixels that tie with another pixel of their image; ties are broken at random, in [0, 1]",
    "other_tied_share": "the same of the other ranking",
    "folder": "of the artifact in the store",
    "sanity": "whether the estimator notices a randomized network: `notices`, `does not notice weights` (or labels, or "
              "both), `undecided`, `not checked`",
    "self_agreement": "mean Spearman correlation of the estimator's rankings under two noise seeds; NaN with one",
    "remark": "remark of a metric on the estimator, shown below its name",
    "where": "what both places have in common",
    "first": "the first place",
    "second": "the second place",
    "drop": "accuracy of the reference minus the estimator's, accuracy points",
    "beyond_blurred": "accuracy under the matched-spectrum control (an equally smooth random ranking) minus the "
                      "estimator's, accuracy points",
    "shape_accuracy": "accuracy of networks that see the estimator's masks alone, percent",
    "beyond_shape": "the estimator's accuracy minus that on its masks alone, accuracy points",
    **{f"{name}_{part}": f"`{name}`: {meaning}" for name in beyond.QUANTITIES for part, meaning in {
        "ci_low": "lower end of its 95 % t interval over seeds", "ci_high": "its upper end",
        "std": "its standard deviation over seeds, n - 1 in the denominator", "n": "seeds that count"}.items()},
    "racu": "area between random's curve and the estimator's, percent of that between random's and everything removed",
    "end": "accuracy with everything removed: `measured`, `chance`, or empty where neither is known",
    "finding": "number of the paper's finding",
    "claim": "the finding",
    "verdict": "`holds`, `does not hold`, `open` or `not measured`",
    "evidence": "the numbers that the verdict rests on",
    "dataset": "of the published table",
    "published_as": "the estimator's name in the published table",
    "imagenet": "published accuracy, percent",
    "food101": "published accuracy, percent",
    "birdsnap": "published accuracy, percent",
    **{f"{control}_{part}": f"against {control}: {meaning}" for control in ("random", "sobel") for part, meaning in {
        "advantage": "accuracy points, mean over t, positive is better",
        "ci_low": "lower end of the 95 % t interval over seeds", "ci_high": "its upper end",
        "boot_low": "lower end of the 95 % bootstrap interval over seeds", "boot_high": "its upper end",
        "p_holm": "p of the paired t test, Holm-corrected over the panel",
        "verdict": "`better`, `worse`, `open`, `untested`, or empty"}.items()},
}


def tidy(results: pd.DataFrame) -> pd.DataFrame:
    """The results in the order of all tables, with categories where a column repeats a few words.

    Raises:
        AnalysisError: columns are missing, or one cell holds the same seed twice.
    """
    results = in_order(checked(results))
    first = [*RESULT_COLUMNS, *(name for name in results.columns if name not in RESULT_COLUMNS)]
    results = results[first].astype({"threshold": float, "accuracy": float, "seed": "int64"})
    words: dict[str, pd.CategoricalDtype] = {}
    for column in (*CELL[:-1], "status", "device"):
        if column in results.columns:
            values = results[column].dropna().unique()
            ranked = list(facts_of(results)) if column == "estimator" else sorted(values)
            words[column] = pd.CategoricalDtype(ranked, ordered=False)
    return results.astype(words)


def table(results: pd.DataFrame, name: str) -> pd.DataFrame:
    """One of :data:`TABLES` by its name.

    Raises:
        UnknownNameError: there is no such table; names the nearest.
        AnalysisError: the results do not allow it.
    """
    if name not in TABLES:
        raise UnknownNameError("table", name, TABLES)
    return TABLES[name](results)


def render_table(frame: pd.DataFrame, kind: Format) -> bytes:
    """A table as the bytes of a file; text formats are UTF-8.

    ``csv``, ``json`` (a list of objects, null for a missing number) and ``parquet`` keep every digit;
    ``markdown``, ``latex`` and ``text`` (tab-separated) are for reading: they round to four significant digits and
    leave out the columns that only say what an estimator or a network is (:data:`roar.analysis.facts.FACTS`).

    Raises:
        UnknownNameError: there is no such format; names the nearest.
    """
    if kind not in FORMATS:
        raise UnknownNameError("table format", kind, FORMATS)
    if kind == "csv":
        return csv_bytes(frame)
    if kind == "json":
        return (json.dumps(json.loads(frame.to_json(orient="records", double_precision=15)), indent=1,
                           ensure_ascii=False) + "\n").encode()
    if kind == "parquet":
        stream = io.BytesIO()
        frame.to_parquet(stream, index=False)
        return stream.getvalue()
    shown = _rounded(frame.drop(columns=[name for name in FACTS if name in frame.columns]))
    if kind == "latex":
        return shown.to_latex(index=False, escape=True, column_format="l" * shown.shape[1]).encode()
    return (plain_table(shown) if kind == "text" else _markdown(shown)).encode()


def _rounded(frame: pd.DataFrame) -> pd.DataFrame:
    def cell(value: object) -> str:
        if isinstance(value, (list, tuple)):
            return ", ".join(map(cell, value))
        if value is None or value is pd.NA or value != value:  # NaN is not itself
            return ""
        return f"{value:.4g}" if isinstance(value, float) else shown(value)

    return pd.DataFrame({str(name): [cell(value) for value in frame[name]] for name in frame.columns})


def _markdown(shown: pd.DataFrame) -> str:
    def line(cells: list[str]) -> str:
        return "| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in cells) + " |"

    rows = [list(row) for row in shown.itertuples(index=False, name=None)]
    return "\n".join(map(line, [list(shown.columns), ["---"] * shown.shape[1], *rows])) + "\n"
