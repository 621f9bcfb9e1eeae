"""The page: what it says, what it must not say, and that it needs nothing but itself."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from analysis_results import SIX, TWENTY, deletion_of, synthetic_results, with_controls

from roar.analysis.gallery import Gallery, GalleryRow
from roar.errors import AnalysisError
from roar.report.page import report_page

ROUGH_NAMES = ["<script>alert(1)</script>", "\"double\" & 'single'", "cat 😀", "שלום עולם", "</style></svg>"]
PROVENANCE = {
    "created": "2025-01-05", "versions": {"roar": "0.1.0", "python": "3.11"}, "hardware": ["2 CPU cores"],
    "keys": {"source": "digits-0123"}, "experiment": 'store = "<runs>"\n', "commands": ["roar run experiment.toml"],
    "notes": ["3 grayscale pictures were converted to color."], "citation": "@misc{run}"}
VOID = {"meta", "link", "input", "img", "br"}


class Page(HTMLParser):
    """The page's tree, flattened: tags with attributes, all text, and whether every tag was closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.crossed: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.crossed.append(tag)

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("script", "style"):
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def gallery_of(label: str = "cat") -> Gallery:
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    return Gallery((0.0, 50.0, 90.0), (GalleryRow("gradient", label, images),
                                       GalleryRow("sobel", label, images[..., :1].copy())))


@pytest.fixture(scope="module")
def full() -> Page:
    results = synthetic_results(classes=5, failed=[("vargrad", 90.0, 1), *[("sobel", 90.0, s) for s in range(5)]])
    text = report_page(results, {"deletion": deletion_of(dict.fromkeys(SIX, 0.3))}, PROVENANCE,
                       gallery_of(ROUGH_NAMES[0]), ROUGH_NAMES)
    return Page(text)


