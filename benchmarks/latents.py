"""Latents of populations whose latents are known: how well they come back, and how many of them each method finds.

    python benchmarks/latents.py --only linear [--seeds 5]
    python benchmarks/latents.py --only dimension --method ppca [--seeds 10] [--problems lds2 lds5 lds8 lorenz]
    python benchmarks/latents.py --only recovery [--methods network ae pca fa lds plds] [--seeds 5] [--problems lorenz lds5 anchor]
    ... [--folder runs/latents] [--output latents.json]

40 neurons, 2,500 bins, SNR 1.5 (traces: at most 0.60 of the variance can be explained), 80/20 in time; the anchor is Lorenz'
attractor through 10 Poisson neurons in 2,000 sequences of 70 bins. Every (problem, method, seed, dimension) is a file in the
folder, and a stopped run continues where it was; delete a file to make it anew.

| part | what is printed |
|---|---|
| linear | the table of `recovery` for PCA, PPCA, FA and LDS at the true dimension; of counts, PLDS (Poisson) |
| dimension | the chosen dimension of each seed by hidden neurons, hidden entries and reconstruction; by the rule and two variants |
| recovery | R2 of rates, of latents both ways, explained variance, coverage, forecasts 1 and 20 bins ahead, valid time |
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from latent_problems import METHODS, OF_COUNTS, PROBLEMS, SCANNED

from neuroinf.datasets.populations import PopulationData
from neuroinf.errors import InputError
from neuroinf.evaluation.dimension import DimensionScore, choose, score_dimension
from neuroinf.evaluation.latents import (
    bits_per_spike,
    coverage,
    explained_variance,
    forecasts,
    latent_recovery,
    probe,
    rate_r2,
    valid_prediction_time,
)
from neuroinf.fits.latent_model import LatentModel

STEPS, FAR, EXTRA = 90, 20, 4  # bins of a forecast, of its second score; dimensions tried beyond the true one
Cell = dict[str, Any]
# of the standard error; the first is the rule
RULES: dict[str, dict[str, Any]] = {
    "the rule": {},
    "no margin": {"margin": 0.0},
    "unpaired, no margin": {"paired": False, "margin": 0.0},
}

COLUMNS = {
    "rate_r2": "rate R2",
    "probe": "latent R2",
    "probe_back": "back R2",
    "ev": "EV",
    "bits": "bits/spike",
    "coverage": "cover 90 %",
    "forecast_1": "R2 1 bin",
    "ar1_1": "AR(1)",
    "forecast_20": "R2 20 bins",
    "ar1_20": "AR(1)",
    "valid": "valid time",
    "seconds": "fit (s)",
}


def kept(path: Path, make: Callable[[], Cell]) -> Cell:
    """The file's content; made and written first if it is not there."""
    if not path.is_file():
        print(f"{path.stem} ...", end=" ", file=sys.stderr, flush=True)
        began = time.perf_counter()
        content = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_suffix(".part")
        aside.write_text(json.dumps(content))
        aside.rename(path)
        print(f"{time.perf_counter() - began:.1f} s", file=sys.stderr, flush=True)
    return json.loads(path.read_text())


