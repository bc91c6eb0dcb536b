"""Every chart of a run as a picture, in memory."""

import io
import warnings
from dataclasses import dataclass

import matplotlib

from cascade_sim.plots.catalogue import CHARTS
from cascade_sim.result import RunResult


@dataclass(frozen=True)
class Picture:
    """A drawn chart.

    Attributes
    ----------
    png
        The file.
    message
        Its title: the one thing it shows.
    caption
        What is drawn.
    """

    png: bytes
    message: str
    caption: str


def draw_all(result: RunResult) -> dict[str, Picture]:
    """Draw every chart of the catalogue.

    Parameters
    ----------
    result
        Run to draw.

    Returns
    -------
    dict
        Picture by the name of its chart.
    """
    pictures: dict[str, Picture] = {}
    # Texts of scenarios are texts: a dollar sign begins no formula, and a letter that no font has is drawn as a box.
    with matplotlib.rc_context({"text.parse_math": False}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from", UserWarning)
        for name, chart in CHARTS.items():
            buffer = io.BytesIO()
            figure = chart(result)
            figure.savefig(buffer, format="png")
            message = " ".join(figure.axes[0].get_title(loc="left").split())
            pictures[name] = Picture(buffer.getvalue(), message, chart.caption)
    return pictures
