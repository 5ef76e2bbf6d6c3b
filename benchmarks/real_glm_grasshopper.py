"""Grasshopper auditory receptors: held-out bits per spike of every way to a GLM with a hidden drive."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import statsmodels.api as sm
import yaml
from numpy.typing import NDArray
from real_glm_scores import HeldOut, constant_rate, log_probability, penalised, reached

from neuroinf.construction import build
from neuroinf.errors import InputError
from neuroinf.fits.glm_design import design
from neuroinf.fits.latent_drive import fit_latent_drive, hidden_drive, predictive_log_likelihood
from neuroinf.inference import Estimator, load
from neuroinf.recordings.grasshopper import RECORDINGS, grasshopper
from neuroinf.simulators import GLM

FloatArray = NDArray[np.float64]
CONFIG = Path("configs/glm_grasshopper.yaml")
QUARTER = 2500.0  # ms; quarters 1 and 3 are fitted and 2 and 4 predicted, then the other way round
BLOCK = 500.0  # ms, drawn for the intervals
RIDGES = (2.0, 1.0, 0.5)  # prior sd of a filter weight
DRAWS = 50  # from the network's posterior
TAUS = 9  # of the law of the hidden drive's memory
WHITE = 0.1  # bins: no memory
# bins: the likelihood of half a recording has a maximum at a short and one at a long memory
STARTS = (10.0, 300.0, 2000.0)
ONSET = 100.0  # ms, in log(time + onset): the column that stands for adaptation


class Fold:
    """One recording, half of it held out.

    Args:
        model: The GLM.
        level: Input (T,).
        y: Spikes (T,).
        dt: Bin, ms.
        held: 1: quarters 2 and 4 are held out, 0: 1 and 3.
    """

    def __init__(self, model: GLM, level: FloatArray, y: FloatArray, dt: float, held: int) -> None:
        self.model, self.level, self.y, self.dt = model, level, y, dt
        time_ms = np.arange(len(y)) * dt
        self.block = (time_ms // BLOCK).astype(np.int64)
        self.test = (time_ms // QUARTER).astype(np.int64) % 2 == held
        self.half = ~self.test
        # a bin whose history reaches into held-out time is not fitted; the network, which takes no history from there, sees it
        reach = model.history.kernels(dt).shape[1] if model.history is not None else 0
        self.train = self.half & ~reached(self.test, reach)
        self.seen = np.where(self.train, y, np.nan)
        columns = design(model, level[None, None], y[None], dt)[0]
        self.names = [*model.parameters[: len(columns)]]
        # the constant comes first, as the fits have it
        self.order = [self.names.index("b"), *(i for i, name in enumerate(self.names) if name != "b")]
        self.x = np.ascontiguousarray(columns[self.order].T)
        self.onset = np.log(time_ms + ONSET)

    def score(self, log_p: FloatArray) -> HeldOut:
        """Against the constant rate of the training bins."""
        constant = constant_rate(self.y, self.train, "bernoulli")
        return HeldOut.of(log_p, constant, self.y, self.block, self.test)

    def ridge(self, sd: float) -> FloatArray:
        """A prior of that sd on the input's weights, and of 3 sds on those of history."""
        names = [self.names[i] for i in self.order]
        return np.array([0.0 if n == "b" else sd**-2 if n.startswith("w") else (3 * sd) ** -2 for n in names])


