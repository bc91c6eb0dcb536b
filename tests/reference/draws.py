"""Random numbers by address, from the rule alone: seed, purpose, step, entity, number of the draw. Imports nothing of ours."""

import math
from collections.abc import Mapping

from reference.acting_order import draw


class Draws:
    """The draws of one market.

    Parameters
    ----------
    seed : int
    purposes : mapping of str to int
        Numbers of the purposes by name.
    """

    def __init__(self, seed: int, purposes: Mapping[str, int]) -> None:
        self.seed, self.purposes = seed, purposes

    def word(self, purpose: str, step: int, entity: int, number: int) -> int:
        """Return 64 random bits."""
        return draw(self.seed, self.purposes[purpose], step, entity, number)

    def uniform(self, purpose: str, step: int, entity: int, number: int) -> float:
        """Return a number between 0 and 1, neither of them: the middle of one of 2**52 equal intervals."""
        return ((self.word(purpose, step, entity, number) >> 12) + 0.5) / 2**52

    def exponential(self, purpose: str, step: int, entity: int, number: int) -> float:
        """Return an exponential number of mean 1."""
        return -math.log(self.uniform(purpose, step, entity, number))

    def normal(self, purpose: str, step: int, entity: int, number: int) -> float:
        """Return a standard normal number of Box and Muller, from this draw and the next."""
        radius = math.sqrt(2.0 * self.exponential(purpose, step, entity, number))
        return radius * math.cos(2.0 * math.pi * self.uniform(purpose, step, entity, number + 1))

    def poisson(self, purpose: str, step: int, entity: int, number: int, mean: float) -> int:
        """Return a Poisson count: how many terms of the distribution a uniform exceeds; large means in equal pieces."""
        pieces = int(mean / 30.0) + 1
        return sum(
            _inverted(self.uniform(purpose, step, entity, number + piece), mean / pieces)
            for piece in range(pieces if mean > 0.0 else 0)
        )


def _inverted(share: float, mean: float) -> int:
    count, term = 0, math.exp(-mean)
    reached = term
    while share > reached:
        count += 1
        term *= mean / count
        reached += term
    return count
