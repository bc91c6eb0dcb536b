"""Running things: one run, counterfactuals, comparisons. Fills the summary of a result."""
