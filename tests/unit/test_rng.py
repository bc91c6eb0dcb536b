"""Addressed random numbers: known answers, and a battery of statistical tests along and across every address axis.

Every test draws a fixed set of addresses, so its outcome never changes. A group of tests passes when the p-values of
the group look uniform (Kolmogorov and Smirnov, second level) and none is small enough to surprise among that many.
"""

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from cascade_sim.core.ground import rng
from cascade_sim.core.ground.compile import kernel

Words = NDArray[np.uint64]
Floats = NDArray[np.float64]

AXES = ("seed", "purpose", "step", "entity", "draw")
PAIRS = tuple(combinations(AXES, 2))
LAGS = (1, 2, 3, 4, 5, 8, 16, 64)
SIGNIFICANCE = 1e-4
MASK = (1 << 64) - 1
MIX_A, MIX_B = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


@kernel
def fill_words(out, seeds, purposes, steps, entities, draws):  # type: ignore[no-untyped-def]
    """Write the words at the listed addresses; all arrays have shape (n,)."""
    for i in range(len(out)):
        out[i] = rng.word(rng.stream(seeds[i], purposes[i], steps[i]), entities[i], draws[i])


@kernel
def fill_keys(out, seeds, purposes, steps):  # type: ignore[no-untyped-def]
    """Write the keys of the listed streams; all arrays have shape (n,)."""
    for i in range(len(out)):
        out[i] = rng.stream(seeds[i], purposes[i], steps[i])


@kernel
def fill_variates(out, keys, kind, mean):  # type: ignore[no-untyped-def]
    """Write the variates of entity 0, draw 0 under each key (n,): uniform, exponential, normal, else Poisson."""
    for i in range(len(out)):
        if kind == 0:
            out[i] = rng.uniform(keys[i], 0, 0)
        elif kind == 1:
            out[i] = rng.exponential(keys[i], 0, 0)
        elif kind == 2:
            out[i] = rng.normal(keys[i], 0, 0)
        else:
            out[i] = rng.poisson(keys[i], 0, 0, mean)


def keys_at(seeds: Words, purposes: NDArray[Any], steps: NDArray[Any]) -> Words:
    """Return the keys (n,) of the listed streams."""
    out = np.empty(len(seeds), np.uint64)
    fill_keys(out, seeds, purposes, steps)
    return out


def variates(keys: Words, kind: int, mean: float = 0.0) -> Floats:
    """Return one variate per key, shape (n,)."""
    out = np.empty(len(keys))
    fill_variates(out, keys, kind, mean)
    return out


UNIFORM, EXPONENTIAL, NORMAL, POISSON = range(4)


def words(**address: ArrayLike) -> Words:
    """Return the words at broadcast coordinates; an axis that is not given stays at a constant."""
    constants = {"seed": np.uint64(5), "purpose": 3, "step": 7, "entity": 0, "draw": 0}
    parts = np.broadcast_arrays(*(np.asarray(address.get(axis, constants[axis])) for axis in AXES))
    kinds = (np.uint64, np.int64, np.int64, np.int64, np.int64)
    flat = [np.ascontiguousarray(part.astype(kind)).ravel() for part, kind in zip(parts, kinds, strict=True)]
    out = np.empty(parts[0].size, np.uint64)
    fill_words(out, *flat)
    return out.reshape(parts[0].shape)


def uniforms(values: Words) -> Floats:
    """Return the middle of the interval of length 2**-52 that each word falls in."""
    return ((values >> np.uint64(12)) + 0.5) * 2.0**-52


def bases(count: int, salt: int = 0) -> dict[str, NDArray[Any]]:
    """Return random addresses, one column (count, 1) per axis, in the range that runs use."""
    generator = np.random.default_rng([20, salt])
    return {
        "seed": generator.integers(0, MASK, (count, 1), np.uint64, endpoint=True),
        "purpose": generator.integers(1, 19, (count, 1)),
        "step": generator.integers(-3_600, 20_000, (count, 1)),
        "entity": generator.integers(0, 100_000, (count, 1)),
        "draw": generator.integers(0, 10, (count, 1)),
    }


def walks(axis: str, count: int, length: int, salt: int = 0) -> Words:
    """Return the words (count, length) of walks with stride 1 along an axis, each from a random address."""
    address = bases(count, salt)
    address[axis] = address[axis] + np.arange(length).astype(address[axis].dtype)
    return words(**address)


def assert_uniform(p_values: ArrayLike) -> None:
    """Check a group of p-values: together uniform, and the smallest no surprise among so many."""
    values = np.ravel(p_values)
    assert len(values) >= 20
    assert stats.kstest(values, "uniform").pvalue > SIGNIFICANCE
    assert values.min() > SIGNIFICANCE / len(values)


