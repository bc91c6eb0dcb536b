"""The command line. Heavy imports wait until a command needs them."""

import gc
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from importlib import import_module
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any

import typer

from cascade_sim.domain.errors import (
    CapacityError,
    CascadeError,
    OutputError,
    RunInterrupted,
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
_INTERRUPTED = 130
_interrupts: list[int] = []

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Override one field; may be repeated.")
]


class _ClosedOutputError(CascadeError):
    """Standard output takes nothing more: a full disk, a closed pipe."""

    exit_code = 1


def _say(text: str, *, nl: bool = True) -> None:
    """Print to standard output; what cannot be printed is an error like any other."""
    try:
        if sys.stdout is None:
            raise OSError("it is closed")
        typer.echo(text, nl=nl)
    except (OSError, ValueError) as error:
        _drop_output()
        reason = getattr(error, "strerror", None) or str(error)
        raise _ClosedOutputError(f"standard output: expected to write to it, received: {reason}") from error


def _drop_output() -> None:
    """Send what is still buffered nowhere, or Python would fail on it once more when it ends."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _load(name: str, overrides: list[str] | None) -> Any:
    from cascade_sim.scenario import load_scenario, parse_override

    scenario = load_scenario(name)
    changes: dict[str, Any] = {}
    for text in overrides or []:
        path, value = parse_override(text)
        changes[path] = value
    return scenario.with_overrides(changes) if changes else scenario


def _check_out(folder: Path) -> None:
    """Fail before the run when its result could not be kept."""
    from cascade_sim.result import check_target

    try:
        check_target(folder)
    except OutputError as error:
        raise OutputError(f"--out: {error}") from error


@contextmanager
def _interrupts_remembered() -> Iterator[None]:
    """Note every Ctrl-C: callbacks of the kernel compiler swallow the exception, and the run would go on."""
    _interrupts.clear()
    former = signal.getsignal(signal.SIGINT)
    if former is not signal.default_int_handler or threading.current_thread() is not threading.main_thread():
        yield
        return

    def note(number: int, _frame: object) -> None:
        _interrupts.append(number)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)


def _stop_if_interrupted() -> None:
    if _interrupts:
        raise KeyboardInterrupt


def _is_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


def _announce_compilation() -> None:
    from cascade_sim.core.compile import cache_directory

    text = "compiling the kernels; this happens once and takes about half a minute"
    # The folder of a user whose own cannot be written lives as long as the process.
    if cache_directory().parent == Path(tempfile.gettempdir()):
        text = (
            "compiling the kernels, about half a minute; every run will, because no folder can be written that "
            "would keep them (NUMBA_CACHE_DIR names another)"
        )
    typer.echo(text, err=True)


@contextmanager
def _progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar with the time left on standard error, if that is a terminal, while a run advances."""
    if not _is_terminal():
        yield lambda _done, _total: _stop_if_interrupted()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=1.0)

        def advance(done: int, total: int) -> None:
            _stop_if_interrupted()
            bar.update(task, completed=done / max(total, 1))

        yield advance


def _print_result(result: Any, base: str, quote: str, folder: Path) -> None:
    from cascade_sim.columns import SUMMARY_KEYS
    from cascade_sim.plots.payers import ranked_losses
    from cascade_sim.report import chain_words, narrate, unit_words

    summary = result.summary
    for sentence in (*narrate(summary, quote), *chain_words(result.manifest.get("option_chain"))):
        _say(sentence)
    _say("")
    for key in SUMMARY_KEYS:
        value = summary.get(key.name)
        if isinstance(value, int | float):
            text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:,.6g}"
            _say(f"  {key.label:<56}{text:>16}  {unit_words(key.unit, base, quote)}".rstrip())
    losses = ranked_losses(summary)
    if losses:
        _say(f"\nwho paid (+) and who gained (-), {quote}")
        for name, value in losses:
            _say(f"  {name:<56}{value:>16,.0f}")
    _say(f"\nresult in {folder}")


