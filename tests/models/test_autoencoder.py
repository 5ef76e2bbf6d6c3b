"""The latent autoencoder: its evidence is exact, what is hidden has no influence, and smooth latents are given wide intervals."""

import numpy as np
import pytest
import torch

from neuroinf.datasets.populations import PopulationData, population
from neuroinf.errors import InputError
from neuroinf.fits.autoencoder_latents import AutoencoderLatents, fit_autoencoder
from neuroinf.models.latent_calibration import calibrate
from neuroinf.networks.evidence import PopulationReadout
from neuroinf.networks.linear_start import linear_start
from neuroinf.networks.sequential_autoencoder import SequentialAutoencoder

K, D, T = 12, 2, 300


def rotation(seed: int, counts: bool = False) -> tuple[PopulationData, np.ndarray]:
    """A noisy rotation of a period of 40 bins seen through K neurons, and its latents."""
    rng = np.random.default_rng(seed)
    angle = 2 * np.pi / 40
    turn = 0.99 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    z = np.zeros((T, D))
    z[0] = rng.standard_normal(D)
    for t in range(1, T):
        z[t] = turn @ z[t - 1] + np.sqrt(1 - 0.99**2) * rng.standard_normal(D)
    drive = z @ rng.normal(0, 0.7, (D, K))
    x = rng.poisson(np.exp(drive)) if counts else 5 + 3 * (drive + rng.normal(0, 0.7, (T, K)))
    return population(x, 10.0, "counts" if counts else "trace"), z


@pytest.fixture(scope="module", params=[False, True], ids=["traces", "counts"])
def fitted(request: pytest.FixtureRequest) -> tuple[AutoencoderLatents, PopulationData, np.ndarray]:
    data, z = rotation(0, request.param)
    return fit_autoencoder(data, D, seed=3, steps=40, channels=8, batch_size=4, window=60), data, z


def readout(kind: str, factors: int = D) -> PopulationReadout:
    made = PopulationReadout(K, factors, kind)  # pyright: ignore[reportArgumentType]
    draws = torch.Generator().manual_seed(1)
    with torch.no_grad():
        made.loadings.copy_(torch.randn(made.loadings.shape, generator=draws))
        made.offset.copy_(torch.randn(K, generator=draws) * 0.3)
        made.mean.copy_(made.offset.exp())
        if kind == "trace":
            made.log_noise.copy_(torch.randn(K, generator=draws) * 0.5)
    return made


def test_evidence_of_traces_is_the_exact_posterior_given_the_observed_neurons() -> None:
    made = readout("trace")
    draws = torch.Generator().manual_seed(2)
    x, observed = torch.randn(1, 50, K, generator=draws), (torch.rand(1, 50, K, generator=draws) < 0.6).float()
    mean, _ = made.evidence(x, observed)
    c, b = made.loadings.detach().double().numpy(), made.offset.detach().double().numpy()
    r = made.log_noise.exp().detach().double().numpy()
    for t in range(50):
        seen = observed[0, t].bool().numpy()
        # by the covariance of the neurons, not by the latents' precision
        covariance = c[seen] @ c[seen].T + np.diag(r[seen])
        exact = c[seen].T @ np.linalg.solve(covariance, x[0, t].double().numpy()[seen] - b[seen])
        np.testing.assert_allclose(mean[0, t].detach().numpy(), exact, atol=2e-4)


def test_evidence_of_many_latents_is_exact_where_all_is_observed() -> None:
    """Above a number of latents it is approximated; the approximation must not cost anything without hidden entries."""
    torch.manual_seed(0)
    made = PopulationReadout(60, 20, "trace")
    with torch.no_grad():
        made.loadings.copy_(torch.randn(60, 20))
    x = torch.randn(2, 5, 60)
    mean, _ = made.evidence(x, torch.ones_like(x))
    c = made.loadings.detach()
    exact = torch.linalg.solve(torch.eye(20) + c.T @ c, c.T @ x.reshape(-1, 60).T).T
    torch.testing.assert_close(mean.detach().reshape(-1, 20), exact, atol=1e-4, rtol=1e-3)