def test_the_page_is_well_formed_and_its_ids_are_unique(full: Page) -> None:
    assert full.open == full.crossed == []
    ids = [attributes["id"] for _, attributes in full.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = {attributes["href"] for tag, attributes in full.tags if tag == "a"}
    assert {link[1:] for link in links if link and link.startswith("#")} <= set(ids)


def test_the_page_loads_nothing(full: Page) -> None:
    for tag, attributes in full.tags:
        for name in ("src", "href", "srcset", "action", "data", "poster", "xlink:href"):
            value = attributes.get(name)
            if tag != "a" and value is not None:
                assert value.startswith("data:"), (tag, name, value)
    policy = next(a["content"] for t, a in full.tags if t == "meta" and a.get("http-equiv"))
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:")


def test_names_are_text_whatever_they_hold(full: Page) -> None:
    assert [tag for tag, _ in full.tags].count("script") == 1
    for name in ROUGH_NAMES:
        assert " ".join(name.split()) in full.words
    assert not [a for _, a in full.tags for name in a if name.startswith("on")]


def test_rough_names_everywhere_else() -> None:
    rough = ROUGH_NAMES[0]
    results = synthetic_results(["gradient", "random"], failed=[("gradient", 90.0, 0)])
    results = results.replace({"source": {"digits": rough}, "model": {"simplecnn": rough},
                               "estimator": {"gradient": rough}, "message": {results["message"].max(): rough}})
    page = Page(report_page(results, provenance={rough: {rough: rough}, "experiment": rough, "created": rough}))
    assert page.open == page.crossed == []
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert page.words.count(rough) > 10


def test_the_page_says_what_was_found_with_numbers(full: Page) -> None:
    assert "Better than both controls, random and sobel: vargrad +" in full.words
    assert re.search(r"Worse than random: gradient −\d\.\d \[−\d\.\d, −\d\.\d\]", full.words)
    assert "vargrad ranks first: its difference from every other ranked estimator is significant" in full.words


def test_the_page_says_what_is_missing(full: Page) -> None:
    assert "No seed finished in 1 cell: sobel at 90 % (n = 0)" in full.words
    assert "Fewer than 5 seeds finished in 1 cell: vargrad at 90 % (n = 4)" in full.words
    assert "6 jobs failed" in full.words
    assert full.words.count("the loss became NaN in epoch 3") == 6


def test_the_page_says_where_it_comes_from(full: Page) -> None:
    for words in ("2 CPU cores", "digits-0123", "roar run experiment.toml", 'store = "<runs>"', "@misc{run}",
                  "3 grayscale pictures", "arXiv:1806.10758", "Training, CPU hours"):
        assert words in full.words


@pytest.mark.parametrize(("results", "said"), [
    (synthetic_results(seeds=1), ["With one seed per cell there is no spread, no interval and no test"]),
    (synthetic_results(seeds=2), ["Two seeds leave one degree of freedom"]),
    (synthetic_results(thresholds=[0.0, 50.0]), ["With one threshold, 50 %"]),
    (synthetic_results(["gradient"]), ["With one estimator there is no ranking", "Without a control"]),
    (synthetic_results(["gradient", "vargrad", "random"]),
     ["No estimator is compared with sobel", "Better than random: vargrad"]),
    (synthetic_results(std=0.2, root=3), ["No estimator is shown to be better", "First place is open among"]),
    (synthetic_results().query("estimator != 'reference'"), ["No training on unmodified images (t = 0) finished"]),
    (synthetic_results([]), ["Nothing to report yet"]),
    (synthetic_results().iloc[:0], ["Nothing to report yet"]),
    (synthetic_results().assign(status="failed", accuracy=np.nan), ["155 jobs failed", "No seed finished in 30 cells"]),
    (synthetic_results().query("not (estimator == 'sobel' and threshold == 50)"),
     ["1 cell (estimator and threshold) was not run"]),
    (synthetic_results(mode="kar"), ["least important pixels (KAR)"]),
])
def test_poor_results_give_a_page_that_says_so(results: pd.DataFrame, said: list[str]) -> None:
    page = Page(report_page(results))
    assert page.open == page.crossed == []
    for words in [*said, "Deletion was not run", "made without degraded images", "No further provenance"]:
        assert words in page.words
    assert not re.search(r"\bnan\b|None\b(?!\.)|undefined", page.words)


def test_one_seed_claims_nothing() -> None:
    words = Page(report_page(synthetic_results(seeds=1))).words
    found = words[words.index("With one seed"):words.index("Advantage: accuracy points")]
    board = words[words.index("pairwise tests leave open"):words.index("Accuracy against threshold")]
    for claim in ("better", "worse", "ranks first:", "±", "[+", "[−"):
        assert claim not in found + board
    verdicts = 2 * len(SIX) - 3  # random is held against neither control, sobel not against itself
    assert board.count("not tested") == 3 * verdicts  # in the table, and in the wide and the narrow chart
    assert board.count("no interval, no test") == len(SIX)  # each row's note
    assert "(1–6)" in board


def test_several_panels_are_kept_apart() -> None:
    kar = synthetic_results(models=("a",), mode="kar").query("estimator != 'reference'")
    page = Page(report_page(pd.concat([synthetic_results(models=("a", "b")), kar])))
    titles = [f"digits · {name}" for name in ("a", "a · kar", "b")]
    assert all(title in page.words for title in titles)
    assert len([1 for tag, a in page.tags if tag == "section" and str(a.get("id")).startswith("panel-")]) == 3


def test_twenty_estimators_fit_into_five_megabytes() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (6, 224, 224, 3), dtype=np.uint8)  # the worst to compress
    gallery = Gallery((0.0, 10.0, 30.0, 50.0, 70.0, 90.0), tuple(GalleryRow(name, "cat", noise) for name in TWENTY))
    text = report_page(synthetic_results(TWENTY, classes=10), {"deletion": deletion_of(dict.fromkeys(TWENTY, 0.3))},
                       PROVENANCE, gallery)
    assert len(text.encode()) < 5_000_000


def test_the_same_results_give_the_same_page() -> None:
    results = synthetic_results()
    assert report_page(results) == report_page(results.sample(frac=1, random_state=0))