def assert_standard_normal(scores: ArrayLike) -> None:
    """Check a group of z-scores, both tails."""
    assert_uniform(stats.norm.cdf(scores))
    assert_uniform(2.0 * stats.norm.sf(np.abs(scores)))


def cell_p_values(cells: NDArray[Any], count: int) -> Floats:
    """Return the chi-square p-value of each row of cell numbers below ``count``, all equally likely."""
    expected = cells.shape[1] / count
    statistic = [np.sum((np.bincount(row, minlength=count) - expected) ** 2) / expected for row in cells]
    return np.asarray(stats.chi2.sf(statistic, count - 1))


def top_bits(values: Words, bits: int) -> NDArray[np.int64]:
    """Return the leading bits of words as whole numbers."""
    return (values >> np.uint64(64 - bits)).astype(np.int64)


def bit_matrix(values: Words) -> NDArray[np.uint8]:
    """Return the 64 bits of words as a matrix (n, 64)."""
    return np.unpackbits(np.ascontiguousarray(values).view(np.uint8).reshape(-1, 8), axis=1)


def plain_mix(word: int) -> int:
    """Stafford's Mix13 on Python integers."""
    word = ((word ^ (word >> 30)) * MIX_A) & MASK
    word = ((word ^ (word >> 27)) * MIX_B) & MASK
    return word ^ (word >> 31)


def plain_unmix(word: int) -> int:
    """Inverse of `plain_mix`."""
    for shift, factor in ((31, MIX_B), (27, MIX_A), (30, 1)):
        undone = word
        for _ in range(64 // shift):
            undone = word ^ (undone >> shift)
        word = (undone * pow(factor, -1, 1 << 64)) & MASK
    return word


def plain_word(seed: int, purpose: int, step: int, entity: int, draw: int) -> int:
    """The word at an address on Python integers."""
    state = plain_mix(seed ^ (purpose * 0x9E3779B97F4A7C15 & MASK))
    state = plain_mix(state ^ (step * 0xD1B54A32D192ED03 & MASK))
    state = plain_mix(state ^ (entity * 0xABC98388FB8FAC03 & MASK))
    return plain_mix(state ^ (draw * 0x8CB92BA72F3D8DD7 & MASK))


@pytest.mark.kernel
def test_mixing_is_that_of_splitmix64() -> None:
    # The published first outputs of SplitMix64 for the seed 1234567.
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    gamma = 0x9E3779B97F4A7C15
    assert [plain_mix((1234567 + gamma * k) & MASK) for k in range(1, 5)] == published
    assert [plain_unmix(value) for value in published] == [(1234567 + gamma * k) & MASK for k in range(1, 5)]


@pytest.mark.kernel
def test_words_are_those_of_the_plain_form() -> None:
    address = bases(60)
    address["seed"][:4, 0] = [0, 1, 1 << 63, MASK]
    expected = [plain_word(*(int(address[axis][i, 0]) for axis in AXES)) for i in range(60)]
    assert words(**address).ravel().tolist() == expected


@pytest.mark.kernel
def test_fillers_and_lists_take_the_same_addresses() -> None:
    seed, entities = np.uint64(5), np.arange(40, 140, dtype=np.int64)
    expected = uniforms(words(entity=entities, step=-3, draw=2))
    filled, normals = np.empty(100), np.empty(100)
    rng.fill_uniform(filled, seed, 3, -3, 40, 2)
    rng.fill_normal(normals, seed, 3, -3, 40, 2)
    np.testing.assert_array_equal(filled, expected)
    listed = rng.uniforms_of(np.ascontiguousarray(entities[::-7]), seed, 3, -3, 2)
    np.testing.assert_array_equal(listed, expected[::-7])
    second = uniforms(words(entity=entities, step=-3, draw=3))
    boxed = np.sqrt(-2.0 * np.log(expected)) * np.cos(2.0 * np.pi * second)
    np.testing.assert_allclose(normals, boxed, rtol=1e-13, atol=1e-15)


@pytest.mark.kernel
def test_every_purpose_has_a_number_of_its_own() -> None:
    purposes = [int(value) for name, value in vars(rng).items() if name.startswith("PURPOSE_")]
    assert len(purposes) >= 18
    assert len(set(purposes)) == len(purposes)
    assert all(0 < purpose < 256 for purpose in purposes)


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("word", "expected"),
    [
        (0, 2.0**-53),
        (1 << 63, 0.5),
        (MASK, 1.0 - 2.0**-53),
    ],
)
def test_the_extreme_words_stay_inside_the_open_interval(word: int, expected: float) -> None:
    key = plain_unmix(plain_unmix(word))
    value = variates(np.array([key], np.uint64), UNIFORM)[0]
    assert 0.0 < value < 1.0
    assert value == pytest.approx(expected, rel=1e-15, abs=0.0)


