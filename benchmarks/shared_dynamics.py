"""Nine layers that share their latents: one model of all, with each layer's own read-in and read-out, against nine of one layer.

    python benchmarks/shared_dynamics.py [--seeds 5] [--method FA] [--output shared_dynamics.json]

Each layer is 12 neurons of the same 4 latents; the loadings of a neuron are its own, and no slot of one layer is tied to a slot of
another. Scores are explained variance on held-out time of what the model did not see, entries and whole neurons (a quarter each);
the shared model sees the other layers of the same bins, the separate ones cannot. For comparison, layers with three latents of
their own and one that all share: there little is to be gained. Bar: the shared model's hidden entries better in every seed.
"""

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from latent_problems import SCANNED

from neuroinf.datasets.populations import PopulationData, population
from neuroinf.evaluation.dimension import score_dimension
from neuroinf.fits.bilstm_latents import BiLSTMTraining, fit_bilstm
from neuroinf.fits.latent_model import LatentFit
from neuroinf.fits.linear_latents import fit_fa, fit_ppca
from neuroinf.simulators import GaussianObservation, LinearDynamics, Population

LAYERS, NEURONS, FACTORS, TRAIN, TEST, DT = 9, 12, 4, 1600, 400, 10.0
SNR, HIDDEN, FOLDS, BLOCKS = 0.7, 0.25, 4, 10

METHODS: dict[str, LatentFit] = {
    "PPCA": fit_ppca,
    "FA": fit_fa,
    "sequential": SCANNED["network"],
    "BiLSTM": lambda data, d: fit_bilstm(
        data, d, BiLSTMTraining(iterations=600, hidden=HIDDEN, window=80, batch=8, dropout=0.0)
    ),
}


@dataclass(frozen=True)
class Scores:
    """Of one seed: the shared model's, and the mean of the separate ones', in hidden entries and in hidden neurons."""

    shared_entries: float
    separate_entries: float
    shared_neurons: float
    separate_neurons: float


def layers(seed: int, shared: bool) -> tuple[PopulationData, PopulationData, int]:
    """Time to learn from, time to test, and the number of latents of a layer."""
    one = LinearDynamics(FACTORS if shared else 1, seed=seed)
    own = None if shared else LinearDynamics(FACTORS - 1, seed=seed)
    simulator = Population(one, GaussianObservation(SNR), NEURONS, LAYERS, own, seed=seed)
    made = simulator.simulate(np.empty((1, 0)), np.zeros((1, 1, TRAIN + TEST)), dt=DT, seed=seed)
    activity = made["activity"][0].T
    parts = [population(x, DT, "trace", group=simulator.groups) for x in (activity[:TRAIN], activity[TRAIN:])]
    return parts[0], parts[1], simulator.dimension


def compare(fit: LatentFit, seed: int, shared: bool) -> Scores:
    """One model of all layers, of as many latents as there are, against one for each layer, of as many as it sees."""
    train, test, dimension = layers(seed, shared)

    def score(train: PopulationData, test: PopulationData, d: int) -> tuple[float, float]:
        model = fit(train, d)
        found = score_dimension(model, train.mean, test, folds=FOLDS, blocks=BLOCKS, hidden=HIDDEN, seed=seed)
        return float(np.mean(found.entries)), float(np.mean(found.neurons))

    together = score(train, test, dimension)
    apart = np.mean([score(train.of_group(g), test.of_group(g), FACTORS) for g in train.groups.tolist()], axis=0)
    return Scores(together[0], float(apart[0]), together[1], float(apart[1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--method", choices=list(METHODS), default="FA")
    parser.add_argument("--output", type=Path, default=None)
    arguments = parser.parse_args()
    results: dict[str, list[dict[str, float]]] = {}
    for title, shared in (("all latents shared", True), ("one latent shared, three of each layer's own", False)):
        print(f"{arguments.method}, {title}: explained variance of what is hidden")
        print(f"{'seed':>6}{'entries: shared':>18}{'separate':>10}{'neurons: shared':>18}{'separate':>10}")
        rows = [compare(METHODS[arguments.method], seed, shared) for seed in range(arguments.seeds)]
        for seed, row in enumerate(rows):
            print(
                f"{seed:>6}{row.shared_entries:>18.4f}{row.separate_entries:>10.4f}{row.shared_neurons:>18.4f}{row.separate_neurons:>10.4f}"
            )
        better = sum(row.shared_entries > row.separate_entries for row in rows)
        verdict = "" if not shared else " met" if better == len(rows) else " MISSED"
        print(f"shared better in {better} of {len(rows)}{verdict}; at most {SNR / (1 + SNR):.3f} can be explained\n")
        results[title] = [asdict(row) for row in rows]
    if arguments.output is not None:
        arguments.output.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
