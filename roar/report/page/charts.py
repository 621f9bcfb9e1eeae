"""The page's charts: curves, interval bars, critical difference, deletion against ROAR."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from roar.analysis.beside import BLURRED, MASK_ONLY
from roar.analysis.figures.beyond import NAMES
from roar.analysis.figures.style import spread
from roar.analysis.names import REFERENCE, order
from roar.analysis.ranks import CriticalDifference
from roar.report.page import svg

WIDE, NARROW, SMALL = 760.0, 360.0, 240.0


def curve_chart(part: pd.DataFrame, mode: str, label: str, width: float = WIDE, over: str = "seeds",
                limits: tuple[float, float] | None = None) -> Markup:
    """Accuracy against threshold for one panel of :func:`roar.analysis.curves`.

    Args:
        part: the panel's rows, its reference among them.
        mode: ``roar`` or ``kar``.
        label: what the chart shows, for those who do not see it.
        width: :data:`WIDE` has names at the lines' ends; the others leave them to the legend; :data:`SMALL` has
            neither bands nor points.
        over: what the intervals are over.
        limits: of the accuracy in percent, for charts that share a scale.
    """
    rows = part[part["mean"].notna()].sort_values("threshold", kind="stable")
    rows = rows.assign(**{name: 100 * rows[name] for name in ("mean", "ci_low", "ci_high")})
    lines: dict[str, list[dict[Hashable, Any]]] = {}
    for row in rows.to_dict("records"):
        lines.setdefault(row["estimator"], []).append(row)
    reference = lines.pop(REFERENCE, [])[:1]
    names = sorted(lines, key=order)
    room = max(len(name) for name in [*names, "nothing replaced"]) * svg.CHARACTER + 26 if width == WIDE else 12.0
    height = {WIDE: max(380.0, 15.0 * len(names) + 90), NARROW: 320.0, SMALL: 170.0}[width]
    x = svg.Scale(0.0, float(max(rows["threshold"].max(), 1.0)) if len(rows) else 100.0, 46.0, width - room)
    y = svg.Scale(*(limits or _limits(rows)), height - 44.0, 14.0)
    body = [*_axes(x, y, sorted({0.0, *rows["threshold"]}), mode, width)]
    ends: list[tuple[str, float, float]] = []
    for row in reference:
        top = y(row["mean"])
        said = f"nothing replaced: {_measured(row, over)}"
        body.append(Markup('<g class="series f-reference"><line class="line" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" '
                           'y2="{:.1f}" stroke-dasharray="7 4"><title>{}</title></line></g>').format(
            x.start, top, x.end, top, said))
        ends.append((REFERENCE, x.end, top))
    for name in names:
        own = [*reference, *lines[name]]
        places = [(x(row["threshold"]), y(row["mean"])) for row in own]
        ends.append((name, *places[-1]))
        pieces = [Markup('<polyline class="line" points="{}" stroke-dasharray="{}"/>').format(
            svg.points(places), svg.dash_array(name))]
        if width != SMALL:
            pieces = [*_band(own, x, y), *pieces]
            pieces += [svg.marker(name, *place, f"{name}, {row['threshold']:g} % replaced: {_measured(row, over)}")
                       for row, place in zip(own, places, strict=True)]
        body.append(Markup('<g class="series {}" data-estimator="{}">{}</g>').format(
            svg.series_class(name), name, svg.joined(pieces)))
    if width == WIDE:
        body += _end_labels(ends, x.end, y)
    return svg.chart(width, height, label, body, {WIDE: "wide", NARROW: "narrow", SMALL: "small"}[width])


def control_chart(here: Mapping[str, str], own: pd.DataFrame, beside: pd.DataFrame, random: pd.DataFrame,
                  limits: tuple[float, float]) -> Markup:
    """One of :func:`roar.analysis.figures.beyond.multiples`: a curve, its controls, and random in grey."""
    name, width, height = here["estimator"], 330.0, 200.0
    lines = [("random", "random", random, "none"), (name, "itself", own, "none"),
             *((name, NAMES[str(control)], line, {BLURRED: "7 4", MASK_ONLY: "1.5 3"}[str(control)])
               for control, line in beside.groupby("control", sort=False))]
    lines = [(who, words, line.sort_values("threshold"), dashes) for who, words, line, dashes in lines if len(line)]
    thresholds = sorted({0.0, *own["threshold"], *beside["threshold"]})
    x, y = svg.Scale(0.0, max(thresholds), 34.0, width - 122.0), svg.Scale(*limits, height - 30.0, 10.0)
    body = [*_axes(x, y, thresholds, here["mode"], SMALL)]
    places = spread([y(100 * line["mean"].iloc[-1]) for _, _, line, _ in lines], 13.0, y.end, y.start)
    for (who, words, line, dashes), place in zip(lines, places, strict=True):
        rows: list[dict[Hashable, Any]] = line.assign(
            **{part: 100 * line[part] for part in ("mean", "ci_low", "ci_high")}).to_dict("records")
        at = [(x(row["threshold"]), y(row["mean"])) for row in rows]
        said = "; ".join(f"{row['threshold']:g} %: {_measured(row, 'seeds')}" for row in rows)
        inside = [{**row, **{end: np.clip(row[end], *limits) for end in ("ci_low", "ci_high")}} for row in rows]
        pieces = [*_band(inside, x, y),
                  Markup('<polyline class="{}" points="{}" stroke-dasharray="{}"><title>{}</title></polyline>').format(
                      "line" if words == "itself" else "thin", svg.points(at), dashes, f"{words}, {said}"),
                  Markup('<polyline class="leader" points="{}"/>').format(svg.points([at[-1], (x.end + 12, place)])),
                  svg.text(x.end + 15, place + 4, words, "end")]
        body.append(Markup('<g class="series {}">{}</g>').format(svg.series_class(who), svg.joined(pieces)))
    label = f"Test accuracy against the share of pixels replaced by {name}, beside its controls"
    return svg.chart(width, height, label, body, "small")


def _limits(rows: pd.DataFrame) -> tuple[float, float]:
    values = rows[["mean", "ci_low", "ci_high"]].to_numpy(dtype=np.float64)
    low, high = (np.nanmin(values), np.nanmax(values)) if np.isfinite(values).any() else (0.0, 100.0)
    pad = max(0.04 * (high - low), 0.5)
    return max(0.0, float(low - pad)), min(100.0, float(high + pad)) if high <= 100 else float(high + pad)


def _axes(x: svg.Scale, y: svg.Scale, thresholds: list[float], mode: str, width: float) -> Iterator[Markup]:
    for value in svg.nice_ticks(y.low, y.high, 6 if width > SMALL else 3):
        yield svg.line(x.start, y(value), x.end, y(value), "grid")
        yield svg.text(x.start - 6, y(value) + 4, f"{value:g}", anchor="end")
    for value in svg.thinned(thresholds, x, 24.0):
        yield svg.line(x(value), y.start, x(value), y.start + 4, "axis")
        yield svg.text(x(value), y.start + 17, f"{value:g}", anchor="middle")
    yield svg.line(x.start, y.start, x.end, y.start, "axis")
    if width > SMALL:
        yield svg.text((x.start + x.end) / 2, y.start + 36,
                       f"{'least' if mode == 'kar' else 'most'} important pixels replaced (%)", "name", "middle")
        middle = (y.start + y.end) / 2
        yield Markup('<text class="name" text-anchor="middle" transform="translate(12,{:.1f}) rotate(-90)">'
                     "test accuracy (%)</text>").format(middle)


def _band(own: list[dict[Hashable, Any]], x: svg.Scale, y: svg.Scale) -> Iterator[Markup]:
    """The interval's band, in as many pieces as there are runs of thresholds with an interval."""
    run: list[dict[Hashable, Any]] = []
    for row in [*own, None]:
        if row is not None and np.isfinite(row["ci_low"]):
            run.append(row)
            continue
        if run:
            edge = [(x(r["threshold"]), y(r["ci_high"])) for r in run]
            edge += [(x(r["threshold"]), y(r["ci_low"])) for r in reversed(run)]
            yield Markup('<polygon class="band" points="{}"/>').format(svg.points(edge))
        run = []


