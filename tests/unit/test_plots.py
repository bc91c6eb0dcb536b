"""Charts: what they show, what they say when there is nothing to show."""

import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from synthetic import SHOCK_STEP, SUMMARY, synthetic_result, synthetic_series

import cascade_sim.plots as plots
from cascade_sim.domain.enums import Cause
from cascade_sim.domain.errors import OutputError, UnknownNameError
from cascade_sim.plots.frames import clock_of, sum_by_time
from cascade_sim.plots.palette import CAUSE_STYLE
from cascade_sim.plots.words import compact, plain, ranked_losses
from cascade_sim.result import RunResult, arm_table


@pytest.fixture(scope="module")
def result() -> RunResult:
    return synthetic_result()


@pytest.fixture(scope="module")
def quiet() -> RunResult:
    """Nothing forced, no dealers, no map, no losses."""
    calm = synthetic_result()
    summary = SUMMARY | {"loss_by_class": {}, "bad_debt": 0.0, "insurance_fund_end": 300_000.0}
    series = synthetic_series(forced=False)
    return dataclasses.replace(
        calm, series=series, summary=summary, liquidation_map=calm.liquidation_map.iloc[:0]
    )


@pytest.fixture(scope="module")
def arms() -> dict[str, pd.DataFrame]:
    return {
        "without liquidation": synthetic_series(0.05),
        "without both": synthetic_series(0.0365, forced=False),
    }


def _texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def _boxes(figure: Figure) -> Iterator[tuple[str, object]]:
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    undrawn = set()
    for axis in figure.findobj(Axis):
        low, high = sorted(axis.get_view_interval())
        ticks = axis.get_major_ticks()
        outside = [tick for tick in ticks if not low <= tick.get_loc() <= high]
        undrawn |= {id(label) for tick in outside for label in (tick.label1, tick.label2)}
    for text in figure.findobj(Text):
        if text.get_text().strip() and text.get_visible() and id(text) not in undrawn:
            yield text.get_text(), text.get_window_extent(renderer)


def test_the_catalogue_lists_every_chart_in_order() -> None:
    known = [
        "mark_with_counterfactuals",
        "volume_by_cause",
        "depth_over_time",
        "liquidation_levels",
        "who_paid",
    ]
    assert [name for name in plots.CHARTS if name in known] == known
    assert all(getattr(plots, name) is chart.draw for name, chart in plots.CHARTS.items())
    with pytest.raises(AttributeError, match="no attribute 'who_payed'"):
        _ = plots.who_payed
    assert all(chart.caption.endswith(".") and "\n" not in chart.caption for chart in plots.CHARTS.values())
    with pytest.raises(UnknownNameError, match=r"who_payed.*did you mean 'who_paid'"):
        plots.draw_chart("who_payed", RunResult())


