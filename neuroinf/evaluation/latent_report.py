"""A trained model of latents on activity that it has not seen, beside linear ones: what `evaluate.py` does with its checkpoint."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroinf import __version__
from neuroinf.construction import simulation_from_spec
from neuroinf.datasets.population_module import PopulationDataModule
from neuroinf.datasets.populations import PopulationData
from neuroinf.datasets.preprocessing import bin_activity
from neuroinf.destinations import check_folder
from neuroinf.errors import InputError
from neuroinf.evaluation.dimension import DimensionScore, choose, score_dimension, score_dimensions
from neuroinf.evaluation.latent_figures import forecast_skill, score_against_dimension, trajectories
from neuroinf.evaluation.latents import (
    bits_per_spike,
    coverage,
    explained_variance,
    forecasts,
    latent_recovery,
    probe,
    rate_r2,
)
from neuroinf.evaluation.metrics import plain
from neuroinf.fits.autoencoder_latents import AutoencoderLatents, fit_autoencoder
from neuroinf.fits.latent_model import LatentFit, LatentModel
from neuroinf.fits.linear_dynamics import fit_lds
from neuroinf.fits.linear_latents import fit_fa, fit_pca, fit_ppca
from neuroinf.latents import LatentCheckpoint, load_latents
from neuroinf.recordings.populations import read_population

REFERENCES: dict[str, LatentFit] = {"PCA": fit_pca, "PPCA": fit_ppca, "FA": fit_fa, "LDS": fit_lds}
SCANNED: dict[str, LatentFit] = {"network": fit_autoencoder, "PPCA": fit_ppca}
Scan = list[DimensionScore]
# bins ahead of a forecast; bins of the figure of latents
FAR, SHOWN, DPI = 20, 500, 130
COLUMNS = {
    "hidden_neurons": "hidden neurons",
    "ev": "EV, all seen",
    "ev_span": "EV of span",
    "rate_r2": "rate R2",
    "latent_r2": "latent R2",
    "latent_r2_back": "back",
    "coverage_90": "cover 90 %",
    "forecast_1": "1 bin",
    "ar1_1": "AR(1)",
    "forecast_20": f"{FAR} bins",
    "ar1_20": "AR(1)",
    "bits_per_spike": "bits/spike",
    "seconds": "fit (s)",
}


def evaluate_latents(
    checkpoint: Path, data: Path | None, output: Path, dimensions: Sequence[int] = (), trust: Sequence[str] = ()
) -> dict[str, Any]:
    """Score a checkpoint and linear models of the same dimension on held-out activity; write metrics.json, table.txt and figures.

    Args:
        checkpoint: Written by train.py.
        data: Another recording of the same neurons to test on; None: the part of the training's file that was kept for it.
        output: Folder.
        dimensions: Also fit networks and PPCA of these dimensions, and find which of them each score chooses.
        trust: Packages of your own whose classes the simulation may name.

    Raises:
        InputError: on a bad checkpoint or file, or if the training's file is neither there nor can be simulated.
    """
    check_folder(output, "--output")
    model = load_latents(checkpoint)
    for dimension in dimensions:
        if not 1 <= dimension <= model.neurons:
            raise InputError(f"--dimensions: expected 1 to {model.neurons}, the neurons, found {dimension}")
    train, test, origin = _data(model, data, trust)
    model = model.of(test)
    model.of(train)
    methods: dict[str, dict[str, Any]] = {"network": _scores(model, train, test, model.training_seconds)}
    for name, fit in REFERENCES.items():
        began = time.perf_counter()
        reference = fit(train, model.dimension)
        methods[name] = _scores(reference, train, test, time.perf_counter() - began)
        if name == "PCA" and test.kind == "trace":
            methods[name]["ev_span"] = methods[name]["ev"]
    scan: dict[str, Scan] = {}
    if dimensions:
        scan = {name: score_dimensions(fit, train, test, dimensions) for name, fit in SCANNED.items()}
    metrics = {
        "checkpoint": str(checkpoint),
        "dataset": origin,
        "neuroinf_version": __version__,
        "dimension": model.dimension,
        "true_dimension": None if test.factors is None else test.factors[0].shape[1],
        "n_test": test.bins,
        "methods": methods,
        "dimensions": {name: _scan_summary(scores) for name, scores in scan.items()},
    }
    text = latent_table(metrics)
    output.mkdir(parents=True, exist_ok=True)
    (output / "metrics.json").write_text(json.dumps(plain(metrics), indent=2, allow_nan=False) + "\n")
    (output / "table.txt").write_text(text + "\n")
    _figures(model, train, test, scan, output)
    return metrics


def _data(
    model: LatentCheckpoint, path: Path | None, trust: Sequence[str]
) -> tuple[PopulationData, PopulationData, str]:
    """Training data, test data and where the latter are from."""
    kept, simulation = dict(model.provenance["data"]), model.provenance.get("simulation")
    module = PopulationDataModule(
        **kept, simulation=None if simulation is None else simulation_from_spec(simulation, trust)
    )
    module.prepare_data()
    train, val, test = module.parts()
    if path is None:
        if len(module.data) > 1:
            print(
                f"of {len(module.data)} sessions the first one is scored: give another one's file by --data",
                file=sys.stderr,
            )
        origin = f"{kept['path']}, " + (
            "held-out time" if test is None else f"{len(test.activity)} held-out sequence(s)"
        )
        return train, val if test is None else test, origin
    found = read_population(path, kept["dt"])
    found = bin_activity(found, kept["bins"]) if kept["bins"] > 1 else found
    # of the session that these neurons are of
    return module.parts(model.of(found).session)[0], found, str(path)


def _scores(model: LatentModel, train: PopulationData, test: PopulationData, seconds: float) -> dict[str, Any]:
    """Of one model; None where the truth is not known, or the method gives no such number."""
    score = score_dimension(model, train.mean, test)
    found = [model.infer(x) for x in test.activity]
    x, rates = np.concatenate(test.activity), np.concatenate([each.rates for each in found])
    scores: dict[str, Any] = dict.fromkeys(COLUMNS) | {
        "hidden_neurons": float(np.mean(score.neurons)),
        "hidden_entries": float(np.mean(score.entries)),
        "ev": explained_variance(x, rates, train.mean),
        "ev_span": _span(model, x, train.mean),
        "bits_per_spike": bits_per_spike(x, rates, train.mean) if test.kind == "counts" else None,
        "seconds": seconds,
    }
    known = [model.infer(each).factors for each in train.activity]
    inferred, new = np.concatenate(known), np.concatenate([each.factors for each in found])
    truth, target, alignment = test.factors, [each.factors for each in found], probe(inferred, inferred)
    if test.rates is not None and truth is not None and train.factors is not None:
        true, sd = np.concatenate(train.factors), np.concatenate([each.sd for each in found])
        both, alignment = latent_recovery(inferred, true, new, np.concatenate(truth)), probe(inferred, true)
        scores["rate_r2"] = rate_r2(np.concatenate(test.rates), rates)
        scores["latent_r2"], scores["latent_r2_back"] = both.true_from_inferred, both.inferred_from_true
        if true.shape == inferred.shape and np.isfinite(sd).all():
            scores["coverage_90"] = float(coverage(np.concatenate(truth), new, sd, alignment).mean())
        target = list(truth)
    if min(len(each) for each in test.activity) > FAR + 2:
        ahead = forecasts(model, list(test.activity), known, target, alignment, steps=FAR)
        scores["forecast_1"], scores["ar1_1"] = ahead.r2_at(1)
        scores[f"forecast_{FAR}"], scores[f"ar1_{FAR}"] = ahead.r2_at(FAR)
    return scores


def _span(model: LatentModel, x: NDArray[np.float32], mean: NDArray[np.float64]) -> float | None:
    """EV of the least-squares reconstruction in the span of the loadings: the network's, beside what PCA does."""
    if isinstance(model, AutoencoderLatents) and model.network.kind == "trace":
        return explained_variance(x, model.projected(x), mean)
    return None