def _end_labels(ends: list[tuple[str, float, float]], right: float, y: svg.Scale) -> Iterator[Markup]:
    places = spread([place for _, _, place in ends], 14.0, y.end, y.start)
    for (name, at, own), place in zip(ends, places, strict=True):
        shown = "nothing replaced" if name == REFERENCE else name
        data = Markup("") if name == REFERENCE else Markup(' data-estimator="{}"').format(name)
        yield Markup('<g class="series {}"{}><polyline class="leader" points="{}"/>{}</g>').format(
            svg.series_class(name), data, svg.points([(at + 5, own), (right + 18, place)]),
            svg.text(right + 21, place + 4, shown, "end"))


def _measured(row: Mapping[Hashable, Any], over: str) -> str:
    said = f"{row['mean']:.1f} %"
    if np.isfinite(row["ci_low"]):
        said += f", 95 % interval over {over} {row['ci_low']:.1f} to {row['ci_high']:.1f}"
    n = int(row["n"])
    return said + (f" ({n} seed{'' if n == 1 else 's'})" if over == "seeds" else "")


def interval_bar(row: dict[str, Any], control: str, low: float, high: float) -> Markup:
    """An advantage and its t interval on a scale that all rows of a leaderboard share; hollow is not told apart."""
    value = row[f"{control}_advantage"]
    if pd.isna(value):
        return Markup("")
    x = svg.Scale(low, high, 6.0, 154.0)
    pieces = [svg.line(x(0.0), 1, x(0.0), 19, "zero")]
    if np.isfinite(row[f"{control}_ci_low"]):
        pieces.append(svg.line(x(row[f"{control}_ci_low"]), 10, x(row[f"{control}_ci_high"]), 10, "line"))
    told_apart = row[f"{control}_verdict"] in ("better", "worse")
    pieces.append(Markup('<circle class="{}" cx="{:.1f}" cy="10" r="4"/>').format(
        "pt" if told_apart else "pt hollow", x(value)))
    return Markup('<svg class="bar {}" viewBox="0 0 160 20" aria-hidden="true">{}</svg>').format(
        svg.series_class(row["estimator"]), svg.joined(pieces))


