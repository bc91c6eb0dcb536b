"""Random scenarios in continuous integration; ``fuzz.py`` beside this file runs as many as one likes."""

import io
import os

import pytest
from fuzz import fuzz

CASES = int(os.environ.get("CASCADE_SIM_FUZZ", "100"))
FIRST = int(os.environ.get("CASCADE_SIM_FUZZ_FIRST", "0"))


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_random_scenarios_finish_stop_or_are_refused() -> None:
    log = io.StringIO()
    counts, failures = fuzz(range(FIRST, FIRST + CASES), log)
    assert not failures, "\n".join(failures)
    assert sum(counts.values()) == CASES
    assert counts["finished"] >= CASES // 2, f"most cases are meant to run: {dict(counts)}"
