# %% [markdown]
# # Whom to liquidate first
#
# An engine that can close only two accounts a second has to choose. Three rules, the same draws: does the order in which
# accounts are closed change how far the mark falls and who is left with the loss?

# %%
# %matplotlib inline
import pandas as pd

import cascade_sim as cs
from cascade_sim.columns import SUMMARY_KEYS
from cascade_sim.plots import mark_with_counterfactuals

RULES = ["worst_margin_ratio_first", "largest_notional_first", "random"]
SEEDS = range(6)
METRICS = [
    "max_adverse_excursion",
    "liquidated_accounts",
    "liquidated_notional",
    "bad_debt",
    "insurance_fund_end",
]

scenario = cs.load_scenario("long_squeeze").with_overrides(
    {"run.steps": 5400, "run.record": "series", "clearing.accounts_per_second": 2}
)

# %% [markdown]
# A run per rule and seed. Runs of one seed share every draw, so rules are compared seed by seed and the market's own
# noise drops out of the differences.

# %%
results = {
    (rule, seed): cs.run(scenario.with_overrides({"clearing.priority.name": rule}), seed, probe=False)
    for rule in RULES
    for seed in SEEDS
}
rows = [
    {"rule": rule, "seed": seed, **{name: result.summary[name] for name in METRICS}}
    for (rule, seed), result in results.items()
]
runs = pd.DataFrame(rows).set_index(["rule", "seed"])
units = {key.name: key.unit.replace("quote", scenario.market.quote) for key in SUMMARY_KEYS}
labels = {key.name: f"{key.label} ({units[key.name]})" for key in SUMMARY_KEYS}
runs.groupby("rule", sort=False).mean().rename(columns=labels).round(1).transpose()

# %% [markdown]
# ## Paired differences to the first rule
#
# Mean over seeds and its standard error. A difference of less than about two standard errors is noise.

# %%
base = runs.xs(RULES[0], level="rule")
differences = pd.concat({rule: runs.xs(rule, level="rule") - base for rule in RULES[1:]}, names=["rule"])
by_rule = differences.groupby("rule", sort=False)
summary = pd.concat({"mean": by_rule.mean(), "standard error": by_rule.sem()}, axis=1).swaplevel(axis=1)
summary[METRICS].rename(columns=labels).round(1).transpose()

# %% [markdown]
# ## One seed, three rules

# %%
mark_with_counterfactuals(
    results[RULES[0], 0],
    {rule.replace("_", " "): results[rule, 0].series for rule in RULES[1:]},
    label=RULES[0].replace("_", " "),
)
