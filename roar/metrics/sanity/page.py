"""The section of the report's page on the sanity checks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from roar.analysis.curves import panel_title
from roar.analysis.facts import facts_of
from roar.analysis.figures.inline import chart
from roar.analysis.page import Section, fill, rows_of
from roar.metrics.sanity.figures import ROWS, sanity_curves
from roar.metrics.sanity.verdict import UNCHANGED, sanity_verdicts
from roar.store.facts import NETWORK


def section(frames: Mapping[str, pd.DataFrame]) -> Section:
    """The charts of each network and kind that has steps, and the verdicts."""
    sanity = rows_of(frames, "sanity")
    shown = {} if sanity is None else {
        "charts": [_steps(values, part) for values, part in sanity[(sanity["measure"] == "spearman") & (
            sanity["kind"] != "labels")].groupby([*NETWORK, "kind"], sort=False)],
        "verdicts": sanity_verdicts(sanity).to_dict("records"), "bound": UNCHANGED}
    return Section("sanity", "Do the estimators notice what the network learned?", "Sanity",
                   fill(__package__, "page.html.j2", **shown))


def _steps(values: tuple[object, ...], part: pd.DataFrame) -> dict[str, Any]:
    title = f"{panel_title(dict(zip(NETWORK, map(str, values), strict=False)))}: {ROWS[str(values[-1])]}"
    label = f"Correlation with the real ranking against the re-initialized layers, {title}"
    return {"title": title, "chart": chart(lambda medium: sanity_curves(part, medium=medium), label),
            "estimators": list(facts_of(part).values())}
