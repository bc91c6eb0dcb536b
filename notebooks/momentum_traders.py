# %% [markdown]
# # What fifty momentum traders do to a fall
#
# A momentum trader sells what has fallen. It needs no leverage to make a cascade worse: its sales meet the same book as hedges
# and forced sales. The trader is the example of `docs/adding_an_agent.md`, twenty lines of Python.

# %%
# %matplotlib inline
import sys
from pathlib import Path

import pandas as pd

import cascade_sim as cs
from cascade_sim.metrics import METRICS as KNOWN
from cascade_sim.plots import mark_with_counterfactuals

sys.path.insert(0, str(Path("../docs/examples").resolve()))
print(Path("../docs/examples/momentum_trader.py").read_text())

# %% [markdown]
# ## With and without
#
# Two hours of the default scenario; the shock comes after one. Runs of one seed share every draw of the market, so that they
# are compared seed by seed.

# %%
SEEDS = range(5)
METRICS = ["max_adverse_excursion", "liquidated_accounts", "liquidated_notional", "bad_debt"]

without = cs.load_scenario("gamma_shock").with_overrides({"run.steps": 7200, "run.record": "series"})
scenarios = {
    "without": without,
    "with 50": without.with_overrides(
        {"agents.momentum": {"name": "momentum_trader:MomentumTrader", "count": 50}}
    ),
}
results = {
    (label, seed): cs.run(scenario, seed, probe=False)
    for label, scenario in scenarios.items()
    for seed in SEEDS
}
rows = [
    {"traders": label, "seed": seed, **{name: result.summary[name] for name in METRICS}}
    for (label, seed), result in results.items()
]
runs = pd.DataFrame(rows).set_index(["traders", "seed"])
units = {key.name: key.unit.replace("quote", without.market.quote) for key in KNOWN.values()}
labels = {key.name: f"{key.label} ({units[key.name]})" for key in KNOWN.values()}
runs.groupby("traders", sort=False).mean().rename(columns=labels).round(1).transpose()

# %% [markdown]
# ## Paired differences
#
# Mean over seeds and its standard error.

# %%
differences = runs.xs("with 50", level="traders") - runs.xs("without", level="traders")
pd.DataFrame({"mean": differences.mean(), "standard error": differences.sem()}).rename(index=labels).round(1)

# %% [markdown]
# ## One seed
#
# The traders sell as soon as two minutes of the fall are behind them, and buy the rebound.

# %%
mark_with_counterfactuals(
    results["with 50", 0], {"without momentum traders": results["without", 0].series}, label="with 50"
)
