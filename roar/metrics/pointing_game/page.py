"""The section of the report's page on the pointing game."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from roar.analysis.curves import panel_title
from roar.analysis.page import Section, fill, rows_of
from roar.store.facts import NETWORK


def section(frames: Mapping[str, pd.DataFrame]) -> Section:
    """The hits of every network's estimators, best first, beside chance."""
    hits = rows_of(frames, "pointing-game")
    networks = [] if hits is None else [{"title": panel_title(dict(zip(NETWORK, map(str, values), strict=True))),
                 "rows": part.to_dict("records")} for values, part in hits.groupby(list(NETWORK), sort=False)]
    return Section("pointing-game", "Is the top pixel informative?", "Top pixel",
                   fill(__package__, "page.html.j2", networks=networks))