@pytest.mark.parametrize("axis", AXES)
def test_uniform_along_each_axis(axis: str) -> None:
    values = walks(axis, 120, 10_000)
    assert_uniform(cell_p_values(top_bits(values, 8), 256))
    sample = np.sort(uniforms(values), axis=1)
    count = sample.shape[1]
    grid = np.arange(1, count + 1) / count
    distance = np.maximum((grid - sample).max(axis=1), (sample - grid + 1.0 / count).max(axis=1))
    # Stephens (1970): the factor brings the limit law to samples of this size.
    factor = np.sqrt(count) + 0.12 + 0.11 / np.sqrt(count)
    assert_uniform(stats.kstwobign.sf(factor * distance))


@pytest.mark.parametrize("axis", AXES)
def test_no_serial_correlation_along_each_axis(axis: str) -> None:
    values = uniforms(walks(axis, 60, 1 << 14)) - 0.5
    scores = []
    for lag in LAGS:
        product = values[:, lag:] * values[:, :-lag]
        scores.append(12.0 * product.sum(axis=1) / np.sqrt(product.shape[1]))
    assert_standard_normal(scores)
    # Extremes that come in clusters leave the products above at zero on average.
    share = 0.1
    extremes = (np.abs(values) > 0.5 - share / 2.0) - share
    scores = []
    for lag in LAGS:
        product = extremes[:, lag:] * extremes[:, :-lag]
        scores.append(product.sum(axis=1) / (np.sqrt(product.shape[1]) * share * (1.0 - share)))
    assert_standard_normal(scores)


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_neighbours_across_two_axes_are_independent(pair: tuple[str, str]) -> None:
    first, second = pair
    address = bases(24)
    start = address[second]
    address[first] = address[first] + np.arange(1 << 13).astype(address[first].dtype)
    here = uniforms(words(**address)) - 0.5
    scores = []
    for offset in (1, 2, 3):
        address[second] = start + np.asarray(offset, start.dtype)
        there = uniforms(words(**address)) - 0.5
        for shift in (0, 1):
            product = here[:, shift:] * there[:, : there.shape[1] - shift]
            scores.append(12.0 * product.sum(axis=1) / np.sqrt(product.shape[1]))
    assert_standard_normal(scores)


@pytest.mark.parametrize("axis", AXES)
def test_pairs_and_triples_along_each_axis_fill_the_cube(axis: str) -> None:
    values = walks(axis, 24, 3 << 14)
    pairs = top_bits(values, 5).reshape(24, -1, 2)
    assert_uniform(cell_p_values(pairs[:, :, 0] << 5 | pairs[:, :, 1], 1 << 10))
    triples = top_bits(values, 4).reshape(24, -1, 3)
    assert_uniform(cell_p_values(triples[:, :, 0] << 8 | triples[:, :, 1] << 4 | triples[:, :, 2], 1 << 12))


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_pairs_and_triples_across_axes_fill_the_cube(pair: tuple[str, str]) -> None:
    first, second = pair
    line = np.arange(1 << 14)
    address = bases(24, salt=1)
    starts = address[first], address[second]
    kinds = starts[0].dtype, starts[1].dtype
    address[first], address[second] = starts[0] + line.astype(kinds[0]), starts[1] + line.astype(kinds[1])
    diagonal = top_bits(words(**address), 4)
    couples = diagonal.reshape(24, -1, 2)
    assert_uniform(cell_p_values(couples[:, :, 0] << 4 | couples[:, :, 1], 1 << 8))
    # The same two coordinates the other way round: an address is not the sum of its parts.
    rows, columns = np.triu_indices(180, 1)
    low = words(**{first: rows, second: columns + 1})
    high = words(**{first: columns + 1, second: rows})
    near = words(**{first: rows + 200, second: columns + 1})
    cells = top_bits(low, 3) << 6 | top_bits(high, 3) << 3 | top_bits(near, 3)
    assert cell_p_values(cells[None, :], 1 << 9)[0] > SIGNIFICANCE
    assert not np.isin(low, high).any()


