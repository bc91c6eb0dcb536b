"""How records are built: aligned, so that each field lies where its type wants it."""

import numpy as np


def record(**fields: object) -> np.dtype:
    """Build an aligned record dtype; a field is a dtype or (dtype, shape)."""
    parts: list[tuple[object, ...]] = [
        (name, *kind) if isinstance(kind, tuple) else (name, kind) for name, kind in fields.items()
    ]
    return np.dtype(parts, align=True)
