"""Priors: distribution against closed forms, coordinates against each other and against autograd, grids, bad input."""

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser
from scipy import stats
from torch import Tensor

from neuroinf.errors import InputError
from neuroinf.priors import GridParameter, GridPrior, Parameter, Prior

FALSE_ALARM = 1e-4

BOX = {
    "C": Parameter("pF", 38.7, 202.7, "log"),
    "R_input": Parameter("GOhm", 0.068, 0.758, "log"),
    "El": Parameter("mV", -84.0, -60.0),
    "asc_amp_2": Parameter("pA", -470.0, 20.0),
}

# The grid of the lstm_glif study (kevinbdsouza/lstm_glif @2311524), in the units of its labels
STUDY = {
    "C": GridParameter("nF", [0.01, 0.05, 0.1, 0.5, 1.0]),
    "El": GridParameter("V", [-0.1, -0.5, 0.0, 0.5, 0.1]),
    "R_input": GridParameter("GOhm", [0.01834, 0.05834, 0.1834, 0.5834, 1.834]),
    "dt": GridParameter("10 us", [1, 3, 5, 7, 9]),
    "th_inf": GridParameter("V", [0.00541, 0.0141, 0.0341, 0.0741, 0.141]),
}


def box() -> Prior:
    return Prior(BOX)


def own_law(p: Parameter) -> Any:
    return stats.loguniform(p.low, p.high) if p.scale == "log" else stats.uniform(p.low, p.high - p.low)


