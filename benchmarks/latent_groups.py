"""Are neurons of one layer told from others by the latents they see? Where layers have latents of their own, and where not.

    python benchmarks/latent_groups.py [--seeds 10] [--first 100] [--output latent_groups.json]

Three layers of 30 neurons, 1,500 bins, SNR 3, factor analysis with as many latents as there are: 1 that all see and 2 of each
layer's own, or 3 that all see. The embedding was chosen on seeds 0 to 19; these are others. Of each: the adjusted Rand index of
clusters found without labels, held-out accuracy of the layer (1/3 by chance), and p of labels that do not matter (199 shuffles).
Bars: index at least .8 in every seed with structure; p uniform without.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from neuroinf.datasets.populations import population
from neuroinf.evaluation.latent_clusters import cluster_agreement, embedding, group_test
from neuroinf.fits.linear_latents import fit_fa
from neuroinf.simulators import GaussianObservation, LinearDynamics, Population

LAYERS, NEURONS, BINS, DT, SNR = 3, 30, 1500, 10.0, 3.0
BAR = 0.8


@dataclass(frozen=True)
class Found:
    """Of one population: adjusted Rand index, held-out accuracy, and p."""

    agreement: float
    accuracy: float
    p: float


def found(private: bool, seed: int) -> Found:
    """What is found in a population whose layers have latents of their own, or do not."""
    own = LinearDynamics(2, seed=seed) if private else None
    shared = LinearDynamics(1 if private else 3, seed=seed)
    simulator = Population(shared, GaussianObservation(SNR), NEURONS, LAYERS, own, seed=seed)
    made = simulator.simulate(np.empty((1, 0)), np.zeros((1, 1, BINS)), dt=DT, seed=seed)
    model = fit_fa(population(made["activity"][0].T, DT, "trace"), simulator.dimension)
    features, rng = embedding(model.loadings, LAYERS), np.random.default_rng(seed)
    test = group_test(features, simulator.groups, rng)
    return Found(cluster_agreement(features, simulator.groups, rng), test.accuracy, test.p)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=100)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.seeds)
    results: dict[str, list[dict[str, float]]] = {}
    for title, private in (("layers have latents of their own", True), ("all latents are shared", False)):
        rows = [found(private, seed) for seed in seeds]
        print(f"\n{title}\n{'seed':>6}{'Rand index':>12}{'accuracy':>10}{'p':>8}")
        for seed, row in zip(seeds, rows, strict=True):
            print(f"{seed:>6}{row.agreement:>12.3f}{row.accuracy:>10.3f}{row.p:>8.3f}")
        if private:
            reached = sum(row.agreement >= BAR for row in rows)
            print(f"index at least {BAR} in {reached} of {len(rows)}: {'met' if reached == len(rows) else 'MISSED'}")
        else:
            uniform = stats.kstest([row.p for row in rows], "uniform").pvalue
            print(f"p as uniform numbers: Kolmogorov-Smirnov p {uniform:.2f}")
        results[title] = [asdict(row) for row in rows]
    if options.output:
        options.output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
