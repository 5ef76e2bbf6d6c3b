"""Latents of two recorded populations: how many, what they say about hidden neurons, how they run; beside linear models.

    python benchmarks/real_populations.py [--data ../shared/data] [--folder runs/real_populations] [--only aplysia ca1]
        [--methods network FA PPCA PLDS]

Aplysia's pedal ganglion (125 neurons, 85 s of an escape locomotion, bins of 100 ms) and rat CA1 on a linear track (31 units, 33
min, bins of 100 ms). The last fifth of the time is held out. Every (recording, method, dimension) is a file in the folder, and a
stopped run continues. Written besides: results.json and, for each recording, score against dimension, and the latents of
held-out time by the network with 90 % intervals and by factor analysis.

Source:
    Bruno, Frost and Humphries (2017), eLife 6:e27342 (Aplysia); nelpy's example data (CA1).
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from latent_problems import SCANNED
from latents import kept

from neuroinf.datasets.populations import PopulationData
from neuroinf.datasets.preprocessing import split_time
from neuroinf.errors import InputError
from neuroinf.evaluation.dimension import DimensionScore, choice_interval, choose, score_dimension
from neuroinf.evaluation.latent_figures import score_against_dimension, trajectories
from neuroinf.evaluation.latents import forecasts, probe
from neuroinf.fits.autoencoder_latents import fit_autoencoder
from neuroinf.fits.latent_model import LatentFit, LatentModel
from neuroinf.fits.linear_latents import fit_fa, fit_ppca
from neuroinf.fits.poisson_dynamics import fit_poisson_lds
from neuroinf.recordings.populations import read_population

METHODS: dict[str, LatentFit] = {
    "network": SCANNED["network"],
    "FA": fit_fa,
    "PPCA": fit_ppca,
    "PLDS": fit_poisson_lds,
}
DIMENSIONS = (1, 2, 3, 4, 5, 6, 8, 10)
SHOWN, FAR = 400, 10  # bins of the figure; bins ahead of a forecast


@dataclass(frozen=True)
class Recorded:
    """A recording: its file and its bins, ms."""

    file: str
    dt: float


RECORDINGS = {
    "aplysia": Recorded("aplysia_pedal_ganglion.npz", 100.0),
    "ca1": Recorded("rat_ca1_linear_track.npz", 100.0),
}


def parts(folder: Path, recorded: Recorded) -> tuple[PopulationData, PopulationData]:
    """Time to learn from, and held-out time, of the neurons that fire in both."""
    path = folder / recorded.file
    if not path.is_file():
        raise InputError(f"{path}: expected the recording, found no such file: give --data FOLDER")
    train, test = split_time(read_population(path, recorded.dt), (0.8, 0.2))
    heard = (train.mean > 0) & (test.mean > 0)
    return train.select(heard), test.select(heard)


def ahead(model: LatentModel, train: PopulationData, test: PopulationData) -> dict[str, float]:
    """R2 of the model's forecasts of its own latents, and that of AR(1)."""
    known = [model.infer(x).factors for x in train.activity]
    target = [model.infer(x).factors for x in test.activity]
    both = np.concatenate(known)
    found = forecasts(model, list(test.activity), known, target, probe(both, both), steps=FAR)
    near, far = found.r2_at(1), found.r2_at(FAR)
    return {"forecast_1": near[0], "ar1_1": near[1], f"forecast_{FAR}": far[0], f"ar1_{FAR}": far[1]}


def scores_of(
    name: str, train: PopulationData, test: PopulationData, folder: Path, methods: list[str]
) -> dict[str, Any]:
    """Every method's score for every dimension, what it chooses, and its forecasts there."""
    found: dict[str, Any] = {}
    for method in methods:

        def make(d: int, fit: LatentFit = METHODS[method]) -> dict[str, Any]:
            began = time.perf_counter()
            model = fit(train, d)
            taken = time.perf_counter() - began
            return {"score": score_dimension(model, train.mean, test).to_dict(), "seconds": taken} | ahead(
                model, train, test
            )

        cells = [kept(folder / "fits" / f"{name}-{method}-{d}.json", lambda d=d: make(d)) for d in DIMENSIONS]
        scores = [DimensionScore.from_dict(cell["score"]) for cell in cells]
        choice = choose(DIMENSIONS, [s.neurons for s in scores])
        interval = choice_interval(DIMENSIONS, [s.neurons for s in scores], np.random.default_rng(0))
        at = DIMENSIONS.index(choice.dimension)
        found[method] = {
            "dimension": choice.dimension,
            "interval": list(interval),
            "co_smoothing": float(np.mean(scores[at].neurons)),
            "co_smoothing_error": float(np.std(scores[at].neurons, ddof=1) / len(scores[at].neurons) ** 0.5),
            "curve": {str(d): float(np.mean(s.neurons)) for d, s in zip(DIMENSIONS, scores, strict=True)},
            **{key: value for key, value in cells[at].items() if key != "score"},
        }
        if method in ("network", "FA", "PLDS"):
            figure = score_against_dimension(scores, test.kind)
            figure.savefig(folder / f"{name}_dimension_{method}.png", dpi=130)
    return found


def draw_latents(name: str, train: PopulationData, test: PopulationData, dimension: int, folder: Path) -> None:
    """Held-out latents by the network and by factor analysis with as many, both in the network's own axes."""
    network, reference = fit_autoencoder(train, dimension), fit_fa(train, dimension)
    inferred, other = network.infer(test.activity[0]), reference.infer(test.activity[0])
    same = probe(reference.infer(train.activity[0]).factors, network.infer(train.activity[0]).factors)
    figure = trajectories(
        inferred.factors[:SHOWN], inferred.sd[:SHOWN], same(other.factors[:SHOWN]), test.dt, reference="factor analysis"
    )
    figure.savefig(folder / f"{name}_latents.png", dpi=130)


def main() -> None:
    """Print a table and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--folder", type=Path, default=Path("runs/real_populations"))
    parser.add_argument("--only", nargs="+", choices=tuple(RECORDINGS), default=list(RECORDINGS))
    parser.add_argument("--methods", nargs="+", choices=tuple(METHODS), default=list(METHODS))
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {}
    for name in options.only:
        try:
            train, test = parts(options.data, RECORDINGS[name])
        except InputError as error:
            raise SystemExit(str(error)) from None
        results[name] = scores_of(name, train, test, options.folder, options.methods)
        if "network" in options.methods:
            draw_latents(name, train, test, results[name]["network"]["dimension"], options.folder)
        print(f"\n{name}: {train.neurons} neurons, {train.bins:,} bins to learn from, {test.bins:,} held out")
        print(
            f"  {'':<10} latents [5, 95 %]   hidden neurons, bits/spike   R2 1 bin (AR1)   R2 {FAR} bins (AR1)   fit (s)"
        )
        for method, row in results[name].items():
            print(
                f"  {method:<10} {row['dimension']:>3} [{row['interval'][0]}, {row['interval'][1]}]"
                f"{row['co_smoothing']:>18.3f} (se {row['co_smoothing_error']:.3f})"
                f"{row['forecast_1']:>16.3f} ({row['ar1_1']:.3f})"
                f"{row[f'forecast_{FAR}']:>12.3f} ({row[f'ar1_{FAR}']:.3f}){row['seconds']:>10.1f}"
            )
    (options.folder / "results.json").write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
