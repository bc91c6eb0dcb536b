"""Sentences and the HTML page."""

import base64
import dataclasses
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from synthetic import SUMMARY, synthetic_result, synthetic_series

from cascade_sim.domain.errors import DataFileError, OutputError
from cascade_sim.plots import CHARTS
from cascade_sim.report import Picture, chain_words, narrate, render_report, write_report
from cascade_sim.result import RunResult, arm_table, load_result


@pytest.fixture(scope="module")
def result() -> RunResult:
    table = pd.DataFrame(
        {
            "arm": ["without both", "everything on"],
            "liquidation": [False, True],
            "delta_hedging": [False, True],
            "max_adverse_excursion": [-356.6, -702.4],
            "amplification": [1.0, 1.97],
            "added_move_bp": [float("nan"), 345.8],
            "hedge_volume_share": [0.0, 0.07],
            "bad_debt": [float("nan"), float("nan")],
        }
    )
    arms = arm_table({"without both": synthetic_series(0.0365, forced=False)})
    return dataclasses.replace(synthetic_result(), arms=arms, counterfactual=table)


@pytest.fixture(scope="module")
def folder(result: RunResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = result.save(tmp_path_factory.mktemp("report") / "run")
    assert write_report(result, target) == target / "report.html"
    return target


class _Balance(HTMLParser):
    """Collects unclosed tags, references to elsewhere, and table cells."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.references: list[str] = []
        self.alternatives: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "img", "link"):
            self.open.append(tag)
        if tag == "img":
            self.alternatives.append(dict(attrs)["alt"] or "")
        self.references += [value or "" for name, value in attrs if name in ("src", "href", "srcset")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_fetches_nothing(folder: Path) -> None:
    page = (folder / "report.html").read_text(encoding="utf-8")
    parser = _Balance()
    parser.feed(page)
    assert parser.open == []
    icon, *pictures = parser.references
    assert icon == "data:,"  # or the browser asks for one
    assert len(pictures) == len(parser.alternatives) == len(CHARTS)
    assert all(reference.startswith("data:image/png;base64,") for reference in pictures)
    assert parser.alternatives[0].startswith(
        "Chart: The mechanisms turned a fall of 3.5 % into one of 6.78 %."
    )
    assert not re.search(r"https?:|//|@import|url\(|<script", re.sub(r'src="[^"]*"', "", page))


def test_the_charts_are_files_and_the_same_as_in_the_page(folder: Path) -> None:
    page = (folder / "report.html").read_text(encoding="utf-8")
    pictures = re.findall(r"base64,([^\"]+)", page)
    for name, inline in zip(CHARTS, pictures, strict=True):
        picture = (folder / "charts" / f"{name}.png").read_bytes()
        assert picture.startswith(b"\x89PNG")
        assert base64.b64decode(inline) == picture


def test_a_loaded_result_gives_the_same_charts_and_page(folder: Path, tmp_path: Path) -> None:
    write_report(load_result(folder), tmp_path)
    for path in (tmp_path / "report.html", *sorted((tmp_path / "charts").iterdir())):
        assert path.read_bytes() == (folder / path.relative_to(tmp_path)).read_bytes()
    assert len(list((tmp_path / "charts").iterdir())) == len(CHARTS)


def test_the_page_tells_the_story_in_units(folder: Path, result: RunResult) -> None:
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "<h1>A fall &amp; a &lt;partial&gt; recovery</h1>" in page
    for sentence in narrate(result.summary, "USD"):
        assert sentence.replace("'", "&#x27;") in page
    assert "<details>" in page
    assert "title: A fall &amp; a &lt;partial&gt; recovery" in page
    assert '<td>leveraged traders</td><td class="n">4,210,000</td>' in page
    assert '<td>permanent impact, by probe</td><td class="n">0.0035</td><td>USD per ETH</td>' in page
    assert '<td>time to recover</td><td class="n">\u2013</td><td>s</td>' in page
    assert '<td>share of liquidations in volume</td><td class="n">11</td><td>%</td>' in page


def test_the_page_says_what_would_have_happened_without(folder: Path) -> None:
    page = (folder / "report.html").read_text(encoding="utf-8")
    heads = "".join(f'<th scope="col" class="n">{text}</th>' for text in ("everything on", "without both"))
    assert f'<th scope="col">the same draws</th>{heads}' in page
    for label, *values in (
        ("largest move against the majority of leverage, log bp", "\u2212702.4", "\u2212356.6"),
        ("move added by the mechanisms, log bp", "345.8", "\u2013"),
        ("share of delta hedges in volume, %", "7", "0"),
    ):
        cells = "".join(f'<td class="n">{value}</td>' for value in values)
        assert f"<tr><td>{label}</td>{cells}</tr>" in page
    assert "<td>bad debt, USD</td>" not in page  # no arm has it


def test_the_page_says_how_to_reproduce_it(folder: Path) -> None:
    page = (folder / "report.html").read_text(encoding="utf-8")
    command = "cascade-sim run scenario.yaml --seed 7 --counterfactual=liquidation,delta_hedging"
    assert f"<pre>{command}</pre>" in page
    assert "<p>Made with cascade-sim 0.1.0.</p>" in page
    assert "seed 7" in page


def test_equal_results_give_equal_pages() -> None:
    pictures = {"who_paid": Picture(b"x", "A <title>", "A caption.")}
    page = render_report(synthetic_result(), pictures)
    assert page == render_report(synthetic_result(), pictures)
    assert 'alt="Chart: A &lt;title&gt;. A caption."' in page


def test_an_empty_result_has_a_page(tmp_path: Path) -> None:
    page = write_report(RunResult(), tmp_path / "new").read_text(encoding="utf-8")
    assert "No figures." in page
    assert "Losses were not measured." in page
    assert sorted(path.stem for path in (tmp_path / "new" / "charts").iterdir()) == sorted(CHARTS)


def test_a_page_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="expected to write a report"):
        write_report(RunResult(), tmp_path / "file")


def test_a_folder_in_the_place_of_the_page_is_refused_before_anything_is_drawn(tmp_path: Path) -> None:
    (tmp_path / "report.html").mkdir()
    with pytest.raises(OutputError, match=r"expected a file .*report\.html, received a folder"):
        write_report(RunResult(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_an_account_of_a_chain_that_no_run_wrote_is_refused() -> None:
    assert chain_words(None) == []
    with pytest.raises(DataFileError, match="option_chain: expected what a run writes"):
        chain_words({"dropped": {"expired": 3}})


def test_charts_say_nothing_where_home_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("no folder")
    keep = {key: value for key, value in os.environ.items() if key not in ("MPLCONFIGDIR", "XDG_CONFIG_HOME")}
    environment = {**keep, "HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path)}
    code = "import cascade_sim.plots, os; print(os.path.isdir(os.environ['MPLCONFIGDIR']))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("True\n", "")
    assert [path.name for path in tmp_path.iterdir() if "matplotlib" in path.name] == []


def test_the_story() -> None:
    story = narrate(SUMMARY, "USD")
    assert story == [
        "The mark fell by up to 6.78 % (702 log bp) against most leverage; "
        "66 % of that was undone by the end.",
        "At the worst moment, depth within 0.1 % of the mid was 0.4 % of its calm level.",
        "812 accounts were liquidated, 20.3 m USD of positions, 86 % of it in the densest 5 % of the time.",
        "Of all volume, liquidations took 11 % and dealers' hedges 7 %.",
        "Who lost most, in USD: leveraged traders 4.21 m, options dealers 655 k, insurance fund 58.5 k.",
        "Who gained most, in USD: unlevered holders 3.31 m, liquidity providers 1.12 m.",
        "The insurance fund fell from 300 k to 242 k USD.",
        "Bad debt came to 61.2 k USD; the backstop took over 3.34 m USD.",
        "With the same draws but without liquidations and delta hedging, the move would "
        "have been 346 bp smaller: they multiplied it by 1.97.",
        "Shared out between them (Shapley): liquidations \u2212181 bp, delta hedging \u2212165 bp.",
    ]


def test_a_quiet_story() -> None:
    story = narrate(
        {
            "max_adverse_excursion": 120.0,
            "liquidated_accounts": 0,
            "insurance_fund_start": 3e5,
            "insurance_fund_end": 3e5,
            "bad_debt": 0,
            "worst_depth": 0.0,
            "added_move_bp": -40.0,
            "amplification": 0.75,
        }
    )
    assert story == [
        "The mark rose by up to 1.21 % (120 log bp) against most leverage.",
        "At the worst moment, depth within 0.1 % of the mid was nothing at all.",
        "No account was liquidated.",
        "The insurance fund kept its 300 k quote units.",
        "There was no bad debt.",
        "With the same draws but without the mechanisms, the move would "
        "have been 40 bp larger: they multiplied it by 0.75.",
    ]


def test_missing_figures_are_left_out_and_a_broken_ledger_is_named() -> None:
    assert narrate({}) == []
    assert narrate(dict.fromkeys(SUMMARY)) == []
    (warning,) = narrate({"conservation_error": -3})
    assert warning == "Warning: the ledger does not balance, it is off by \u22123 atoms."
    assert narrate({"max_adverse_excursion": 0.0}) == ["The mark never moved against most leverage."]
    assert narrate({"liquidated_accounts": 1}) == ["1 account was liquidated."]


def test_scenario_free_results_use_generic_words(result: RunResult) -> None:
    bare = dataclasses.replace(result, scenario_yaml="")
    page = render_report(bare, {})
    assert "<h1>Cascade simulation</h1>" in page
    assert "quote units per base units" in page
    assert "<details>" not in page
