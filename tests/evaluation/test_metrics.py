"""Scores on the prior's own scale, no number made up, and a metrics.json that keeps its contract."""

import json
import math

import numpy as np
import pytest
from scipy import stats

from neuroinf.evaluation.estimates import Estimates, prior_mean
from neuroinf.evaluation.metrics import (
    check_metrics,
    information_p,
    method_metrics,
    nrmse,
    r2,
    scaled_mse,
    scaled_mse_floor,
    write_metrics,
)
from neuroinf.priors import GridParameter, GridPrior, Prior

Z = stats.norm.isf(0.5e-4)


def document(prior: Prior, methods: dict) -> dict:
    return {
        "checkpoint": "a.ckpt",
        "dataset": "a.h5",
        "simulator": "GLIF",
        "n_test": 50,
        "parameters": list(prior.names),
        "methods": methods,
        "predictive": {},
        "identifiability": {name: {"posterior_over_prior_sd": None} for name in prior.names},
        "cost": dict.fromkeys(
            [
                "simulation_seconds",
                "training_seconds",
                "per_neuron_fit_seconds",
                "amortized_seconds",
                "break_even_neurons",
            ]
        ),
    }


def test_scores_by_hand(prior: Prior) -> None:
    """tau is log-scaled: a factor counts the same anywhere. The rest is linear."""
    truth = prior.from_unit(np.array([[0.0, 0.2, 0.4, 0.5], [0.5, 0.4, 0.4, 0.5], [1.0, 0.9, 0.4, 0.6]]))
    estimate = truth.copy()
    estimate[:, 0] *= 10 ** np.array([0.1, -0.1, 0.0])  # a tenth of the prior's decade each
    assert nrmse(truth, estimate, prior) == pytest.approx([math.sqrt(0.02 / 3), 0, 0, 0], abs=1e-12)
    scores = r2(truth, estimate, prior)
    assert scores[:2] == pytest.approx([1 - 0.02 / 0.5, 1.0], abs=1e-12)
    assert np.isnan(scores[2])  # th does not vary: nothing to explain
    wrong_scale = 1 - ((estimate - truth)[:, 0] ** 2).sum() / ((truth[:, 0] - truth[:, 0].mean()) ** 2).sum()
    assert scores[0] != pytest.approx(wrong_scale, abs=1e-3)


def test_prior_mean_is_the_floor(prior: Prior) -> None:
    """nrmse 1/sqrt(12) and R2 just below 0, within the spread of a uniform variable's squares (variance 1/180)."""
    n = 4000
    truth = prior.sample(n, np.random.default_rng(0))
    floor = prior_mean(prior, n)
    assert nrmse(truth, floor.mean, prior) ** 2 == pytest.approx(1 / 12, abs=Z * math.sqrt(1 / 180 / n))
    scores = r2(truth, floor.mean, prior)
    # 1 - R2 = 1 + (mean deviation)^2 / variance
    assert (scores <= 0).all()
    assert (scores >= -(Z**2) / n * 1.2).all()


def test_prior_mean_of_a_grid_is_that_of_its_points() -> None:
    grid = GridPrior({"a": GridParameter("1", [0.0, 1.0, 5.0]), "b": GridParameter("pF", [1.0, 10.0, 1000.0], "log")})
    mean, std = grid.unit_moments
    assert mean == pytest.approx([2 / 5, 4 / 9], abs=1e-12)
    assert std == pytest.approx([np.std([0, 0.2, 1]), np.std([0, 1 / 3, 1])], abs=1e-12)
    assert prior_mean(grid, 2).mean[0] == pytest.approx([2.0, 10 ** (4 / 3)], rel=1e-12)


