"""The outcome of a comparison: every run, every arm, every difference with its verdict, and the folder that holds them."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from cascade_sim.columns import SCHEMA_VERSION
from cascade_sim.domain.errors import DataFileError, OutputError, expectation
from cascade_sim.manifest import json_ready
from cascade_sim.metrics import METRICS
from cascade_sim.result_folder import (
    COMPARISON,
    COMPARISON_TABLES,
    DESIGN,
    MANIFEST,
    SCENARIOS,
    SUMMARY,
    save_folder,
)
from cascade_sim.table_files import read_json, read_plain_frame, write_plain_frame

PLACE = ("scenario", "setting", "arm")
"""Columns that say where a row belongs; the setting is empty but for what ``across`` changes."""
RUN_COLUMNS = (*PLACE, "replication", "seed", "status", "reason")
"""Columns of ``runs`` before its metrics."""


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """Arms beside one another on the same draws.

    Attributes
    ----------
    runs : DataFrame
        A row per run: ``scenario``, ``setting``, ``arm``, ``replication``, ``seed``, ``status`` (``finished`` or
        ``failed``), ``reason`` of a failure, and every metric of an ensemble.
    arms : DataFrame
        A row per arm and metric: ``count`` of runs with a value, ``mean``, ``median``, ``share_positive``,
        ``mean_positive`` (given above 0) and ``cvar_95`` (mean of the worst twentieth), in the unit of the metric.
    differences : DataFrame
        A row per arm but the first, and metric: mean ``difference`` of the pairs to the first arm, of what it costs (sizes of
        moves; more is worse), interval ``low`` to ``high``, ``p_value`` and ``p_holm`` (primary metrics), ``margin``,
        ``verdict`` in words and the replications that an undecided one would take (``needed``).
    ranking : DataFrame
        A row per primary metric: the arm with the least mean cost, the one after it, and whether their difference is decided.
    design : dict
        What was compared: scenarios, arms with what they change, settings, seed, replications, primary metrics, margins.
    manifest : dict
        Versions, times, command line, status.
    scenarios : dict
        Resolved YAML of every scenario by name.
    """

    runs: pd.DataFrame
    arms: pd.DataFrame
    differences: pd.DataFrame
    ranking: pd.DataFrame
    design: dict[str, Any]
    manifest: dict[str, Any] = field(default_factory=dict)
    scenarios: dict[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Say what was found; the tables are long."""
        return "\n".join(self.sentences)

    @property
    def failures(self) -> int:
        """Runs that failed."""
        return int((self.runs["status"] == "failed").sum())

    @property
    def units(self) -> dict[str, str]:
        """Unit of every metric."""
        return dict(self.design["units"])

    @property
    def table(self) -> pd.DataFrame:
        """A row per run and metric: scenario, setting, arm, replication, seed, metric, value, unit, status."""
        metrics = [name for name in self.units if name in self.runs.columns]
        identity = [*PLACE, "replication", "seed", "status"]
        long = self.runs.melt(identity, metrics, "metric", "value")
        long["unit"] = long["metric"].map(self.units)
        names = ("scenario", "setting", "arm", "metric", "unit", "status")
        long = long.astype(dict.fromkeys(names, "category")).astype(
            {"replication": "int32", "value": "float64"}
        )
        return long[[*PLACE, "replication", "seed", "metric", "value", "unit", "status"]]

    @property
    def sentences(self) -> list[str]:
        """What was found, in words: the winners and whether they stay, then the verdict of every arm and primary metric."""
        return [*_winners(self), *_verdicts(self), *_failures(self)]

    @property
    def summary(self) -> dict[str, Any]:
        """What was found as plain values: the sentences, every difference of a primary metric, the ranking, failures."""
        primary = self.differences[self.differences["primary"]].drop(columns="primary")
        return dict(
            json_ready(
                {
                    "sentences": self.sentences,
                    "replications": self.design["replications"],
                    "runs": len(self.runs),
                    "failures": self.failures,
                    "differences": primary.to_dict("records"),
                    "ranking": self.ranking.to_dict("records"),
                    "arms": self.arms[self.arms["metric"].isin(self.design["primary"])].to_dict("records"),
                }
            )
        )

    def _repr_html_(self) -> str:
        story = "".join(f"<li>{escape(sentence)}</li>" for sentence in self.sentences)
        primary = self.differences[self.differences["primary"]]
        shown = primary.drop(columns=["primary", "p_value"])
        return f"<ul>{story}</ul>{shown.to_html(index=False, float_format=lambda value: f'{value:.4g}')}"

    def save(self, directory: str | Path, add: Callable[[Path], Any] | None = None) -> Path:
        """Write the folder of the comparison, whole or not at all.

        Parameters
        ----------
        directory
            Folder to create; parents are created, and a comparison that is there already is replaced.
        add
            Called with the folder in the making to write charts and pages beside the tables.

        Returns
        -------
        pathlib.Path

        Raises
        ------
        OutputError
            If the folder holds something else, or the disk refuses.
        """

        def write(folder: Path) -> None:
            frames = {name: getattr(self, name) for name in COMPARISON_TABLES if name != "compare"}
            for name, frame in (frames | {"compare": self.table}).items():
                write_plain_frame(frame, folder / f"{name}.parquet", self.units)
            (folder / SCENARIOS).mkdir()
            for name, text in self.scenarios.items():
                (folder / SCENARIOS / f"{name}.yaml").write_text(text, encoding="utf-8")
            _write_json(folder / DESIGN, self.design)
            if add is not None:
                add(folder)
            identity = {"kind": COMPARISON.kind, "schema_version": SCHEMA_VERSION}
            _write_json(folder / MANIFEST, identity | self.manifest)
            _write_json(folder / SUMMARY, self.summary)

        return save_folder(Path(directory), COMPARISON, write)