@app.command("run")
def run_command(
    scenario: Annotated[
        str, typer.Argument(help="Name from the library or path to YAML.")
    ] = DEFAULT_SCENARIO,
    seed: Annotated[int, typer.Option(help="Key of every draw.", min=0)] = 0,
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="Result folder; results/SCENARIO-SEED by default.")] = None,
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
    json_output: Json = False,
) -> None:
    """Run one scenario and write its result folder."""
    resolved = _load(scenario, overrides)
    mechanisms = None if counterfactual is None else _mechanisms(counterfactual, resolved)
    folder = out if out is not None else Path("results") / f"{resolved.name}-{seed}"
    if resume and _is_same(folder, resolved.scenario_hash, seed, mechanisms):
        from cascade_sim.result import load_result

        result = load_result(folder)
    else:
        _check_out(folder)
        result = _run_and_save(resolved, seed, folder, mechanisms, charts=not no_charts)
    if json_output:
        _say(json.dumps(result.summary, allow_nan=False))
    else:
        _print_result(result, resolved.market.base, resolved.market.quote, folder)


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
    from cascade_sim.core.compile import cache_is_cold
    from cascade_sim.model import check_inputs

    # What the check itself compiles would warm the cache.
    cold = cache_is_cold()
    check_inputs(scenario)
    if cold:
        _announce_compilation()
    started = time.perf_counter()
    add: Callable[[Path], Any] | None = None
    if charts:
        # The engine leaves the interpreter free while it runs: time to import what draws.
        threading.Thread(target=import_module, args=("cascade_sim.report",), daemon=True).start()

        def add(unfinished: Path) -> Any:
            from cascade_sim.report import write_report

            return write_report(result, unfinished)

    stop: CapacityError | RunInterrupted | None = None
    try:
        result = _run_it(scenario, seed, mechanisms)
        _stop_if_interrupted()
    except (CapacityError, RunInterrupted) as error:
        if error.result is None:
            raise
        stop, result = error, error.result
        _interrupts.clear()
    manifest = {**result.manifest, "wall_seconds": time.perf_counter() - started}
    manifest["ended_at"] = datetime.now(UTC).isoformat()
    result = result.replaced(manifest=manifest)
    result.save(folder, add)
    if stop is None:
        return result
    message = f"{stop}; what was recorded until then is in {folder}"
    if isinstance(stop, CapacityError):
        raise CapacityError(message)
    typer.echo(message, err=True)
    raise SystemExit(_INTERRUPTED)


def _run_it(scenario: Any, seed: int, mechanisms: list[str] | None) -> Any:
    with _progress(scenario.name) as progress:
        if mechanisms is None:
            from cascade_sim.lab.single import run

            return run(scenario, seed, progress=progress)
        from cascade_sim.lab.counterfactual import counterfactual

        return counterfactual(scenario, seed, mechanisms, progress=progress).result


@app.command("report")
def report_command(directory: Annotated[Path, typer.Argument(help="Result folder of a run.")]) -> None:
    """Rebuild charts and report.html of a saved run."""
    from cascade_sim.report import write_report
    from cascade_sim.result import load_result

    _say(str(write_report(load_result(directory), directory)))


@app.command("scenarios")
def scenarios_command(name: Annotated[str | None, typer.Argument()] = None) -> None:
    """List the scenario library, a line each; a name shows the scenario whole."""
    from cascade_sim.scenario import load_scenario, scenario_names

    if name is not None:
        scenario = load_scenario(name)
        _say(scenario.to_commented_yaml(_parameter_notes(scenario)), nl=False)
        return
    for known in scenario_names():
        _say(f"{known:<16}{load_scenario(known).title}")


def _parameter_notes(scenario: Any) -> dict[str, str]:
    """Return what the documentation of its rules says about each of their parameters, by dotted path."""
    from cascade_sim.registry import REGISTRIES

    notes = {}
    for path, component in scenario.components().items():
        if path not in REGISTRIES:
            continue
        lines = REGISTRIES[path].describe(component.name).documentation.splitlines()
        for name in component.parameters:
            start = next((k for k, line in enumerate(lines) if line.startswith(f"{name} : ")), len(lines))
            meaning = " ".join(
                line.strip() for line in takewhile(lambda text: text.startswith(" "), lines[start + 1 :])
            )
            unit = "s; " if name.endswith("_seconds") else ""
            notes[f"{path}.{name}"] = f"{unit}{meaning}".removesuffix(".")
    return notes


@app.command("rules")
def rules_command(name: Annotated[str | None, typer.Argument()] = None) -> None:
    """List every rule, a line each; a name shows documentation and parameters."""
    from cascade_sim.registry import REGISTRIES

    if name is None:
        for kind, registry in REGISTRIES.items():
            for known in registry.names():
                _say(f"{kind:<26}{known:<28}{registry.describe(known).summary}")
        return
    found = [(kind, registry) for kind, registry in REGISTRIES.items() if name in registry.names()]
    if not found:
        raise UnknownNameError(
            "rule", name, [known for registry in REGISTRIES.values() for known in registry.names()]
        )
    for kind, registry in found:
        description = registry.describe(name)
        _say(f"{kind}: {name}\n\n{description.documentation}\n")
        for parameter in description.parameters:
            default = "required" if parameter.required else parameter.default
            _say(f"  {parameter.name}: {parameter.type}, default {default}")