def test_the_published_study_predicts_no_better_than_the_mean() -> None:
    """The grid of kevinbdsouza/lstm_glif: predict-the-mean 1.74205; its dt label alone imposes 1.600."""
    grid = GridPrior(
        {
            "C": GridParameter("F", [0.01e-9, 0.05e-9, 0.1e-9, 0.5e-9, 1e-9]),
            "El": GridParameter("V", [-0.1, -0.5, 0.0, 0.5, 0.1]),
            "R_input": GridParameter("Ohm", [0.01834e9, 0.05834e9, 0.1834e9, 0.5834e9, 1.834e9]),
            "dt": GridParameter("s", [1e-5, 3e-5, 5e-5, 7e-5, 9e-5]),
            "th_inf": GridParameter("V", [0.00541, 0.0141, 0.0341, 0.0741, 0.141]),
        },
        enumerate=True,
    )
    scale = [1e9, 1.0, 1e-9, 1e5, 1.0]
    truth = grid.grid()
    assert len(truth) == 3125
    assert scaled_mse_floor(truth, scale) == pytest.approx(1.74205, abs=5e-6)
    assert scaled_mse_floor(truth, scale, [3]) == pytest.approx(1.6, abs=1e-9)
    assert scaled_mse(truth, prior_mean(grid, 3125).mean, scale) == pytest.approx(1.74205, abs=5e-6)
    perfect_but_dt = truth.copy()
    perfect_but_dt[:, 3] = truth[:, 3].mean()
    assert scaled_mse(truth, perfect_but_dt, scale) == pytest.approx(1.6, abs=1e-9)


def test_rows_without_answer_are_left_out_and_counted(prior: Prior) -> None:
    rng = np.random.default_rng(1)
    truth = prior.sample(50, rng)
    mean = prior.from_unit(np.clip(prior.to_unit(truth) + 0.05 * rng.normal(size=truth.shape), 0.01, 0.99))
    part = mean.copy()
    part[:20] = np.nan
    part[20, 0] = -1.0  # a time constant that a log scale does not have
    entry = method_metrics(Estimates("fit", part), truth, prior)
    assert entry["n"] == 29
    assert entry["r2"]["tau"] == pytest.approx(r2(truth[21:], mean[21:], prior)[0], rel=1e-12)
    nothing = method_metrics(Estimates("fit", np.full_like(truth, np.nan)), truth, prior)
    assert nothing["n"] == 0
    assert set(nothing["r2"].values()) | set(nothing["nrmse"].values()) | {nothing["log_prob"]} == {None}


def test_what_a_method_does_not_give_is_null(prior: Prior) -> None:
    truth = prior.sample(50, np.random.default_rng(2))
    entry = method_metrics(Estimates("fit", truth), truth, prior)
    assert entry["log_prob"] is None
    assert entry["seconds_per_neuron"] is None
    assert set(entry["coverage_90"].values()) == set(entry["sbc_p"].values()) == {None}
    assert set(entry["contraction"].values()) == set(entry["z_score"].values()) == {None}
    assert entry["tarp_p"] is None and entry["expected_coverage_p"] is None
    assert set(entry["r2"].values()) == {1.0}


def test_posterior_as_wide_as_the_prior_has_contraction_0_and_passes(prior: Prior) -> None:
    """400 rows of 200 prior draws: within 4 standard errors, and the joint test accepts at 1e-4."""
    rng = np.random.default_rng(3)
    truth = prior.sample(400, rng)
    samples = prior.sample(400 * 200, rng).reshape(400, 200, 4)
    entry = method_metrics(Estimates("prior", samples.mean(1), samples), truth, prior)
    # the variance of a uniform variable's square about its mean is 4/5 of its variance squared
    assert list(entry["contraction"].values()) == pytest.approx([0.0] * 4, abs=0.01)
    assert list(entry["z_score"].values()) == pytest.approx([1.0] * 4, abs=0.5 * 4 * np.sqrt(0.8 / 400))
    assert entry["tarp_p"] >= 1e-4 and entry["expected_coverage_p"] is None
    half = prior.from_unit(0.25 + 0.5 * prior.to_unit(samples))
    entry = method_metrics(Estimates("narrow", half.mean(1), half), truth, prior)
    assert list(entry["contraction"].values()) == pytest.approx([0.75] * 4, abs=0.01)
    assert entry["tarp_p"] < 1e-4


