"""Vocabulary shared by every floor: codes, instruments, units, errors, protocols."""