def _scan_summary(scores: Scan) -> dict[str, Any]:
    """Scores of every dimension, and what each score chooses."""
    tried = [score.dimension for score in scores]
    chosen = {
        name: choose(tried, [getattr(score, name) for score in scores]).dimension for name in ("neurons", "entries")
    }
    rows = [
        {
            "dimension": score.dimension,
            "hidden_neurons": float(np.mean(score.neurons)),
            "hidden_entries": float(np.mean(score.entries)),
            "ev": float(np.mean(score.reconstruction)),
            "rates_ev": None if score.rates is None else float(np.mean(score.rates)),
        }
        for score in scores
    ]
    best = tried[int(np.argmax([np.mean(score.reconstruction) for score in scores]))]
    return {"chosen": chosen | {"reconstruction": best}, "scores": rows}


def latent_table(metrics: dict[str, Any]) -> str:
    """The numbers of all methods, and of all dimensions if they were scanned."""
    truth = metrics["true_dimension"]
    lines = [
        f"{metrics['dimension']} latents, {metrics['n_test']:,} bins that were not trained on: {metrics['dataset']}"
        + ("" if truth is None else f"; {truth} latents there are"),
        "",
        f"{'':<9}" + "".join(f"{title:>15}" for title in COLUMNS.values()),
    ]
    for name, scores in metrics["methods"].items():
        lines.append(f"{name:<9}" + "".join(f"{_cell(scores[key]):>15}" for key in COLUMNS))
    lines += [
        "",
        "EV, all seen: each entry from a latent that has read it: noise that is copied counts as explained. Hidden neurons: a",
        "quarter of them at a time, predicted from the others. EV of span: least squares in the span of the read-out, as PCA does.",
        "Forecasts of the latents, R2; AR(1): each latent alone.",
    ]
    for name, scan in metrics["dimensions"].items():
        chosen = scan["chosen"]
        lines += [
            "",
            f"{name}: hidden neurons choose {chosen['neurons']}, hidden entries {chosen['entries']}, reconstruction is best at "
            f"{chosen['reconstruction']}",
            f"{'latents':>9}{'hidden neurons':>16}{'hidden entries':>16}{'EV, all seen':>14}{'rate R2':>10}",
        ]
        for row in scan["scores"]:
            lines.append(
                f"{row['dimension']:>9}{_cell(row['hidden_neurons']):>16}{_cell(row['hidden_entries']):>16}{_cell(row['ev']):>14}"
                f"{_cell(row['rates_ev']):>10}"
            )
    return "\n".join(lines)