def maximum_likelihood(fold: Fold, extra: FloatArray | None = None) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Coefficients and their covariance by statsmodels, and log-probabilities (T,) of all bins."""
    x = fold.x if extra is None else np.column_stack([fold.x, extra])
    found = sm.GLM(fold.y[fold.train], x[fold.train], family=sm.families.Binomial()).fit()
    return found.params, found.cov_params(), log_probability(fold.y, x @ found.params, "bernoulli")


def with_drive(
    fold: Fold,
    start: FloatArray,
    tau: float | None,
    starts: tuple[float, ...] = STARTS,
    extra: FloatArray | None = None,
) -> tuple[FloatArray, dict[str, Any]]:
    """Maximum marginal likelihood with a hidden drive, and what was found of it; the ridge is the weakest."""
    begin = time.perf_counter()
    x, ridge = fold.x, fold.ridge(RIDGES[0])
    if extra is not None:
        x, ridge, start = np.column_stack([x, extra]), np.append(ridge, 0.0), np.append(start, 0.0)
    found = fit_latent_drive(x, fold.seen, start, tau=tau, ridge=ridge, starts=starts, intervals=tau is None)
    seconds = time.perf_counter() - begin
    plain = penalised(x[fold.train], fold.y[fold.train], ridge, "bernoulli")
    error = np.sqrt(np.diag(found.covariance))
    log_p = predictive_log_likelihood(x @ found.coefficients, fold.y, found.weight, found.tau)
    drive = hidden_drive(x @ found.coefficients, fold.seen, found.weight, found.tau)
    detail = {
        "coefficients": found.coefficients.tolist(),
        "covariance": found.covariance[:-2, :-2].tolist(),
        "weight": found.weight,
        "weight_error": float(error[-2]),
        "tau_ms": found.tau * fold.dt,
        "gain": found.log_likelihood - float(log_probability(fold.y, x @ plain, "bernoulli")[fold.train].sum()),
        "seconds": seconds,
        "drive": drive.mean.tolist(),
        "drive_sd": drive.sd.tolist(),
    }
    return log_p, detail


class Network:
    """The amortized answer for one half of a recording.

    Args:
        estimator: A checkpoint of configs/glm_grasshopper.yaml.
        fold: What it may see.
    """

    def __init__(self, estimator: Estimator, fold: Fold) -> None:
        self.fold, self.estimator = fold, estimator
        begin = time.perf_counter()
        x = np.where(fold.half, np.stack([fold.y, fold.level]), np.nan).astype(np.float32)
        posterior = estimator.posterior(x[None], x.astype(np.float64))
        self.draws = posterior.sample(DRAWS, seed=0)
        self.names = list(estimator.prior.names)
        weight = self.names.index("w_hidden")
        self.linear = [self.names.index(fold.names[i]) for i in fold.order]
        self.mean, self.weight = self.draws[:, self.linear].mean(0), float(np.abs(self.draws[:, weight]).mean())
        # the network does not say the drive's memory: what its answer makes of each value of the training's law
        taus = np.geomspace(*_memory(estimator), TAUS) / fold.dt
        eta = fold.x @ self.mean
        fit = np.array([predictive_log_likelihood(eta, fold.seen, self.weight, tau).sum() for tau in taus])
        share = np.exp(fit - fit.max()) / np.exp(fit - fit.max()).sum()
        self.taus = np.random.default_rng(0).choice(taus, DRAWS, p=share)
        self.tau = float(np.exp(share @ np.log(taus)))
        self.seconds = time.perf_counter() - begin
        self.weights = np.abs(self.draws[:, weight])

    def log_probability(self) -> FloatArray:
        """Of each bin (T,), averaged over the posterior's draws."""
        drives = self.draws[:, self.linear] @ self.fold.x.T
        pairs = zip(drives, self.weights, self.taus, strict=True)
        each = [predictive_log_likelihood(eta, self.fold.y, float(w), float(tau)) for eta, w, tau in pairs]
        return np.logaddexp.reduce(each, axis=0) - np.log(DRAWS)


def _memory(estimator: Estimator) -> tuple[float, float]:
    simulation = estimator.simulation
    if simulation is None:
        raise InputError(f"{estimator.path}: expected a checkpoint that says what it was trained on")
    low, high = simulation.stimulus.components[-1].tau  # type: ignore[attr-defined]
    return float(low), float(high)


def compare(fold: Fold, estimator: Estimator | None) -> dict[str, tuple[HeldOut, float, dict[str, Any]]]:
    """Held-out score, seconds and detail of every method."""
    found: dict[str, tuple[HeldOut, float, dict[str, Any]]] = {}

    def take(name: str, method: Callable[[], tuple[FloatArray, dict[str, Any]]]) -> None:
        begin = time.perf_counter()
        log_p, detail = method()
        found[name] = (fold.score(log_p), detail.pop("seconds", time.perf_counter() - begin), detail)

    def plain(extra: FloatArray | None = None) -> tuple[FloatArray, dict[str, Any]]:
        beta, covariance, log_p = maximum_likelihood(fold, extra)
        return log_p, {"coefficients": beta.tolist(), "covariance": covariance.tolist()}

    def ridged(sd: float) -> tuple[FloatArray, dict[str, Any]]:
        beta = penalised(fold.x[fold.train], fold.y[fold.train], fold.ridge(sd), "bernoulli")
        return log_probability(fold.y, fold.x @ beta, "bernoulli"), {"coefficients": beta.tolist()}

    take("constant rate", lambda: (constant_rate(fold.y, fold.train, "bernoulli"), {}))
    history = [i for i, n in enumerate(fold.order) if not fold.names[n].startswith("w")]

    def past_alone() -> tuple[FloatArray, dict[str, Any]]:
        fit = sm.GLM(fold.y[fold.train], fold.x[fold.train][:, history], family=sm.families.Binomial()).fit()
        return log_probability(fold.y, fold.x[:, history] @ fit.params, "bernoulli"), {}

    take("maximum likelihood, history alone", past_alone)
    take("maximum likelihood", plain)
    for sd in RIDGES:
        take(f"ridge, sd {sd:g}", lambda sd=sd: ridged(sd))
    take("maximum likelihood, and log time", lambda: plain(fold.onset))
    start = np.asarray(found[f"ridge, sd {RIDGES[0]:g}"][2]["coefficients"])
    take("white hidden drive", lambda: with_drive(fold, start, WHITE))
    take("hidden drive with memory", lambda: with_drive(fold, start, None))
    take("hidden drive with memory, and log time", lambda: with_drive(fold, start, None, extra=fold.onset))
    if estimator is not None:
        network = Network(estimator, fold)
        quantiles = np.quantile(network.weights, [0.05, 0.95]).tolist()
        detail = {"coefficients": network.mean.tolist(), "weight": network.weight, "weight_90": quantiles}
        covariance = np.cov(network.draws[:, network.linear].T).tolist()
        detail |= {"covariance": covariance, "tau_ms": network.tau * fold.dt, "seconds": network.seconds}
        take("amortized", lambda: (network.log_probability(), detail))
        take("refined", lambda: with_drive(fold, network.mean, None, (network.tau,)))
    return found


