"""What kernels stand on: the compiler's door, memory, random numbers, sorting, the timing wheel."""
