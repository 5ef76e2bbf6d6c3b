"""Fixtures shared by all tests: where reference results and real recordings lie, if they are at hand."""

from pathlib import Path

import pytest

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