def is_comparison(directory: str | Path) -> bool:
    """Return whether a folder says that it holds a comparison."""
    try:
        return bool(read_json(Path(directory) / MANIFEST).get("kind") == COMPARISON.kind)
    except DataFileError:
        return False


def load_comparison(directory: str | Path) -> Comparison:
    """Read a folder that `Comparison.save` wrote.

    Parameters
    ----------
    directory
        The folder.

    Returns
    -------
    Comparison

    Raises
    ------
    DataFileError
        If it is none, damaged, or of another schema version.
    """
    folder = Path(directory)
    if not folder.is_dir():
        raise DataFileError(f"expected the folder of a comparison, received {folder}, which is not a folder")
    manifest = read_json(folder / MANIFEST)
    received = (manifest.pop("kind", None), manifest.pop("schema_version", None))
    if received != (COMPARISON.kind, SCHEMA_VERSION):
        expected = f"{COMPARISON.kind} of schema version {SCHEMA_VERSION} in {folder}"
        raise DataFileError(f"expected {expected}, received {received[0]} of version {received[1]}")
    design = read_json(folder / DESIGN)
    if not isinstance(design.get("units"), dict):
        raise DataFileError(expectation(f"{folder / DESIGN}: units", "a mapping", design.get("units")))
    frames = {
        name: read_plain_frame(folder / f"{name}.parquet") for name in COMPARISON_TABLES if name != "compare"
    }
    needed = {"runs": RUN_COLUMNS, "arms": (*PLACE, "metric"), "differences": (*PLACE, "metric", "verdict")}
    for name, columns in needed.items():
        missing = [column for column in columns if column not in frames[name].columns]
        if missing:
            raise DataFileError(
                f"expected a column {missing[0]} in {folder / f'{name}.parquet'}, received none"
            )
    scenarios = {}
    with suppress(OSError):
        for file in sorted((folder / SCENARIOS).glob("*.yaml")):
            scenarios[file.stem] = file.read_text(encoding="utf-8")
    return Comparison(**frames, design=design, manifest=manifest, scenarios=scenarios)