def run(checkpoint: Path | None, dt: float = 1.0) -> dict[str, Any]:
    """All recordings, both ways round, with printed tables."""
    model = build(yaml.safe_load(CONFIG.read_text())["data"]["simulation"]["simulator"], GLM)
    estimator = None if checkpoint is None else load(checkpoint)
    report: dict[str, Any] = {}
    for number, band in RECORDINGS.items():
        level, y = grasshopper(number, dt)
        folds = [Fold(model, level, y, dt, held) for held in (1, 0)]
        answers = [compare(fold, estimator) for fold in folds]
        entry: dict[str, Any] = {}
        reference = answers[0]["maximum likelihood"][0].join(answers[1]["maximum likelihood"][0])
        print(f"\nrecording {number}: modulation up to {band}, {int(y.sum())} spikes in {len(y) * dt / 1000:g} s")
        print(f"{'method':<40}{'bits per spike':>15}{'95 %':>18}{'over max. lik.':>16}{'95 %':>20}{'seconds':>9}")
        for name in answers[0]:
            both = answers[0][name][0].join(answers[1][name][0])
            seconds = float(np.mean([answer[name][1] for answer in answers]))
            low, high = both.interval()
            below, above = both.interval(reference)
            print(
                f"{name:<40}{both.bits:>15.3f}{f'{low:.2f} to {high:.2f}':>18}{both.bits - reference.bits:>+16.3f}"
                f"{f'{below:+.3f} to {above:+.3f}':>20}{seconds:>9.3f}",
                flush=True,
            )
            entry[name] = {
                "bits": both.bits,
                "interval": [low, high],
                "over": both.bits - reference.bits,
                "over_interval": [below, above],
                "seconds": seconds,
                "folds": [answer[name][2] for answer in answers],
            }
        names = [folds[0].names[i] for i in folds[0].order]
        _print_drives(entry)
        _print_widths(entry, names)
        report[str(number)] = {
            "methods": entry,
            "names": names,
            "spikes_per_second": np.add.reduceat(y, np.arange(0, len(y), round(1000 / dt))).tolist(),
        }
    report["kernels"] = {"filters": model.filters.kernels(dt).tolist(), "history": model.history.kernels(dt).tolist()}  # type: ignore[union-attr]
    return report


def _print_drives(entry: dict[str, Any]) -> None:
    """What each half of the recording says of the hidden drive, and how much likelier it makes the half itself."""
    for name, method in entry.items():
        for part in method["folds"]:
            if "weight" not in part:
                continue
            spread = f"{part['weight_90'][0]:.2f} to {part['weight_90'][1]:.2f}" if "weight_90" in part else ""
            spread = f"+- {part['weight_error']:.2f}" if "weight_error" in part else spread
            gain = f", {part['gain']:+.1f} nats on the half fitted" if "gain" in part else ""
            print(f"  {name}: |w_hidden| {part['weight']:.2f} {spread}, tau {part['tau_ms']:.0f} ms{gain}")


def _print_widths(entry: dict[str, Any], names: list[str]) -> None:
    """How wide the network's posterior is beside the likelihood, for the input's weights and for the history's."""
    for fold, plain in zip(
        entry.get("amortized", {"folds": []})["folds"], entry["maximum likelihood"]["folds"], strict=False
    ):
        ratio = np.sqrt(np.diag(fold["covariance"]) / np.diag(plain["covariance"]))
        means = {kind: np.median(ratio[[name.startswith(kind) for name in names]]) for kind in "wa"}
        print(f"  amortized: sd over maximum likelihood's: input {means['w']:.1f}, history {means['a']:.1f} (medians)")