def _cell(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.3f}"


def _figures(
    model: LatentModel, train: PopulationData, test: PopulationData, scan: dict[str, Scan], output: Path
) -> None:
    known = [model.infer(x).factors for x in train.activity]
    found = model.infer(test.activity[0][:SHOWN])
    factors, sd, truth, alignment = found.factors, found.sd, None, None
    target = [model.infer(x).factors for x in test.activity]
    if test.factors is not None and train.factors is not None:
        alignment = probe(np.concatenate(known), np.concatenate(train.factors))
        truth, target = test.factors[0][:SHOWN], list(test.factors)
        factors = alignment(factors)
        sd = np.sqrt(sd.astype(np.float64) ** 2 @ alignment.weights[:-1] ** 2)
    trajectories(factors, sd, truth, test.dt).savefig(output / "latents.png", dpi=DPI)
    if min(len(x) for x in test.activity) > FAR + 2:
        onto = probe(known[0], known[0]) if alignment is None else alignment
        ahead = forecasts(model, list(test.activity), known, target, onto, steps=FAR)
        forecast_skill(ahead, test.dt).savefig(output / "forecast.png", dpi=DPI)
    for name, scores in scan.items():
        number = None if test.factors is None else test.factors[0].shape[1]
        figure = score_against_dimension(scores, test.kind, number)
        figure.savefig(output / f"dimension_{name.lower()}.png", dpi=DPI)
