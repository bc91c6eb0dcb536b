"""The command that compares arms."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from cascade_sim.cli import signals
from cascade_sim.cli.output import (
    Json,
    Overrides,
    add_report,
    announce_compilation,
    complain,
    keep_output_for_one_object,
    load,
    progress_bar,
    refuse_own_code,
    say,
    warnings_in_one_line,
)
from cascade_sim.domain.errors import ScenarioError, expectation

app = typer.Typer()


def list_of_values(text: str, option: str) -> tuple[str, list[Any]]:
    """Split ``PATH=A,B,C`` into a path and its values, each YAML.

    Parameters
    ----------
    text
        Word of the command line.
    option
        For the line that refuses it.

    Returns
    -------
    tuple of str and list

    Raises
    ------
    ScenarioError
        If there is no equals sign, a value is no YAML, or none is there.
    """
    from cascade_sim.scenario import parse_override

    path, separator, values = text.partition("=")
    if not separator or not path.strip() or not values.strip():
        raise ScenarioError(expectation(option, "PATH=A,B,...", text))
    try:
        _, listed = parse_override(f"{path}=[{values}]")
    except ScenarioError as error:
        raise ScenarioError(f"{option} {error}") from error
    return path.strip(), listed


def _lists(texts: list[str] | None, option: str) -> dict[str, list[Any]] | None:
    if not texts:
        return None
    found: dict[str, list[Any]] = {}
    for text in texts:
        path, values = list_of_values(text, option)
        if path in found:
            raise ScenarioError(expectation(option, "each path once", path))
        found[path] = values
    return found


def _margins(texts: list[str] | None) -> dict[str, float]:
    found = {}
    for text in texts or []:
        name, _, value = text.partition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError:
            raise ScenarioError(expectation("--margin", "METRIC=NUMBER", text)) from None
    return found


@app.command("compare")
def compare_command(
    scenario: Annotated[list[str], typer.Argument(help="Names from the library or paths to YAML.")],
    vary: Annotated[
        list[str] | None,
        typer.Option(metavar="PATH=A,B,...", help="An arm for every value; repeated, for every combination."),
    ] = None,
    arms: Annotated[
        Path | None, typer.Option(metavar="FILE.yaml", help="Arms by name, each with what it changes.")
    ] = None,
    controls: Annotated[
        bool, typer.Option("--controls", help="Also run the first arm with impact_off and with placebo.")
    ] = False,
    across: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH=A,B,...", help="Repeat the comparison under each value: does the winner stay?"
        ),
    ] = None,
    replications: Annotated[int, typer.Option(help="Runs of every arm, on the same draws.", min=2)] = 50,
    seed: Annotated[int, typer.Option(help="Seed of the first replication.", min=0)] = 0,
    until_decided: Annotated[
        bool,
        typer.Option("--until-decided", help="Stop when everything is decided, with --replications at most."),
    ] = False,
    primary: Annotated[
        str | None,
        typer.Option(metavar="METRIC,...", help="Metrics that decide; excursion and bad debt by default."),
    ] = None,
    margin: Annotated[
        list[str] | None,
        typer.Option(metavar="METRIC=VALUE", help="Differences of a primary metric that do not matter."),
    ] = None,
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder; results/compare-SCENARIOS-SEED by default.")
    ] = None,
    no_charts: Annotated[bool, typer.Option("--no-charts", help="Leave charts and report out.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a comparison that is in the folder already.")
    ] = False,
    no_own_code: Annotated[
        bool, typer.Option("--no-own-code", help="Refuse arms that name a class outside this package.")
    ] = False,
    json_output: Json = False,
) -> None:
    """Compare arms of one or several scenarios on the same draws, with intervals and verdicts."""
    if json_output:
        keep_output_for_one_object()
    scenarios = [load(name, overrides) for name in scenario]
    lists, settings, margins = _lists(vary, "--vary"), _lists(across, "--across"), _margins(margin)
    if (lists is None) == (arms is None):
        received = "neither" if arms is None else "both"
        raise ScenarioError(f"arms: expected either --vary or --arms, received {received}")
    from cascade_sim.core.ground.compile import cache_is_cold
    from cascade_sim.lab.arms import load_arms, scenario_of, varied
    from cascade_sim.lab.compare import PRIMARY, compare

    chosen = load_arms(arms) if arms is not None else varied(lists or {})
    if no_own_code:
        for each in scenarios:
            for arm in chosen:
                refuse_own_code(scenario_of(each, arm))
    names = "-".join(each.name for each in scenarios)
    folder = out if out is not None else Path("results") / f"compare-{names}-{seed}"
    check_folder(folder, overwrite=overwrite)
    if cache_is_cold():
        announce_compilation()
    with warnings_in_one_line(), progress_bar(f"compare {names}") as advance:
        kept = keep(
            lambda: compare(
                scenarios,
                arms=chosen,
                controls=controls,
                across=settings,
                replications=replications,
                seed=seed,
                primary=[word.strip() for word in primary.split(",") if word.strip()] if primary else PRIMARY,
                margins=margins,
                until_decided=until_decided,
                progress=advance,
            ),
            folder,
        )
    kept.finish(charts=not no_charts, json_output=json_output)


class Kept(NamedTuple):
    """A comparison that is saved.

    Attributes
    ----------
    comparison : Comparison
    folder : Path
    interrupted : str
        What was said of an interrupt, empty without one.
    """

    comparison: Any
    folder: Path
    interrupted: str

    def finish(self, *, charts: bool, json_output: bool) -> None:
        """Draw and print what belongs to it, and end with the status that it calls for."""
        if charts:
            from cascade_sim.comparison_report import draw_comparison_report

            add_report(lambda: draw_comparison_report(self.comparison), self.folder)
        if json_output:
            say(json.dumps(self.comparison.summary, allow_nan=False))
        else:
            _print(self.comparison, self.folder)
        if self.interrupted:
            complain(f"interrupted: {self.interrupted}; they are in {self.folder}")
            raise typer.Exit(signals.INTERRUPTED)
        if self.comparison.failures:
            complain(f"cascade-sim: {self.comparison.failures} of {len(self.comparison.runs)} runs failed")
            raise typer.Exit(1)


def keep(compare: Callable[[], Any], folder: Path) -> Kept:
    """Compare and save, also what had finished before an interrupt."""
    from cascade_sim.lab.compare import ComparisonInterrupted

    interrupted = ""
    try:
        comparison = compare()
    except ComparisonInterrupted as stop:
        if stop.comparison is None:
            raise
        comparison, interrupted = stop.comparison, str(stop)
        signals.forget()
    comparison.save(folder)
    return Kept(comparison, folder, interrupted)


def check_folder(folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder that could not hold the comparison, before anything runs."""
    from cascade_sim.domain.errors import OutputError
    from cascade_sim.result import check_target
    from cascade_sim.result_folder import COMPARISON, MANIFEST

    try:
        check_target(folder, COMPARISON)
        if (folder / MANIFEST).exists() and not overwrite:
            raise OutputError(
                f"expected a new folder or --overwrite, received {folder}, which holds a comparison"
            )
    except OutputError as error:
        raise OutputError(f"--out: {error}") from error


def _print(comparison: Any, folder: Path) -> None:
    for sentence in comparison.sentences:
        say(sentence)
    say("")
    shown = comparison.arms[comparison.arms["metric"].isin(comparison.design["primary"])]
    several = len(comparison.runs[["scenario", "setting"]].drop_duplicates()) > 1
    rows = shown.to_dict("records")
    names = [
        ", ".join(row[key] for key in ("scenario", "setting", "arm") if row[key]) if several else row["arm"]
        for row in rows
    ]
    width = max((len(name) for name in names), default=0) + 2
    head = ("mean", "median", "P(>0)", "mean | >0", "worst 5 %")
    say(f"{'':<{width}}{'':<24}" + "".join(f"{word:>12}" for word in head))
    for name, row in zip(names, rows, strict=True):
        values = (row["mean"], row["median"], row["share_positive"], row["mean_positive"], row["cvar_95"])
        say(f"{name:<{width}}{row['metric']:<24}" + "".join(f"{value:>12,.4g}" for value in values))
    say(f"\ncomparison of {len(comparison.runs)} runs in {folder}")
