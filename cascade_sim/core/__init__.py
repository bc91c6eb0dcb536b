"""Compiled kernels. They know numbers, numpy, numba and the enums of ``domain``, nothing else."""
