"""The section of the report's page on how far the rankings agree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from roar.analysis.curves import panel_title
from roar.analysis.figures.inline import inline
from roar.analysis.figures.style import PAGE
from roar.analysis.page import Section, fill, rows_of
from roar.metrics.agreement.figures import agreement_heatmap
from roar.metrics.agreement.summary import TIED, Agreement, agreements


def section(frames: Mapping[str, pd.DataFrame]) -> Section:
    """The heat map of each network's rankings."""
    pairs = rows_of(frames, "ranking-agreement")
    networks = [] if pairs is None else [_network(one, pairs) for one in agreements(pairs)]
    return Section("pixels", "Do the estimators name the same pixels?", "Same pixels?",
                   fill(__package__, "page.html.j2", networks=networks, tied=TIED))


def _network(one: Agreement, pairs: pd.DataFrame) -> dict[str, Any]:
    own = pairs[(pairs["source"] == one.here["source"]) & (pairs["regularizer"] == one.here["regularizer"])
                & ((pairs["model"] == one.here["model"]) | (pairs["across"] == "seeds"))]
    label = (f"Rank correlation of {len(one.estimators)} estimators' rankings over {one.images} test images; the "
             "numbers are in the cells")
    return {"title": panel_title(one.here), "agreement": one,
            "chart": inline(agreement_heatmap(own, PAGE), label, "wide always")}
