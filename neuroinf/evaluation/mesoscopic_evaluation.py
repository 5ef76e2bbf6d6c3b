"""A checkpoint that reads hidden populations, beside the published fit: what `evaluate.py` does with it."""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from neuroinf import __version__
from neuroinf.destinations import check_folder
from neuroinf.errors import InputError
from neuroinf.evaluation import figures, mesoscopic_figures
from neuroinf.evaluation import mesoscopic_predictive as predictive
from neuroinf.evaluation.calibration_figures import drawn as calibration_drawn
from neuroinf.evaluation.comparison import cost
from neuroinf.evaluation.mesoscopic_answers import Network, amortized
from neuroinf.evaluation.mesoscopic_comparison import (
    Plan,
    answers,
    draw_scores,
    free_scores,
    predictions,
    step_scores,
    true_behaviour,
)
from neuroinf.evaluation.mesoscopic_draws import Draws, draws, draws_of_file
from neuroinf.evaluation.mesoscopic_findings import activity_scores, parameter_ratios, tables, text, window_methods
from neuroinf.evaluation.mesoscopic_windows import windows
from neuroinf.evaluation.metrics import PREDICTIVE, plain, write_metrics
from neuroinf.evaluation.wording import duration, listed
from neuroinf.inference import load
from neuroinf.priors import Prior
from neuroinf.simulators.circuit import Circuit
from neuroinf.simulators.microscopic import MicroscopicNetwork

DPI = 130
DRAW_SEED, NEIGHBOUR_SEED = 70_001, 70_002
Drawn = list[tuple[str, str, Any]]


def evaluate_networks(
    checkpoint: Path, data: Path | None = None, output: Path | None = None, *, plan: Plan, trust: Sequence[str] = ()
) -> dict[str, Any]:
    """Compare a checkpoint with the published fit, in windows of networks at the published parameters, and on draws of the prior.

    Writes metrics.json, report.html, table.txt and the figures into `output`; the fits of each window are kept in
    output/fits, so that the same command goes on where it stopped.

    Args:
        checkpoint: Written by train.py.
        data: Dataset of draws of the prior for calibration; by default they are simulated, without external input.
        output: Folder, by default reports/<checkpoint's name>.
        plan: How much is done.
        trust: Packages of one's own whose classes the checkpoint may name.

    Returns:
        The content of metrics.json.

    Raises:
        InputError: on a bad checkpoint or dataset.
    """
    folder = output or Path("reports") / checkpoint.stem
    check_folder(folder, "output")
    model = load(checkpoint, trust)
    simulator = getattr(model.simulation, "simulator", None)
    if not isinstance(simulator, MicroscopicNetwork):
        raise InputError(f"{checkpoint}: expected a network trained on a MicroscopicNetwork, found {simulator}")
    circuit, prior = simulator.circuit, model.prior
    if tuple(prior.names) != circuit.parameters:
        raise InputError(
            f"{checkpoint}: expected a prior over {list(circuit.parameters)} in this order, found {list(prior.names)}"
        )
    tested = (
        draws(circuit, prior, plan.draws, DRAW_SEED, plan.duration)
        if data is None
        else draws_of_file(data, prior, plan.draws)
    )
    folder.mkdir(parents=True, exist_ok=True)
    document, shown = compare(amortized(model), circuit, prior, tested, plan, folder / "fits")
    document = {
        "checkpoint": str(checkpoint),
        "dataset": f"{plan.windows} windows of {plan.networks} networks at the published parameters",
        "draws_of": "the prior, simulated" if data is None else str(data),
        "simulator": f"{type(simulator).__module__}.{type(simulator).__qualname__}",
        "neuroinf_version": __version__,
        **document,
        "cost": cost(
            model.provenance.get("simulation_seconds"),
            model.training_seconds,
            document["methods"]["per_neuron_fit"]["seconds_per_neuron"],
            document["methods"]["amortized"]["seconds_per_neuron"],
        ),
    }
    if model.history:
        shown.append(("learning_curves", "Loss by epoch, beside the prior's.", figures.learning_curves(model.history)))
    write(folder, checkpoint.name, document, shown)
    return document