def critical_chart(test: CriticalDifference) -> Markup:
    """Mean ranks on a line; bars join the estimators that cannot be told apart."""
    k = len(test.estimators)
    half = (k + 1) // 2
    left, right, top = 230.0, 530.0, 56.0
    x = svg.Scale(1.0, float(k), left, right)
    labels = top + 11.0 * (len(test.groups) + 1) + 8
    body = [svg.line(left, top, right, top, "axis")]
    for rank in svg.thinned([float(r) for r in range(1, k + 1)], x, 22.0):
        body += [svg.line(x(rank), top, x(rank), top - 6, "axis"), svg.text(x(rank), top - 10, f"{rank:g}",
                                                                          anchor="middle")]
    if test.distance < k - 1:
        body.append(svg.line(left, 26, left + test.distance / (k - 1) * (right - left), 26, "cd"))
    body.append(svg.text(left, 18, f"critical difference {test.distance:.1f}; rank 1 is best"))
    for i, (first, last) in enumerate(test.groups):
        at = top + 11.0 * (i + 1)
        body.append(svg.line(x(test.mean_ranks[first]) - 3, at, x(test.mean_ranks[last]) + 3, at, "cd"))
    for i, (name, rank) in enumerate(zip(test.estimators, test.mean_ranks, strict=True)):
        on_left = i < half
        at = labels + 17.0 * (i if on_left else k - 1 - i)
        edge = left - 12 if on_left else right + 12
        words = f"{name} {rank:.1f}" if on_left else f"{rank:.1f} {name}"
        body.append(Markup('<g class="series {}"><polyline class="thin" points="{}"/>{}</g>').format(
            svg.series_class(name), svg.points([(x(rank), top), (x(rank), at), (edge, at)]),
            svg.text(edge - 4 if on_left else edge + 4, at + 4, words, "end", "end" if on_left else "start")))
    label = "Mean ranks over " + f"{test.blocks} {test.block}s: " + ", ".join(
        f"{name} {rank:.1f}" for name, rank in zip(test.estimators, test.mean_ranks, strict=True))
    return svg.chart(WIDE, labels + 17.0 * half, label, body, "wide always")


