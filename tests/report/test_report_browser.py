"""The page in a real browser: no errors, no requests, sorting, toggles, keyboard, phone."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from analysis_results import SIX, TWENTY, deletion_of, synthetic_results, with_facts

from roar.analysis.gallery import Gallery, GalleryRow
from roar.report.page import report_page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
STILL = {"name": "prefers-reduced-motion", "value": "reduce"}  # a click must not race a smooth scroll
DRIVER = shutil.which("chromedriver")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium, driven by Selenium."""
    pytest.importorskip("selenium", reason="the page is opened with Selenium, which is not installed")
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("the page is opened in Chromium, and there is no chromium or no chromedriver on the path")
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    options.binary_location = CHROMIUM
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER, log_output=os.devnull))
    yield driver
    driver.quit()


def sanity_of(estimators: Sequence[str]) -> pd.DataFrame:
    """Sanity checks of three steps, in which every estimator notices that the network is another."""
    return with_facts(pd.DataFrame([
        {"source": "digits", "model": "simplecnn", "regularizer": "recipe", "estimator": name, "kind": "cascading",
         "step": step, "steps": 3, "layers": f"layer{step}", "measure": "spearman", "threshold": np.nan, "mean": mean,
         "std": 0.1, "n": 30, "ci_low": mean - 0.05, "ci_high": mean + 0.05, "by_chance": 0.0, "tied_share": 0.0,
         "train_accuracy": np.nan} for i, name in enumerate(estimators) for step in (1, 2, 3)
        for mean in [1 - step * (0.3 + 0.002 * i)]]))


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A full page on disk."""
    noise = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)
    gallery = Gallery((0.0, 10.0, 30.0, 50.0, 70.0, 90.0), (GalleryRow("vargrad", "<b>cat</b>", noise),))
    results = synthetic_results(TWENTY, classes=3, failed=[("vargrad", 90.0, 1)])
    path = tmp_path_factory.mktemp("report") / "report.html"
    frames = {"deletion": deletion_of(dict.fromkeys(SIX, 0.3)), "sanity": sanity_of(TWENTY[:-2])}
    names = ["<script>alert(1)</script>", "a \"b\" 'c' 😀", "שלום"]
    path.write_text(report_page(results, frames, {"versions": {"roar": "0.1.0"}}, gallery, names), encoding="utf-8")
    return Path(path).as_uri()


@pytest.fixture
def page(browser: Any, address: str) -> Any:
    """The page, freshly loaded at 1280 pixels."""
    resize(browser, 1280)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [STILL]})
    browser.get_log("performance")
    browser.get(address)
    return browser


def resize(browser: Any, width: int) -> None:
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
        "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500})


def test_no_errors_and_no_requests(page: Any, address: str) -> None:
    assert page.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    asked = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    assert [url for url in asked if not url.startswith(("data:", "file:"))] == []
    assert [url for url in asked if url.startswith("file:")] == [address]


def test_names_are_shown_as_text(page: Any) -> None:
    body = page.find_element("tag name", "body").text
    for name in ("<script>alert(1)</script>", "a \"b\" 'c' 😀", "שלום", "<b>cat</b>"):
        assert name in body


def test_sorting(page: Any) -> None:
    def column(of: int) -> list[str]:
        return page.execute_script(
            "return [...document.querySelectorAll('.board tbody tr')].map(r => r.cells[arguments[0]].dataset.value"
            " ?? r.cells[arguments[0]].innerText.trim())", of)

    head = page.find_elements("css selector", ".board thead th")[2]
    button = head.find_element("tag name", "button")
    button.click()
    rising = column(2)
    numbers = [float(text) for text in rising if text]
    assert head.get_attribute("aria-sort") == "ascending"
    assert numbers == sorted(numbers)
    assert rising[-1] == ""  # random has no advantage over itself: last in both directions
    button.send_keys("\n")  # by keyboard
    falling = column(2)
    assert head.get_attribute("aria-sort") == "descending"
    assert [float(text) for text in falling if text] == numbers[::-1]
    assert falling[-1] == ""
    page.find_elements("css selector", ".board thead th button")[1].click()
    assert column(1) == sorted(TWENTY)


def test_toggling_hides_an_estimator_everywhere(page: Any) -> None:
    def shown(name: str) -> int:
        return page.execute_script("return [...document.querySelectorAll('[data-estimator]')].filter(e => "
                                   "e.dataset.estimator === arguments[0] && !e.classList.contains('off')).length",
                                   name)

    before = shown("vargrad")
    box = page.find_elements("css selector", "[data-toggle='vargrad']")[0]
    box.send_keys(" ")
    assert before > 0
    assert shown("vargrad") == 0
    assert shown("sobel") > 0
    others = page.find_elements("css selector", "[data-toggle='vargrad']")
    assert not any(other.is_selected() for other in others)
    page.find_element("css selector", "[data-all='off']").click()
    assert shown("sobel") == 0
    page.find_element("css selector", "[data-all='on']").click()
    assert shown("vargrad") == before


def test_values_by_keyboard_and_by_pointer(page: Any) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    chart = page.find_element("css selector", "svg.chart.wide[aria-label^='Test accuracy']")
    tip = page.find_element("id", "tip")
    page.execute_script("arguments[0].focus()", chart)
    ActionChains(page).send_keys(Keys.ARROW_RIGHT).perform()
    assert tip.text.startswith("gradient, 0 % replaced: ")
    ActionChains(page).send_keys(Keys.ARROW_RIGHT, Keys.ARROW_DOWN).perform()
    assert tip.text.startswith("gradient-magnitude, 10 % replaced: ")
    assert "95 % interval over seeds" in tip.text
    ActionChains(page).send_keys(Keys.ESCAPE).perform()
    assert not tip.is_displayed()
    last = chart.find_elements("css selector", "[data-estimator='vargrad-gb'] .pt")[-1]
    ActionChains(page).move_to_element(last).perform()
    assert tip.text.startswith("vargrad-gb, 90 % replaced: ")


@pytest.mark.parametrize(("chart", "first", "second"), [
    ("Each estimator's advantage", "vargrad-gb over random: +", "smoothgrad-squared-gb over random: +"),
    ("Correlation with the real ranking", "gradient, nothing: +1.00", "gradient-magnitude, nothing: +1.00"),
    ("Advantage over random without retraining", "vargrad: ", "smoothgrad-squared: "),
])
def test_every_chart_is_read_by_keyboard(page: Any, chart: str, first: str, second: str) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    tip = page.find_element("id", "tip")
    page.execute_script("arguments[0].focus()", page.find_element(
        "css selector", f"svg.chart.wide[aria-label^=\"{chart}\"]"))
    ActionChains(page).send_keys(Keys.ARROW_RIGHT).perform()
    assert tip.text.startswith(first)
    ActionChains(page).send_keys(Keys.ARROW_DOWN).perform()
    assert tip.text.startswith(second)


def test_lines_follow_the_theme_and_stand_out(page: Any) -> None:
    ratios = """
      const lum = c => { const v = c.match(/[\\d.]+/g).slice(0, 3).map(x => x / 255)
          .map(x => x <= .04045 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4); return .2126*v[0]+.7152*v[1]+.0722*v[2]; };
      const paper = lum(getComputedStyle(document.body).backgroundColor);
      const lines = [...document.querySelectorAll('.series > path:not(.pt)')].map(e => getComputedStyle(e).stroke)
          .filter(c => c !== 'none');
      return [...new Set(lines)].map(c => (Math.max(lum(c), paper) + .05) / (Math.min(lum(c), paper) + .05));"""
    seen = []
    for scheme in ("light", "dark"):
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [
            STILL, {"name": "prefers-color-scheme", "value": scheme}]})
        seen.append(page.execute_script(ratios))
        assert len(seen[-1]) >= 5  # three families, the controls, the reference
        assert min(seen[-1]) >= 3  # WCAG 2.2, criterion 1.4.11
    assert seen[0] != seen[1]


@pytest.mark.parametrize("width", [390, 1280])
def test_every_chart_has_one_drawing_for_each_width(page: Any, width: int) -> None:
    resize(page, width)
    page.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    charts: list[list[Any]] = page.execute_script(
        "return [...document.querySelectorAll('svg.chart')].map(e => [e.getAttribute('class'),"
        " e.getAttribute('aria-label'), e.getBoundingClientRect().width,"
        " e.closest('.scroll') ? 0 : e.getBoundingClientRect().right])")
    shown = [(kind, label) for kind, label, wide, _ in charts if wide > 0]
    assert len({label for _, label in shown}) == len(shown) == len({label for _, label, _, _ in charts})
    assert all(right <= width for *_, right in charts)
    hidden = "chart narrow" if width > 704 else "chart wide"
    assert hidden not in {kind for kind, _ in shown}


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_nothing_sticks_out_at_any_width(page: Any, width: int) -> None:
    resize(page, width)
    page.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    wide, narrow = (page.find_element("css selector", f"svg.chart.{kind}").is_displayed()
                    for kind in ("wide", "narrow"))
    assert (wide, narrow) == (width > 704, width <= 704)


def test_contrast_in_light_and_dark(page: Any) -> None:
    luminance = """
      const lum = c => { const v = c.match(/[\\d.]+/g).slice(0, 3).map(x => x / 255)
          .map(x => x <= .04045 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4); return .2126*v[0]+.7152*v[1]+.0722*v[2]; };
      const paper = lum(getComputedStyle(document.body).backgroundColor);
      const ratio = c => { const a = lum(c); return (Math.max(a, paper) + .05) / (Math.min(a, paper) + .05); };
      const texts = [...document.querySelectorAll('p, li, td, th, a, summary, dt, dd, .soft, .verdict, strong')]
          .filter(e => !e.closest('.limits, .empty, #tip')).map(e => getComputedStyle(e).color);
      const labels = [...document.querySelectorAll('svg text')].map(e => getComputedStyle(e).fill);
      return Math.min(...[...new Set([...texts, ...labels])].map(ratio));"""
    for scheme in ("light", "dark"):
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [
            STILL, {"name": "prefers-color-scheme", "value": scheme}]})
        assert page.execute_script(luminance) >= 4.5  # WCAG 2.2, criterion 1.4.3


def test_every_control_has_a_name(page: Any) -> None:
    nameless = page.execute_script("""
      return [...document.querySelectorAll('button, input, a, [role=region], svg[role=img], img, [tabindex]')]
        .filter(e => !(e.textContent || e.getAttribute('aria-label') || e.alt || e.closest('label')?.textContent))
        .map(e => e.outerHTML.slice(0, 80))""")
    assert nameless == []
