"""Every chart of a run as a picture, in memory."""

import struct
import warnings
import zlib
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cascade_sim.comparison import Comparison
from cascade_sim.plots.picture import NO_GLYPH, Picture
from cascade_sim.result import RunResult
from cascade_sim.swept import Swept

_PNG_HEAD = b"\x89PNG\r\n\x1a\n"
_INCHES_PER_METRE = 1.0 / 0.0254
_LEVEL = 4
"""Effort of the compression: the files are no larger than with more of it and filters, and take a third of the time."""


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
    from cascade_sim.plots.catalogue import CHARTS

    return draw(result, CHARTS)


def draw_comparison(comparison: Comparison) -> dict[str, Picture]:
    """Draw every chart of a comparison.

    Parameters
    ----------
    comparison
        What to draw.

    Returns
    -------
    dict
        Picture by the name of its chart.
    """
    from cascade_sim.plots.catalogue import COMPARISON_CHARTS

    return _drawn(comparison, COMPARISON_CHARTS, COMPARISON_CHARTS)


def draw_sweep(swept: Swept) -> dict[str, Picture]:
    """Draw every chart of a sweep.

    Parameters
    ----------
    swept
        What to draw.

    Returns
    -------
    dict
        Picture by the name of its chart.
    """
    from cascade_sim.plots.catalogue import SWEEP_CHARTS

    return _drawn(swept, SWEEP_CHARTS, SWEEP_CHARTS)


def draw(result: RunResult, names: Iterable[str]) -> dict[str, Picture]:
    """Draw some charts of the catalogue.

    Parameters
    ----------
    result
        Run to draw.
    names
        Keys of the catalogue, taken one by one.

    Returns
    -------
    dict
        Picture by the name of its chart.
    """
    # Not above: the catalogue imports every module beside it, and two threads that began at two ends would wait for
    # each other.
    from cascade_sim.plots.catalogue import CHARTS

    return _drawn(result, CHARTS, names)


def _drawn(subject: Any, charts: Mapping[str, Any], names: Iterable[str]) -> dict[str, Picture]:
    drawn: dict[str, tuple[Future[bytes], str]] = {}
    # Texts of scenarios are texts: a dollar sign begins no formula, and a letter that no font has is drawn as a box.
    with (
        matplotlib.rc_context({"text.parse_math": False}),
        warnings.catch_warnings(),
        ThreadPoolExecutor(1) as packer,
    ):
        warnings.filterwarnings("ignore", NO_GLYPH, UserWarning)
        for name in names:
            figure = charts[name](subject)
            # Compression leaves the interpreter free for the next chart.
            packed = packer.submit(png_of, pixels_of(figure), figure.dpi)
            drawn[name] = packed, " ".join(figure.axes[0].get_title(loc="left").split())
    return {
        name: Picture(packed.result(), message, charts[name].caption)
        for name, (packed, message) in drawn.items()
    }


def pixels_of(figure: Figure) -> NDArray[np.uint8]:
    """Draw a figure once.

    Parameters
    ----------
    figure
        Its layout is settled by that and stays.

    Returns
    -------
    uint8 array (height, width, 3)
        The pixels that ``savefig`` gives, which draws everything a first time only to have the layout settled.
    """
    canvas: Any = FigureCanvasAgg(figure)
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine("none")
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())
    return np.ascontiguousarray(pixels[:, :, :3])


def png_of(pixels: NDArray[np.uint8], dpi: float) -> bytes:
    """Write pixels as a PNG file (ISO/IEC 15948), in memory.

    Parameters
    ----------
    pixels
        Red, green and blue, shape (height, width, 3).
    dpi
        Pixels per inch.

    Returns
    -------
    bytes
    """
    height, width, _ = pixels.shape
    # Each row begins with the number of its filter; 0 is none, which suits lines and areas of one colour.
    rows = np.zeros((height, 1 + 3 * width), np.uint8)
    rows[:, 1:] = pixels.reshape(height, 3 * width)
    density = round(dpi * _INCHES_PER_METRE)
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"pHYs", struct.pack(">IIB", density, density, 1)),
        (b"IDAT", zlib.compress(rows.data, _LEVEL)),
        (b"IEND", b""),
    )
    return _PNG_HEAD + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )
