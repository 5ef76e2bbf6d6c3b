"""Drivers and keys without effect: where they are known, and on the published sweeps of the manifold study."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from neuroinf.sweeps.drivers import effects
from neuroinf.sweeps.report import report
from neuroinf.sweeps.runs import Run, read_runs


def made(n: int, seed: int, strength: float = 1.0) -> list[Run]:
    """Two sweeps of very different level; the score has its best at a middle rate and depends on the kind."""
    rng = np.random.default_rng(seed)
    runs = []
    for i in range(n):
        rate, width, kind = float(rng.uniform(-1, 1)), int(rng.integers(1, 6)), str(rng.choice(["a", "b", "c"]))
        score = 100.0 * (i % 2) + strength * (rate**2 + 0.5 * (kind == "b")) + 0.1 * rng.standard_normal()
        # a key that tells the sweeps apart would look like a driver, if they were thrown together
        config = {"rate": rate, "width": width + 10 * (i % 2), "kind": kind, "same": 1}
        runs.append(Run(str(i), "ab"[i % 2], config, float(score), 10))
    return runs


def test_finds_what_drives_and_what_does_not() -> None:
    """A parabola has no correlation, and is found; two sweeps' levels are no effect of the key that goes with them."""
    found = {effect.key: effect for effect in effects(made(120, 0), False, np.random.default_rng(0))}
    assert set(found) == {"rate", "kind", "width"}
    assert found["rate"].verdict == found["kind"].verdict == "driver"
    assert found["width"].p > 1e-4  # which is the false-alarm rate
    assert found["rate"].correlation is not None and abs(found["rate"].correlation.rho) < 0.3
    assert found["kind"].correlation is None and not found["kind"].numeric
    # all in ranks: turned round, or on another scale, nothing changes
    turned = [Run(r.name, r.sweep, r.config, -np.exp(r.score or 0.0) if r.score else None, 10) for r in made(120, 0)]
    again = {effect.key: effect for effect in effects(turned, True, np.random.default_rng(0))}
    for key, effect in found.items():
        assert again[key].partial == pytest.approx(effect.partial) and again[key].verdict == effect.verdict


def test_without_effects_p_is_uniform() -> None:
    """300 p values of keys without effect, three of each set of runs; Kolmogorov-Smirnov with a false-alarm rate of 1e-4."""
    p = [e.p for seed in range(100) for e in effects(made(40, seed, 0.0), False, np.random.default_rng(seed), 199)]
    assert stats.kstest(p, "uniform").pvalue > 1e-4


def test_intervals_cover() -> None:
    """Correlation 0.4 of normal numbers, 40 runs: Spearman's is 6 / pi * asin(0.4 / 2); binomial bounds of 95 % at 1e-4."""
    truth = 6 / np.pi * np.arcsin(0.4 / 2)
    inside, n = 0, 300
    for seed in range(n):
        rng = np.random.default_rng(seed)
        x = rng.standard_normal(40)
        y = 0.4 * x + np.sqrt(1 - 0.4**2) * rng.standard_normal(40)
        runs = [Run("", "s", {"x": float(a)}, float(b), 1) for a, b in zip(x, y, strict=True)]
        correlation = effects(runs, False, rng, 1)[0].correlation
        assert correlation is not None
        inside += correlation.low < truth < correlation.high
    assert stats.binom.ppf(0.5e-4, n, 0.95) <= inside <= stats.binom.isf(0.5e-4, n, 0.95)


def test_stopped_and_diverged_runs_rank_behind() -> None:
    """A stopped run's low score is of an early epoch: it does not rank before those that went on."""
    runs = [Run(str(i), "s", {"x": i}, 1.0 + i, 9) for i in range(10)]
    runs += [Run("stopped", "s", {"x": 10}, 0.5, 3, stopped=True), Run("diverged", "s", {"x": 11}, None, 0)]
    correlation = effects(runs, False, np.random.default_rng(0))[0].correlation
    assert correlation is not None and correlation.rho == pytest.approx(1.0)


def test_report_of_a_list(tmp_path: Path) -> None:
    entries = [
        {"run": r.name, "sweep": r.sweep, "config": {"m": r.config}, "loss": [9.0, r.score]} for r in made(40, 1)
    ]
    entries.append({"run": "short", "sweep": "a", "config": {"m": {"rate": 0.1}}, "loss": []})
    (tmp_path / "runs.json").write_text(json.dumps(entries))
    said = report(tmp_path / "runs.json", None, tmp_path / "out")
    document: dict[str, Any] = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert {"m.rate", "m.kind"} <= set(document["drivers"]) and document["n"] == 40
    assert document["left_out"] == ["short of a: 0 of 2 logged values"] and "short of a" in said
    assert (tmp_path / "out" / "parallel.png").stat().st_size > 10_000
    assert "permutations" in (tmp_path / "out" / "report.md").read_text()


@pytest.mark.reference
def test_the_published_sweeps_never_changed_the_latent_dimension(reference_dir: Path, tmp_path: Path) -> None:
    """n_comp was never handed on: no effect, in each sweep as in the study's logs; learning rate and weight decay drive."""
    source = reference_dir / "nmas_sweeps.json"
    report(source, None, tmp_path)
    document = json.loads((tmp_path / "metrics.json").read_text())
    assert document["drivers"] == ["learning_rate", "weight_decay"]
    assert "n_comp" in document["without_effect"] and abs(document["keys"]["n_comp"]["correlation"]["rho"]) < 0.1
    each = document["keys"]["n_comp"]["by_sweep"]
    assert each["Hyperparameter Sweep"]["rho"] == pytest.approx(0.04, abs=0.006)
    assert each["Hyperparams_Full_Signal"]["rho"] == pytest.approx(-0.01, abs=0.006)
    assert document["n"] == 106 and len(document["left_out"]) == 1  # one run was stopped at iteration 0
    assert len(read_runs(source, "train_loss").runs) == 106
