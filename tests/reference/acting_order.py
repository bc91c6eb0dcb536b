"""Who acts first: the order of actors within a phase, from the rule alone."""

MASK = (1 << 64) - 1


def mixed(word: int) -> int:
    """Scramble 64 bits by Stafford's mix 13."""
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & MASK
    return word ^ (word >> 31)


def draw(seed: int, purpose: int, step: int, entity: int, number: int) -> int:
    """Return the 64 bits at an address."""
    key = mixed(seed ^ (purpose * 0x9E3779B97F4A7C15 & MASK))
    key = mixed(key ^ (step * 0xD1B54A32D192ED03 & MASK))
    key = mixed(key ^ (entity * 0xABC98388FB8FAC03 & MASK))
    return mixed(key ^ (number * 0x8CB92BA72F3D8DD7 & MASK))


def acting_order(entities: list[int], seed: int, purpose: int, step: int, number: int) -> list[int]:
    """Return the rows in the order in which they act: entities by their draw, rows of one entity as they stand."""
    return sorted(
        range(len(entities)), key=lambda row: (draw(seed, purpose, step, entities[row], number), row)
    )