def test_neighbouring_runs_are_independent() -> None:
    entities = np.arange(1 << 13)
    derived = [np.random.SeedSequence(seed).generate_state(1, np.uint64)[0] for seed in range(60)]
    children = np.random.SeedSequence(7).spawn(60)
    spawned = [child.generate_state(1, np.uint64)[0] for child in children]
    for seeds in (np.arange(60, dtype=np.uint64), np.array(derived), np.array(spawned)):
        values = uniforms(words(seed=seeds[:, None], entity=entities)) - 0.5
        scores = 12.0 * (values @ values.T)[np.triu_indices(60, 1)] / np.sqrt(len(entities))
        assert_standard_normal(scores)


@pytest.mark.parametrize("axis", AXES)
def test_every_bit_is_balanced(axis: str) -> None:
    values = walks(axis, 8, 1 << 14, salt=2)
    for sample in (values, values[:, 1:] ^ values[:, :-1], values ^ (values >> np.uint64(1))):
        ones = bit_matrix(sample).reshape(8, -1, 64).sum(axis=1, dtype=np.int64)
        # The first bit of a word has no neighbour to the left and stays a plain bit, so all 64 columns count.
        assert_standard_normal((ones - sample.shape[1] / 2) / np.sqrt(sample.shape[1] / 4))


@pytest.mark.parametrize(
    ("axis", "bits"), [("seed", 64), ("purpose", 5), ("step", 20), ("entity", 24), ("draw", 5)]
)
def test_flipping_any_bit_of_an_address_flips_half_of_the_output(axis: str, bits: int) -> None:
    count = 1 << 12
    address = bases(count, salt=3)
    before = words(**address)[:, 0]
    kind = address[axis].dtype
    start = address[axis]
    scores = np.empty((bits, 64))
    p_values = []
    binomial = stats.binom.pmf(np.arange(65), 64, 0.5) * count
    inner = slice(24, 41)
    expected = np.concatenate(([binomial[:24].sum()], binomial[inner], [binomial[41:].sum()]))
    for bit in range(bits):
        address[axis] = start ^ (np.ones(1, kind) << np.asarray(bit, kind))
        flipped = bit_matrix(before ^ words(**address)[:, 0])
        scores[bit] = (flipped.sum(axis=0, dtype=np.int64) - count / 2) / np.sqrt(count / 4)
        distances = np.bincount(flipped.sum(axis=1, dtype=np.int64), minlength=65)
        seen = np.concatenate(([distances[:24].sum()], distances[inner], [distances[41:].sum()]))
        p_values.append(stats.chisquare(seen, expected).pvalue)
    assert_standard_normal(scores)
    assert min(p_values) > SIGNIFICANCE / bits
    assert len(p_values) < 20 or stats.kstest(p_values, "uniform").pvalue > SIGNIFICANCE


def seeds_of_runs(kind: str, count: int) -> Words:
    """Return the seeds of ``count`` runs: consecutive numbers, or from spawned children of a seed sequence."""
    if kind == "consecutive":
        return np.arange(count, dtype=np.uint64)
    children = np.random.SeedSequence(11, spawn_key=(3,)).spawn(count)
    return np.array([child.generate_state(1, np.uint64)[0] for child in children])


def repeats_of(values: Words) -> int:
    """Return how many values would have to go until all are different."""
    ordered = np.sort(values)
    return int(np.sum(ordered[1:] == ordered[:-1]))


def assert_birthday(values: Words, bits: int) -> None:
    """Check repeats among values of ``bits`` bits against those of as many throws into 2**bits urns."""
    repeats = repeats_of(values)
    expected = len(values) ** 2 / 2.0 ** (bits + 1)
    tails = stats.poisson.cdf(repeats, expected), stats.poisson.sf(repeats - 1, expected)
    assert min(tails) > SIGNIFICANCE


@pytest.mark.parametrize("kind", ["consecutive", "spawned"])
def test_no_two_addresses_share_a_word(kind: str) -> None:
    seeds = seeds_of_runs(kind, 12)
    drawn = words(
        seed=seeds[:, None, None, None],
        purpose=np.arange(1, 19)[:, None, None],
        step=np.arange(-40, 80)[:, None],
        entity=np.arange(100),
    ).ravel()
    # Among 2.6 million words of 64 bits 2e-7 repeats are expected; of 53 bits 4e-4; of 32 bits about 780.
    assert len(drawn) == 12 * 18 * 120 * 100
    assert repeats_of(drawn) == 0
    assert_birthday(drawn >> np.uint64(11), 53)
    for shift in (0, 11, 32):
        assert_birthday(drawn >> np.uint64(shift) & np.uint64(0xFFFFFFFF), 32)


