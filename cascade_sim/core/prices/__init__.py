"""Index, marks and Greeks: every number that is not a fill."""
