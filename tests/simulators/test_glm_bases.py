"""The bases of filters, by property and against their papers' formulas."""

from typing import Any

import numpy as np
import pytest

from neuroinf.errors import InputError
from neuroinf.simulators.bases import AlphaFunctions, Basis, RaisedCosines, Taps


@pytest.mark.parametrize(
    "basis", [RaisedCosines(5, 0.0, 20.0), RaisedCosines(3, 2.0, 9.0, None), AlphaFunctions([2.0, 8.0]), Taps(4)]
)
def test_kernels_have_one_row_each(basis: Basis) -> None:
    assert isinstance(basis, Basis)
    for dt in (0.1, 1.0):
        kernels = basis.kernels(dt)
        assert kernels.shape[0] == basis.size and np.isfinite(kernels).all() and np.abs(kernels).max() <= 1 + 1e-12


@pytest.mark.parametrize("offset", [0.3, 5.0, None])
def test_raised_cosines_add_up_to_two_between_their_peaks(offset: float | None) -> None:
    basis, dt = RaisedCosines(7, 1.0, 50.0, offset), 0.05
    kernels = basis.kernels(dt)
    peaks = dt * kernels.argmax(1)
    inside = slice(int(peaks[1] / dt) + 1, int(peaks[-2] / dt))
    np.testing.assert_allclose(kernels.sum(0)[inside], 2.0, atol=1e-12)
    np.testing.assert_allclose(kernels.max(1), 1.0, atol=1e-2)
    assert peaks[0] == pytest.approx(1.0, abs=dt) and peaks[-1] == pytest.approx(50.0, abs=dt)
    own = peaks if offset is None else np.log(peaks + offset)
    np.testing.assert_allclose(np.diff(own), np.diff(own).mean(), atol=0.1 if offset == 0.3 else 0.05)
    assert kernels[-1, -1] < 1e-4 and kernels[-1, -2] > 0  # the last one is whole, and nothing follows


def test_raised_cosines_are_the_published_ones() -> None:
    """b(t) = cos(max(-pi, min(pi, (log(t + c) - phi) pi / (2 d)))) / 2 + 1/2, Pillow et al. (2008)."""
    c, first, last, J = 2.0, 1.0, 30.0, 5
    phi = np.linspace(np.log(first + c), np.log(last + c), J)
    kernels = RaisedCosines(J, first, last, c).kernels(1.0)
    t = np.arange(kernels.shape[1])
    for j in range(J):
        phase = np.clip((np.log(t + c) - phi[j]) * np.pi / (2 * (phi[1] - phi[0])), -np.pi, np.pi)
        np.testing.assert_allclose(kernels[j], np.cos(phase) / 2 + 0.5, atol=1e-14)


def test_alpha_functions_have_peak_one_and_area_e_tau() -> None:
    dt, taus = 0.01, [0.5, 2.0, 10.0]
    kernels = AlphaFunctions(taus).kernels(dt)
    np.testing.assert_allclose(kernels.max(1), 1.0, atol=1e-4)
    np.testing.assert_allclose(dt * kernels.argmax(1), taus)
    # of the area, (1 + 10) exp(-10) = 0.05 % lies beyond the end at 10 tau
    np.testing.assert_allclose(dt * kernels.sum(1), np.e * np.array(taus) * (1 - 11 * np.exp(-10)), rtol=1e-4)
    assert kernels.shape[1] == 10_001 and kernels[0, 500] > 0 and kernels[0, 501] == 0


def test_taps_are_single_bins() -> None:
    np.testing.assert_array_equal(Taps(9).kernels(1.0), np.eye(9))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RaisedCosines(1, 0.0, 10.0), "RaisedCosines size: expected a whole number of at least 2, found 1"),
        (lambda: RaisedCosines(3, 10.0, 10.0), "found first 10.0, last 10.0 ms"),
        (lambda: RaisedCosines(3, -1.0, 10.0), "must not be negative"),
        (lambda: RaisedCosines(3, 0.0, 10.0, 0.0), "RaisedCosines offset: expected a positive number of ms, or null"),
        (lambda: RaisedCosines(3, 0.0, 1e9), "times are in ms"),
        (lambda: AlphaFunctions([]), r"expected a list of time constants in ms, found \[\]"),
        (lambda: AlphaFunctions([5.0, 0.0]), "expected positive numbers of ms, found 0.0"),
        (lambda: AlphaFunctions(5.0), "expected a list"),  # type: ignore[arg-type]
        (lambda: Taps(0), "Taps size: expected a whole number of at least 1, found 0"),
        (lambda: Taps(2.5), "found 2.5"),  # type: ignore[arg-type]
    ],
)
def test_refuses(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make().kernels(1.0)


@pytest.mark.parametrize("dt", [0.0, -1.0, float("nan"), None])
def test_refuses_a_step_that_is_none(dt: Any) -> None:
    for basis in (RaisedCosines(3, 0.0, 10.0), AlphaFunctions([5.0]), Taps(2)):
        with pytest.raises(InputError, match="dt: expected a positive number of ms"):
            basis.kernels(dt)