def points(prior: Prior, n: int = 200, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.from_numpy(prior.sample(n, np.random.default_rng(1))).to(dtype)


def test_samples_follow_each_parameter_s_own_scale() -> None:
    prior = box()
    theta = prior.sample(20_000, np.random.default_rng(0))
    assert theta.shape == (20_000, 4) and theta.dtype == np.float64
    assert (theta >= prior.low).all() and (theta <= prior.high).all()
    for j, p in enumerate(BOX.values()):
        law = own_law(p)
        assert stats.kstest(theta[:, j], law.cdf).pvalue > FALSE_ALARM / len(BOX)


def test_prior_is_standard_normal_in_unconstrained_space() -> None:
    z = box().to_unconstrained(points(box(), 20_000)).numpy()
    for column in z.T:
        assert stats.kstest(column, "norm").pvalue > FALSE_ALARM / (len(BOX) + 1)
    # the squared norm also sees correlations: a sum of P n squares
    assert FALSE_ALARM < stats.chi2(z.size).sf((z**2).sum()) * (len(BOX) + 1) < len(BOX) + 1 - FALSE_ALARM


def test_log_prob_agrees_with_scipy_and_with_the_torch_distribution() -> None:
    prior, theta = box(), points(box())
    expected = np.zeros(len(theta))
    for j, p in enumerate(BOX.values()):
        law = own_law(p)
        expected += law.logpdf(theta[:, j].numpy())
    np.testing.assert_allclose(prior.log_prob(theta), expected, rtol=1e-12)
    np.testing.assert_allclose(prior.distribution.log_prob(theta), expected, rtol=1e-12)


def test_torch_distribution_samples_the_prior() -> None:
    prior = box()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        theta = prior.distribution.sample(torch.Size([20_000]))
    assert theta.dtype == torch.float64
    for column in prior.to_unit(theta).numpy().T:
        assert stats.kstest(column, "uniform").pvalue > FALSE_ALARM / len(BOX)


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_log_prob_is_minus_infinity_outside(factor: float) -> None:
    prior = box()
    theta = points(prior, 8)
    theta[:, 1] = 0.068 * 0.5 if factor < 1 else 0.758 * factor
    assert (prior.log_prob(theta) == -math.inf).all()
    assert (prior.log_abs_det(theta) == -math.inf).all()
    assert prior.to_unconstrained(theta).isfinite().all()


def test_a_value_rounded_to_float32_at_an_edge_is_inside() -> None:
    prior = box()
    for edge in (prior.low, prior.high):
        theta = torch.from_numpy(edge).float()
        assert prior.log_prob(theta).isfinite() and prior.log_prob(theta.double()).isfinite()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_unit_cube_and_back(dtype: torch.dtype) -> None:
    prior = box()
    theta, eps = points(prior, dtype=dtype), torch.finfo(dtype).eps
    u = prior.to_unit(theta)
    assert u.dtype == dtype and (u > -4 * eps).all() and (u < 1 + 4 * eps).all()
    torch.testing.assert_close(prior.from_unit(u), theta, rtol=16 * eps, atol=16 * eps * 470)
    edges = torch.tensor([[0.0] * 4, [1.0] * 4], dtype=dtype)
    torch.testing.assert_close(
        prior.from_unit(edges), torch.from_numpy(np.stack([prior.low, prior.high])).to(dtype), rtol=8 * eps, atol=0
    )
    expected = prior.to_unit(theta.double().numpy())
    assert isinstance(expected, np.ndarray)
    np.testing.assert_allclose(u.double(), expected, atol=64 * eps)
    np.testing.assert_allclose(prior.from_unit(expected), theta.double(), rtol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_unconstrained_and_back(dtype: torch.dtype) -> None:
    prior, eps = box(), torch.finfo(dtype).eps
    theta = points(prior, 2000, dtype)
    torch.testing.assert_close(
        prior.from_unconstrained(prior.to_unconstrained(theta)), theta, rtol=32 * eps, atol=32 * eps * 470
    )
    # the other way: theta's rounding (here at most 8 eps of a width) is magnified by one over the normal density
    z = torch.linspace(-4, 4, 401, dtype=dtype)[:, None].expand(-1, 4)
    error = (prior.to_unconstrained(prior.from_unconstrained(z)) - z).abs().double()
    density = torch.exp(-0.5 * z.double().square()) / math.sqrt(2 * math.pi)
    assert (error <= 8 * eps / density + 8 * eps * z.abs()).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_edges_and_far_tails_are_safe(dtype: torch.dtype) -> None:
    prior = box()
    low, high = torch.from_numpy(prior.low).to(dtype), torch.from_numpy(prior.high).to(dtype)
    theta = torch.stack(
        [low, high, torch.nextafter(low, high), torch.nextafter(high, low), 2 * high - low, -high.abs()]
    )
    theta.requires_grad_()
    z = prior.to_unconstrained(theta)
    assert z.isfinite().all()
    (gradient,) = torch.autograd.grad(z.sum(), theta)
    assert gradient.isfinite().all()
    assert prior.log_abs_det(theta[:4]).isfinite().all()
    far = torch.tensor([-1e4, -40.0, -15.0, 15.0, 40.0, 1e4], dtype=dtype)[:, None].expand(-1, 4)
    back = prior.from_unconstrained(far)
    assert ((back >= low) & (back <= high)).all() and prior.log_prob(back).isfinite().all()


def test_unconstrained_is_symmetric_and_increasing() -> None:
    prior = Prior({"x": Parameter("1", -1.0, 1.0)})
    x = torch.linspace(-1, 1, 2001, dtype=torch.float64)[:, None]
    z = prior.to_unconstrained(x)
    torch.testing.assert_close(z, -z.flip(0), rtol=0, atol=1e-12)
    assert (z.diff(dim=0) > 0).all()


@pytest.mark.parametrize("prior", [box(), GridPrior(STUDY), GridPrior({"C": GridParameter("pF", [1, 10, 50], "log")})])
def test_log_determinant_against_autograd(prior: Prior) -> None:
    for theta in points(box(), 20) if type(prior) is Prior else torch.from_numpy(prior.grid(3))[::7]:
        jacobian = torch.autograd.functional.jacobian(prior.to_unconstrained, theta)
        assert isinstance(jacobian, Tensor)
        torch.testing.assert_close(
            torch.linalg.slogdet(jacobian).logabsdet, prior.log_abs_det(theta), rtol=0, atol=1e-9
        )


def test_density_is_the_standard_normal_s_times_the_determinant() -> None:
    prior, theta = box(), points(box())
    normal = torch.distributions.Normal(0.0, 1.0).log_prob(prior.to_unconstrained(theta)).sum(-1)
    torch.testing.assert_close(normal + prior.log_abs_det(theta), prior.log_prob(theta), rtol=0, atol=1e-11)


def test_row_is_a_draw_from_the_passed_generator() -> None:
    prior = box()
    first, again = (prior.row(3, np.random.default_rng(7)) for _ in range(2))
    assert (first == again).all() and (first != prior.row(3, np.random.default_rng(8))).all()


def test_grid_is_a_full_factorial_on_the_own_scale() -> None:
    prior = box()
    grid = prior.grid({"C": 3, "R_input": [0.1, 0.5], "El": 1, "asc_amp_2": 2})
    assert grid.shape == (12, 4)
    np.testing.assert_allclose(np.unique(grid[:, 0]), [38.7, math.sqrt(38.7 * 202.7), 202.7])
    np.testing.assert_allclose(grid[:, 2], -72)
    np.testing.assert_allclose(grid[:3, 3], [-470, 20, -470])
    assert len(np.unique(grid, axis=0)) == 12 and prior.grid(2).shape == (16, 4)


@pytest.mark.parametrize("prior", [box(), GridPrior(STUDY, enumerate=True)])
def test_plain_types_and_back(prior: Prior) -> None:
    again = Prior.from_dict(json.loads(json.dumps(prior.to_dict())))
    assert type(again) is type(prior) and again.to_dict() == prior.to_dict() and again.parameters == prior.parameters
    assert (again.row(5, np.random.default_rng(0)) == prior.row(5, np.random.default_rng(0))).all()


def test_enumerated_grid_goes_through_every_point_and_begins_again() -> None:
    prior, rng = GridPrior(STUDY, enumerate=True), np.random.default_rng(0)
    grid = prior.grid()
    assert prior.size == len(grid) == 3125
    rows = np.stack([prior.row(i, rng) for i in range(0, 2 * prior.size, 7)])
    assert (rows == np.concatenate([grid, grid])[::7]).all()


def test_drawn_grid_is_uniform_over_its_points() -> None:
    prior = GridPrior({"a": GridParameter("1", [3, 1, 2]), "b": GridParameter("1", [1.0, 10.0], "log")})
    theta = prior.sample(6000, np.random.default_rng(0))
    found, counts = np.unique(theta, axis=0, return_counts=True)
    assert len(found) == prior.size and stats.chisquare(counts).pvalue > FALSE_ALARM
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        drawn = prior.distribution.sample(torch.Size([6000]))
    assert stats.chisquare(np.unique(drawn, axis=0, return_counts=True)[1]).pvalue > FALSE_ALARM
    np.testing.assert_allclose(prior.log_prob(torch.from_numpy(theta)).exp(), 1 / 6)
    np.testing.assert_allclose(prior.log_prob(torch.from_numpy(theta).float()).exp(), 1 / 6, rtol=1e-6)
    assert prior.log_prob(torch.tensor([1.5, 1.0])) == -math.inf


def test_grid_is_standardised_in_unconstrained_space() -> None:
    prior = GridPrior(STUDY)
    grid = torch.from_numpy(prior.grid())
    z = prior.to_unconstrained(grid)
    torch.testing.assert_close(z.mean(0), torch.zeros(5, dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(z.std(0, correction=0), torch.ones(5, dtype=torch.float64), rtol=1e-12, atol=0)
    torch.testing.assert_close(prior.from_unconstrained(z), grid, rtol=1e-12, atol=1e-12)
    u = prior.to_unit(grid)
    assert u.min() == 0 and u.max() == 1


def test_variance_of_the_study_s_labels_is_the_published_floor() -> None:
    # predicting the mean of the five labels costs 1.74205 (specs of the study, sum of variances / 5)
    assert GridPrior(STUDY).grid().var(axis=0).mean() == pytest.approx(1.74205, abs=5e-6)


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        (Parameter("pF", 2.0, 1.0), "low must be below high, found low 2 and high 1 pF"),
        (Parameter("pF", 1.0, 1.0), "low must be below high"),
        (Parameter("pF", 0.0, 1.0, "log"), "log scale needs low above 0"),
        (Parameter("pF", -1.0, 1.0, "log"), "log scale needs low above 0"),
        (Parameter("pF", math.nan, 1.0), "must be finite"),
        (Parameter("pF", 0.0, math.inf), "must be finite"),
        (Parameter("pF", 0.0, 1.0, "cubic"), "linear or log"),  # pyright: ignore[reportArgumentType]
    ],
)
def test_bad_ranges_are_refused_by_name(parameter: Parameter, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        Prior({"C": parameter})
    assert "range of C" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 1.0], [1.0, 2.0, 1.0]])
