"""The command line. Heavy imports wait until a command needs them."""

import gc
import json
import sys
import tempfile
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from cascade_sim.cli import comparing, listing, saving, signals, stressing, sweeping
from cascade_sim.cli.output import (
    Json,
    Overrides,
    announce_compilation,
    complain,
    drop_output,
    give_output_back,
    is_terminal,
    keep_output_for_one_object,
    load,
    occupy_closed_streams,
    progress_bar,
    refuse_own_code,
    say,
    warnings_in_one_line,
)
from cascade_sim.domain.errors import (
    CascadeError,
    OutputError,
    ScenarioError,
    UnknownNameError,
    expectation,
)

app = typer.Typer(
    name="cascade-sim",
    help="Liquidation cascades in an agent-based market with a real limit order book.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

DEFAULT_SCENARIO = "gamma_shock"
DEFAULT_MECHANISMS = "liquidation,delta_hedging"


class _Process:
    """Whether this process belongs to the command line alone."""

    own = False


def _check_out(folder: Path, scenario_hash: str, seed: int, *, overwrite: bool) -> None:
    """Fail before the run when its result could not be kept, or would take the place of another."""
    from cascade_sim.result import check_target
    from cascade_sim.temporaries import remove_abandoned

    with suppress(OSError):  # there may be no folder for temporary files
        remove_abandoned(Path(tempfile.gettempdir()))
    try:
        check_target(folder)
        other = None if overwrite else _other_result(folder, scenario_hash, seed)
        if other is not None:
            raise OutputError(f"expected a new folder or --overwrite, received {folder}, which holds {other}")
    except OutputError as error:
        raise OutputError(f"--out: {error}") from error


def _other_result(folder: Path, scenario_hash: str, seed: int) -> str | None:
    """What a folder holds, if that is the result of another run; None where a run would only make the same again."""
    from cascade_sim.domain.errors import DataFileError
    from cascade_sim.table_files import read_json

    if not (folder / "summary.json").exists():
        return None
    try:
        manifest = read_json(folder / "manifest.json")
    except DataFileError:
        return "a damaged result"
    if manifest.get("scenario_hash") != scenario_hash:
        return "the result of another scenario"
    return None if manifest.get("seed") == seed else f"the result of seed {manifest.get('seed')}"


def _print_result(result: Any, scenario: Any, folder: Path | None, json_output: bool) -> None:
    if json_output:
        say(json.dumps(result.summary, allow_nan=False))
        return
    from cascade_sim.input_words import bracket_words, chain_words
    from cascade_sim.metrics import summary_keys
    from cascade_sim.page import unit_words
    from cascade_sim.plots.words import ranked_losses
    from cascade_sim.report import narrate

    summary, base, quote = result.summary, scenario.market.base, scenario.market.quote
    notes = result.manifest
    said = chain_words(notes.get("option_chain")) + bracket_words(notes.get("margin_brackets"))
    for sentence in (*narrate(summary, quote), *said):
        say(sentence)
    say("")
    for key in summary_keys():
        value = summary.get(key.name)
        if isinstance(value, int | float):
            text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:,.6g}"
            say(f"  {key.label:<56}{text:>16}  {unit_words(key.unit, base, quote)}".rstrip())
    losses = ranked_losses(summary)
    if losses:
        say(f"\nwho paid (+) and who gained (-), {quote}")
        for name, value in losses:
            say(f"  {name:<56}{value:>16,.0f}")
    if folder is not None:
        say(f"\nresult in {folder}")


