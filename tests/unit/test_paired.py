"""Statistics of paired replications against values worked out by hand and against their own promises."""

import math
from itertools import product

import numpy as np
import pytest
from scipy import stats

from cascade_sim.domain.errors import CascadeError
from cascade_sim.metrics.paired import (
    Difference,
    confidence_sequence,
    holm,
    needed,
    paired_difference,
    tail_mean,
    verdict,
)


def test_the_difference_is_that_of_pairs_with_both_values() -> None:
    found = paired_difference([3.0, 5.0, np.nan, 9.0], [1.0, 4.0, 7.0, np.nan])
    assert (found.pairs, found.estimate) == (2, 1.5)
    alone = paired_difference([3.0, np.nan], [1.0, 4.0])
    assert alone.pairs == 1
    assert all(math.isnan(value) for value in alone[1:])


def test_the_sign_flip_test_is_exact_where_it_can_be() -> None:
    gaps = np.array([1.0, -0.2, 0.7, 2.5, 0.3, 1.1])
    flips = [abs(np.mean(np.array(signs) * gaps)) for signs in product((-1, 1), repeat=len(gaps))]
    expected = np.mean(np.array(flips) >= abs(gaps.mean()) - 1e-12)
    assert paired_difference(gaps, 0.0 * gaps).p_value == pytest.approx(expected)


def test_equal_differences_have_an_interval_without_width() -> None:
    same = paired_difference([4.0] * 6, [4.0] * 6)
    assert same == Difference(6, 0.0, 0.0, 0.0, 1.0)
    shifted = paired_difference([5.0] * 6, [4.0] * 6)
    assert shifted == Difference(6, 1.0, 1.0, 1.0, 2.0**-5)


def test_the_interval_covers_and_repeats() -> None:
    rng = np.random.default_rng(8)
    covered = 0
    for _ in range(200):
        gaps = rng.normal(0.4, 1.0, 40)
        found = paired_difference(gaps, 0.0 * gaps, resamples=999, test=False)
        covered += found.low <= 0.4 <= found.high
    # 95 % of 200 is 190; four standard errors are 12.
    assert covered >= 178
    gaps = rng.normal(0.4, 1.0, 40)
    assert paired_difference(gaps, 0.0 * gaps) == paired_difference(gaps, 0.0 * gaps)


def test_holm_multiplies_the_smallest_by_their_number() -> None:
    np.testing.assert_allclose(holm([0.01, np.nan, 0.04, 0.03]), [0.03, np.nan, 0.06, 0.06])
    assert np.isnan(holm([np.nan])).all()


@pytest.mark.parametrize(
    ("low", "high", "p_value", "margin", "expected"),
    [
        (-3.0, 4.0, 0.8, 5.0, "equivalent"),
        (1.0, 4.0, 0.001, 5.0, "equivalent"),
        (1.0, 6.0, 0.001, 5.0, "worse"),
        (-6.0, -1.0, 0.001, 5.0, "better"),
        (1.0, 6.0, 0.2, 5.0, "undecided"),
        (-1.0, 6.0, 0.001, 5.0, "undecided"),
        (0.0, 0.0, 1.0, None, "undecided"),
        (0.0, 0.0, 1.0, 5.0, "equivalent"),
        (math.nan, math.nan, math.nan, 5.0, "undecided"),
    ],
)
def test_verdicts(low: float, high: float, p_value: float, margin: float | None, expected: str) -> None:
    assert verdict(low, high, p_value, margin) == expected


def test_the_replications_needed_shrink_the_interval_until_it_decides() -> None:
    # A half-width of 4 around 1: a sixteenth of it leaves zero, after 16 times the pairs; 3 fit into a margin of 4.
    found = Difference(20, 1.0, -3.0, 5.0, 0.6)
    assert needed(found, None) == 320
    assert needed(found, 4.0) == math.ceil(20 * (4.0 / 3.0) ** 2)
    # Four tests together ask for 2.498 in place of 1.960 standard errors.
    ratio = stats.norm.ppf(1 - 0.05 / 8) / stats.norm.ppf(0.975)
    assert needed(found, None, 4) == math.ceil(320 * ratio**2)
    assert needed(Difference(20, 0.0, -1.0, 1.0, 1.0), None) is None
    assert needed(Difference(1, math.nan, math.nan, math.nan, math.nan), 4.0) is None
    assert needed(Difference(20, 3.0, 2.0, 4.0, 0.01), None) == 21


def test_a_confidence_sequence_holds_at_every_look() -> None:
    rng = np.random.default_rng(11)
    missed = 0
    for _ in range(400):
        values = rng.normal(0.0, 1.0, 400)
        looks = [confidence_sequence(values[:count]) for count in range(20, 401, 20)]
        missed += not all(low <= 0.0 <= high for low, high in looks)
    # At most 5 % of 400, four standard errors more: an interval for one look would miss a quarter of them.
    assert missed <= 20 + 17
    low, high = confidence_sequence([1.0])
    assert (low, high) == (-math.inf, math.inf)
    assert confidence_sequence([2.0, 2.0, 2.0]) == (2.0, 2.0)
    wide, narrow = (np.diff(confidence_sequence(np.tile([0.0, 1.0], count)))[0] for count in (10, 100))
    assert narrow < 0.5 * wide


def test_the_tail_is_the_worst_twentieth() -> None:
    assert tail_mean(np.arange(1.0, 101.0)) == pytest.approx(98.0)
    assert tail_mean([1.0, 2.0, 3.0]) == 3.0
    # Of 30 values one and a half.
    assert tail_mean(np.arange(1.0, 31.0)) == pytest.approx((30.0 + 0.5 * 29.0) / 1.5)
    assert math.isnan(tail_mean([np.nan]))


def test_wrong_input_is_refused() -> None:
    with pytest.raises(CascadeError, match="control: expected 2 values"):
        paired_difference([1.0, 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(CascadeError, match="confidence: expected a number between"):
        paired_difference([1.0, 2.0], [1.0, 2.0], confidence=1.0)
