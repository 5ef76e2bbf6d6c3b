"""Fixtures shared by all tests: where reference results and real recordings lie, if they are at hand."""

import os
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # as many processes run as there are cores: torch's threads, which wait by turning, would only be in one another's way
    # (before torch is imported, and in the environment, so that it holds for the programs that tests start)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def reference_dir() -> Path:
    """Other programs' results; the test is skipped where they are absent."""
    path = SHARED / "reference"
    if not path.is_dir():
        pytest.skip("reference results are not at hand (../shared/reference)")
    return path


@pytest.fixture(scope="session")
def real_data_dir() -> Path:
    """Real recordings; the test is skipped where they are absent."""
    path = SHARED / "data"
    if not path.is_dir():
        pytest.skip("real recordings are not at hand (../shared/data)")
    return path