@app.command("switches")
def switches_command(name: Annotated[str | None, typer.Argument()] = None) -> None:
    """List the switches of counterfactual arms, a line each."""
    from cascade_sim.scenario import load_scenario

    fields = type(load_scenario(DEFAULT_SCENARIO).switches).model_fields
    if name is not None and name not in fields:
        raise UnknownNameError("switch", name, list(fields))
    for known, described in fields.items():
        if name in (None, known):
            _say(f"{known:<24}{described.description}")


@app.command("metrics")
def metrics_command(name: Annotated[str | None, typer.Argument()] = None) -> None:
    """List the metrics, a line each; a name shows its documentation."""
    from cascade_sim.metrics import METRICS

    if name is not None:
        if name not in METRICS:
            raise UnknownNameError("metric", name, list(METRICS))
        _say(f"{name} ({METRICS[name].unit})\n\n{METRICS[name].documentation}")
        return
    for known, metric in METRICS.items():
        _say(f"{known:<28}{metric.unit:<22}{metric.documentation.splitlines()[0]}")


@app.command("show")
def show_command(
    scenario: Annotated[str, typer.Argument(help="Name from the library or path to YAML.")],
    diff: Annotated[str | None, typer.Option(help="Show only what differs from this scenario.")] = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON schema of scenarios.")] = False,
    overrides: Overrides = None,
) -> None:
    """Print a scenario, fully resolved."""
    if schema:
        from cascade_sim.scenario import scenario_schema

        _say(json.dumps(scenario_schema(), indent=2))
        return
    resolved = _load(scenario, overrides)
    if diff is None:
        _say(resolved.to_yaml(), nl=False)
        return
    other = _load(diff, None).leaves()
    mine = resolved.leaves()
    for path in sorted(mine.keys() | other.keys()):
        if mine.get(path) != other.get(path):
            _say(f"{path}: {other.get(path)} -> {mine.get(path)}")


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
    from rich.console import Console

    from cascade_sim.bench import MEASUREMENTS, Request, bench

    chosen = _names(only) if only is not None else list(MEASUREMENTS)
    request = Request(yardstick=yardstick)
    bench(request, chosen, check_only=True)
    figures: dict[str, float | None] = {}
    console = Console(stderr=True)
    for name in chosen:
        title = f"{name}: {(MEASUREMENTS[name].__doc__ or name).splitlines()[0]}"
        with console.status(title) if _is_terminal() else nullcontext():
            figures.update(bench(request, [name]))
    if json_output:
        _say(json.dumps(figures, allow_nan=False))
        return
    for name, value in figures.items():
        _say(f"{name:<36}{'not measured' if value is None else f'{value:,.4g}':>16}")


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

    0 done; 2 the request was wrong (one line says what was expected, what came, what is known); 1 a run failed; 130
    interrupted.
    """
    sys.path.insert(0, str(Path.cwd()))
    words = sys.argv[1:] if arguments is None else arguments
    try:
        _check_command(words)
        with _interrupts_remembered():
            status = app(args=_with_default_mechanisms(words), standalone_mode=False)
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        raise SystemExit(_INTERRUPTED) from None
    except CascadeError as error:
        typer.echo(f"cascade-sim: {error}", err=True)
        raise SystemExit(error.exit_code) from None
    except OSError as error:
        _drop_output()
        typer.echo(f"cascade-sim: expected no failure of the system, received: {error}", err=True)
        raise SystemExit(1) from None
    except Exception as error:
        # Usage errors and Ctrl-C come as classes of typer's own command parser, which it does not export.
        if type(error).__name__ in ("Abort",):
            typer.echo("interrupted", err=True)
            raise SystemExit(_INTERRUPTED) from None
        if not hasattr(error, "format_message"):
            raise
        typer.echo(f"cascade-sim: {' '.join(str(error.format_message()).split())}", err=True)
        raise SystemExit(2) from None
    if status == _INTERRUPTED:  # typer's parser turns Ctrl-C into this status and says nothing
        typer.echo("interrupted", err=True)
    raise SystemExit(status if isinstance(status, int) else 0)


def entry() -> None:
    """Run the command line as a program: as `main`, with a garbage collector that stays out of the way."""
    # Imports and charts make objects by the hundred thousand and no cycles worth looking for so often.
    gc.set_threshold(100_000, 50, 50)
    try:
        main()
    finally:
        # All of it goes away with the process; to look for cycles in it first took half a second.
        gc.freeze()
