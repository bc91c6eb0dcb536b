"""How recorded arrays of kernels become tables in user units: one module per group of tables."""