def scatter_chart(both: pd.DataFrame, control: str, width: float = WIDE) -> Markup:
    """Rows of :func:`roar.analysis.deletion_beside_roar`: deletion across, ROAR up, with 95 % intervals."""
    rows = sorted(both.to_dict("records"), key=lambda row: -row["roar"])
    height = 420.0 if width == WIDE else 340.0
    room = max(len(row["estimator"]) for row in rows) * svg.CHARACTER + 30 if width == WIDE else 14.0
    x = svg.Scale(*_around(both[["deletion", "deletion_low", "deletion_high"]]), 50.0, width - room)
    y = svg.Scale(*_around(both[["roar", "roar_low", "roar_high"]]), height - 44.0, 12.0)
    body: list[Markup] = []
    for value in svg.nice_ticks(y.low, y.high):
        body += [svg.line(x.start, y(value), x.end, y(value), "grid" if value else "zero"),
                 svg.text(x.start - 6, y(value) + 4, f"{value:g}".replace("-", "−"), anchor="end")]
    for value in svg.thinned(svg.nice_ticks(x.low, x.high), x, 28.0):
        body += [svg.line(x(value), y.start, x(value), y.end, "grid" if value else "zero"),
                 svg.text(x(value), y.start + 17, f"{value:g}".replace("-", "−"), anchor="middle")]
    body.append(svg.text((x.start + x.end) / 2, y.start + 36, f"over {control} without retraining (points)", "name",
                         "middle"))
    body.append(Markup('<text class="name" text-anchor="middle" transform="translate(12,{:.1f}) rotate(-90)">'
                       "over {} retrained (points)</text>").format((y.start + y.end) / 2, control))
    for row in rows:
        at = (x(row["deletion"]), y(row["roar"]))
        pieces = [svg.line(x(row["deletion_low"]), at[1], x(row["deletion_high"]), at[1], "thin")]
        if np.isfinite(row["roar_low"]):
            pieces.append(svg.line(at[0], y(row["roar_low"]), at[0], y(row["roar_high"]), "thin"))
        said = f"{row['estimator']}: {svg.signed(row['deletion'])} without retraining, " \
               f"{svg.signed(row['roar'])} retrained"
        pieces.append(svg.marker(row["estimator"], *at, said))
        body.append(Markup('<g class="series {}" data-estimator="{}">{}</g>').format(
            svg.series_class(row["estimator"]), row["estimator"], svg.joined(pieces)))
    if width == WIDE:
        body += _end_labels([(row["estimator"], x(row["deletion"]), y(row["roar"])) for row in rows], x.end, y)
    label = f"Advantage over {control} without retraining against the advantage with it, one point per estimator"
    return svg.chart(width, height, label, body, "wide" if width == WIDE else "narrow")


def _around(frame: pd.DataFrame) -> tuple[float, float]:
    values = frame.to_numpy(dtype=np.float64)
    low, high = min(0.0, np.nanmin(values)), max(0.0, np.nanmax(values))
    pad = max(0.06 * (high - low), 0.5)
    return float(low - pad), float(high + pad)
