"""Random numbers addressed by (seed, purpose, step, entity, draw): no state, so nothing can shift anybody's draws.

A draw is two rounds of Stafford's "Mix13" finaliser of a 64-bit word (the output function of SplitMix64; Steele, Lea
and Flood 2014). The address is mixed part by part instead of walking one Weyl sequence, on which streams would overlap
in large ensembles.
"""

import math

import numpy as np

from cascade_sim.core.ground.compile import allocating_kernel, compilation_enabled, kernel, leaf

PURPOSE_NEWS = np.int64(1)
PURPOSE_LIMIT_COUNT = np.int64(2)
PURPOSE_LIMIT = np.int64(3)
PURPOSE_MARKET_COUNT = np.int64(4)
PURPOSE_MARKET = np.int64(5)
PURPOSE_IMBALANCE = np.int64(6)
PURPOSE_PATIENT_COUNT = np.int64(7)
PURPOSE_PATIENT = np.int64(8)
PURPOSE_PATIENT_STOCK = np.int64(9)
PURPOSE_BELIEF = np.int64(10)
PURPOSE_PROVIDER = np.int64(11)
PURPOSE_TRADER = np.int64(12)
PURPOSE_ENTRANT = np.int64(13)
PURPOSE_ORDERING = np.int64(14)
PURPOSE_PRIORITY = np.int64(15)
PURPOSE_SANTA_FE = np.int64(16)
PURPOSE_DEALER = np.int64(17)
PURPOSE_ROTATION = np.int64(18)
PURPOSE_WAKE = np.int64(19)
PURPOSE_ACTIVITY = np.int64(20)
PURPOSE_REENTRY = np.int64(21)
PURPOSE_ACTIVATION = np.int64(22)
PURPOSE_INDEX = np.int64(23)
PURPOSE_LATENCY = np.int64(30)
PURPOSE_ARRIVAL = np.int64(31)
PURPOSE_AGENT = np.int64(32)
PURPOSE_PORTFOLIO = np.int64(40)

_MASK = 0xFFFFFFFFFFFFFFFF
_A = 0xBF58476D1CE4E5B9
_B = 0x94D049BB133111EB
_PURPOSE = 0x9E3779B97F4A7C15
_STEP = 0xD1B54A32D192ED03
_ENTITY = 0xABC98388FB8FAC03
_DRAW = 0x8CB92BA72F3D8DD7
_UNIT = 2.0**-52

if compilation_enabled():
    _A64, _B64 = np.uint64(_A), np.uint64(_B)
    _PURPOSE64, _STEP64, _ENTITY64, _DRAW64 = (np.uint64(x) for x in (_PURPOSE, _STEP, _ENTITY, _DRAW))
    _S30, _S27, _S31 = np.uint64(30), np.uint64(27), np.uint64(31)

    @leaf
    def mix64(word):
        """Scramble a 64-bit word; a bijection."""
        word = (word ^ (word >> _S30)) * _A64
        word = (word ^ (word >> _S27)) * _B64
        return word ^ (word >> _S31)

    @leaf
    def stream(seed, purpose, step):
        """Key of all draws of one purpose in one step."""
        return mix64(mix64(seed ^ (np.uint64(purpose) * _PURPOSE64)) ^ (np.uint64(step) * _STEP64))

    @leaf
    def word(key, entity, draw):
        """The 64 random bits of draw number ``draw`` of ``entity`` under a :func:`stream` key."""
        return mix64(mix64(key ^ (np.uint64(entity) * _ENTITY64)) ^ (np.uint64(draw) * _DRAW64))

else:

    def mix64(word):
        """Scramble a 64-bit word; a bijection."""
        word = int(word)
        word = ((word ^ (word >> 30)) * _A) & _MASK
        word = ((word ^ (word >> 27)) * _B) & _MASK
        return np.uint64(word ^ (word >> 31))

    def stream(seed, purpose, step):
        """Key of all draws of one purpose in one step."""
        first = int(mix64(int(seed) ^ ((int(purpose) * _PURPOSE) & _MASK)))
        return mix64(first ^ ((int(step) * _STEP) & _MASK))

    def word(key, entity, draw):
        """The 64 random bits of draw number ``draw`` of ``entity`` under a :func:`stream` key."""
        first = int(mix64(int(key) ^ ((int(entity) * _ENTITY) & _MASK)))
        return mix64(first ^ ((int(draw) * _DRAW) & _MASK))


@leaf
def uniform(key, entity, draw):
    """A number in the open interval (0, 1): an odd multiple of 2**-53, exact in double precision."""
    return (np.float64(word(key, entity, draw) >> np.uint64(12)) + 0.5) * _UNIT


@leaf
def exponential(key, entity, draw):
    """Exponential with mean 1."""
    return -math.log(uniform(key, entity, draw))


@leaf
def normal(key, entity, draw):
    """Standard normal by Box and Muller (1958); uses draws ``draw`` and ``draw + 1``."""
    radius = math.sqrt(-2.0 * math.log(uniform(key, entity, draw)))
    return radius * math.cos(2.0 * math.pi * uniform(key, entity, draw + 1))


@kernel
def poisson(key, entity, draw, mean):
    """Poisson count by inversion from one uniform; above a mean of 30 the sum of halves, each by inversion."""
    if mean <= 0.0:
        return 0
    pieces = int(mean / 30.0) + 1
    part = mean / pieces
    total = 0
    for piece in range(pieces):
        u = uniform(key, entity, draw + piece)
        probability = math.exp(-part)
        cumulative = probability
        count = 0
        while u > cumulative and count < 1000:
            count += 1
            probability *= part / count
            cumulative += probability
        total += count
    return total


@kernel
def fill_uniform(out, seed, purpose, step, first_entity, draw):
    """Fill ``out`` (n,) with the uniforms of entities ``first_entity`` onwards."""
    key = stream(seed, purpose, step)
    for i in range(len(out)):
        out[i] = uniform(key, first_entity + i, draw)


@kernel
def fill_normal(out, seed, purpose, step, first_entity, draw):
    """Fill ``out`` (n,) with the standard normals of entities ``first_entity`` onwards."""
    key = stream(seed, purpose, step)
    for i in range(len(out)):
        out[i] = normal(key, first_entity + i, draw)


@allocating_kernel
def uniforms_of(entities, seed, purpose, step, draw):
    """Return the uniforms (n,) of the listed entities (n,) int64."""
    key = stream(seed, purpose, step)
    out = np.empty(len(entities))
    for i in range(len(entities)):
        out[i] = uniform(key, entities[i], draw)
    return out
