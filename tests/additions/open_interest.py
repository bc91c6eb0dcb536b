"""A chart in a file of its own."""

from matplotlib.figure import Figure

from cascade_sim.plots.catalogue import chart
from cascade_sim.plots.frames import clock_of, drawn_series, headline, say
from cascade_sim.result import RunResult


@chart(caption="Open interest of the first market, minute by minute.", place=60)
def open_interest_over_time(result: RunResult) -> Figure:
    """Draw the open interest.

    Parameters
    ----------
    result
        Run to draw.

    Returns
    -------
    matplotlib.figure.Figure
        One panel, base units.
    """
    clock = clock_of(result)
    series = drawn_series(result, ["open_interest"], clock)
    figure = Figure(figsize=(8.0, 4.0))
    axes = figure.subplots()
    headline(axes, "Open interest")
    axes.set_xlabel(clock.label)
    axes.set_ylabel("open interest, base units")
    if series.empty:
        say(axes, "no series recorded")
        return figure
    axes.plot(clock.minutes(series), series["open_interest"], color="black")
    return figure
