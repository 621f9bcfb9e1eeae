"""The audit of the metrics as files: tables, a figure, what may be said, and a page of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from roar.store.store import Store

if TYPE_CHECKING:
    import pandas as pd

    from roar.audit.run import Audit, Audited

FOLDER = "reports"


@dataclass(frozen=True, eq=False)
class AuditReport:
    """What was written: the table, the sentences, and the files by their full names."""

    table: pd.DataFrame
    findings: list[str]
    files: list[str]


def write_audit(store: Store, audited: Audited, asked: Audit, papers: Mapping[str, str]) -> AuditReport:
    """Write table, qualities, scores, figure and page below ``reports/``.

    Args:
        asked: what the audit spans, told on the page.
        papers: where each metric comes from.
    """
    from roar.analysis.figures import render
    from roar.analysis.spreadsheets import csv_bytes
    from roar.audit.figures import audit_taus
    from roar.audit.table import audit, conclusions

    table = audit(audited.scores, audited.quality, audited.seconds)
    findings = conclusions(audited.scores, audited.quality)
    means = mean_scores(audited)
    figure = audit_taus(table)
    written = {
        "audit.csv": csv_bytes(table),
        "audit-estimators.csv": csv_bytes(means),
        "audit.svg": render(figure, "svg"),
        "audit.png": render(figure, "png"),
        "audit.html": _page(table, means, findings, asked, papers).encode(),
    }
    for name, data in written.items():
        store.files.write(f"{FOLDER}/{name}", data)
    return AuditReport(table, findings, [f"{store.location}/{FOLDER}/{name}" for name in written])


def mean_scores(audited: Audited) -> pd.DataFrame:
    """One row per source and estimator: its true quality, and its mean score by every metric, the best first."""
    scores = audited.scores.pivot_table(index=["source", "estimator"], columns="metric", values="score", sort=False)
    wide = audited.quality.drop(columns=["family", "base"]).merge(scores.reset_index(), on=["source", "estimator"])
    place = {source: i for i, source in enumerate(audited.quality["source"].unique())}
    return wide.sort_values(["source", "quality", "estimator"], ascending=[True, False, True], ignore_index=True,
                            key=lambda column: column.map(place) if column.name == "source" else column)


def summary_table(table: pd.DataFrame) -> pd.DataFrame:
    """The audit for people: a row per source and metric, that of all sources first."""
    import pandas as pd

    from roar.audit.table import ALL_SOURCES, ORDERS

    rows = []
    table = table.sort_values("source", key=lambda column: column != ALL_SOURCES, kind="stable")
    for (source, metric), part in table.groupby(["source", "metric"], sort=False):
        cells = {row["order"]: _tau(row["tau"], row["boot_low"], row["boot_high"]) for row in part.to_dict("records")}
        first = part.iloc[0]
        rows.append({"source": source, "metric": metric, **{order: cells.get(order, "") for order in ORDERS},
                     "draws": f"{first['n']} {first['draws']}", "seconds": f"{first['seconds']:.1f}"})
    return pd.DataFrame(rows)


def _tau(tau: float, low: float, high: float) -> str:
    interval = f" [{low:.2f}, {high:.2f}]" if low == low else " (one draw)"
    return f"{tau:.2f}{interval}"


def _page(table: pd.DataFrame, means: pd.DataFrame, findings: list[str], asked: Audit,
          papers: Mapping[str, str]) -> str:
    from roar.analysis.figures.inline import chart
    from roar.analysis.page import asset, fill
    from roar.audit.figures import audit_taus

    names = [column for column in means.columns if column not in ("source", "estimator", "quality")]
    label = "Kendall's tau of every metric with the true order, with intervals; the table below has the numbers"
    return fill("roar.audit", "page.html.j2", style=asset("page.css"), findings=findings, asked=asked, papers=papers,
                chart=chart(lambda medium: audit_taus(table, medium), label),
                rows=summary_table(table).to_dict("records"), metrics=names,
                sources=[(source, part.to_dict("records")) for source, part in means.groupby("source", sort=False)])
