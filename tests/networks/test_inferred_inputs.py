"""Inputs that nobody recorded: found where they were, none where there are none; the divergence is the integral it stands for."""

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from neuroinf.datasets.populations import population
from neuroinf.errors import InputError
from neuroinf.fits.autoencoder_latents import fit_autoencoder
from neuroinf.fits.latent_model import LatentEstimate
from neuroinf.networks.inferred_inputs import InferredInputs, Inputs
from neuroinf.networks.sequential_autoencoder import SequentialAutoencoder

NEURONS, BINS = 12, 600


def kicked(size: float) -> tuple[LatentEstimate, np.ndarray]:
    """What is inferred of a decaying, turning pair of latents with a kick in one bin of 30, and where the kicks were."""
    rng = np.random.default_rng(0)
    turn = 0.95 * np.array([[np.cos(0.15), -np.sin(0.15)], [np.sin(0.15), np.cos(0.15)]])
    kicks = rng.random(BINS) < 1 / 30
    z = np.zeros((BINS, 2))
    for t in range(1, BINS):
        z[t] = turn @ z[t - 1] + 0.15 * rng.standard_normal(2) + np.array([size, 0]) * kicks[t]
    x = z @ rng.normal(0, 1, (2, NEURONS)) + 0.5 * rng.standard_normal((BINS, NEURONS))
    data = population(x, 10.0, "trace")
    model = fit_autoencoder(data, 2, steps=80, channels=8, batch_size=6, generator=(), inputs=1)
    return model.infer(data.activity[0]), kicks


def test_kicks_are_found_where_they_were() -> None:
    """Of ranks that know nothing the area under the ROC curve is 0.5 +- sqrt((n + 1) / (12 n_1 n_0)): five of them above."""
    found, kicks = kicked(1.5)
    assert found.inputs is not None and found.inputs.shape == (BINS, 1)
    size, number = np.abs(found.inputs[1:, 0]), int(kicks[1:].sum())
    statistic = stats.mannwhitneyu(size[kicks[1:]], size[~kicks[1:]]).statistic
    others = BINS - 1 - number
    assert statistic / (number * others) > 0.5 + 5 * np.sqrt(BINS / (12 * number * others))


def test_no_inputs_are_reported_where_there_are_none() -> None:
    """A right posterior leaves 0 out of its 90 % interval as often as a draw of the prior is that far away: below one in ten."""
    found, _ = kicked(0.0)
    assert found.inputs is not None and found.input_sd is not None
    assert (np.abs(found.inputs) > 1.645 * found.input_sd).mean() < 0.1


@pytest.mark.parametrize(("mean", "sd"), [(0.0, 1.0), (1.3, 0.4), (-2.0, 0.1)])
def test_divergence_is_the_integral(mean: float, sd: float) -> None:
    posterior, prior = stats.norm(mean, sd), stats.laplace(scale=2**-0.5)

    def integrand(u: float) -> float:
        return float(posterior.pdf(u) * (posterior.logpdf(u) - prior.logpdf(u)))

    exact = integrate.quad(integrand, mean - 9 * sd, mean + 9 * sd, points=[0.0, mean])[0]
    inputs = Inputs(torch.tensor([[[mean]]]), torch.tensor([[[sd]]]).log())
    assert float(InferredInputs(2, 1).divergence(inputs)) == pytest.approx(exact, abs=1e-4)


def test_draws_are_of_the_prior() -> None:
    """Kolmogorov-Smirnov at 1e-4."""
    draws = InferredInputs(2, 1).draw(4000, torch.Generator().manual_seed(0)).flatten().numpy()
    assert stats.kstest(draws, stats.laplace(scale=2**-0.5).cdf).pvalue > 1e-4


def test_begins_at_the_direction_of_the_kicks() -> None:
    """A Laplace variable along one direction, normal ones along the others; the angle's error is near 1/sqrt(5,000)."""
    rng = np.random.default_rng(0)
    direction = np.array([0.6, -0.8, 0.0])
    e = 0.3 * rng.standard_normal((5000, 3)) + rng.laplace(0, 2**-0.5, (5000, 1)) * direction
    made = InferredInputs(3, 1)
    made.start(torch.from_numpy(e).float())
    found = made.weights.detach().numpy()[:, 0]
    assert abs(found @ direction) / np.linalg.norm(found) > 0.98


def test_inputs_are_at_most_as_many_as_latents() -> None:
    with pytest.raises(InputError, match="inputs: expected 0 to 2"):
        SequentialAutoencoder(12, "trace", 2, inputs=3)
