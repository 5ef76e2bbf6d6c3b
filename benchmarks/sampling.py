"""Seconds for many posterior samples of many neurons: a checkpoint's network, density and change of units together.

    python benchmarks/sampling.py [--checkpoint checkpoints/glif.ckpt] [--neurons 1000] [--samples 1000]

The neurons are the first of the checkpoint's own test set, simulated anew. Bar: 10 s for 1,000 samples of each of 1,000
neurons on 2 cores.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch

from neuroinf.evaluation.comparison import Condition
from neuroinf.evaluation.held_out import held_out
from neuroinf.inference import load
from neuroinf.posterior import draw

ROUNDS = 3


def main() -> None:
    """Measure, and print the median of a few rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoints/glif.ckpt"))
    parser.add_argument("--neurons", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=1000)
    options = parser.parse_args()
    estimator = load(options.checkpoint)
    with tempfile.TemporaryDirectory() as folder:
        x = held_out(estimator, None, Path(folder), options.neurons, ()).observe(Condition("as simulated", {}))
    estimator.features(x[:1])  # compiled code is loaded at its first call
    seconds = []
    for seed in range(ROUNDS):
        begin = time.perf_counter()
        with torch.inference_mode():
            posterior = estimator.density.posterior(estimator.features(x))
        if posterior is None:
            raise SystemExit(f"{options.checkpoint} states no uncertainty: there is nothing to sample")
        draw(posterior, estimator.prior, options.samples, seed)
        seconds.append(time.perf_counter() - begin)
    print(f"{options.samples:,} samples of each of {len(x):,} neurons: {statistics.median(seconds):.1f} s (median)")


if __name__ == "__main__":
    main()