def test_information_p_is_uniform_under_ignorance_and_small_under_knowledge(prior: Prior) -> None:
    """Ignorant estimates: p <= 0.05 in 5 % of 100 x 4 cases, within a binomial bound of 1e-4."""
    rng = np.random.default_rng(3)
    p = np.concatenate(
        [information_p(prior.sample(30, rng), prior.sample(30, rng), prior, rng, permutations=199) for _ in range(100)]
    )
    low, high = stats.binom.ppf([0.5e-4, 1 - 0.5e-4], 400, 0.05)
    assert low <= (p <= 0.05).sum() <= high
    truth = prior.sample(100, rng)
    estimate = prior.from_unit(0.5 + 0.5 * (prior.to_unit(truth) - 0.5))  # half as far from the mean: right, but shy
    estimate[:, 3] = 0.0  # a constant knows nothing
    estimate[:, 2] = prior.low[2] + prior.high[2] - truth[:, 2]  # nor does the wrong sign
    p = information_p(truth, estimate, prior, rng)
    assert (p[:2] < 1e-4).all()
    assert p[3] == 1.0
    assert p[2] > 0.99


def test_metrics_json_is_strict_and_whole(prior: Prior, tmp_path) -> None:
    truth = prior.sample(50, np.random.default_rng(4))
    methods = {"prior_mean": method_metrics(prior_mean(prior, 50), truth, prior)}
    content = document(prior, methods)
    content["predictive"] = {
        "prior_mean": {"voltage_rmse": np.float64(1.5), "spike_gamma": math.nan, "explained_variance_ratio": math.inf}
    }
    path = write_metrics(tmp_path / "metrics.json", content)

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    read = json.loads(path.read_text(), parse_constant=refuse)
    assert read["predictive"]["prior_mean"] == {
        "voltage_rmse": 1.5,
        "spike_gamma": None,
        "explained_variance_ratio": None,
    }
    assert read["methods"] == methods
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.json"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda d: d.pop("checkpoint"), "checkpoint"),
        (lambda d: d["methods"].pop("prior_mean"), "prior_mean"),
        (lambda d: d["methods"]["prior_mean"]["r2"].pop("tau"), "r2 must have the keys"),
        (lambda d: d["methods"]["prior_mean"].pop("nrmse"), "nrmse"),
        (lambda d: d["methods"]["prior_mean"].update(n=None), "n must be a finite number"),
        (lambda d: d["methods"]["prior_mean"]["nrmse"].update(tau="good"), "found 'good'"),
        (lambda d: d["identifiability"].pop("gain"), "gain"),
        (lambda d: d["cost"].pop("break_even_neurons"), "break_even_neurons"),
        (lambda d: d["predictive"].update(fit={"voltage_rmse": 1.0}), "predictive.fit"),
    ],
)
def test_a_document_that_breaks_the_contract_is_not_written(prior: Prior, tmp_path, spoil, message) -> None:
    truth = prior.sample(50, np.random.default_rng(4))
    content = document(prior, {"prior_mean": method_metrics(prior_mean(prior, 50), truth, prior)})
    check_metrics(content)
    spoil(content)
    with pytest.raises(ValueError, match=message):
        write_metrics(tmp_path / "metrics.json", content)
    assert not list(tmp_path.iterdir())


def test_estimates_must_fit_together() -> None:
    with pytest.raises(ValueError, match="samples must be"):
        Estimates("a", np.zeros((3, 2)), samples=np.zeros((3, 5, 4)))
    with pytest.raises(ValueError, match="log_prob must be"):
        Estimates("a", np.zeros((3, 2)), log_prob=np.zeros(2))