def test_pyplot_stays_out() -> None:
    code = "import sys, cascade_sim.report; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_two_threads_may_import_what_draws_from_two_ends() -> None:
    code = (
        "import threading, sys; sys.setswitchinterval(1e-5)\n"
        "from importlib import import_module as begin\n"
        "other = threading.Thread(target=begin, args=('cascade_sim.plots.catalogue',)); other.start()\n"
        "from cascade_sim.plots.drawing import draw_all\n"
        "from cascade_sim.result import RunResult\n"
        "assert len(draw_all(RunResult())) == 5; other.join()"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", list(plots.CHARTS))
@pytest.mark.parametrize("kind", ["result", "quiet", "empty"])
def test_labels_are_there_and_no_text_leaves_the_figure(
    name: str, kind: str, result: RunResult, quiet: RunResult, arms: dict[str, pd.DataFrame]
) -> None:
    run = {"result": result, "quiet": quiet, "empty": RunResult()}[kind]
    figure = plots.draw_chart(name, run, arms if kind == "result" else None)
    assert isinstance(figure, Figure)
    assert figure.axes[0].get_title(loc="left")
    assert figure.axes[-1].get_xlabel()
    width, height = figure.bbox.width, figure.bbox.height
    for text, box in _boxes(figure):
        assert box.x0 >= -1, text
        assert box.y0 >= -1, text
        assert box.x1 <= width + 1, text
        assert box.y1 <= height + 1, text


@pytest.mark.parametrize("name", list(plots.CHARTS))
def test_no_axis_or_legend_text_overlaps(name: str, result: RunResult, arms: dict[str, pd.DataFrame]) -> None:
    figure = plots.draw_chart(name, result, arms)
    boxes = list(_boxes(figure))
    for k, (first, a) in enumerate(boxes):
        for second, b in boxes[k + 1 :]:
            wide = min(a.x1, b.x1) - max(a.x0, b.x0)
            high = min(a.y1, b.y1) - max(a.y0, b.y0)
            assert wide <= 1 or high <= 1, f"{first!r} overlaps {second!r}"


def test_drawing_changes_no_global_style(result: RunResult) -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    plots.who_paid(result)
    assert dict(matplotlib.rcParams) == before


def test_the_mark_starts_at_the_shock(result: RunResult, arms: dict[str, pd.DataFrame]) -> None:
    figure = plots.mark_with_counterfactuals(result, arms)
    top, forced, hedges = figure.axes
    lines = [line for line in top.lines if len(line.get_xdata()) > 2]
    assert len(lines) == 3
    minutes, mark = lines[0].get_data()
    step = result.series["step"].to_numpy()
    assert minutes[0] == -15.0
    np.testing.assert_array_equal(mark[minutes == 0.0], result.series.loc[step == SHOCK_STEP, "mark"])
    assert len({line.get_linestyle() for line in lines}) == 3
    assert {"everything on", *arms} <= set(_texts(figure))
    assert len({line.get_marker() for line in lines}) == 3
    assert top.get_title(loc="left") == "The mechanisms turned a fall of 3.5 % into one of 6.78 %"
    sold = -sum(bar.get_height() for bar in forced.patches if bar.get_height() < 0)
    shown = result.series.loc[step >= SHOCK_STEP - 900, "sell_volume_liquidation"]
    assert sold == pytest.approx(shown.sum(), rel=1e-5)
    assert len(hedges.patches) > 0


def test_arms_must_be_series(result: RunResult) -> None:
    with pytest.raises(OutputError, match="without instrument, mark"):
        plots.mark_with_counterfactuals(result, {"odd": result.series.drop(columns=["mark", "instrument"])})
    with pytest.raises(OutputError, match="received main BTC-PERP"):
        plots.mark_with_counterfactuals(result, market=("main", "BTC-PERP"))


def test_charts_say_what_is_missing(quiet: RunResult) -> None:
    texts = _texts(plots.mark_with_counterfactuals(quiet))
    assert {"no liquidation in the book", "no delta hedge"} <= set(texts)
    assert "no liquidation map recorded" in _texts(plots.liquidation_levels(quiet))
    assert {"nobody lost or gained", "margin covered every loss: nothing was drawn"} <= set(
        _texts(plots.who_paid(quiet))
    )
    assert {"losses were not measured", "bad debt was not measured"} <= set(
        _texts(plots.who_paid(RunResult()))
    )
    empty = dataclasses.replace(
        quiet, liquidation_map=synthetic_result().liquidation_map.assign(quantity=0.0)
    )
    assert "no trigger within the range of the map" in _texts(plots.liquidation_levels(empty))
    columns = [name for name in quiet.series.columns if "_depth_" in name]
    bare = dataclasses.replace(quiet, series=quiet.series.assign(**dict.fromkeys(columns, np.float32(0.0))))
    assert "no resting quantity near the mid was recorded" in _texts(plots.depth_over_time(bare))
    columns = [name for name in quiet.series.columns if "_volume_" in name]
    bare = dataclasses.replace(quiet, series=quiet.series.assign(**dict.fromkeys(columns, np.float32(0.0))))
    assert "nothing was traded" in _texts(plots.volume_by_cause(bare))


def test_a_result_draws_the_arms_it_keeps(result: RunResult, arms: dict[str, pd.DataFrame]) -> None:
    kept = dataclasses.replace(result, arms=arm_table(arms))
    for drawn, given in zip(
        plots.mark_with_counterfactuals(kept).axes[0].lines,
        plots.mark_with_counterfactuals(result, arms).axes[0].lines,
        strict=True,
    ):
        assert drawn.get_label() == given.get_label()
        np.testing.assert_array_equal(drawn.get_ydata(), given.get_ydata())


def test_a_recovered_run_is_drawn_until_that_is_over_and_says_so(result: RunResult) -> None:
    recovered = dataclasses.replace(result, summary=result.summary | {"recovery_seconds": 1300.0})
    assert clock_of(recovered).label == "minutes after the first shock"  # the run ends before the clock does
    late = result.events.assign(time_seconds=result.events["time_seconds"] - 1200.0)
    clock = clock_of(dataclasses.replace(recovered, events=late))
    assert (clock.last_minute, clock.label) == (90.0, "minutes after the first shock; drawn: 90 of 110")
    axes = plots.depth_over_time(dataclasses.replace(recovered, events=late)).axes[0]
    assert axes.get_xlim() == (-10.0, 90.0)


@pytest.mark.parametrize(
    ("summary", "message"),
    [
        ({"max_adverse_excursion": 0.0}, "The mark never moved against most leverage"),
        ({"max_adverse_excursion": 200.0}, "The mark rose by up to 2.02 %"),
        (
            {"max_adverse_excursion": -200.0, "added_move_bp": -100.0},
            "The mechanisms kept a fall of 2.96 % to 1.98 %",
        ),
        (
            {"max_adverse_excursion": 300.0, "added_move_bp": 5.0},
            "The mechanisms hardly changed a rise of 3.05 %",
        ),
    ],
)
def test_the_title_says_what_the_mechanisms_did(
    summary: dict[str, float], message: str, result: RunResult, arms: dict[str, pd.DataFrame]
) -> None:
    run = dataclasses.replace(result, summary=summary)
    figure = plots.mark_with_counterfactuals(run, arms if "added_move_bp" in summary else {})
    assert figure.axes[0].get_title(loc="left") == message


@pytest.mark.parametrize(
    ("name", "summary", "message"),
    [
        ("volume_by_cause", {}, "Of all volume, liquidations took 11 % and delta hedges 7 %"),
        (
            "volume_by_cause",
            {"liquidation_volume_share": 0.0, "hedge_volume_share": 0.0},
            "Nobody was forced",
        ),
        ("volume_by_cause", {"liquidation_volume_share": 0.0}, "Delta hedges took 7 % of all volume, liq"),
        ("volume_by_cause", {"hedge_volume_share": 0.0}, "Liquidations took 11 % of all volume"),
        ("depth_over_time", {}, "Depth within 0.1 % of the mid fell to 0.4 % of its calm level"),
        ("depth_over_time", {"worst_depth": 0.0}, "The book within 0.1 % of the mid ran empty"),
        ("depth_over_time", {"worst_depth": 0.8}, "never fell below 80 %"),
        ("liquidation_levels", {}, "Before the first shock, a fall of 5 % would force the sale of"),
        ("who_paid", {}, "Leveraged traders lost 4.21 m USD, unlevered holders gained 3.31 m"),
        ("who_paid", {"loss_by_class": {"fees": 0.0}}, "Who paid"),
    ],
)
def test_titles_state_the_message(
    name: str, summary: dict[str, object], message: str, result: RunResult
) -> None:
    run = dataclasses.replace(result, summary=result.summary | summary)
    title = plots.draw_chart(name, run).axes[0].get_title(loc="left")
    assert message in " ".join(title.split())


def test_rounding_is_no_loss(result: RunResult) -> None:
    losses = {"external": 1.8e-7, "leveraged_trader": 3.7e6, "unlevered_holder": -3.7e6}
    assert ranked_losses({"loss_by_class": losses}) == [
        ("leveraged traders", 3.7e6),
        ("unlevered holders", -3.7e6),
    ]
    assert ranked_losses({}) == []


def test_volume_adds_up_to_what_was_traded(result: RunResult) -> None:
    axes = plots.volume_by_cause(result).axes[0]
    series = result.series[result.series["step"] >= SHOCK_STEP - 900]
    steps = [patch.get_data() for patch in axes.patches]
    shown = sum(np.abs(data.values - data.baseline).sum() for data in steps)
    names = [f"{side}_volume_{cause.name.lower()}" for side in ("buy", "sell") for cause in Cause]
    assert shown == pytest.approx(series[names].to_numpy(dtype=np.float64).sum(), rel=1e-5)
    assert "other" in {text.get_text() for text in axes.figure.legends[0].get_texts()}
    low, high = axes.get_ylim()
    assert all(low < -data.values.max() and data.values.max() < high for data in steps)


def test_depth_shows_an_empty_book_at_zero(result: RunResult) -> None:
    axes = plots.depth_over_time(result).axes[0]
    assert axes.get_yscale() == "symlog"
    assert axes.get_ylim()[0] == 0.0
    narrow = next(line for line in axes.lines if line.get_label() == "within 0.1 %")
    assert np.min(narrow.get_ydata()) == 0.0
    assert len({line.get_marker() for line in axes.lines if str(line.get_label()).startswith("within")}) == 3
    assert plots.depth_over_time(result, scale="linear").axes[0].get_yscale() == "linear"
    with pytest.raises(UnknownNameError, match="log, linear"):
        plots.depth_over_time(result, scale="square")


def test_levels_show_the_map_at_the_shock(result: RunResult) -> None:
    levels = result.liquidation_map.copy()
    levels.loc[levels["step"] != SHOCK_STEP, "quantity"] = 1e9
    axes = plots.liquidation_levels(dataclasses.replace(result, liquidation_map=levels)).axes[0]
    expected = levels.loc[levels["step"] == SHOCK_STEP, "quantity"].sum()
    assert sum(bar.get_height() for bar in axes.patches) == pytest.approx(expected)
    mark = float(result.series.loc[result.series["step"] == SHOCK_STEP, "mark"].iloc[0])
    (line,) = axes.lines
    assert line.get_xdata()[0] == mark


def test_the_waterfall_chains(result: RunResult) -> None:
    upper, lower = plots.who_paid(result).axes
    ends = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in upper.patches]
    assert len(ends) == len(SUMMARY["loss_by_class"])
    for (_, end), (start, _) in pairwise(ends):
        assert start == pytest.approx(end)
    assert ends[-1][1] == pytest.approx(sum(SUMMARY["loss_by_class"].values()), abs=1e-6)
    assert [bar.get_width() for bar in lower.patches] == [61_250.0, 58_500.0, 0.0, 0.0]


