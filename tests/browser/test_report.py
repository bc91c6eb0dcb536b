"""The report of a run in a browser: it loads whole, alone, without errors, and fits wide and narrow windows."""

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from synthetic import synthetic_result, synthetic_series

from cascade_sim.plots import CHARTS
from cascade_sim.report import write_report
from cascade_sim.result import arm_table

pytestmark = pytest.mark.browser

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    table = pd.DataFrame(
        {
            "arm": ["without both", "without delta hedging", "without liquidation", "everything on"],
            "liquidation": [False, True, False, True],
            "delta_hedging": [False, False, True, True],
            "max_adverse_excursion": [-356.6, -540.0, -500.0, -702.4],
            "liquidated_notional": [0.0, 1.4e7, 0.0, 2.03e7],
        }
    )
    arms = {
        "without both": synthetic_series(0.0365, forced=False),
        "without liquidation": synthetic_series(0.05),
    }
    result = dataclasses.replace(synthetic_result(), arms=arm_table(arms), counterfactual=table)
    return write_report(result, tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip("no chromium here")
    with playwright.sync_playwright() as session:
        opened = session.chromium.launch(executable_path=program, args=list(QUIET))
        yield opened
        opened.close()


@pytest.mark.parametrize("width", [1200, 400])
def test_the_page_loads_alone_and_fits(browser: Any, report: Path, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900})
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(report.as_uri())
    assert page.title() == "A fall & a <partial> recovery"
    sizes = page.evaluate(
        "[...document.images].map(i => [i.complete, i.naturalWidth, i.clientWidth, i.alt.length])"
    )
    assert len(sizes) == len(CHARTS)
    for complete, natural, shown, described in sizes:
        assert complete
        assert natural > 1000
        assert shown >= min(600, width - 40)  # letters stay readable: a narrow window scrolls the chart
        assert described > 40
    # What is wider than the window scrolls in its own frame, never the page.
    overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow <= 0
    headings = page.locator("h2").all_inner_texts()
    assert headings == [
        "What happened",
        "How much was forced",
        "Who paid",
        "What would have happened without",
        "Key figures",
        "Parameters",
        "How to reproduce",
    ]
    page.locator("summary").click()
    assert page.locator("details pre").is_visible()
    assert said == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    page.close()


def test_text_has_contrast(browser: Any, report: Path) -> None:
    page = browser.new_page()
    page.goto(report.as_uri())
    colours = page.evaluate(
        "[...document.querySelectorAll('p,li,td,th,h1,h2,h3,figcaption,footer,pre,summary')]"
        ".map(e => getComputedStyle(e).color.match(/\\d+/g).slice(0, 3).map(Number))"
    )
    linear = [
        [c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in rgb] for rgb in colours
    ]
    luminance = [0.2126 * red + 0.7152 * green + 0.0722 * blue for red, green, blue in linear]
    # WCAG 2.1, success criterion 1.4.3: contrast ratio with white of at least 4.5.
    assert min(1.05 / (value + 0.05) for value in luminance) >= 4.5
    page.close()
