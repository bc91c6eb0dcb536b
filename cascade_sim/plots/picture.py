"""What a drawn chart is."""

from dataclasses import dataclass


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
