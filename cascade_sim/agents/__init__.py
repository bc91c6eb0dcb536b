"""Mesa agents. A cohort is one agent for any number of accounts; its decisions run in the kernels."""
