"""The page's sections: what a metric brings is shown, and the page knows no metric by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import pandas as pd
from analysis_results import SIX, deletion_of, synthetic_results
from markupsafe import Markup

from roar.analysis.page import Section, rows_of
from roar.metrics import METRICS
from roar.metrics.deletion.page import section as deletion_section
from roar.registry import load
from roar.report.page import report_page

SEEN: list[dict[str, pd.DataFrame]] = []


def toy(frames: Mapping[str, pd.DataFrame]) -> Section:
    SEEN.append(dict(frames))
    return Section("toy-section", "Is <it> a toy?", "Toy & more", Markup("<p>a <b>toy</b></p>"))


def nothing(frames: Mapping[str, pd.DataFrame]) -> None:
    return None


def test_a_metric_brings_its_section_and_its_link() -> None:
    SEEN.clear()
    bare = dataclasses.replace(METRICS.find("deletion"), tables=(), leaderboard=None, figures=None)
    metrics = [*METRICS.all(), dataclasses.replace(bare, page=toy), dataclasses.replace(bare, page=nothing)]
    own = pd.DataFrame({"estimator": ["gradient"]})
    page = report_page(synthetic_results(), {"toy-table": own}, metrics=metrics)
    assert '<section id="toy-section" aria-labelledby="toy-section-title">' in page
    assert '<h2 id="toy-section-title">Is &lt;it&gt; a toy?</h2>' in page
    assert "<p>a <b>toy</b></p>" in page
    assert '<a href="#toy-section">Toy &amp; more</a>' in page
    assert page.count("<section") == report_page(synthetic_results()).count("<section") + 1
    assert SEEN[0]["toy-table"] is own
    assert set(SEEN[0]) >= {"results", "curves", "toy-table"}


def test_every_section_of_a_metric_is_on_the_page_whether_or_not_it_was_measured() -> None:
    page = report_page(synthetic_results())
    for metric in METRICS.all():
        if metric.page:
            section = load(metric.page)({"results": synthetic_results()})
            assert f'<section id="{section.id}"' in page
            assert str(section.html) in page
            assert 'class="empty"' in section.html


def test_names_in_a_section_are_text() -> None:
    rough = "<script>alert(1)</script>"
    deletion = deletion_of(dict.fromkeys(SIX, 0.3)).replace({"estimator": {"gradient": rough}, "model": {
        "simplecnn": rough}})
    section = deletion_section({"deletion": deletion, "results": synthetic_results()})
    assert "<script" not in section.html
    assert section.html.count("&lt;script&gt;") > 10


def test_rows_of_a_table_that_is_missing_or_empty() -> None:
    frame = pd.DataFrame({"a": [1]})
    assert rows_of({"one": frame}, "one") is frame
    assert rows_of({"one": frame.iloc[:0]}, "one") is None
    assert rows_of({}, "one") is None
