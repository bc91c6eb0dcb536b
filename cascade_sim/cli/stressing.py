"""The command that runs stresses, and the one that looks for the least that breaks something."""

import json
import math
from pathlib import Path
from typing import Annotated, Any

import typer

from cascade_sim.cli.comparing import check_folder, keep
from cascade_sim.cli.output import (
    Json,
    Overrides,
    announce_compilation,
    keep_output_for_one_object,
    load,
    progress_bar,
    refuse_own_code,
    say,
    warnings_in_one_line,
)
from cascade_sim.domain.errors import ScenarioError

app = typer.Typer()


@app.command("stress")
def stress_command(
    scenario: Annotated[str, typer.Argument(help="Name from the library or path to YAML.")] = "gamma_shock",
    library: Annotated[
        str, typer.Option(metavar="NAME", help="Stresses: market, clearing, or a YAML file.")
    ] = "market",
    target: Annotated[
        str | None,
        typer.Option(metavar="'METRIC>VALUE'", help="Look for the least value of --vary that breaks this."),
    ] = None,
    vary: Annotated[
        str | None, typer.Option(metavar="PATH", help="What is varied to break the target.")
    ] = None,
    low: Annotated[float | None, typer.Option("--from", help="Beginning of its range.")] = None,
    high: Annotated[float | None, typer.Option("--to", help="End of its range.")] = None,
    replications: Annotated[int, typer.Option(help="Runs of every stress, or of every value.", min=2)] = 21,
    seed: Annotated[int, typer.Option(help="Seed of the first replication.", min=0)] = 0,
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="Folder; results/stress-SCENARIO-SEED by default.")] = None,
    no_charts: Annotated[bool, typer.Option("--no-charts", help="Leave charts and report out.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what is in the folder already.")
    ] = False,
    no_own_code: Annotated[
        bool, typer.Option("--no-own-code", help="Refuse a scenario that names a class outside this package.")
    ] = False,
    json_output: Json = False,
) -> None:
    """Run a library of stresses beside the scenario as it is; with --target, find the least that breaks it (reverse stress)."""
    if json_output:
        keep_output_for_one_object()
    resolved = load(scenario, overrides)
    if no_own_code:
        refuse_own_code(resolved)
    from cascade_sim.core.ground.compile import cache_is_cold

    if target is not None:
        if vary is None or low is None or high is None:
            raise ScenarioError("--target: expected --vary, --from and --to beside it, received less")
        if cache_is_cold():
            announce_compilation()
        _reverse(resolved, target, vary, low, high, replications, seed, json_output=json_output)
        return
    if vary is not None or low is not None or high is not None:
        raise ScenarioError("--vary, --from, --to: expected --target beside them, received none")
    from cascade_sim.lab.arms import scenario_of
    from cascade_sim.lab.compare import compare
    from cascade_sim.lab.stresses import arms_of, load_stresses

    arms = arms_of(resolved, load_stresses(library))
    if no_own_code:
        for arm in arms:
            refuse_own_code(scenario_of(resolved, arm))
    folder = out if out is not None else Path("results") / f"stress-{resolved.name}-{seed}"
    check_folder(folder, overwrite=overwrite)
    if cache_is_cold():
        announce_compilation()
    with warnings_in_one_line(), progress_bar(f"stress {resolved.name}") as advance:
        found = keep(
            lambda: compare(resolved, arms=arms, replications=replications, seed=seed, progress=advance),
            folder,
        )
    found.finish(charts=not no_charts, json_output=json_output)


def _reverse(
    scenario: Any,
    target: str,
    vary: str,
    low: float,
    high: float,
    replications: int,
    seed: int,
    *,
    json_output: bool,
) -> None:
    from cascade_sim.lab.threshold import find_threshold, parse_target
    from cascade_sim.manifest import json_ready

    wanted = parse_target(target)
    with warnings_in_one_line(), progress_bar(f"stress {scenario.name}") as advance:
        found = find_threshold(
            scenario, wanted, vary, low, high, replications=max(5, replications), seed=seed, progress=advance
        )
    records = found.evaluated.to_dict("records")
    if json_output:
        told = {
            "target": target,
            "path": vary,
            "value": found.value,
            "low": found.low,
            "high": found.high,
            "evaluated": records,
        }
        say(json.dumps(json_ready(told), allow_nan=False))
        return
    if math.isnan(found.value):
        say(f"{target} is broken in fewer than half of the runs up to {vary}={high:g}.")
    else:
        upper = f"{found.high:.4g}" if math.isfinite(found.high) else f"more than {high:g}"
        say(
            f"{target} is broken in half of the runs from {vary}={found.value:.4g} on ({found.low:.4g} to {upper}, 95 %)."
        )
    say("")
    say(f"{vary:>28}{'broken':>10}{'share':>10}{'mean ' + wanted.metric:>32}")
    for row in records:
        say(f"{row['value']:>28.6g}{row['broken']:>10}{row['share']:>10.2f}{row[wanted.metric]:>32,.6g}")