def compare(
    network: Network, circuit: Circuit, prior: Prior, tested: Draws, plan: Plan, folder: Path
) -> tuple[dict[str, Any], Drawn]:
    """The entries of metrics.json but for costs and origins, and the figures.

    Args:
        network: What is compared.
        circuit: At whose own parameters the windows are.
        prior: Over its free parameters, in their order.
        tested: Draws of the prior.
        plan: How much is done.
        folder: Where fits are kept.
    """
    seen = windows(circuit, plan.windows, plan.networks, plan.duration)
    print(f"windows: {len(seen)}, {sum(w.switches > 0 for w in seen)} with a switch", file=sys.stderr, flush=True)
    neighbours = draws(circuit, prior, plan.neighbours, NEIGHBOUR_SEED, plan.duration)
    given = answers(network, seen, circuit, prior, neighbours, plan, folder)
    drawn = draw_scores(network, tested, neighbours, circuit, prior)
    document: dict[str, Any] = {
        "n_test": len(seen),
        "parameters": list(prior.names),
        "populations": list(circuit.names),
        "windows": {w.name: w.switches for w in seen},
        "fit_losses": {
            method: {w.name: a.loss for w, a in zip(seen, given[method], strict=True) if a}
            for method in ("amortized_refined", "per_neuron_fit")
        },
        "methods": window_methods(given, circuit.truth, prior),
        "ratios": parameter_ratios(given, circuit),
        "activity": activity_scores(given, seen, circuit),
        "draws": drawn.entry,
        "called_outside": float(
            np.mean([any("outside the training" in t for t in a.warnings) for a in given["amortized"] if a])
        ),
        "free_simulation": None,
        "perturbation": None,
    }
    ratio = drawn.network.std
    narrowed = None if ratio is None else np.median(ratio / _prior_sd(prior), 0)
    document["identifiability"] = {
        name: {"posterior_over_prior_sd": None if narrowed is None else float(narrowed[j])}
        for j, name in enumerate(prior.names)
    }
    shown: Drawn = [
        ("activity", "Spikes, and the rates of the populations: true, inferred with 90 % intervals, and first guess.",
         mesoscopic_figures.activity(_with_switch(seen), given, seen, circuit)),
        ("ratios", "Parameters over true ones in the windows; bars: quartiles.",
         mesoscopic_figures.ratios(document["ratios"], prior, circuit)),
        ("recovery", "Estimated against true parameters of draws of the prior.",
         figures.recovery(drawn.truth, drawn.network, prior)),
    ]  # fmt: skip
    if drawn.network.samples is not None:
        shown += calibration_drawn(drawn.truth, drawn.network, prior)
    if len(circuit.names) > 1:
        waveform = predictive.step_input(len(circuit.names))
        truth = true_behaviour(circuit, waveform, plan)
        found = predictions(given, circuit, waveform, plan)
        document["free_simulation"] = free_scores(truth, found, seen, plan.seconds)
        document["perturbation"] = step_scores(truth, found)
        shown += mesoscopic_figures.predictive_figures(truth, found, _with_switch(seen), waveform, circuit)
    document["predictive"] = _predictive(document)
    return document, shown


def _with_switch(seen: Sequence[Any]) -> int:
    """The window that is drawn: the first one with a switch, or the first."""
    return next((i for i, window in enumerate(seen) if window.switches > 0), 0)


def _prior_sd(prior: Prior) -> np.ndarray:
    return prior.sample(4096, np.random.default_rng(0)).std(0)


def _predictive(document: dict[str, Any]) -> dict[str, Any]:
    """The entry "predictive" that metrics.json always has: one number of each test for each method."""
    free, step = document["free_simulation"], document["perturbation"]
    found = {}
    for method in document["methods"]:
        entry: dict[str, Any] = dict.fromkeys(PREDICTIVE)
        entry["like_truth"] = free["methods"].get(method, {}).get("like_truth") if free else None
        entry["step_response_r2"] = step["methods"].get(method, {}).get("r2", {}).get("median") if step else None
        activity = document["activity"].get(method)
        for name in document["populations"]:
            entry[f"latent_correlation_{name}"] = activity["correlation"][name]["median"] if activity else None
        found[method] = entry
    return found


