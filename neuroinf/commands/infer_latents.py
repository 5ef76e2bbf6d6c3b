"""`neuroinf infer` for networks that read populations: latents and rates of new recordings of the same neurons."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neuroinf.errors import InputError
from neuroinf.evaluation.latent_figures import trajectories
from neuroinf.fits.session_of import parts_of_sessions
from neuroinf.latents import load_latents
from neuroinf.recordings.arrays import load_npz
from neuroinf.recordings.populations import read_population

SHOWN, DPI = 500, 130


def infer_latents(checkpoint: Path, paths: Sequence[Path], output: Path | None, as_json: bool) -> None:
    """Read each recording, infer its latents and say how much of the activity they explain.

    A recording of the neurons of several sessions, such as all layers, is answered session by session. With `output` each leaves
    an .npz file: `factors`, their standard deviations `sd` and the ends `low` and `high` of 90 % intervals (bins, D), `rates`
    (bins, K), `sequence` (bins,) and `dt` (ms), of a model with inputs `inputs` and `input_sd` (bins, n); and the first latents as
    a figure. The manifold study's network has no intervals: sd, low and high are nan.

    Raises:
        InputError: on a bad checkpoint or recording, other neurons, or two files of one name; nothing is written or said then.
    """
    stems = [path.stem for path in paths]
    if output is not None and len(set(stems)) < len(stems):
        raise InputError(
            "neuroinf infer: two recordings have one name and would be written over each other: rename one"
        )
    model = load_latents(checkpoint)
    recorded = [read_population(path, model.dt if _of_spikes(path) else None) for path in paths]
    answered = [
        (path, f"{path.stem}_{number}" if len(parts) > 1 else path.stem, data)
        for path, whole in zip(paths, recorded, strict=True)
        for parts in [parts_of_sessions(whole, model.sessions)]
        for number, data in enumerate(parts)
    ]
    for _, _, data in answered:
        model.of(data)
    results: list[dict[str, Any]] = []
    for path, stem, data in answered:
        began = time.perf_counter()
        found = model.infer_population(data)
        seconds = time.perf_counter() - began
        mean_sd = np.concatenate([each.sd for each in found]).mean(0)
        known = bool(np.isfinite(mean_sd).all())
        results.append(
            {
                "recording": path.name,
                "neurons": data.neurons,
                "sequences": len(data.activity),
                "bins": data.bins,
                "dt": data.dt,
                "latents": model.dimension,
                "seconds": seconds,
                "mean_sd": mean_sd.tolist() if known else None,
            }
        )
        if not as_json:
            widths = ", ".join(f"{sd:.2f}" for sd in mean_sd) if known else "none from this network"
            print(
                f"{path.name}: {model.dimension} latents of {data.neurons} neurons in {data.bins:,} bins of {len(data.activity)} "
                f"sequence(s), in {1000 * seconds:.0f} ms; standard deviations of the posterior {widths}"
            )
        if output is not None:
            output.mkdir(parents=True, exist_ok=True)
            factors, sd, rates = (
                np.concatenate([getattr(each, k) for each in found]) for k in ("factors", "sd", "rates")
            )
            inputs = {
                name: np.concatenate([getattr(each, name) for each in found])
                for name in ("inputs", "input_sd")
                if found[0].inputs is not None
            }
            np.savez(
                output / f"{stem}_latents.npz",
                factors=factors,
                sd=sd,
                low=factors - 1.645 * sd,
                high=factors + 1.645 * sd,
                rates=rates,
                sequence=np.repeat(np.arange(len(data.activity)), [len(x) for x in data.activity]),
                names=np.array(data.names),
                dt=data.dt,
                **inputs,  # pyright: ignore[reportArgumentType]
            )
            first = found[0]
            trajectories(first.factors[:SHOWN], first.sd[:SHOWN], None, data.dt).savefig(
                output / f"{stem}_latents.png", dpi=DPI
            )
            print(f"written: {output / stem}_latents.npz, .png", file=sys.stderr)
    if as_json:
        print(json.dumps(results, indent=2, allow_nan=False))


def _of_spikes(path: Path) -> bool:
    """Whether a file holds spike times, which are put into the network's bins, and not bins of its own."""
    suffix = path.suffix.lower()
    return suffix == ".nwb" or (suffix == ".npz" and path.is_file() and "t" in load_npz(path))
