"""The command that runs experiment files."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from cascade_sim.cli import signals
from cascade_sim.cli.output import (
    Json,
    add_report,
    announce_compilation,
    complain,
    is_terminal,
    keep_output_for_one_object,
    refuse_own_code,
    say,
    warnings_in_one_line,
)

app = typer.Typer()
_LINE_EVERY_SECONDS = 10.0
"""Between two lines of progress where there is no terminal to redraw one."""


@app.command("sweep")
def sweep_command(
    experiment: Annotated[
        Path, typer.Argument(metavar="EXPERIMENT.yaml", help="What is varied, and how often.")
    ],
    out: Annotated[Path | None, typer.Option(help="Folder; results/NAME by default.")] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes on this machine; one per processor by default.")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="A Dask scheduler that is already there.")
    ] = None,
    scheduler_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File in which such a scheduler says where it is.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the sweep that is in the folder.")
    ] = False,
    no_charts: Annotated[bool, typer.Option("--no-charts", help="Leave charts and report out.")] = False,
    no_own_code: Annotated[
        bool,
        typer.Option("--no-own-code", help="Refuse an experiment that names a class outside this package."),
    ] = False,
    json_output: Json = False,
) -> None:
    """Run every point of an experiment, replicated, and keep each chunk as it is done."""
    if json_output:
        keep_output_for_one_object()
    from cascade_sim.core.ground.compile import cache_is_cold
    from cascade_sim.lab.experiment import lay_out, load_experiment
    from cascade_sim.lab.sweep import SweepInterrupted, sweep

    read, beside = load_experiment(experiment)
    if no_own_code:
        for cell in lay_out(read, beside).cells:
            if cell.scenario is not None:
                refuse_own_code(cell.scenario)
    folder = out if out is not None else Path("results") / read.name
    if cache_is_cold():
        announce_compilation()
    try:
        with warnings_in_one_line(), _told(read.name) as tell:
            table = sweep(
                experiment,
                folder,
                workers=workers,
                scheduler=scheduler,
                scheduler_file=scheduler_file,
                resume=resume,
                progress=tell,
            )
    except SweepInterrupted as stop:
        signals.forget()
        complain(f"interrupted: {stop}; --resume goes on")
        raise typer.Exit(signals.INTERRUPTED) from None
    failures = int((table["status"] == "failed").sum())
    if not no_charts:
        from cascade_sim.lab.sweep import view_of
        from cascade_sim.sweep_report import draw_sweep_report

        add_report(lambda: draw_sweep_report(view_of(folder)), folder)
    if json_output:
        say(json.dumps(_summary(table, read.metrics, folder), allow_nan=False))
    else:
        say(f"{len(table)} runs of {table['point'].nunique()} points in {folder}")
    if failures:
        complain(f"cascade-sim: {failures} of {len(table)} runs failed; why stands in the column reason")
        raise typer.Exit(1)


def _summary(table: Any, metrics: list[str], folder: Path) -> dict[str, Any]:
    """What was found, as one object: means of the metrics by point and arm."""
    from cascade_sim.manifest import json_ready

    shown = [name for name in metrics if name in table.columns]
    means = table[table["status"] == "finished"].groupby(["point", "arm", "off"], sort=False)[shown].mean()
    counts = table["status"].value_counts()
    ready = json_ready(
        {
            "folder": str(folder),
            "experiment_id": str(table["experiment_id"].iloc[0]),
            "runs": len(table),
            "failures": int(counts.get("failed", 0)),
            "points": means.reset_index().to_dict("records"),
        }
    )
    return dict(ready)


@contextmanager
def _told(title: str) -> Iterator[Callable[[Any], None]]:
    """Say how far a sweep is: a bar in a terminal, a line now and then elsewhere; both on standard error."""
    if not is_terminal():
        last = [time.perf_counter()]

        def line(state: Any) -> None:
            signals.stop_if_received()
            now = time.perf_counter()
            if now - last[0] >= _LINE_EVERY_SECONDS or state.runs == state.of:
                last[0] = now
                complain(_words(title, state))

        yield line
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn())
    with Progress(*columns, console=Console(file=sys.stderr), transient=True) as bar:
        task = bar.add_task(title, total=1.0)

        def draw(state: Any) -> None:
            signals.stop_if_received()
            bar.update(task, completed=state.runs / max(1, state.of), description=_words(title, state))

        yield draw


def _words(title: str, state: Any) -> str:
    left = (state.of - state.runs) / state.per_second if state.per_second > 0.0 else None
    parts = [
        f"{title}: {state.points} of {state.of_points} points",
        f"{state.runs:,} of {state.of:,} runs",
        f"{state.per_second:.3g} runs/s",
    ]
    if left is not None and state.runs < state.of:
        parts.append(f"{left:,.0f} s left" if left < 600 else f"{left / 60:,.0f} min left")
    if state.failures:
        parts.append(f"{state.failures} failed")
    return ", ".join(parts)
