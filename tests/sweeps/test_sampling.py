"""How a sweep file's method and early_terminate draw and stop, without any process."""

from collections.abc import Callable
from typing import Literal

import numpy as np
import optuna
import pytest
from scipy import stats

from neuroinf.sweeps.sampling import draw, pruner, sampler
from neuroinf.sweeps.sweep_file import Sweep

optuna.logging.set_verbosity(optuna.logging.ERROR)


def test_random_values_have_their_distributions(fake: Callable[..., Sweep]) -> None:
    """400 trials; Kolmogorov-Smirnov and chi-square, each at 1e-4. Keys are independent: rank correlation beyond 3.9 / sqrt(n)."""
    sweep = fake()
    study = optuna.create_study(sampler=sampler(sweep, 0, 0))
    drawn = [draw(sweep, study.ask()) for _ in range(400)]
    rate, width = np.array([v["lr"] for v in drawn]), np.array([v["width"] for v in drawn])
    assert stats.kstest(rate, stats.loguniform(1e-4, 1e-1).cdf).pvalue > 1e-4
    assert stats.chisquare(np.unique(width, return_counts=True)[1]).pvalue > 1e-4
    assert abs(stats.spearmanr(rate, width)[0]) < 3.9 / np.sqrt(400)  # pyright: ignore[reportArgumentType]


def test_bayes_prefers_what_was_good(fake: Callable[..., Sweep]) -> None:
    """The loss is (u - 0.2)^2 of a key that is uniform from 0 to 1, and the last 20 of 40 trials must lie close to 0.2: the
    distance of a uniform number to 0.2 has mean 0.34 and, of 20, standard error 0.24 / sqrt(20); 3.7 of them below is 0.14."""
    sweep = fake({"lr": {"min": 0.0, "max": 1.0}}, method="bayes")
    study = optuna.create_study(sampler=sampler(sweep, 0, 0))
    rates = []
    for _ in range(40):
        trial = study.ask()
        rates.append(draw(sweep, trial)["lr"])
        study.tell(trial, (rates[-1] - 0.2) ** 2)
    assert np.abs(np.array(rates[20:]) - 0.2).mean() < 0.14
    # a continued search does not repeat its first draws
    again = optuna.create_study(sampler=sampler(sweep, 0, 40))
    assert draw(sweep, again.ask())["lr"] != rates[0]


@pytest.mark.parametrize("goal", ["minimize", "maximize"])
def test_hyperband_judges_on_its_rungs_alone(fake: Callable[..., Sweep], goal: Literal["minimize", "maximize"]) -> None:
    """min_iter 2 and eta 3: after epochs 2, 6 and 18, and on each rung a third of the trials goes on."""
    stop = {"type": "hyperband", "min_iter": 2, "eta": 3}
    sweep = fake(early_terminate=stop, metric={"name": "val/loss", "goal": goal})
    study = optuna.create_study(direction=goal, pruner=pruner(sweep))
    sign = 1.0 if goal == "minimize" else -1.0

    def epochs(badness: Callable[[int], float]) -> int:
        trial = study.ask()
        for epoch in range(1, 21):
            trial.report(sign * badness(epoch), epoch)
            if trial.should_prune():
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                return epoch
        study.tell(trial, sign * badness(20))
        return 20

    assert epochs(lambda epoch: 1.0) == 20
    assert epochs(lambda epoch: 2.0) == 2
    assert epochs(lambda epoch: 0.5) == 20
    assert epochs(lambda epoch: 0.4 if epoch < 5 else 3.0) == 6
    assert epochs(lambda epoch: 0.3 if epoch < 15 else 3.0) == 18
    assert [len(t.intermediate_values) for t in study.trials] == [20, 2, 20, 6, 18]


def test_without_early_terminate_nothing_stops(fake: Callable[..., Sweep]) -> None:
    study = optuna.create_study(pruner=pruner(fake()))
    for badness in range(5):
        trial = study.ask()
        for epoch in range(1, 10):
            trial.report(float(badness), epoch)
            assert not trial.should_prune()
