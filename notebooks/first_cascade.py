# %% [markdown]
# # A first cascade
#
# Dealers who are short gamma sell into a fall; leveraged longs are closed into the same book. How much of the fall did
# these two mechanisms add? The same draws without them tell.

# %%
import pandas as pd

import cascade_sim as cs
from cascade_sim.report import narrate

scenario = cs.load_scenario("gamma_shock").with_overrides({"run.steps": 7200})
print(scenario.title, scenario.description, sep="\n")

# %% [markdown]
# Two hours: the shock comes after one, at 6,000 ETH sold in three minutes with bad news. Every setting has its unit in
# `cascade-sim scenarios gamma_shock`.

# %%
comparison = cs.counterfactual(scenario, seed=7, mechanisms=["liquidation", "delta_hedging"])
result = comparison.result
print(*narrate(result.summary, scenario.market.quote), sep="\n")

# %% [markdown]
# ## With and without
#
# One row per subset of the mechanisms. The added move is counted in log basis points; the ratio is compressed when the
# shock itself is large.

# %%
columns = [
    "arm",
    "max_adverse_excursion",
    "added_move_bp",
    "amplification",
    "liquidated_accounts",
    "bad_debt",
]
comparison.table[columns].round(2)

# %%
pd.Series(comparison.summary["attribution"], name="Shapley share of the added move, log bp").round(
    1
).to_frame()

# %%
result.plot.mark()

# %% [markdown]
# ## What was forced, and into which book

# %%
result.plot.volume()

# %%
result.plot.depth()

# %%
result.plot.levels()

# %% [markdown]
# ## Who paid

# %%
result.plot.payers()

# %% [markdown]
# Cash goes from account to account and from nowhere else: the ledger balances to the last atom.

# %%
assert result.summary["conservation_error"] == 0