@app.command("run")
def run_command(
    scenario: Annotated[
        str, typer.Argument(help="Name from the library or path to YAML.")
    ] = DEFAULT_SCENARIO,
    seed: Annotated[int, typer.Option(help="Key of every draw.", min=0)] = 0,
    overrides: Overrides = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Result folder; results/SCENARIO-SEED by default, with a mark of what --set changes."
        ),
    ] = None,
    counterfactual: Annotated[
        str | None,
        typer.Option(
            metavar="[SWITCH,...]",
            help=f"Also run every subset of these mechanisms; {DEFAULT_MECHANISMS} by default.",
        ),
    ] = None,
    no_charts: Annotated[bool, typer.Option("--no-charts", help="Leave charts and report out.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep a finished result of the same scenario and seed.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the result of another run that is in the folder.")
    ] = False,
    no_own_code: Annotated[
        bool,
        typer.Option("--no-own-code", help="Refuse a scenario that names a class outside this package."),
    ] = False,
    json_output: Json = False,
) -> None:
    """Run one scenario and write its result folder."""
    if json_output:
        keep_output_for_one_object()
    resolved = load(scenario, overrides)
    if no_own_code:
        refuse_own_code(resolved)
    mechanisms = None if counterfactual is None else _mechanisms(counterfactual, resolved)
    mark = f"-{resolved.scenario_hash[:6]}" if overrides else ""
    folder = out if out is not None else Path("results") / f"{resolved.name}-{seed}{mark}"
    if resume and _is_same(folder, resolved.scenario_hash, seed, mechanisms):
        from cascade_sim.result import load_result

        result = _completed(load_result(folder), resolved, seed, folder, charts=not no_charts)
    else:
        _check_out(folder, resolved.scenario_hash, seed, overwrite=overwrite)
        try:
            result = _run_and_save(resolved, seed, folder, mechanisms, charts=not no_charts)
        except saving.NotKeptError as error:
            _print_result(error.result, resolved, None, json_output)
            raise
    _print_result(result, resolved, folder, json_output)
    if result.manifest.get("missing"):
        raise typer.Exit(1)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _mechanisms(text: str, scenario: Any) -> list[str]:
    known = list(type(scenario.switches).model_fields)
    names = _names(text)
    if not names:
        raise ScenarioError(expectation("--counterfactual", "at least one switch", text, known))
    for name in names:
        if name not in known:
            raise UnknownNameError("--counterfactual", name, known)
    return names


def _is_same(folder: Path, scenario_hash: str, seed: int, mechanisms: list[str] | None) -> bool:
    """Whether a folder holds what was asked for, counterfactual arms included."""
    if not (folder / "summary.json").exists():
        return False
    from cascade_sim.result import load_result

    result = load_result(folder)
    if (result.manifest.get("scenario_hash"), result.manifest.get("seed")) != (scenario_hash, seed):
        return False
    if result.manifest.get("status") == "stopped":
        return False
    return set(mechanisms or ()) <= set(result.counterfactual.columns)


def _run_and_save(
    scenario: Any, seed: int, folder: Path, mechanisms: list[str] | None, *, charts: bool
) -> Any:
    from cascade_sim.core.ground.compile import cache_is_cold
    from cascade_sim.model import check_inputs

    # What the check itself compiles would warm the cache.
    cold = cache_is_cold()
    check_inputs(scenario)
    if cold:
        announce_compilation()
    request = saving.Request(
        scenario, seed, folder, mechanisms, charts=charts, progress=progress_bar, apart=_Process.own
    )
    with warnings_in_one_line():
        return saving.run_and_save(request)


def _completed(result: Any, scenario: Any, seed: int, folder: Path, *, charts: bool) -> Any:
    """Add what a finished result went without: its optional parts, if they were interrupted or failed."""
    from cascade_sim.manifest import CHARTS, missing_parts

    wanted = [part for part in missing_parts(result.manifest) if part != CHARTS or charts]
    request = saving.Request(
        scenario, seed, folder, None, charts=charts, progress=progress_bar, apart=_Process.own
    )
    parts = saving.Parts(request, result, folder)
    with parts.drawers:
        parts.add(wanted)
    return parts.result


@app.command("report")
def report_command(
    directory: Annotated[Path, typer.Argument(help="Folder of a run, a comparison or a sweep.")],
) -> None:
    """Rebuild charts and report.html of a saved run, comparison or sweep, also of a sweep that is half-way."""
    from cascade_sim.comparison import is_comparison, load_comparison
    from cascade_sim.lab.sweep import is_sweep, view_of
    from cascade_sim.manifest import CHARTS, missing_parts, with_missing
    from cascade_sim.report import write_report
    from cascade_sim.result import load_result

    if is_comparison(directory):
        from cascade_sim.comparison_report import draw_comparison_report

        say(str(draw_comparison_report(load_comparison(directory)).write(directory)))
        return
    if is_sweep(directory):
        from cascade_sim.sweep_report import draw_sweep_report

        say(str(draw_sweep_report(view_of(directory)).write(directory)))
        return
    result = load_result(directory)
    page = write_report(result, directory)
    if CHARTS in missing_parts(result.manifest):
        result.replaced(manifest=with_missing(result.manifest, {CHARTS: None})).amend(directory)
    say(str(page))


app.registered_commands.extend(comparing.app.registered_commands)
app.registered_commands.extend(sweeping.app.registered_commands)
app.registered_commands.extend(stressing.app.registered_commands)
app.registered_commands.extend(listing.app.registered_commands)