def test_a_gallery_must_be_images() -> None:
    with pytest.raises(AnalysisError, match=r"uint8 \[1, H, W, 1 or 3\]"):
        Gallery((0.0,), (GalleryRow("gradient", "cat", np.zeros((1, 8, 8, 3))),))


def test_the_page_lays_every_curve_beside_its_controls() -> None:
    results = with_controls(synthetic_results(classes=5))
    explained = (results["fill"] == "mask-only") & (results["estimator"] == "vargrad") & (results["threshold"] == 90)
    results.loc[explained, "accuracy"] += 0.5
    page = Page(report_page(results))
    assert page.open == page.crossed == []
    section = page.words[page.words.index("Accuracy depends on more"):page.words.index("The four findings")]
    assert re.search(r"Accuracy is lower than under the matched-spectrum control \(points, mean over t\): gradient "
                     r"\+2\.\d \[\+2\.\d, \+\d\.\d\]", section)
    assert "better than chance for classes of equal size (20.0 %): gradient 2" in section
    assert "these cells cannot rank estimators: vargrad at 90 %." in section
    assert "higher than on the masks alone at every threshold: gradient; smoothgrad; smoothgrad-squared." in section
    assert section.count("mask alone") == 2 * 4  # the labels of four charts, and what they say when pointed at
    before = page.words[:page.words.index("Accuracy depends on more")]
    assert not re.search("random-blurred|mask-only", before)
    assert "controls" not in {a.get("data-estimator") for _, a in page.tags}


def test_recursive_roar_has_its_panel_and_its_faithfulness() -> None:
    plain = synthetic_results(classes=5)
    again = plain[plain["estimator"].isin(["gradient", "vargrad"])]
    results = pd.concat([plain, again.assign(mode="recursive", job="again-" + again["job"])], ignore_index=True)
    page = Page(report_page(results))
    assert page.open == page.crossed == []
    assert "ranked again at every step with the network of the step before (recursive ROAR)" in page.words
    assert "their trainings of mode ROAR are used" in page.words
    section = page.words[page.words.index("The relative area between curves"):page.words.index("The four findings")]
    assert re.search(r"vargrad \+\d+\.\d % \[\+\d+\.\d, \+\d+\.\d\] 5 not measured: chance, 1 / K", section)


def test_one_seed_claims_nothing_beyond_its_controls() -> None:
    words = Page(report_page(with_controls(synthetic_results(seeds=1)))).words
    section = words[words.index("Accuracy depends on more"):words.index("The four findings")]
    assert "With one finished seed there is no interval" in section
    assert "Accuracy is lower" not in section
    assert "[" not in section


def test_a_page_without_controls_says_how_to_run_them() -> None:
    words = Page(report_page(synthetic_results())).words
    assert "were not run, so the effect of shape" in words
    assert "run them with --control mask-only,random-blurred" in words


def test_first_place_is_not_claimed_where_a_pair_was_not_tested() -> None:
    # vargrad and gradient share one seed, so that pair has no test; random beats gradient, and vargrad beats random.
    failed = [("vargrad", 90.0, 2), ("vargrad", 90.0, 3), ("gradient", 90.0, 0)]
    results = synthetic_results(["gradient", "vargrad", "random"], seeds=4, std=0.0002, failed=failed)
    words = Page(report_page(results)).words
    assert "ranks first" not in words
    assert ("No ranked estimator is significantly better than vargrad, but first place is open: 1 of its 2 differences "
            "from the others is not significant or was not tested") in words
    assert "1 of the 3 pairs of ranked estimators was not tested" in words


def test_an_untested_difference_is_not_called_insignificant() -> None:
    results = synthetic_results(["gradient", "vargrad", "random"], seeds=3, failed=[
        ("gradient", 90.0, 0), ("gradient", 90.0, 1)])
    words = Page(report_page(results)).words
    assert re.search(r"Not tested against random \(a test needs .*?\): gradient −\d\.\d \(no interval\)\.", words)
    assert "Not significantly different from random" not in words
