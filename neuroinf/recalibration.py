"""The score of an existing checkpoint made anew, without training: for another definition of it, or other recordings."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from neuroinf.checkpoints import read_checkpoint
from neuroinf.datasets.generation import generate
from neuroinf.datasets.schema import Dataset
from neuroinf.datasets.views import observe_rows
from neuroinf.errors import InputError
from neuroinf.inference import load
from neuroinf.models.examination import FEWEST, MOST, fit_novelty

# training rows have the simulation's seed, test rows the next
SEED_AFTER = 2


def recalibrate(
    checkpoint: Path, target: Path, data: Path | None = None, trust: Sequence[str] = (), seed: int = 0
) -> None:
    """Write the checkpoint with a newly fitted novelty score; all else stays as it is.

    Args:
        checkpoint: Written by train.py.
        target: Where to write, in one move; may be the checkpoint itself.
        data: Simulations of the training distribution that were not trained on; None: they are simulated, from
            another seed.
        trust: Packages beside neuroinf whose classes the checkpoint may name.
        seed: Of noise and stretches.

    Raises:
        InputError: if it is no checkpoint, or does not say what it was trained on and there are no data, or too few.
    """
    estimator = load(checkpoint, trust)
    if data is None and estimator.simulation is None:
        raise InputError(
            f"{checkpoint} does not say how its data were simulated, or names classes of a package that is not trusted: "
            f"expected a dataset of held-out simulations"
        )
    with tempfile.TemporaryDirectory() as folder:
        if data is None:
            assert estimator.simulation is not None
            known = estimator.simulation
            fresh = replace(known, n=MOST, sweeps=1, seed=known.seed + SEED_AFTER)
            data = generate(fresh, Path(folder) / "held_out.h5", workers=1)
        file = Dataset(data)
        duration = float(estimator.provenance.get("duration", file.record_dt))
        x = observe_rows(file, np.arange(min(file.n, MOST)), estimator.observation, duration)
    parts = (estimator.encoder, estimator.density, estimator.prior, estimator.simulation, estimator.observation)
    novelty = fit_novelty(x, *parts, np.random.default_rng(seed))
    if novelty is None:
        raise InputError(f"{data}: expected at least {FEWEST} held-out simulations to fit the score to, found {len(x)}")
    content = read_checkpoint(checkpoint)
    content["neuroinf"]["novelty"] = novelty.plain()
    aside = target.with_name(target.name + ".part")
    torch.save(content, aside)
    aside.replace(target)
