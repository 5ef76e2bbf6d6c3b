"""A trained model of latents on activity that it has not seen, beside linear ones: what `evaluate.py` does with its checkpoint."""

from __future__ import annotations

import json
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
from neuroinf.evaluation.latent_table import COLUMNS, FAR, latent_table
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
from neuroinf.fits.bilstm_latents import BiLSTMTraining, fit_bilstm
from neuroinf.fits.latent_model import LatentFit, LatentModel
from neuroinf.fits.linear_dynamics import fit_lds
from neuroinf.fits.linear_latents import fit_fa, fit_pca, fit_ppca
from neuroinf.fits.poisson_dynamics import fit_poisson_lds
from neuroinf.fits.session_of import parts_of_sessions
from neuroinf.latents import AnyLatentCheckpoint, LatentCheckpoint, load_latents
from neuroinf.networks.bilstm_autoencoder import FeedbackAutoencoder
from neuroinf.recordings.populations import read_population

REFERENCES: dict[str, LatentFit] = {"PCA": fit_pca, "PPCA": fit_ppca, "FA": fit_fa, "LDS": fit_lds}
OF_COUNTS: dict[str, LatentFit] = {"PLDS": fit_poisson_lds}
Scan = list[DimensionScore]
# training and test data of a session
Parts = tuple[PopulationData, PopulationData]
# bins of the figure of latents; hidden entries where the published network's dimension is chosen; half width of a 90 % interval
SHOWN, DPI, HIDDEN, Z_90 = 500, 130, 0.25, 1.645


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
    parts, origin = _data(model, data, trust)
    if dimensions and len(parts) > 1:
        raise InputError(
            f"--dimensions: expected one session, found {len(parts)} in {origin}: give a recording of one of them by --data"
        )
    models = [model.of(test) for _, test in parts]
    for own, (train, _) in zip(models, parts, strict=True):
        own.of(train)
    sessions = [_session(own, *each, model.training_seconds) for own, each in zip(models, parts, strict=True)]
    (train, test), counts = parts[0], parts[0][0].kind == "counts"
    if test.factors is not None and train.factors is not None and len(parts) > 1:
        onto = probe(_joined(models[0], train), np.concatenate(train.factors))
        for own, (_, other), session in zip(models[1:], parts[1:], sessions[1:], strict=True):
            assert other.factors is not None
            session["latent_r2_by_first"] = rate_r2(np.concatenate(other.factors), onto(_joined(own, other)))
    scan: dict[str, Scan] = {}
    if dimensions:
        scanned = {"network": _refit(model), "PPCA": fit_ppca} | (OF_COUNTS if counts else {})
        scan = {name: score_dimensions(fit, train, test, dimensions) for name, fit in scanned.items()}
    metrics = {
        "checkpoint": str(checkpoint),
        "dataset": origin,
        "neuroinf_version": __version__,
        "dimension": model.dimension,
        "true_dimension": None if test.factors is None else test.factors[0].shape[1],
        "n_test": sum(session["n_test"] for session in sessions),
        "methods": _mean_scores([session["methods"] for session in sessions]),
        "sessions": sessions,
        "dimensions": {name: _scan_summary(scores) for name, scores in scan.items()},
    }
    text = latent_table(metrics)
    output.mkdir(parents=True, exist_ok=True)
    (output / "metrics.json").write_text(json.dumps(plain(metrics), indent=2, allow_nan=False) + "\n")
    (output / "table.txt").write_text(text + "\n")
    _figures(models[0], train, test, scan, output)
    return metrics


def _data(model: AnyLatentCheckpoint, path: Path | None, trust: Sequence[str]) -> tuple[list[Parts], str]:
    """Training and test data of each session, and where the latter are from."""
    kept, simulation = dict(model.provenance["data"]), model.provenance.get("simulation")
    module = PopulationDataModule(
        **kept, simulation=None if simulation is None else simulation_from_spec(simulation, trust)
    )
    module.prepare_data()
    split = [module.parts(session) for session in range(len(module.data))]
    if path is None:
        held = split[0][2]
        origin = "held-out time" if held is None else f"{len(held.activity)} held-out sequence(s)"
        return [(train, val if test is None else test) for train, val, test in split], f"{kept['path']}, {origin}"
    found = read_population(path, kept["dt"])
    found = bin_activity(found, kept["bins"]) if kept["bins"] > 1 else found
    new = parts_of_sessions(found, model.sessions)
    for each in new:
        model.of(each)
    return [(split[model.sessions.index(each.names)][0], each) for each in new], str(path)


def _refit(model: AnyLatentCheckpoint) -> LatentFit:
    """How networks of other dimensions are fitted."""
    if isinstance(model, LatentCheckpoint):
        return fit_autoencoder
    how = BiLSTMTraining(hidden=HIDDEN, feedback=isinstance(model.network, FeedbackAutoencoder))
    return lambda data, dimension: fit_bilstm(data, dimension, how)


def _session(model: AnyLatentCheckpoint, train: PopulationData, test: PopulationData, seconds: float) -> dict[str, Any]:
    """All methods' scores of one session."""
    methods: dict[str, dict[str, Any]] = {"network": _scores(model, train, test, seconds)}
    for name, fit in (REFERENCES | (OF_COUNTS if train.kind == "counts" else {})).items():
        began = time.perf_counter()
        reference = fit(train, model.dimension)
        methods[name] = _scores(reference, train, test, time.perf_counter() - began)
        if name == "PCA" and test.kind == "trace":
            methods[name]["ev_span"] = methods[name]["ev"]
    beyond = [
        np.abs(each.inputs) > Z_90 * each.input_sd
        for each in model.infer_population(test)
        if each.inputs is not None and each.input_sd is not None
    ]
    return {
        "name": test.name,
        "neurons": test.neurons,
        "n_test": test.bins,
        "methods": methods,
        "inputs_beyond_90": float(np.concatenate(beyond).mean()) if beyond else None,
        "latent_r2_by_first": None,
    }


def _mean_scores(sessions: Sequence[dict[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Of each method and score over sessions; None where one has none."""
    found: dict[str, dict[str, Any]] = {}
    for name, scores in sessions[0].items():
        found[name] = {}
        for key in scores:
            values = [session[name][key] for session in sessions]
            found[name][key] = None if None in values else float(np.mean(values))
    return found


def _joined(model: AnyLatentCheckpoint, data: PopulationData) -> NDArray[np.float32]:
    """Latents of all sequences, one after the other."""
    return np.concatenate([each.factors for each in model.infer_population(data)])


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
        if len(ahead.truth) > 1:  # of one forecast there is no R2
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
        if len(ahead.truth) > 1:
            forecast_skill(ahead, test.dt).savefig(output / "forecast.png", dpi=DPI)
    for name, scores in scan.items():
        number = None if test.factors is None else test.factors[0].shape[1]
        figure = score_against_dimension(scores, test.kind, number)
        figure.savefig(output / f"dimension_{name.lower()}.png", dpi=DPI)
