"""A checkpoint beside everything else that could have been done: what `evaluate.py` does, as a function."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroinf import __version__
from neuroinf.destinations import check_folder
from neuroinf.errors import InputError
from neuroinf.evaluation import calibration_figures, figures
from neuroinf.evaluation.ceiling import sd_over_bound
from neuroinf.evaluation.comparison import Comparison, Condition, Method, NearestNeighbour, cost, run
from neuroinf.evaluation.conditions import conditions_of
from neuroinf.evaluation.estimates import Estimates
from neuroinf.evaluation.family import findings
from neuroinf.evaluation.held_out import HeldOut, held_out, remarks, training_rows
from neuroinf.evaluation.identifiability import combine_effects, effects_by_simulation, identifiability
from neuroinf.evaluation.methods import Amortized, Fitted, Refined
from neuroinf.evaluation.metrics import method_metrics, not_above, write_metrics
from neuroinf.evaluation.paired import paired
from neuroinf.evaluation.report import Report, terminal_report, write_report
from neuroinf.evaluation.study import study_losses
from neuroinf.evaluation.sweeps import by_number_of_sweeps, sweeps_figure
from neuroinf.evaluation.symmetry import fold_comparison, symmetry_scores
from neuroinf.fits import ByTwin, by_twin, per_neuron_fits, refinements
from neuroinf.fits.glif_family import trace
from neuroinf.inference import load
from neuroinf.symmetry import SignSymmetry

FloatArray = NDArray[np.float64]
EFFECT_ROWS = 32
MOST_WITH_SWEEPS = 1000
DPI = 130
# what metrics.json always names, in its order
METHODS = ("prior_mean", "nearest_neighbour", "amortized", "amortized_refined", "per_neuron_fit")


def evaluate(
    checkpoint: Path,
    data: Path | None = None,
    output: Path | None = None,
    *,
    neurons: int | None = None,
    fits: int = 200,
    noise: Sequence[float] | None = None,
    without: Sequence[str] = (),
    trust: Sequence[str] = (),
) -> dict[str, Any]:
    """Compare a checkpoint with the prior, the nearest training neuron and the fits made for each neuron alone.

    Writes metrics.json, report.html, table.txt and the figures into `output`. Parameters whose sign means nothing
    (`simulators.protocol.SignSymmetric`) are scored without it, under the name `|name|`, which is what "parameters" in
    metrics.json lists; "symmetries" there says what is known of the sign.

    Args:
        checkpoint: Written by train.py.
        data: Dataset to test on; by default the test set that the training configuration names is simulated.
        output: Folder, by default reports/<checkpoint's name>.
        neurons: Test at most so many neurons.
        fits: Refine, and fit one by one, at most so many of them.
        noise: Levels of observation noise in the first noisy channel's unit, the first being the one reported in
            metrics.json. By default 0.5, 0, 0.1 and 2 mV; where the unit is another, 1, 0 and 4 times the noise in training,
            of all channels.
        without: Fits and refinements to leave out, such as gradient_descent, by far the slowest.
        trust: Packages of one's own whose classes the checkpoint may name.

    Returns:
        The content of metrics.json.

    Raises:
        InputError: on a bad checkpoint or dataset, or if there is no such method to leave out.
    """
    folder = output or Path("reports") / checkpoint.stem
    check_folder(folder, "output")
    estimator = load(checkpoint, trust)
    test = held_out(estimator, data, folder, neurons, tuple(trust))
    conditions = conditions_of(test, noise)
    test.observe(conditions[0])  # a dataset that cannot be observed is refused before anything is written
    rng = np.random.default_rng(0)
    simulator, prior = test.simulation.simulator, estimator.prior
    first, symmetry = conditions[0], SignSymmetry.of(simulator, prior)
    fitted = per_neuron_fits(test.simulation, prior, test.observation.dt, rng)
    refined = refinements(test.simulation, prior, test.observation.dt)
    if unknown := set(without) - fitted.keys() - refined.keys():
        there = ", ".join([*fitted, *refined])
        raise InputError(
            f"without: expected methods that can be left out ({there}), found {', '.join(sorted(unknown))}"
        )
    fitted = {name: fit for name, fit in fitted.items() if name not in without}
    refined = {name: one for name, one in refined.items() if name not in without}
    training = training_rows(estimator, folder, tuple(trust))
    folder.mkdir(parents=True, exist_ok=True)
    clean = dataclasses.replace(first, missing=())
    methods: dict[str, Method] = {
        "nearest_neighbour": NearestNeighbour(training.observe(clean), training.truth),
        "amortized": Amortized(estimator, test.truth, symmetry),
        **{name: Fitted(name, fit, test, fits, first) for name, fit in fitted.items()},
        **{name: Refined(name, estimator, one, test, fits) for name, one in refined.items()},
    }
    answered = run(methods, test.observe, test.truth, prior, conditions, progress=True)
    comparison = fold_comparison(symmetry, answered)
    truth, scored = comparison.truth, comparison.prior
    # at random: the rows of a grid are in order, and the first ones all lie in one corner of it
    some = np.sort(rng.permutation(len(test.rows))[:EFFECT_ROWS])
    effects = {
        symmetry.published(name): dataclasses.replace(effect, parameter=symmetry.published(name))
        for name, effect in combine_effects(
            effects_by_simulation(simulator, prior, test.truth[some], test.stimulus(some), test.simulation.dt, rng)
        ).items()
    }
    document = _document(estimator.path, test, comparison, checkpoint)
    document["identifiability"] = identifiability(truth, comparison.given(first), scored, effects, rng)
    twin = by_twin(simulator, prior, test.observation.dt, test.simulation.dt)
    widest = None if twin is None else _bound(test, twin, first, fits)
    for name, entry in sd_over_bound(comparison.given(first), widest, scored).items():
        document["identifiability"][name]["sd_over_bound"] = entry
    found = findings(test, first, answered.given(first), fits)
    document |= found.entries
    document["remarks"] = remarks(estimator, test)
    document["symmetries"] = symmetry_scores(symmetry, test.truth, answered.given(first))
    answers = document["methods"]
    given = comparison.estimates[first.name]
    for name, answer in given.items():
        network = given["amortized"]
        if answer is not None and network is not None and name != "amortized":
            answers[name]["not_above_amortized"] = not_above(truth, answer.mean, network.mean, scored)
            answers[name]["beside_amortized"] = paired(truth, answer.mean, network.mean, scored, rng)
    for name, fit in fitted.items():
        answers[name]["asked"] = min(fits, len(truth) if fit.most is None else fit.most, len(truth))
    for name, one in refined.items():
        answers[name] |= {"asked": min(fits, len(truth)), "answers": one.answers}
    fit, amortized = answers.get("per_neuron_fit"), answers["amortized"]
    document["cost"] = cost(
        estimator.provenance.get("simulation_seconds"),
        estimator.training_seconds,
        None if fit is None else fit["seconds_per_neuron"],
        amortized["seconds_per_neuron"],
    )
    document["sweeps"] = by_number_of_sweeps(
        estimator, folder, min(len(test.rows), MOST_WITH_SWEEPS), clean, tuple(trust), fits
    )
    losses = study_losses(simulator, truth, comparison.given(first), effects)
    drawn = _figures(comparison, document["identifiability"], found.figures, estimator.history)
    if document["sweeps"]:
        caption = "What more sweeps of a neuron are worth, under the training stimuli."
        drawn.append(("sweeps", caption, sweeps_figure(document["sweeps"], prior)))
    write_metrics(folder / "metrics.json", document)
    for name, _, figure in drawn:
        figure.savefig(folder / f"{name}.png", dpi=DPI, metadata={"Software": None})
    write_report(
        folder / "report.html",
        Report(
            title=f"{checkpoint.name} beside per-neuron fits",
            metrics=document,
            units=dict(zip(scored.names, scored.units, strict=True)),
            # as they were saved: a figure takes seconds to draw
            figures=[(caption, folder / f"{name}.png") for name, caption, _ in drawn],
            conditions={c.name: comparison.metrics(c) for c in conditions[1:]},
            losses=losses,
            notes=document["remarks"],
            provenance=_provenance(checkpoint, test, estimator.training_seconds),
        ),
    )
    (folder / "table.txt").write_text(terminal_report(document, losses, document["remarks"]) + "\n")
    _example(test, first, folder / "example_recording.npz")
    return document


def _bound(test: HeldOut, twin: ByTwin, condition: Condition, most: int) -> FloatArray | None:
    """Cramer-Rao bound (n, P) of the first rows' posterior sd; None without rows or known noise of the voltage."""
    noise = condition.noise.get("voltage", 0.0)
    if most < 1 or noise <= 0 or "voltage" in condition.missing:
        return None
    first = test.first(most)
    evidence = first.evidence(first.observe(condition), condition)
    if any(train is None for train in evidence.spikes):
        return None
    return twin.bound(first.truth, trace(evidence), evidence.spikes, noise)