def test_evidence_of_counts_is_near_the_mode() -> None:
    """The gradient of the log posterior vanishes at the mode; the steps leave little of it, for large counts too."""
    made = readout("counts")
    with torch.no_grad():
        made.loadings.mul_(0.6)
    draws = torch.Generator().manual_seed(2)
    z = torch.randn(1, 400, D, generator=draws) * 1.2
    x = torch.poisson(made.drive(z).exp().detach(), generator=draws)
    mean, _ = made.evidence(x, torch.ones_like(x))
    rate = made.drive(mean).exp()
    gradient = (x - rate) @ made.loadings - mean
    before = x @ made.loadings - made.offset.exp() @ made.loadings
    # a step from the prior mean would leave a gradient of the size of the first
    assert float((gradient.norm(dim=-1) / (1 + before.norm(dim=-1))).mean().detach()) < 0.05


@pytest.mark.parametrize("kind", ["trace", "counts"])
def test_without_observations_there_is_no_evidence(kind: str) -> None:
    mean, share = readout(kind).evidence(torch.ones(1, 3, K), torch.zeros(1, 3, K))
    assert not mean.any() and not share.any()


def log_rates(neurons: int, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Counts (bins, K) of Poisson neurons of normal log rates, and their loadings."""
    rng = np.random.default_rng(0)
    c = rng.normal(0, 0.5, (neurons, D))
    return rng.poisson(np.exp(rng.standard_normal((bins, D)) @ c.T)).astype(float), c


def test_linear_start_is_the_covariance_of_log_rates() -> None:
    """Poisson counts of normal log rates: the moments are exact, and their error is that of 40,000 bins."""
    x, c = log_rates(K, 40_000)
    found = linear_start(x, "counts", D).loadings
    # the covariance of log rates, which no rotation of the latents changes
    assert np.abs(found @ found.T - c @ c.T).max() < 0.1


def test_sparse_linear_start_has_the_span_of_the_loadings() -> None:
    """Factor analysis of square roots and Poisson regressions: shrunk, where a bin says little, but in the right plane."""
    x, c = log_rates(K, 40_000)
    found = linear_start(x, "counts", D, sparse=True).loadings
    cosines = np.linalg.svd(np.linalg.qr(found)[0].T @ np.linalg.qr(c)[0], compute_uv=False)
    assert cosines.min() > 0.98
    # of the planes of K loadings drawn at random, not one in 1e4 has its smaller cosine above 0.9
    drawn = np.random.default_rng(1).normal(size=(10_000, K, D))
    random = np.linalg.svd(np.linalg.qr(drawn)[0].transpose(0, 2, 1) @ np.linalg.qr(c)[0], compute_uv=False)
    assert random.min(1).max() < 0.9


def test_fit_recovers_latents_better_than_a_bin_alone(
    fitted: tuple[AutoencoderLatents, PopulationData, np.ndarray],
) -> None:
    model, data, z = fitted

    def unexplained(factors: np.ndarray) -> float:
        design = np.column_stack([factors, np.ones(len(z))])
        return float(np.linalg.lstsq(design, z, rcond=None)[1].sum() / ((z - z.mean(0)) ** 2).sum())

    x = model.readout.normalised(torch.from_numpy(data.activity[0]))[None]
    alone = model.readout.evidence(x, torch.ones_like(x))[0][0].detach().numpy()
    assert unexplained(model.infer(data.activity[0]).factors) < unexplained(alone)


def test_what_is_hidden_is_not_read(fitted: tuple[AutoencoderLatents, PopulationData, np.ndarray]) -> None:
    model, data, _ = fitted
    x, observed = data.activity[0].copy(), np.random.default_rng(0).random((T, K)) < 0.7
    found = model.infer(x, observed)
    x[~observed] = np.nan
    again = model.infer(x, observed)
    for ours, theirs in ((found.factors, again.factors), (found.rates, again.rates), (found.sd, again.sd)):
        np.testing.assert_array_equal(ours, theirs)
    assert np.isfinite(again.rates).all() and again.rates.shape == (T, K)


def test_hidden_neurons_are_predicted(fitted: tuple[AutoencoderLatents, PopulationData, np.ndarray]) -> None:
    """From the others: closer to what was recorded than each one's mean is."""
    model, data, _ = fitted
    x, hidden = data.activity[0], np.arange(K) % 4 == 0
    rates = model.infer(x, np.broadcast_to(~hidden, x.shape)).rates[:, hidden]
    assert ((rates - x[:, hidden]) ** 2).mean() < 0.9 * x[:, hidden].var(0).mean()


def test_same_seed_same_model_and_no_trace_in_the_global_generator() -> None:
    data, _ = rotation(1)
    state = torch.get_rng_state()
    first, second, other = (fit_autoencoder(data, 1, seed, steps=4, channels=4) for seed in (0, 0, 1))
    assert torch.equal(state, torch.get_rng_state())
    x = data.activity[0]
    np.testing.assert_array_equal(first.infer(x).factors, second.infer(x).factors)
    assert np.abs(first.infer(x).factors - other.infer(x).factors).max() > 1e-6


def test_intervals_become_wider_where_the_posterior_is_too_sure() -> None:
    """Standard deviations a tenth of what they were: the factors must be ten times larger."""
    data, _ = rotation(2)
    model = fit_autoencoder(data, D, steps=8, channels=4, batch_size=4, window=60)
    sequences = [torch.from_numpy(x) for x in data.activity]
    widths = model.network.widths.clone()
    with torch.no_grad():
        last = model.network.encoder.last.bias
        assert last is not None
        last[D:] -= float(np.log(2.0))
    calibrate(model.network, [sequences], torch.Generator().manual_seed(0))
    torch.testing.assert_close(model.network.widths / widths, torch.full((1, D), 2.0), atol=0.01, rtol=0)


def test_forecasts_are_the_generator_step_by_step(
    fitted: tuple[AutoencoderLatents, PopulationData, np.ndarray],
) -> None:
    model, data, _ = fitted
    state = model.infer(data.activity[0]).factors[:5]
    ahead = model.forecast(state, 7)
    np.testing.assert_allclose(ahead[:, 6], model.forecast(ahead[:, 2], 4)[:, 3], rtol=1e-5, atol=1e-6)


def test_a_neuron_that_never_changes_does_no_harm() -> None:
    data, _ = rotation(3)
    x = data.activity[0].copy()
    x[:, 4] = 1.5
    found = fit_autoencoder(population(x, 10.0, "trace"), D, steps=5, channels=4).infer(x)
    assert np.isfinite(found.rates).all() and np.isfinite(found.sd).all()


@pytest.mark.parametrize("factors", [0, K + 1])
def test_latents_are_at_most_as_many_as_neurons(factors: int) -> None:
    with pytest.raises(InputError, match=f"1 to {K}"):
        SequentialAutoencoder(K, "trace", factors)


def test_refuses_other_neurons_bins_and_kinds(fitted: tuple[AutoencoderLatents, PopulationData, np.ndarray]) -> None:
    model, data, _ = fitted
    other = rotation(0, data.kind == "trace")[0]
    for bad, message in (
        (data.select(np.arange(K - 1)), f"expected the {K} neurons"),
        (data.select(np.roll(np.arange(K), 1)), "in its order"),
        (other, f"expected {data.kind}"),
        (population(data.activity[0], 20.0, data.kind), "bins of 10 ms"),
    ):
        with pytest.raises(InputError, match=message):
            model.infer_population(bad)