def test_a_growing_fund_is_named_so(result: RunResult) -> None:
    grown = dataclasses.replace(result, summary=result.summary | {"insurance_fund_end": 310_000.0})
    texts = _texts(plots.who_paid(grown))
    assert "growth of the insurance fund" in texts
    assert "fall of the insurance fund" not in texts


def test_sums_by_time_lose_nothing() -> None:
    minutes = np.arange(-120, 121) / 60.0
    amounts = pd.DataFrame({"a": np.ones(241), "b": np.arange(241.0)})
    edges, sums = sum_by_time(minutes, amounts, 1.0)
    np.testing.assert_array_equal(edges, [-2.0, -1.0, 0.0, 1.0])
    np.testing.assert_array_equal(sums[:, 0], [60, 60, 60, 61])
    assert sums[:, 1].sum() == amounts["b"].sum()


def test_colours_and_hatches_tell_causes_apart() -> None:
    assert len(set(CAUSE_STYLE.values())) == len(CAUSE_STYLE)


@pytest.mark.parametrize(
    ("value", "short", "long"),
    [
        (0, "0", "0"),
        (999.9, "1 k", "999.9"),
        (-1234.5, "\u22121.23 k", "\u22121,234"),
        (999_900.0, "1 m", "999,900"),
        (2.5e9, "2.5 bn", "2,500,000,000"),
        (0.0035, "0.0035", "0.0035"),
    ],
)
def test_numbers_read_well(value: float, short: str, long: str) -> None:
    assert compact(value) == short
    assert plain(value) == long