def recovery(model: LatentModel, train: PopulationData, test: PopulationData, lyapunov: float | None) -> Cell:
    """All scores of one fitted model."""
    assert train.factors is not None and test.factors is not None and test.rates is not None
    known = [model.infer(x).factors for x in train.activity]
    found = [model.infer(x) for x in test.activity]
    inferred, true = np.concatenate(known), np.concatenate(train.factors)
    new, new_true = np.concatenate([f.factors for f in found]), np.concatenate(test.factors)
    rates, x = np.concatenate([f.rates for f in found]), np.concatenate(test.activity)
    sd, both = np.concatenate([f.sd for f in found]), latent_recovery(inferred, true, new, new_true)
    alignment = probe(inferred, true)
    steps = min(STEPS, min(map(len, test.activity)) // 2)
    ahead = forecasts(model, list(test.activity), known, list(test.factors), alignment, steps=steps)
    near, far = ahead.r2_at(1), ahead.r2_at(min(FAR, steps))
    valid = valid_prediction_time(ahead.model, ahead.truth, true.std(0)) if lyapunov else None
    square = inferred.shape[1] == true.shape[1] and bool(np.isfinite(sd).all())
    return {
        "rate_r2": rate_r2(np.concatenate(test.rates), rates),
        "probe": both.true_from_inferred,
        "probe_back": both.inferred_from_true,
        "ev": explained_variance(x, rates, train.mean),
        "bits": bits_per_spike(x, rates, train.mean) if test.kind == "counts" else None,
        "coverage": float(coverage(new_true, new, sd, alignment).mean()) if square else None,
        "forecast_1": near[0],
        "ar1_1": near[1],
        "forecast_20": far[0],
        "ar1_20": far[1],
        "valid": None if valid is None or lyapunov is None else float(np.median(valid) / lyapunov),
        "valid_limit": None if lyapunov is None else steps / lyapunov,
    }


def recovery_table(problems: list[str], methods: list[str], seeds: int, folder: Path) -> Cell:
    """Every method on every problem at its true dimension."""
    results: Cell = {}
    for problem in problems:
        for method in methods:
            if method in OF_COUNTS and not PROBLEMS[problem].counts:
                continue
            for seed in range(seeds):

                def make(problem: str = problem, method: str = method, seed: int = seed) -> Cell:
                    train, test = PROBLEMS[problem].make(seed)
                    assert train.factors is not None
                    began = time.perf_counter()
                    model = METHODS[method](train, train.factors[0].shape[1])
                    seconds = time.perf_counter() - began
                    return {**recovery(model, train, test, PROBLEMS[problem].lyapunov), "seconds": seconds}

                path = folder / "recovery" / f"{problem}-{method}-{seed}.json"
                results.setdefault(problem, {}).setdefault(method, []).append(kept(path, make))
        print(f"\n{problem}: mean over {seeds} seeds, and the worst below; valid time: median, Lyapunov times")
        print(f"{'':>8}" + "".join(f"{title:>12}" for title in COLUMNS.values()))
        for method, cells in results[problem].items():
            for name, of in ((method, np.mean), ("worst", np.min)):
                row = [[c[key] for c in cells if c.get(key) is not None] for key in COLUMNS]
                print(f"{name:>8}" + "".join(f"{of(v):>12.3f}" if v else f"{'-':>12}" for v in row))
    return results


def dimension_table(problems: list[str], method: str, seeds: int, folder: Path) -> Cell:
    """Chosen dimensions."""
    results: Cell = {}
    for problem in problems:
        picked: dict[str, list[int]] = {}
        curves: list[list[Cell]] = []
        truth = 0
        for seed in range(seeds):
            train, test = PROBLEMS[problem].make(seed)
            assert train.factors is not None
            truth = train.factors[0].shape[1]
            dimensions = [d for d in range(1, truth + EXTRA + 1) if d <= train.neurons]

            def make(d: int, train: PopulationData = train, test: PopulationData = test) -> Cell:
                return score_dimension(SCANNED[method](train, d), train.mean, test).to_dict()

            path = folder / "dimension" / method
            cells = [kept(path / f"{problem}-{seed}-d{d}.json", lambda d=d: make(d)) for d in dimensions]
            curves.append(cells)
            scores = [DimensionScore.from_dict(c) for c in cells]
            for name, values in (("neurons", [s.neurons for s in scores]), ("entries", [s.entries for s in scores])):
                for label, how in RULES.items():
                    picked.setdefault(f"hidden {name}, {label}", []).append(choose(dimensions, values, **how).dimension)
            for label, of in (("reconstruction, best", "reconstruction"), ("noise-free rates, best", "rates")):
                picked.setdefault(label, []).append(dimensions[int(np.argmax([np.mean(c[of]) for c in cells]))])
        print(f"\n{problem}, {method}: {truth} latents; chosen by each seed, exact, and right or one more")
        for label, chosen in picked.items():
            exact, close = sum(d == truth for d in chosen), sum(d in (truth, truth + 1) for d in chosen)
            print(f"  {label:<36} {' '.join(map(str, chosen)):<32} {exact:>3}/{seeds} {close:>3}/{seeds}")
        results[problem] = {"true": truth, "chosen": picked, "curves": curves}
    return results


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("linear", "dimension", "recovery"), required=True)
    parser.add_argument("--method", choices=tuple(METHODS), default="ppca", help="of dimension")
    parser.add_argument(
        "--methods", nargs="+", choices=tuple(METHODS), default=["network", "ae", "pca", "fa", "lds", "plds"]
    )
    parser.add_argument("--problems", nargs="+", choices=tuple(PROBLEMS))
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--folder", type=Path, default=Path("runs/latents"))
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    if options.only == "dimension":
        problems = options.problems or ["lds2", "lds5", "lds8", "lorenz"]
        results = dimension_table(problems, options.method, options.seeds or 10, options.folder)
    else:
        methods = ["pca", "ppca", "fa", "lds", "plds"] if options.only == "linear" else options.methods
        problems = options.problems or ["lorenz", "lds5", "anchor"]
        results = recovery_table(problems, methods, options.seeds or 5, options.folder)
    if options.output:
        options.output.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(str(error))
