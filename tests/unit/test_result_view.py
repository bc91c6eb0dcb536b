"""What a notebook shows of a result."""

import dataclasses
import re
import subprocess
import sys
from html.parser import HTMLParser

import nbformat
import pytest
from nbclient import NotebookClient
from synthetic import SUMMARY, synthetic_result

from cascade_sim.metrics import METRICS, summary_keys
from cascade_sim.report import narrate
from cascade_sim.result import RunResult
from cascade_sim.table_files import TableFile

VOID = {"br", "meta", "img", "link", "input"}


class Reader(HTMLParser):
    """Collects tags, the text of each list item and the cells of each row; refuses tags that do not close."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.items: list[str] = []
        self.rows: list[list[str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        assert not [name for name, _ in attrs if name.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag == "li":
            self.items.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "li":
            self.items[-1] += data
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def read(result: RunResult) -> Reader:
    reader = Reader()
    reader.feed(result._repr_html_())
    reader.close()
    assert reader.open == []
    return reader


@pytest.fixture(scope="module")
def result() -> RunResult:
    return synthetic_result()


def test_it_tells_the_run_in_sentences_and_figures_with_units(result: RunResult) -> None:
    shown = read(result)
    assert shown.items == narrate(SUMMARY, "USD")
    head, *rows = shown.rows
    assert head == ["figure", "value", "unit"]
    compact = rows[: rows.index(head)]
    assert 8 <= len(compact) <= 14
    assert [METRICS["max_adverse_excursion"].label, "\N{MINUS SIGN}702.4", "log bp"] in compact
    assert [METRICS["bad_debt"].label, "61,250", "USD"] in compact
    assert [METRICS["worst_depth"].label, "0.4", "%"] in compact
    labels = {row[0] for row in rows}
    single = [key for key in summary_keys() if isinstance(SUMMARY.get(key.name), int | float)]
    assert {key.label for key in single} <= labels


def test_markup_in_titles_is_text(result: RunResult) -> None:
    yaml = "title: '<script>alert(1)</script> & <img src=x onerror=alert(1)>'\nmarket: {base: E, quote: '<b>Q</b>'}\n"
    hostile = dataclasses.replace(result, scenario_yaml=yaml)
    text = hostile._repr_html_()
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &lt;img src=x onerror=alert(1)&gt;" in text
    shown = read(hostile)
    assert not {"script", "img", "b"} & shown.tags
    assert not re.search(r"https?:|@import|url\(", text)
    stopped = {"status": "stopped", "stopped_at_step": 3, "reason": "<i>full</i>", "seed": "<u>1</u>"}
    shown = read(dataclasses.replace(result, manifest=stopped))
    assert shown.items[0].startswith("The run stopped in step 3, <i>full</i>")
    assert not {"i", "u"} & shown.tags


def test_a_title_that_no_encoding_takes_is_shown(result: RunResult) -> None:
    broken = dataclasses.replace(result, scenario_yaml='title: "half \\ud800 a pair"\n')
    assert "half \\ud800 a pair" in broken._repr_html_().encode("utf-8").decode()


def test_nothing_is_shown_as_nothing() -> None:
    shown = read(RunResult())
    assert shown.items == ["No figures."]
    assert shown.rows == []
    read(RunResult(summary=dict.fromkeys(SUMMARY)))


def test_nothing_is_read_from_disk(result: RunResult, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a table was read")

    monkeypatch.setattr(TableFile, "load", refuse)
    monkeypatch.setattr(RunResult, "pieces", refuse)
    monkeypatch.setattr(RunResult, "columns", refuse)
    read(result)


def test_it_needs_no_matplotlib() -> None:
    code = (
        "import sys; from cascade_sim.result import RunResult\n"
        "assert 'No figures' in RunResult()._repr_html_()\n"
        "assert 'matplotlib' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_notebook_shows_it() -> None:
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell("from cascade_sim.result import RunResult; RunResult()")]
    )
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    (output,) = notebook.cells[0].outputs
    assert output.data["text/html"] == RunResult()._repr_html_()
