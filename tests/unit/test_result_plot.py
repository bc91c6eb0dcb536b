"""The charts of a result as its methods."""

import copy
import inspect
import pickle
import subprocess
import sys

import nbformat
import pytest
from matplotlib.figure import Figure
from nbclient import NotebookClient
from synthetic import synthetic_result

import cascade_sim.plots as plots
from cascade_sim.domain.errors import UnknownNameError
from cascade_sim.plots.drawing import pixels_of
from cascade_sim.result import RunResult

SHORT = {
    "mark": "mark_with_counterfactuals",
    "volume": "volume_by_cause",
    "depth": "depth_over_time",
    "levels": "liquidation_levels",
    "payers": "who_paid",
}


@pytest.fixture(scope="module")
def result() -> RunResult:
    return synthetic_result()


@pytest.mark.parametrize("name", list(plots.CHARTS))
def test_every_chart_is_a_method_that_draws_what_the_catalogue_draws(name: str, result: RunResult) -> None:
    figure = getattr(result.plot, name)()
    assert isinstance(figure, Figure)
    expected = plots.draw_chart(name, result)
    assert (pixels_of(figure) == pixels_of(expected)).all()


@pytest.mark.parametrize(("short", "name"), SHORT.items())
def test_the_name_of_the_file_is_short_for_its_chart(short: str, name: str, result: RunResult) -> None:
    assert getattr(result.plot, short).__name__ == name


def test_methods_are_listed_and_documented(result: RunResult) -> None:
    listed = dir(result.plot)
    assert set(listed) >= {*plots.CHARTS, *SHORT}
    assert not [name for name in listed if not callable(getattr(result.plot, name))]
    assert "mark_with_counterfactuals() or mark(): The mark with" in repr(result.plot)
    draw = result.plot.depth
    assert draw.__doc__ == plots.depth_over_time.__doc__
    assert list(inspect.signature(draw).parameters) == ["scale", "market"]
    assert result.plot.depth("linear").axes[0].get_yscale() == "linear"
    with pytest.raises(TypeError, match="unexpected keyword argument 'scales'"):
        draw(scales="linear")


def test_an_unknown_chart_is_refused_in_one_line(result: RunResult) -> None:
    with pytest.raises(
        UnknownNameError, match=r"marc.*mark_with_counterfactuals.*did you mean 'mark'"
    ) as refused:
        _ = result.plot.marc
    assert "\n" not in str(refused.value)
    assert not hasattr(result.plot, "marc")
    assert not hasattr(result.plot, "_repr_html_")
    again = pickle.loads(pickle.dumps(refused.value))
    assert (type(again), str(again)) == (type(refused.value), str(refused.value))


def test_a_chart_of_ones_own_is_a_method_too(result: RunResult, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots.catalogue, "CHARTS", dict(plots.CHARTS))

    def nothing(result: RunResult) -> Figure:
        """Draw nothing."""
        return Figure()

    plots.catalogue._entering(plots.catalogue.CHARTS, "Nothing.", 99)(nothing)
    assert "nothing" in dir(result.plot)
    assert isinstance(result.plot.nothing(), Figure)


def test_the_accessor_may_be_copied(result: RunResult) -> None:
    assert dir(copy.copy(result.plot)) == dir(result.plot)
    assert dir(pickle.loads(pickle.dumps(result.plot))) == dir(result.plot)


def test_matplotlib_is_imported_by_the_first_chart_and_not_before() -> None:
    code = (
        "import sys; from cascade_sim.result import RunResult\n"
        "result = RunResult(); charts = result.plot\n"
        "assert 'matplotlib' not in sys.modules\n"
        "charts.mark(); assert 'matplotlib.figure' in sys.modules\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_notebook_shows_the_figure_without_a_magic_word() -> None:
    """Of a figure that pyplot has not made a notebook shows ``<Figure size ...>``, unless told to draw inline."""
    draw = "from cascade_sim.result import RunResult; RunResult().plot.mark()"
    shown = []
    for cells in ([draw], ["%matplotlib inline", draw]):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
        shown.append([list(output.data) for output in notebook.cells[-1].outputs])
    assert shown == [[["text/plain", "image/png"]], [["text/plain", "image/png"]]]
