"""Rat CA1 units on a linear track: does a hidden drive make up for units that are hidden from the fit?"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from real_glm_scores import HeldOut, constant_rate, log_probability, penalised, reached

from neuroinf.errors import InputError
from neuroinf.fits.glm_design import design
from neuroinf.fits.latent_drive import fit_latent_drive, predictive_log_likelihood
from neuroinf.simulators import GLM
from neuroinf.simulators.bases import RaisedCosines

FloatArray = NDArray[np.float64]
FILE = "rat_ca1_linear_track.npz"
DT = 10.0  # ms
BLOCK = 10_000.0  # ms; every other block is held out
HIDDEN = 5
# Coupling over two cycles of theta, history over a passage of a place field. Coefficients are of columns of unit sd.
COUPLING = RaisedCosines(3, 0.0, 100.0, 20.0)
HISTORY = RaisedCosines(8, 0.0, 400.0, 20.0)
LONG_HISTORY = RaisedCosines(12, 0.0, 5000.0, 20.0)  # 14 s: whether a drive's memory is no more than a longer past
RIDGES = (2000.0, 600.0, 200.0, 60.0, 20.0)  # 1 / prior variance, from strong to weak
# A training bin whose regressors reach into a held-out block is not fitted. LONG_HISTORY is longer than a block and cannot keep
# that rule: with it, held-out counts are regressors of fitted bins, though never what is fitted.
REACH = max(basis.kernels(DT).shape[1] for basis in (COUPLING, HISTORY))  # bins
WHITE = 0.1  # bins: no memory
STARTS = (30.0,)  # bins: 0.3 s
STATES = 11  # up to 3.2 sd
REFERENCE = "without hidden drive"
METHODS = (
    "history alone",
    "history alone, hidden drive",
    REFERENCE,
    "without hidden drive, longer history",
    "white hidden drive",
    "hidden drive with memory",
    "oracle: hidden units seen",
    "oracle, hidden drive with memory",
)


def read(folder: Path) -> FloatArray:
    """Counts (31, T) in bins of 10 ms, from the first spike to the last."""
    if not (folder / FILE).is_file():
        raise InputError(
            f"{folder / FILE}: expected the spike trains of the 31 units, found no file: give --data FOLDER"
        )
    with np.load(folder / FILE, allow_pickle=False) as file:
        unit, t = file["id"], file["t"]
    bins = int((t.max() - t.min()) * 1000 / DT)
    index = ((t - t.min()) * 1000 / DT).astype(np.int64)
    inside = index < bins
    counts = np.zeros((int(unit.max()) + 1, bins))
    np.add.at(counts, (unit[inside], index[inside]), 1.0)
    return counts


def couplings(counts: FloatArray) -> FloatArray:
    """What each unit (m, T) does to another through each filter of coupling (m, J, T)."""
    model = GLM(
        inputs=1, hidden=0, coupled=len(counts), coupling=COUPLING, nonlinearity="exponential", output="poisson"
    )  # fmt: skip
    columns = design(model, np.concatenate([np.zeros((1, counts.shape[1])), counts])[None], None, DT)[0, 2:]
    return columns.reshape(len(counts), COUPLING.size, -1)


@dataclass
class Target:
    """One unit to be predicted, from itself and from some others.

    Args:
        y: Its counts (T,).
        block: Of each bin (T,).
        ridges: Chosen, by design.
    """

    y: FloatArray
    block: NDArray[np.int64]
    ridges: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.test = self.block % 2 == 1
        self.train = ~self.test & ~reached(self.test, REACH)
        self.seen = np.where(self.train, self.y, np.nan)

    def columns(self, coupling: FloatArray, history: RaisedCosines = HISTORY) -> FloatArray:
        """The design (T, P): a constant, coupling (m J, T), the own past; of unit sd in the training bins."""
        model = GLM(inputs=1, hidden=0, history=history, nonlinearity="exponential", output="poisson")
        # the model wants an input: an empty one, dropped again
        own = design(model, np.zeros((1, 1, len(self.y))), self.y[None], DT)[0, 1:]
        x = np.concatenate([own[:1], coupling, own[1:]]).T
        sd = x[self.train, 1:].std(0)
        x[:, 1:] /= np.where(sd > 0, sd, 1.0)
        return np.ascontiguousarray(x)

    def fit(self, name: str, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Coefficients with the ridge that predicts one half of the training blocks best from the other; that ridge."""
        halves = [self.train & (self.block // 2 % 2 == h) for h in (0, 1)]
        score = np.zeros(len(RIDGES))
        for fitted, scored in (halves, halves[::-1]):
            beta = None
            for i, strength in enumerate(RIDGES):
                beta = penalised(x[fitted], self.y[fitted], _ridge(x, strength), "poisson", beta)
                score[i] += log_probability(self.y[scored], x[scored] @ beta, "poisson").sum()
                if i and score[i] < score[i - 1] - 20:
                    score[i + 1 :] = -np.inf
                    break
        self.ridges[name] = RIDGES[int(score.argmax())]
        ridge = _ridge(x, self.ridges[name])
        return penalised(x[self.train], self.y[self.train], ridge, "poisson"), ridge

    def score(self, log_p: FloatArray) -> HeldOut:
        """Against the constant rate of the training bins."""
        return HeldOut.of(log_p, constant_rate(self.y, self.train, "poisson"), self.y, self.block, self.test)


def _ridge(x: FloatArray, strength: float) -> FloatArray:
    ridge = np.full(x.shape[1], strength)
    ridge[0] = 0.0
    return ridge


def compare(target: Target, visible: FloatArray, hidden: FloatArray) -> dict[str, tuple[HeldOut, dict[str, Any]]]:
    """Every method on one target; `visible` and `hidden` are other units' couplings (m, J, T)."""
    found: dict[str, tuple[HeldOut, dict[str, Any]]] = {}
    everyone = np.concatenate([visible, hidden])
    for plain, drives, others, history in (
        ("history alone", {"history alone, hidden drive": None}, visible[:0], HISTORY),
        (REFERENCE, {"white hidden drive": WHITE, "hidden drive with memory": None}, visible, HISTORY),
        ("without hidden drive, longer history", {}, visible, LONG_HISTORY),
        ("oracle: hidden units seen", {"oracle, hidden drive with memory": None}, everyone, HISTORY),
    ):
        x = target.columns(others.reshape(-1, len(target.y)), history)
        begin = time.perf_counter()
        beta, ridge = target.fit(plain, x)
        score = target.score(log_probability(target.y, x @ beta, "poisson"))
        found[plain] = (score, {"seconds": time.perf_counter() - begin, "ridge": target.ridges[plain]})
        for name, tau in drives.items():
            fit = fit_latent_drive(
                x, target.seen, beta, "exponential", "poisson", tau=tau, ridge=ridge, states=STATES, starts=STARTS
            )
            log_p = predictive_log_likelihood(
                x @ fit.coefficients, target.y, fit.weight, fit.tau, "exponential", "poisson", STATES
            )
            detail = {"weight": fit.weight, "tau_ms": fit.tau * DT, "seconds": fit.seconds, "converged": fit.converged}
            found[name] = (target.score(log_p), detail)
    return found


def run(folder: Path, seed: int, least: int, only: list[int] | None, output: Path | None) -> dict[str, Any]:
    """All targets with one draw of hidden units, with a printed table.

    Args:
        folder: Of the data.
        seed: Of the draw.
        least: Fewest spikes of a target in the held-out blocks.
        only: Targets; None: all that are not hidden.
        output: Written after every target; targets that it already has from the same draw are not done again.
    """
    counts = read(folder)
    hidden = np.sort(np.random.default_rng(seed).permutation(len(counts))[:HIDDEN]).tolist()
    block = (np.arange(counts.shape[1]) * DT // BLOCK).astype(np.int64)
    targets = [u for u in range(len(counts)) if u not in hidden and counts[u, block % 2 == 1].sum() >= least]
    targets = [u for u in targets if only is None or u in only]
    print(f"hidden units {hidden}; {len(targets)} targets with at least {least} held-out spikes", flush=True)
    coupling = couplings(counts)
    report: dict[str, Any] = {"hidden": hidden, "seed": seed, "targets": []}
    if output is not None and output.is_file():
        earlier = json.loads(output.read_text())
        if earlier["hidden"] == hidden:
            report["targets"] = [target for target in earlier["targets"] if target["unit"] in targets]
    done = {target["unit"]: target for target in report["targets"]}
    for unit in targets:
        if unit not in done:
            visible = np.delete(coupling, [unit, *hidden], axis=0)
            found = compare(Target(counts[unit], block), visible, coupling[hidden])
            methods = {
                name: {"bits": score.bits, "gain": score.gain.tolist(), "spikes": score.spikes.tolist()} | detail
                for name, (score, detail) in found.items()
            }
            done[unit] = {"unit": unit, "spikes": int(counts[unit].sum())} | methods
            report["targets"].append(done[unit])
            if output is not None:
                output.write_text(json.dumps(report))
        target, drive = done[unit], done[unit]["hidden drive with memory"]
        print(
            f"unit {unit:>2} {target['spikes']:>5} spikes "
            + " ".join(f"{target[name]['bits']:>7.3f}" for name in METHODS)
            + f"  w {drive['weight']:.2f} tau {drive['tau_ms']:.0f} ms",
            flush=True,
        )
    return report | {"summary": summarise([done[unit] for unit in targets])}


def summarise(targets: list[dict[str, Any]]) -> dict[str, Any]:
    """Pooled and unit by unit, each beside the fit without hidden drive, with intervals over blocks and over units."""
    summary: dict[str, Any] = {}
    head = f"{'method':<42}{'pooled':>8}{'over':>8}{'95 %, blocks':>18}{'unit mean':>11}{'over':>8}{'95 %, units':>18}"
    print(f"\n{head}{'better':>8}{'s':>6}")
    scores = {
        name: [HeldOut(np.array(target[name]["gain"]), np.array(target[name]["spikes"])) for target in targets]
        for name in METHODS
    }
    reference = scores[REFERENCE]
    base = _pooled(reference)
    for name, own in scores.items():
        pooled = _pooled(own)
        differences = np.array([a.bits - b.bits for a, b in zip(own, reference, strict=True)])
        drawn = np.random.default_rng(0).integers(0, len(own), (5000, len(own)))
        units = np.quantile(differences[drawn].mean(1), [0.025, 0.975]).tolist()
        blocks = pooled.interval(base)
        # a unit counts as better where the interval of its own blocks lies above 0
        sides = [a.interval(b) for a, b in zip(own, reference, strict=True)]
        better, worse = sum(low > 0 for low, _ in sides), sum(high < 0 for _, high in sides)
        entry = {
            "pooled": pooled.bits,
            "over": pooled.bits - base.bits,
            "over_blocks": blocks,
            "mean": float(np.mean([s.bits for s in own])),
            "mean_over": float(differences.mean()),
            "mean_over_units": units,
            "better": better,
            "worse": worse,
            "units": len(own),
            "seconds": float(np.mean([target[name]["seconds"] for target in targets])),
        }
        summary[name] = entry
        print(
            f"{name:<42}{entry['pooled']:>8.3f}{entry['over']:>+8.3f}{f'{blocks[0]:+.3f} to {blocks[1]:+.3f}':>18}"
            f"{entry['mean']:>11.3f}{entry['mean_over']:>+8.3f}{f'{units[0]:+.3f} to {units[1]:+.3f}':>18}"
            f"{f'{better}:{worse}':>8}{entry['seconds']:>6.1f}"
        )
    return summary


def _pooled(scores: list[HeldOut]) -> HeldOut:
    """All units' spikes and gains together, block by block."""
    return HeldOut(np.sum([s.gain for s in scores], 0), np.sum([s.spikes for s in scores], 0))