def test_bad_grids_are_refused(values: list[float]) -> None:
    with pytest.raises(InputError, match="two or more different values of C"):
        GridPrior({"C": GridParameter("pF", values)})


def test_other_bad_input_is_refused() -> None:
    with pytest.raises(InputError, match="at least one parameter"):
        Prior({})
    with pytest.raises(InputError, match="expected the parameters C, R_input, El, asc_amp_2, found C, Q"):
        box().grid({"C": 2, "Q": 2})
    with pytest.raises(InputError, match="at least 1 point"):
        box().grid(0)
    with pytest.raises(InputError, match="within its range"):
        box().grid({"C": [1.0], "R_input": 1, "El": 1, "asc_amp_2": 1})
    for stored in ({}, {"kind": "box"}, {"kind": "box", "parameters": {"C": {"low": 1}}}, {"kind": "cone"}, []):
        with pytest.raises(InputError, match="stored"):
            Prior.from_dict(stored)  # pyright: ignore[reportArgumentType]


def parser() -> ArgumentParser:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--prior", type=Prior)
    return parser


def test_priors_from_yaml() -> None:
    text = """prior:
      class_path: neuroinf.priors.Prior
      init_args:
        parameters:
          C: {unit: pF, low: 40, high: 200, scale: log}
          El: {unit: mV, low: -84, high: -60}"""
    prior = parser().instantiate(parser().parse_string(text)).prior
    assert prior.names == ("C", "El") and prior.units == ("pF", "mV")
    assert prior.parameters == {"C": Parameter("pF", 40, 200, "log"), "El": Parameter("mV", -84, -60)}
    text = """prior:
      class_path: neuroinf.priors.GridPrior
      init_args:
        enumerate: true
        parameters:
          C: {unit: pF, values: [40, 80, 160], scale: log}"""
    prior = parser().instantiate(parser().parse_string(text)).prior
    assert prior.grid().ravel().tolist() == [40, 80, 160] and prior.enumerate


@pytest.mark.parametrize(
    "range_",
    [
        "{unit: pF, low: 1, hight: 2}",
        "{unit: pF, low: 1}",
        "{unit: pF, low: 1, high: x}",
        "{unit: pF, low: 1, high: 2, scale: ln}",
    ],
)
def test_yaml_with_unknown_or_wrong_keys_is_refused(range_: str) -> None:
    with pytest.raises(Exception, match="prior"):
        parser().parse_string(
            f"prior: {{class_path: neuroinf.priors.Prior, init_args: {{parameters: {{C: {range_}}}}}}}"
        )
