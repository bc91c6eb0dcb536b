"""What has to work on every Python: an ensemble, an agent written in Python, a run with charts and a report.

Usage: main_job.py EXAMPLES RESULTS, where RESULTS is the folder in which ``cascade-sim run`` left its one result.
"""

import platform
import sys
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path

SHORT = {
    "run.steps": 300,
    "run.burn_in_steps": 50,
    "traders.count": 500,
    "traders.open_interest": 50_000.0,
    "shock.at_seconds": 60.0,
    "shock.duration_seconds": 60.0,
}
FIGURES = ("max_adverse_excursion", "liquidated_accounts", "liquidated_notional", "bad_debt", "trades")


def check(what: str, holds: bool) -> None:
    """Print what was checked; end with exit status 1 where it does not hold."""
    print(f"{'holds' if holds else 'FAILS'}: {what}")
    if not holds:
        sys.exit(1)


def main(arguments: list[str]) -> int:
    """Do the job; exit status 2 where the arguments are wrong."""
    if len(arguments) != 2 or not all(Path(argument).is_dir() for argument in arguments):
        print(f"expected two folders, received {arguments}", file=sys.stderr)
        return 2
    examples, results = map(Path, arguments)
    packages = ("mesa", "numba", "numpy", "pandas", "pyarrow", "pydantic", "scipy", "matplotlib", "typer")
    names = ", ".join(f"{name} {version(name)}" for name in packages)
    print(f"Python {platform.python_version()}: {names}")
    # What our own lines call must have a future; what libraries call of each other is theirs.
    for category in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
        warnings.filterwarnings("error", category=category, module="cascade_sim")
    sys.path.insert(0, str(examples))

    import cascade_sim as cs

    folders = [path.parent for path in results.glob("*/manifest.json")]
    check("the command left one result", len(folders) == 1)
    result = cs.load_result(folders[0])
    check("it conserves everything", result.summary["conservation_error"] == 0)
    check("it has a report", (folders[0] / "report.html").stat().st_size > 10_000)
    check("it has charts", len(list((folders[0] / "charts").glob("*.png"))) >= 3)

    scenario = cs.load_scenario("gamma_shock").with_overrides(SHORT)
    frame = cs.run_ensemble(scenario, seeds=range(4))
    single = cs.run(scenario, seed=2).summary
    row = frame.set_index("seed").loc[2]
    check("an ensemble has a row per seed", frame["seed"].tolist() == [0, 1, 2, 3])
    check("each equals its single run", all(row[name] == single[name] for name in FIGURES))

    with tempfile.TemporaryDirectory() as name:
        agents = "{momentum: {name: momentum_trader:MomentumTrader, count: 5, threshold: 0.0005, lookback_seconds: 20}}"
        file = Path(name) / "with_momentum.yaml"
        file.write_text(f"base: gamma_shock\nagents: {agents}\n", encoding="utf-8")
        traded = cs.run(cs.load_scenario(str(file)).with_overrides(SHORT), seed=2)
        saved = cs.load_result(traded.save(Path(name) / "run"))
    check("agents in Python trade", int((traded.trades["taker_cause"] == "execution").sum()) > 0)
    check("and conserve everything", traded.summary["conservation_error"] == 0)
    check("a result is read as it was saved", saved.series.equals(traded.series))

    model = cs.CascadeModel(scenario, rng=2)
    model.step()
    model.run()
    check("a model runs to its end", model.finished)
    theirs = getattr(model, "scenario", None)
    check("what Mesa calls scenario is Mesa's", not theirs or type(theirs).__module__.startswith("mesa."))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