def _write_json(path: Path, value: Any) -> None:
    text = json.dumps(json_ready(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"expected to write {path.name}, received: {error.strerror or error}") from error


def where(row: Mapping[str, Any], several: bool) -> str:
    """Return the scenario and setting of a row in words, empty where there is only one of them."""
    words = [row["scenario"]] if several else []
    words += [row["setting"]] if row["setting"] else []
    return f"{', '.join(words)}: " if words else ""


def amount(value: float, unit: str = "") -> str:
    """Return a figure with its unit in words."""
    digits = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{digits} {unit}".replace("-", "\N{MINUS SIGN}", 1).strip()


def unit_of(comparison: Comparison, metric: str) -> str:
    """Return the unit of a metric with the currencies of the first scenario; empty for a pure number."""
    unit = comparison.units.get(metric, "-")
    words = comparison.design.get("currencies", {})
    return "" if unit == "-" else " ".join(words.get(word, word) for word in unit.split(" "))


def label_of(metric: str) -> str:
    """Return the words for a metric."""
    return METRICS[metric].label if metric in METRICS else metric.replace("_", " ")


def compared_words(metric: str) -> str:
    """Return the words for a metric as it is compared: some by their size."""
    is_size = metric in METRICS and METRICS[metric].is_size
    return f"size of the {label_of(metric)}" if is_size else label_of(metric)


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]


def _verdicts(comparison: Comparison) -> Iterator[str]:
    several = comparison.runs["scenario"].nunique() > 1
    first = comparison.design["arms"][0]["name"]
    controls = {arm["name"] for arm in comparison.design["arms"] if arm["is_control"]}
    primary = comparison.differences[comparison.differences["primary"]]
    for row in _records(primary):
        unit = unit_of(comparison, row["metric"])
        gap = f"{amount(row['difference'], unit)} ({amount(row['low'])} to {amount(row['high'])})"
        kind = "control " if row["arm"] in controls else ""
        what = f"{where(row, several)}{kind}{row['arm']} against {first}, {label_of(row['metric'])}: "
        if row["verdict"] == "equivalent":
            yield f"{what}equivalent within {amount(row['margin'], unit)}; difference {gap}."
        elif row["verdict"] == "undecided":
            more = f"; about {int(row['needed']):,} replications would decide" if row["needed"] > 0 else ""
            yield f"{what}undecided; difference {gap}{more}."
        elif row["verdict"] == "unknown":
            yield f"{what}unknown; fewer than two pairs have a value."
        else:
            yield f"{what}{row['verdict']}; difference {gap}, p {row['p_holm']:.2g} after Holm."


def _winners(comparison: Comparison) -> Iterator[str]:
    several = comparison.runs["scenario"].nunique() > 1
    for metric in comparison.ranking["metric"].unique():
        rows = _records(comparison.ranking[comparison.ranking["metric"] == metric])
        unit, label = unit_of(comparison, metric), label_of(metric)
        for row in rows:
            ahead = "ahead of" if row["decided"] else "not surely ahead of"
            yield (
                f"{where(row, several)}best by {label}: {row['first']} ({amount(row['first_mean'], unit)}), "
                f"{ahead} {row['second']} ({amount(row['second_mean'], unit)})."
            )
        if len(rows) > 1:
            yield _stays(label, rows)


def _stays(label: str, rows: list[dict[str, Any]]) -> str:
    """Whether the winner is the same wherever it was asked."""
    decided = [row for row in rows if row["decided"]]
    winners = list(dict.fromkeys(row["first"] for row in decided))
    if not winners:
        return f"By {label} no winner is decided anywhere."
    if len(winners) > 1:
        kinds = [kind for kind in ("scenario", "setting") if len({row[kind] for row in rows}) > 1]
        return f"By {label} the winner changes with the {' and the '.join(kinds)}: {' or '.join(winners)}."
    held = f"decided in {len(decided)} of {len(rows)} places and contradicted in none"
    return f"By {label} the winner stays {winners[0]}: {held}."


def _failures(comparison: Comparison) -> Iterator[str]:
    failed = comparison.runs[comparison.runs["status"] == "failed"]
    for place in failed[list(PLACE)].drop_duplicates().itertuples(index=False):
        rows = failed[(failed[list(PLACE)] == list(place)).all(axis=1)]
        words = ", ".join(str(word) for word in place if word)
        yield f"{words}: {len(rows)} of its runs failed; the first: {rows['reason'].iloc[0]}."
