"""Pages: HTML that needs nothing from elsewhere, with tables and pictures."""

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd

from cascade_sim.columns import unit_words as unit_words
from cascade_sim.domain.errors import OutputError
from cascade_sim.plots.picture import Picture
from cascade_sim.plots.words import compact, plain
from cascade_sim.result_folder import move_into
from cascade_sim.temporaries import remove_abandoned, scratch

MISSING = "\N{EN DASH}"


def page(title: str, lead: str, sections: Mapping[str, str], footer: str) -> str:
    """Return a page: everything is inline, nothing is fetched.

    Parameters
    ----------
    title
        Of the window and of the page, as plain text.
    lead
        What stands below the title, as plain text; empty for nothing.
    sections
        Heading -> HTML, in order; an empty one is left out.
    footer
        As plain text.
    """
    body = [f"<header><h1>{escape(title)}</h1>"]
    if lead:
        body.append(f'<p class="lead">{escape(lead)}</p>')
    body.append("</header>")
    body += [
        f"<section><h2>{heading}</h2>{content}</section>" for heading, content in sections.items() if content
    ]
    body.append(f"<footer>{escape(footer)}</footer>")
    style = files("cascade_sim.plots").joinpath("report.css").read_text(encoding="utf-8")
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title><style>{style}</style></head>\n<body><main>\n"
        + "\n".join(body)
        + "\n</main></body></html>\n"
    )


@dataclass(frozen=True)
class Report:
    """Charts and the page that shows them, not written yet.

    Attributes
    ----------
    pictures
        Chart name -> picture.
    page
        HTML.
    """

    pictures: Mapping[str, Picture]
    page: str

    def write(self, directory: str | Path) -> Path:
        """Write ``charts/*.png`` and ``report.html``, each file whole or not at all.

        Parameters
        ----------
        directory
            Created if missing.

        Returns
        -------
        pathlib.Path
            The page.

        Raises
        ------
        OutputError
            If the folder cannot be written.
        """
        folder = Path(directory)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _refused(folder, error) from error
        if (folder / "report.html").is_dir():
            raise OutputError(f"expected a file {folder / 'report.html'}, received a folder")
        try:
            remove_abandoned(folder)
            with scratch(folder) as unfinished:
                (unfinished / "charts").mkdir()
                for name, picture in self.pictures.items():
                    (unfinished / "charts" / f"{name}.png").write_bytes(picture.png)
                # Half of a pair of surrogates, which a title may hold, has no place in any encoding.
                (unfinished / "report.html").write_bytes(self.page.encode("utf-8", "backslashreplace"))
                move_into(unfinished, folder, last="report.html")
        except OSError as error:
            raise _refused(folder, error) from error
        return folder / "report.html"


def _refused(folder: Path, error: OSError) -> OutputError:
    return OutputError(f"expected to write a report into {folder}, received: {error.strerror or error}")


def figure(picture: Picture) -> str:
    """Return a picture with its caption, which scrolls on a small screen."""
    data = base64.b64encode(picture.png).decode("ascii")
    described = escape(f"Chart: {picture.message}. {picture.caption}")
    image = f'<img alt="{described}" src="data:image/png;base64,{data}">'
    scroll = f'<div class="wide" tabindex="0" role="region" aria-label="chart">{image}</div>'
    return f"<figure>{scroll}<figcaption>{escape(picture.caption)}</figcaption></figure>"


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], numbers: frozenset[int], kind: str = "plain"
) -> str:
    """Return a table, whose columns of ``numbers`` stand to the right, in a frame that scrolls on a small screen."""

    def cells(row: Sequence[str], tag: str, scope: str = "") -> str:
        return "".join(
            f'<{tag}{scope} class="n">{escape(text)}</{tag}>'
            if k in numbers
            else f"<{tag}{scope}>{escape(text)}</{tag}>"
            for k, text in enumerate(row)
        )

    lines = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    scope = ' scope="col"'
    heading = f"<thead><tr>{cells(head, 'th', scope)}</tr></thead>"
    whole = f'<table class="{kind}">{heading}<tbody>{lines}</tbody></table>'
    return f'<div class="wide" tabindex="0" role="region" aria-label="table">{whole}</div>'


def number(value: Any) -> str:
    """Return a figure in words, a dash where there is none."""
    if value is None or value is pd.NA or (isinstance(value, float) and not math.isfinite(value)):
        return MISSING
    if isinstance(value, int | float):
        return plain(value) if abs(value) >= 1000 or value == int(value) else plain(float(f"{value:.4g}"))
    return str(value)


def short(value: float) -> str:
    """Return a figure as shortly as can be read."""
    return compact(value) if abs(value) >= 1e5 else number(value)
