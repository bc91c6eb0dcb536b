"""Opening a world, and the loops that take it through its phases."""