@app.command("bench")
def bench_command(
    only: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="Take only these measurements.")
    ] = None,
    yardstick: Annotated[
        Path | None, typer.Option(metavar="FILE.cpp", help="C++ book to compare with; needs a compiler.")
    ] = None,
    json_output: Json = False,
) -> None:
    """Measure how fast this installation is, as ratios where there is something to compare with."""
    if json_output:
        keep_output_for_one_object()
    from rich.console import Console

    from cascade_sim.bench import MEASUREMENTS, Request, bench

    chosen = _names(only) if only is not None else list(MEASUREMENTS)
    request = Request(yardstick=yardstick)
    bench(request, chosen, check_only=True)
    figures: dict[str, float | None] = {}
    console = Console(stderr=True)
    for name in chosen:
        title = f"{name}: {(MEASUREMENTS[name].__doc__ or name).splitlines()[0]}"
        with console.status(title) if is_terminal() else nullcontext():
            figures.update(bench(request, [name]))
    if json_output:
        say(json.dumps(figures, allow_nan=False))
        return
    for name, value in figures.items():
        say(f"{name:<36}{'not measured' if value is None else f'{value:,.4g}':>16}")


def _may_be_a_scenario(word: str) -> bool:
    """Whether a word after a bare option is rather the scenario: a name of the library, or a path."""
    if word.endswith((".yaml", ".yml")) or "/" in word or "\\" in word or Path(word).is_file():
        return True
    from cascade_sim.scenario import scenario_names

    return word in scenario_names()


def _check_command(words: list[str]) -> None:
    """Refuse an unknown command by naming the known ones."""
    known = [str(command.name) for command in app.registered_commands]
    if words and not words[0].startswith("-") and words[0] not in known:
        raise UnknownNameError("command", words[0], known)


def _with_default_mechanisms(words: list[str]) -> list[str]:
    """Give a bare ``--counterfactual`` its default value; the option's value may be left out."""
    known: tuple[str, ...] = ("liquidation", "delta_hedging", "liquidity_withdrawal", "adl", "backstop")
    known += ("stop_losses", "arbitrage", "funding", "cross_margin", "placebo", "impact_off")
    result = []
    for index, word in enumerate(words):
        result.append(word)
        if word == "--counterfactual":
            following = words[index + 1] if index + 1 < len(words) else "-"
            if following.startswith("-") or (following not in known and _may_be_a_scenario(following)):
                result[-1] = f"{word}={DEFAULT_MECHANISMS}"
    return result


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; exits with a documented status.

    0 done; 2 the request was wrong (one line says what was expected, what came, what is known); 1 a run failed, or a part
    of its result; 130 interrupted.
    """
    try:
        _dispatch(sys.argv[1:] if arguments is None else arguments)
    finally:
        give_output_back()


def _dispatch(words: list[str]) -> None:
    try:
        _check_command(words)
        with signals.remembered():
            status = app(args=_with_default_mechanisms(words), standalone_mode=False)
    except KeyboardInterrupt:
        complain("interrupted")
        raise SystemExit(signals.INTERRUPTED) from None
    except CascadeError as error:
        complain(f"cascade-sim: {error}")
        raise SystemExit(error.exit_code) from None
    except OSError as error:
        drop_output()
        complain(f"cascade-sim: expected no failure of the system, received: {error}")
        raise SystemExit(1) from None
    except Exception as error:
        # Usage errors and Ctrl-C come as classes of typer's own command parser, which it does not export; and so does a
        # file that ends too early, wherever it was read: the parser takes it for the end of what a user types.
        if type(error).__name__ == "Abort" and isinstance(error.__cause__, EOFError):
            complain("cascade-sim: expected no failure of the system, received: a file that ends too early")
            raise SystemExit(1) from None
        if type(error).__name__ == "Abort":
            complain("interrupted")
            raise SystemExit(signals.INTERRUPTED) from None
        if not hasattr(error, "format_message"):
            raise
        complain(f"cascade-sim: {' '.join(str(error.format_message()).split())}")
        raise SystemExit(2) from None
    if status == signals.INTERRUPTED:  # typer's parser turns Ctrl-C into this status and says nothing
        complain("interrupted")
    raise SystemExit(status if isinstance(status, int) else 0)


def entry() -> None:
    """Run the command line as a program: as `main`, with ``--json`` in force to the very end of the process.

    A garbage collector that stays out of the way belongs to it.
    """
    signals.end_quietly_until_ready()
    occupy_closed_streams()
    # Imports and charts make objects by the hundred thousand and no cycles worth looking for so often.
    gc.set_threshold(100_000, 50, 50)
    _Process.own = True
    try:
        _dispatch(sys.argv[1:])
    finally:
        # All of it goes away with the process; to look for cycles in it first took half a second.
        gc.freeze()
