"""Inputs of GLM neurons against their design, and milliseconds per waveform.

    python benchmarks/inputs.py --output inputs.json

For each correlated generator and several designs of 10 inputs, in ten recordings of 200 s: the largest error, over pairs, of
the correlation of 20 ms counts, and over inputs, of the mean rate. Bars: 0.05 and 5 %. Printed are the median and the worst
recording, and the largest error of the mean of all ten, which tells an error of the design from sampling: a Poisson train of
20 Hz has a standard error of 1.6 % in 200 s, so that the worst of 1,500 rates lies beyond 5 % whatever makes them. Modes are
designed for their rates; their counts are compared with the correlation that follows for counts. Then the median
milliseconds of one waveform of 12 inputs and 10,000 bins of 1 ms, on one core.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroinf.stimuli import (
    BernoulliInputs,
    CoxInputs,
    GaussianInputs,
    Modes,
    OrnsteinUhlenbeck,
    PoissonInputs,
    SourceMixture,
    Stack,
    Stimulus,
)

FloatArray = NDArray[np.float64]
Correlated = CoxInputs | SourceMixture | Modes

INPUTS, DURATION, WINDOW, SEED = 10, 200_000.0, 20, 4
CORRELATION_BAR, RATE_BAR = 0.05, 0.05
UNEQUAL = np.linspace(20, 60, INPUTS).tolist()
LINE = np.arange(INPUTS)
BLOCKS = (np.where(LINE[:, None] // 5 == LINE // 5, 0.25, 0.05) + np.diag([0.75] * INPUTS)).tolist()
CHAIN = (0.3 ** np.abs(LINE[:, None] - LINE)).tolist()  # falls with distance: 0.3, 0.09, 0.027 ...
SIGNED = (0.1 * np.outer(s := np.sign(LINE - 4.5), s) + np.diag([0.9] * INPUTS)).tolist()  # two groups that oppose
ROUNDS = 21


def designs() -> dict[str, Correlated]:
    """Ten inputs for 200 s in bins of 1 ms, by what is printed for them."""
    n, t = INPUTS, DURATION
    return {
        "Cox, 20 Hz, independent": CoxInputs(n, t),
        "Cox, 20 Hz, c = 0.15": CoxInputs(n, t, correlation=0.15),
        "Cox, 20-60 Hz, c = 0.2": CoxInputs(n, t, rates=UNEQUAL, correlation=0.2, tau=20.0),
        "Cox, 20-60 Hz, cv 2, c = 0.4, Poisson": CoxInputs(
            n, t, rates=UNEQUAL, cv=2.0, correlation=0.4, spikes="poisson"
        ),
        "Cox, 30 Hz, two opposed groups, +-0.1": CoxInputs(n, t, rates=30.0, cv=1.2, correlation=SIGNED),
        "Cox, 20-60 Hz, rates' own c = 0.6": CoxInputs(n, t, rates=UNEQUAL, correlation=0.6, of="rates"),
        "Sources, 20 Hz, independent": SourceMixture(n, t),
        "Sources, 20 Hz, c = 0.2": SourceMixture(n, t, correlation=0.2),
        "Sources, 20 Hz, c = 0.5": SourceMixture(n, t, correlation=0.5),
        "Sources, 20-60 Hz, c = 0.3": SourceMixture(n, t, rates=UNEQUAL, correlation=0.3),
        "Sources, 20-60 Hz, blocks 0.25 and 0.05": SourceMixture(n, t, rates=UNEQUAL, correlation=BLOCKS, tau=5.0),
        "Sources, 20 Hz, chain from 0.3": SourceMixture(n, t, correlation=CHAIN, tau=5.0),
        "Modes, 20 Hz, 10 modes, evenness 0.3": Modes(n, t, evenness=0.3),
        "Modes, 40 Hz, 3 modes, evenness 0.8": Modes(n, t, modes=3, evenness=0.8, rate=40.0),
        "Modes, 40 Hz, evenness 1": Modes(n, t, evenness=1.0, rate=40.0),
    }


def errors(stimulus: Correlated, recordings: int, seed: int) -> dict[str, Any]:
    """Largest errors of count correlations and rates in each recording, and of their means over all recordings."""
    rng = np.random.default_rng(seed)
    pairs = np.triu_indices(INPUTS, 1)
    design = (stimulus.count_design if isinstance(stimulus, Modes) else stimulus.design)[pairs]
    wanted = np.broadcast_to(stimulus.rate[1] if isinstance(stimulus, Modes) else np.array(stimulus.rates), INPUTS)
    correlations, rates = [], []
    for _ in range(recordings):
        spikes = stimulus.sample(rng)
        correlations.append(np.corrcoef(spikes.reshape(INPUTS, -1, WINDOW).sum(2))[pairs] - design)
        rates.append(1000 * spikes.mean(1) / wanted - 1)
    return {
        "least": float(design.min()),
        "most": float(design.max()),
        "correlation": np.abs(correlations).max(1).tolist(),
        "correlation_of_mean": float(np.abs(np.mean(correlations, 0)).max()),
        "rate": np.abs(rates).max(1).tolist(),
        "rate_of_mean": float(np.abs(np.mean(rates, 0)).max()),
    }


def laws(inputs: int = 12, duration: float = 10_000.0) -> dict[str, Stimulus]:
    """What is timed."""
    n, t = inputs, duration
    hidden = OrnsteinUhlenbeck(t, mean=0.0, sd=1.0, tau=10.0, unit="1")
    return {
        "GaussianInputs": GaussianInputs(n, t),
        "GaussianInputs, correlated": GaussianInputs(n, t, correlation=(0.0, 0.5)),
        "PoissonInputs": PoissonInputs(n, t),
        "PoissonInputs, variable": PoissonInputs(n, t, variable=True),
        "PoissonInputs, correlated": PoissonInputs(n, t, correlation=(0.0, 0.5)),
        "BernoulliInputs": BernoulliInputs(n, t),
        "BernoulliInputs, correlated": BernoulliInputs(n, t, correlation=(0.0, 0.5)),
        "CoxInputs, Bernoulli": CoxInputs(n, t, correlation=(0.0, 0.15)),
        "CoxInputs, Poisson": CoxInputs(n, t, correlation=(0.0, 0.15), spikes="poisson"),
        "SourceMixture": SourceMixture(n, t, correlation=0.2),
        "Modes": Modes(n, t),
        "Stack, 11 Gaussian and 1 OU": Stack([GaussianInputs(n - 1, t), hidden]),
    }


def milliseconds(stimulus: Stimulus) -> float:
    """Median time of a waveform."""
    rng = np.random.default_rng(SEED)
    stimulus.sample(rng)
    times = []
    for _ in range(ROUNDS):
        begin = time.process_time()
        stimulus.sample(rng)
        times.append(1000 * (time.process_time() - begin))
    return statistics.median(times)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--recordings", type=int, default=10)
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args()
    found: dict[str, Any] = {}
    print(
        f"{INPUTS} inputs, {options.recordings} recordings of {DURATION / 1000:g} s, counts in {WINDOW} ms, seed {options.seed}"
    )
    print(f"{'largest error: median, worst recording, mean of all':56} {'correlation':>22} {'rate (%)':>20}")
    for name, stimulus in designs().items():
        row = errors(stimulus, options.recordings, options.seed)
        found[name] = row
        least, most = round(row["least"], 3) + 0.0, round(row["most"], 3) + 0.0
        c, r = np.array(row["correlation"]), 100 * np.array(row["rate"])
        print(
            f"{name:40} {least:6.3f} to {most:5.3f} {np.median(c):8.3f} {c.max():6.3f} "
            f"{row['correlation_of_mean']:6.3f} {np.median(r):8.1f} {r.max():5.1f} {100 * row['rate_of_mean']:5.1f}"
        )
    for what, bar in (("correlation", CORRELATION_BAR), ("rate", RATE_BAR)):
        values = np.array([row[what] for row in found.values()])
        print(
            f"{what}: worst median {np.median(values, 1).max():.3f}, worst recording {values.max():.3f}, "
            f"{(values <= bar).sum()} of {values.size} recordings within {bar}"
        )
    timed = {name: milliseconds(stimulus) for name, stimulus in laws().items()}
    print("\none waveform of 12 inputs and 10,000 bins (ms of processor time, median)")
    for name, value in timed.items():
        print(f"{name:42} {value:7.2f}")
    if options.output:
        options.output.write_text(json.dumps({"seed": options.seed, "designs": found, "milliseconds": timed}, indent=1))


if __name__ == "__main__":
    main()
