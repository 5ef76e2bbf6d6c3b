"""Scores of latents: they accept what is right and reject what is wrong, each with a known answer."""

import numpy as np
import pytest

from neuroinf.errors import InputError
from neuroinf.evaluation.latents import (
    ar1,
    bits_per_spike,
    coverage,
    explained_variance,
    forecasts,
    latent_recovery,
    probe,
    r2,
    rate_r2,
    valid_prediction_time,
)
from neuroinf.fits.latent_model import LatentEstimate


def test_r2_of_truth_mean_and_noise() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((20_000, 2)) * [1, 5]
    assert rate_r2(x, x) == 1
    np.testing.assert_allclose(r2(x, np.broadcast_to(x.mean(0), x.shape)), 0, atol=1e-12)
    noisy = x + rng.standard_normal(x.shape) * [0.5, 2.5]
    # 1 - .25 chi2_n / n over sample variance: sd 0.25 sqrt(2 * 2 / n) = 0.0035; 4.1 of them
    np.testing.assert_allclose(r2(x, noisy), 0.75, atol=0.0145)
    assert np.isnan(r2(np.ones((5, 1)), np.ones((5, 1)))).all()


def test_explained_variance_is_against_the_training_mean() -> None:
    x = np.array([[1.0, 2.0], [3.0, 6.0]])
    assert explained_variance(x, x, np.zeros(2)) == 1
    assert explained_variance(x, np.zeros((2, 2)), np.zeros(2)) == 0
    assert explained_variance(x, np.full((2, 2), 1.0), np.zeros(2)) == pytest.approx(1 - (0 + 1 + 4 + 25) / 50)


def test_bits_per_spike_by_hand_and_against_the_wrong_rates() -> None:
    counts, rates, mean = np.array([[2.0], [0.0]]), np.array([[2.0], [0.5]]), np.array([1.0])
    expected = (2 * np.log(2) - 2 - 0.5 + 2) / (2 * np.log(2))
    assert bits_per_spike(counts, rates, mean) == pytest.approx(expected)
    assert bits_per_spike(counts, np.broadcast_to(mean, counts.shape), mean) == 0
    assert np.isfinite(bits_per_spike(counts, np.zeros((2, 1)), mean))
    assert np.isnan(bits_per_spike(np.zeros((2, 1)), rates, mean))
    rng = np.random.default_rng(1)
    mu = rng.gamma(2.0, 1.0, (5000, 4))
    x = rng.poisson(mu)
    right = bits_per_spike(x, mu, x.mean(0))
    assert right > 0.1
    assert max(bits_per_spike(x, wrong, x.mean(0)) for wrong in (1.5 * mu, 0.6 * mu, mu[::-1])) < right


def test_recovery_both_ways() -> None:
    rng = np.random.default_rng(2)
    z = rng.standard_normal((4000, 3))
    turned = z @ rng.standard_normal((3, 3)) + 5
    exact = latent_recovery(turned[:2000], z[:2000], turned[2000:], z[2000:])
    assert exact.true_from_inferred == pytest.approx(1, abs=1e-6) and exact.inferred_from_true == pytest.approx(
        1, abs=1e-6
    )
    spare = np.column_stack([turned, rng.standard_normal((4000, 3))])
    more = latent_recovery(spare[:2000], z[:2000], spare[2000:], z[2000:])
    # three of six inferred latents are noise: R2 of the way back is 1/2, less about (4 / 2000) / 2 for the fit
    assert more.true_from_inferred > 0.999 and more.inferred_from_true == pytest.approx(0.5, abs=0.01)
    none = latent_recovery(rng.standard_normal((2000, 3)), z[:2000], rng.standard_normal((2000, 3)), z[2000:])
    assert abs(none.true_from_inferred) < 0.01


@pytest.mark.parametrize(("factor", "honest"), [(1.0, True), (0.7, False), (1.4, False)])
def test_coverage_accepts_calibrated_intervals_and_rejects_others(factor: float, honest: bool) -> None:
    rng = np.random.default_rng(3)
    n, sd = 10_000, np.array([0.3, 0.5])
    mean = rng.standard_normal((2 * n, 2)) * np.sqrt(1 - sd**2)
    truth = (mean + sd * rng.standard_normal((2 * n, 2))) @ np.array([[1.0, 0.4], [-0.3, 2.0]]) + 3
    found = coverage(truth[n:], mean[n:], np.broadcast_to(factor * sd, (n, 2)), probe(mean[:n], truth[:n]))
    # binomial: sd sqrt(.09 / n) = .003, 4.1 of them; the probe's error adds less than a tenth of that
    assert (np.abs(found - 0.9) < 0.0137).all() == honest
    assert honest or (np.abs(found - 0.9) > 0.05).all()


def test_coverage_needs_as_many_latents() -> None:
    rng = np.random.default_rng(4)
    a, b = rng.standard_normal((50, 2)), rng.standard_normal((50, 3))
    with pytest.raises(InputError, match="3 and 2"):
        coverage(a, b, np.ones((50, 3)), probe(b, a))


class Rotation:
    """A model that knows the latents and turns them by an angle a bin."""

    dimension = 2

    def __init__(self, angle: float) -> None:
        c, s = np.cos(angle), np.sin(angle)
        self.turn = np.array([[c, -s], [s, c]])
        self.seen: list[int] = []

    def infer(self, activity: np.ndarray, observed: np.ndarray | None = None) -> LatentEstimate:
        self.seen.append(len(activity))
        return LatentEstimate(activity, np.zeros_like(activity), activity)

    def forecast(self, factors: np.ndarray, steps: int) -> np.ndarray:
        return np.stack([factors @ np.linalg.matrix_power(self.turn, s).T for s in range(1, steps + 1)], 1)

    def rates_of(self, factors: np.ndarray) -> np.ndarray:
        return factors


def test_forecasts_of_a_rotation_beat_ar1_and_see_the_past_only() -> None:
    angle = 0.3
    z = np.stack([np.cos(angle * np.arange(400)), np.sin(angle * np.arange(400))], 1)
    model = Rotation(angle)
    found = forecasts(model, [z], [z], [z], probe(z, z), steps=20, every=7, past=50)
    assert found.r2_at(1)[0] == pytest.approx(1, abs=1e-6) and found.r2_at(20)[0] == pytest.approx(1, abs=1e-6)
    # AR(1) knows cos(angle) alone: after s bins it is cos(angle)^s z against a turned z
    phi = np.cos(angle)
    np.testing.assert_allclose(ar1([z]), phi, atol=5e-3)
    for s in (1, 10, 20):
        # the squared distance of phi^s z and z turned by s angles, of |z| = 1; the origins' sample moves it by less than .05
        expected = 1 - (1 + phi ** (2 * s) - 2 * phi**s * np.cos(s * angle))
        assert found.r2_at(s)[1] == pytest.approx(expected, abs=0.05)
    assert max(model.seen) <= 50
    assert (valid_prediction_time(found.model, found.truth, z.std(0)) == 20).all()
    wrong = forecasts(Rotation(-angle), [z], [z], [z], probe(z, z), steps=20, every=7, past=50)
    # distance 2 sin(s angle) over 1: above 0.4 from the first bin
    assert (valid_prediction_time(wrong.model, wrong.truth, z.std(0)) == 0).all()
    with pytest.raises(InputError, match="more than 20 bins"):
        forecasts(model, [z[:10]], [z], [z[:10]], probe(z, z), steps=20)