def _document(path: Path, test: HeldOut, comparison: Comparison, checkpoint: Path) -> dict[str, Any]:
    condition = comparison.conditions[0]
    simulator = type(test.simulation.simulator)
    silent = np.full(comparison.truth.shape, np.nan)
    answers = {
        # a method that this model family does not have, or that could not answer, gives null for each number
        name: entry or method_metrics(Estimates(name, silent), comparison.truth, comparison.prior)
        for name, entry in {**dict.fromkeys(METHODS), **comparison.metrics(condition)}.items()
    }
    return {
        "checkpoint": str(checkpoint),
        "dataset": str(test.file.path),
        "simulator": f"{simulator.__module__}.{simulator.__qualname__}",
        "n_test": len(test.rows),
        "condition": condition.name,
        "neuroinf_version": __version__,
        "parameters": list(comparison.prior.names),
        "methods": answers,
        "conditions": {c.name: comparison.metrics(c) for c in comparison.conditions[1:]},
    }


def _figures(
    comparison: Comparison,
    found: dict[str, dict[str, Any]],
    of_family: list[tuple[str, str, Any]],
    history: list[dict[str, float]],
) -> list[tuple[str, str, Any]]:
    """Name, caption and figure, in the report's order."""
    first = comparison.conditions[0]
    network = comparison.estimates[first.name]["amortized"]
    assert network is not None
    drawn = [
        ("recovery", f"Estimated against true parameters of held-out neurons, {first.name}.",
         figures.recovery(comparison.truth, network, comparison.prior)),
        ("error_against_time", "Error against seconds per neuron, every method under every condition.",
         figures.error_against_time(comparison)),
    ]  # fmt: skip
    drawn += of_family
    if network.samples is not None and len(comparison.prior.names) > 1:
        caption = "Pairs that trade off: median posterior correlation over test neurons."
        drawn.append(("trade_offs", caption, figures.trade_offs(found, comparison.prior.names)))
    if network.samples is not None:
        curve = figures.calibration_curve(comparison.truth, network.samples, comparison.prior)
        drawn.append(("calibration", "Are intervals as wide as they say?", curve))
        drawn += calibration_figures.drawn(comparison.truth, network, comparison.prior)
    if history:
        drawn.append(("learning_curves", "Loss by epoch, beside the prior's.", figures.learning_curves(history)))
    return drawn


def _provenance(checkpoint: Path, test: HeldOut, seconds: float) -> dict[str, str]:
    return {
        "checkpoint": str(checkpoint),
        "test set": f"{test.file.path}, {len(test.rows)} neurons, {type(test.simulation.stimulus).__name__}",
        "training": f"{seconds:.0f} s",
        "neuroinf": __version__,
        "command": f"python evaluate.py {checkpoint}",
    }


def _example(test: HeldOut, condition: Condition, path: Path) -> None:
    """One test neuron's recording, as a file that `neuroinf infer` reads."""
    one = dataclasses.replace(test, rows=test.rows[:1])
    x = one.observe(condition)[0].astype(np.float64)
    content = test.file.rows(one.rows)
    arrays: dict[str, Any] = {"dt": np.float64(test.observation.dt)}
    for channel in test.observation.channels:
        if channel != "spikes":
            rows = x[test.observation.rows(channel)]
            arrays[channel] = rows[0] if len(rows) == 1 else rows
    if content.spikes is not None:
        arrays["spikes"] = np.asarray(content.spikes[0], np.float64)
    np.savez(path, **arrays)