@pytest.mark.parametrize("kind", ["consecutive", "spawned"])
def test_no_two_streams_share_a_key(kind: str) -> None:
    seeds = np.repeat(seeds_of_runs(kind, 400), 18 * 300)
    purposes = np.tile(np.repeat(np.arange(1, 19), 300), 400)
    steps = np.tile(np.arange(-100, 200), 400 * 18)
    keys = keys_at(seeds, purposes, steps)
    assert len(keys) == 2_160_000
    assert repeats_of(keys) == 0
    assert_birthday(keys >> np.uint64(32), 32)


@pytest.mark.slow
def test_no_two_of_a_hundred_million_addresses_share_a_word() -> None:
    entities = np.arange(100_000)
    drawn = words(
        seed=seeds_of_runs("spawned", 5)[:, None, None, None],
        purpose=np.array([3, 12])[:, None, None],
        step=np.arange(100)[:, None],
        entity=entities,
    ).ravel()
    drawn.sort()
    # 2.7e-4 repeats are expected of 64 bits, so one of them would be a flaw; about 1.1 of 52 bits.
    assert np.all(drawn[1:] != drawn[:-1])
    repeats = int(np.sum(drawn[1:] >> np.uint64(12) == drawn[:-1] >> np.uint64(12)))
    assert stats.poisson.sf(repeats - 1, len(drawn) ** 2 / 2.0**53) > SIGNIFICANCE


def keys_along(axis: str, count: int, length: int) -> NDArray[np.uint64]:
    """Return stream keys (count, length) of walks along seed, purpose or step."""
    address = bases(count, salt=4)
    address[axis] = address[axis] + np.arange(length).astype(address[axis].dtype)
    parts = np.broadcast_arrays(address["seed"], address["purpose"], address["step"])
    return (keys_at(*(part.ravel() for part in parts))).reshape(count, length)


@pytest.mark.parametrize(("kind", "law"), [(EXPONENTIAL, stats.expon), (NORMAL, stats.norm)])
def test_exponential_and_normal_follow_their_laws(kind: int, law: Any) -> None:
    for axis in ("seed", "step"):
        values = np.array([variates(keys, kind) for keys in keys_along(axis, 60, 5_000)])
        assert_uniform([stats.kstest(row, law.cdf, method="asymp").pvalue for row in values])
        centred = (values - law.mean()) / law.std()
        assert_standard_normal(np.sum(centred[:, 1:] * centred[:, :-1], axis=1) / np.sqrt(4_999))
    many = variates(keys_along("step", 1, 2_000_000)[0], kind)
    for bound in law.isf([1e-2, 1e-3, 1e-4, 1e-5]):
        expected = law.sf(bound) * len(many)
        beyond = int(np.sum(many > bound))
        assert min(stats.poisson.cdf(beyond, expected), stats.poisson.sf(beyond - 1, expected)) > SIGNIFICANCE
    assert np.isfinite(many).all()


@pytest.mark.parametrize("mean", [0.02, 0.4, 1.0, 4.0, 14.5, 29.99, 30.0, 47.0, 95.0, 310.0])
def test_poisson_follows_its_law_below_and_above_thirty(mean: float) -> None:
    keys = keys_along("step", 20, 20_000)
    law = stats.poisson(mean)
    low, high = int(law.ppf(1e-3)), int(law.isf(1e-3))
    inside = law.pmf(np.arange(low, high + 1))
    expected = np.concatenate(([law.cdf(low - 1)], inside, [law.sf(high)])) * keys.shape[1]
    kept = expected >= 5.0
    p_values = []
    for row in keys:
        counts = variates(row, POISSON, mean)
        assert np.array_equal(counts, np.floor(counts))
        assert counts.min() >= 0.0
        cells = np.clip(counts.astype(np.int64) - low + 1, 0, len(expected) - 1)
        seen = np.bincount(cells, minlength=len(expected))
        rest_seen, rest = seen[~kept].sum(), expected[~kept].sum()
        cells_seen, cells_expected = seen[kept], expected[kept]
        if rest > 0.0:
            cells_seen, cells_expected = np.append(cells_seen, rest_seen), np.append(cells_expected, rest)
        statistic = np.sum((cells_seen - cells_expected) ** 2 / cells_expected)
        p_values.append(stats.chi2.sf(statistic, len(cells_seen) - 1))
    assert_uniform(p_values)


@pytest.mark.kernel
def test_poisson_of_no_mean_is_nothing() -> None:
    keys = keys_along("step", 1, 20)[0]
    for mean in (0.0, -1.0):
        assert variates(keys, POISSON, mean).tolist() == [0.0] * 20