def sentences(document: dict[str, Any]) -> list[str]:
    """What the numbers mean, in words."""
    found, draws_entry = [], document["draws"]
    windows_with = sum(number > 0 for number in document["windows"].values())
    found.append(
        f"{document['n_test']} windows at the published parameters, {windows_with} of them with a switch; R2 is not defined there, "
        "all having the same parameters: see the draws of the prior."
    )
    network, floor = draws_entry["methods"]["amortized"], draws_entry["methods"]["prior_mean"]
    better = [name for name in document["parameters"] if _less(network["nrmse"][name], floor["nrmse"][name])]
    if better:
        found.append(f"On draws of the prior the network is better than the prior's mean for {listed(better)}.")
    worse = [name for name in document["parameters"] if name not in better]
    if worse:
        found.append(f"On draws of the prior the network is not better than the prior's mean for {listed(worse)}.")
    ratio = document["ratios"]
    if "per_neuron_fit" in ratio:
        mean = ratio["prior_mean"]["mean_error"]["median"]
        fit, ours = (ratio[m]["mean_error"]["median"] for m in ("per_neuron_fit", "amortized"))
        found.append(
            f"Mean error of the parameters in the windows: {ours:.2f} (network), {fit:.2f} (published fit), {mean:.2f} (prior's "
            "mean)."
        )
    if document["free_simulation"]:
        of = document["free_simulation"]["methods"]
        for method, whose in (
            ("amortized", "the network's posterior"),
            ("amortized_circuits", "circuits found by simulation"),
        ):
            like = of.get(method, {}).get("like_truth_with_switch")
            if like is not None:
                met = "at least" if like >= 0.8 else "less than"
                found.append(
                    f"{100 * like:.0f} % of the samples of {whose}, in windows with a switch, are bistable with both levels within "
                    f"2 Hz ({met} 80 %)."
                )
    found.append(
        f"Called outside the training distribution: {100 * document['called_outside']:.0f} % of the windows, "
        f"{100 * draws_entry['called_outside']:.0f} % of the draws."
    )
    price = document["cost"]
    if price["break_even_neurons"] is not None:
        found.append(
            f"Simulating and training pay from {np.ceil(price['break_even_neurons']):,.0f} recordings on "
            f"({duration(price['amortized_seconds'])} for one against {duration(price['per_neuron_fit_seconds'])} for a fit)."
        )
    return found


def _less(a: float | None, b: float | None) -> bool:
    return a is not None and b is not None and a < b


def write(folder: Path, title: str, document: dict[str, Any], shown: Drawn) -> None:
    """metrics.json, table.txt, the figures, and report.html with all of them."""
    write_metrics(folder / "metrics.json", document)
    said = sentences(document)
    (folder / "table.txt").write_text(text(document, said))
    pictures = []
    for name, caption, figure in shown:
        figure.savefig(folder / f"{name}.png", dpi=DPI, metadata={"Software": None})
        content = base64.b64encode((folder / f"{name}.png").read_bytes()).decode("ascii")
        pictures.append((caption, f"data:image/png;base64,{content}"))
    environment = Environment(
        loader=PackageLoader("neuroinf.evaluation", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("networks.html.j2").render(
        title=f"{title} beside the published fit",
        sentences=said,
        tables=tables(plain(document)),
        figures=pictures,
        document=document,
    )
    aside = folder / "report.html.part"
    aside.write_text(page, encoding="utf-8")
    os.replace(aside, folder / "report.html")


def planned(**given: int | None) -> Plan:
    """A plan with the numbers that are given, and as many fits as windows unless said otherwise.

    Raises:
        InputError: for numbers that make no comparison.
    """
    plan = replace(Plan(), **{name: value for name, value in given.items() if value is not None})
    if given.get("fits") is None:
        plan = replace(plan, fits=plan.windows)
    if given.get("networks") is None:
        plan = replace(plan, networks=min(plan.networks, plan.windows))
    for name, least in (("networks", 1), ("restarts", 1), ("fits", 0), ("draws", 2)):
        if getattr(plan, name) < least:
            raise InputError(f"{name}: expected at least {least}, found {getattr(plan, name)}")
    if plan.windows < plan.networks:
        raise InputError(f"windows: expected one of each of {plan.networks} networks at least, found {plan.windows}")
    return plan
