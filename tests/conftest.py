"""Fixtures and settings that all tests share."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]

# The first example of a property may compile kernels, so neither a deadline nor a slow start is a fault.
# Examples are the same in each run: a failure that somebody sees is one that everybody sees.
settings.register_profile(
    "fast", max_examples=30, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("ci", settings.get_profile("fast"), max_examples=300, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the reference data: CASCADE_SIM_DATA, else ``shared/data`` beside the checkout; else skip."""
    named = os.environ.get("CASCADE_SIM_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        if named:
            pytest.fail(f"expected CASCADE_SIM_DATA to be a folder, received {named}")
        pytest.skip("no reference data here; set CASCADE_SIM_DATA to the folder that holds it")
    return folder


@pytest.fixture(scope="session")
def shared_cases() -> Path:
    """Folder of inputs from the field: CASCADE_SIM_CASES, else ``shared/cases`` beside the checkout; else skip."""
    named = os.environ.get("CASCADE_SIM_CASES")
    folder = Path(named) if named else ROOT.parent / "shared" / "cases"
    if not folder.is_dir():
        if named:
            pytest.fail(f"expected CASCADE_SIM_CASES to be a folder, received {named}")
        pytest.skip("no cases from the field here; set CASCADE_SIM_CASES to the folder that holds them")
    return folder
