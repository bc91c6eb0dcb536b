"""What a drawn chart is."""

from dataclasses import dataclass

NO_GLYPH = r"Glyph \d+ .* missing from"
"""What matplotlib warns of where a text has a letter that no font has; it is drawn as a box."""


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
