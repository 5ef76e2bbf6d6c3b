"""Tables of what each method found in the windows: parameters, couplings over true ones, activity, over all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroinf.evaluation.estimates import Estimates
from neuroinf.evaluation.mesoscopic_answers import WindowAnswer
from neuroinf.evaluation.mesoscopic_windows import DT, Window
from neuroinf.evaluation.metrics import Document, method_metrics, plain
from neuroinf.evaluation.population_statistics import activity_correlation
from neuroinf.priors import Prior
from neuroinf.simulators.circuit import Circuit

FloatArray = NDArray[np.float64]
# answers to windows in order; None where a method was not asked
Answers = Mapping[str, Sequence[WindowAnswer | None]]
Quartiles = dict[str, float]
HEADS = {"correlation": "r", "with_switch": "r with switch", "correlation_raw": "r", "coverage_90": "coverage"}
ACTIVITY = {
    "correlation": "Activity: correlation with the true rates, both smoothed (sd 20 ms), in all windows and in those with a switch",
    "bins": "Activity in bins of 4 ms: correlation with the true rates as they are, and coverage of the 90 % intervals",
}


def quartiles(values: Sequence[float] | FloatArray) -> Quartiles:
    """Median, both quartiles and number of the finite ones; nan without any."""
    x = np.asarray(values, np.float64)
    x = x[np.isfinite(x)]
    low, median, high = np.quantile(x, [0.25, 0.5, 0.75]) if len(x) else (np.nan,) * 3
    return {"median": float(median), "low": float(low), "high": float(high), "n": len(x)}


def window_estimates(method: str, answers: Sequence[WindowAnswer | None], parameters: int) -> Estimates:
    """A method's parameters in all windows, nan where it was not asked or gives none."""
    mean = np.full((len(answers), parameters), np.nan)
    log_prob, seconds = np.full(len(answers), np.nan), []
    samples = next((a.samples for a in answers if a is not None and a.samples is not None), None)
    drawn = None if samples is None else np.full((len(answers), *samples.shape), np.nan)
    for i, answer in enumerate(answers):
        if answer is None:
            continue
        mean[i], log_prob[i] = answer.values, answer.log_prob
        seconds.append(answer.seconds)
        if drawn is not None and answer.samples is not None:
            drawn[i] = answer.samples
    spent = float(np.median(seconds)) if seconds else None
    stated = log_prob if np.isfinite(log_prob).any() else None
    return Estimates(method, mean, drawn, None if drawn is None else drawn.std(1), stated, spent)


def window_methods(answers: Answers, truth: FloatArray, prior: Prior) -> dict[str, Document]:
    """The entry M of each method over the windows, all of which have the same true parameters :math:`(P,)`.

    That leaves R2 undefined, and ranks of the truth say nothing of calibration: both are null.
    """
    found = {}
    for method, given in answers.items():
        every = np.tile(truth, (len(given), 1))
        entry = method_metrics(window_estimates(method, given, len(truth)), every, prior)
        entry["sbc_p"] = dict.fromkeys(prior.names)
        entry |= {"expected_coverage_p": None, "tarp_p": None}
        found[method] = entry
    return found


def parameter_ratios(answers: Answers, circuit: Circuit) -> dict[str, Any]:
    """Of each method: estimate over true value of each parameter, quartiles over windows, and its mean error."""
    found = {}
    for method, given in answers.items():
        ratio = np.array([a.values / circuit.truth for a in given if a is not None and np.isfinite(a.values).all()])
        if not len(ratio):
            continue
        coupling = [name for name in circuit.parameters if name.startswith("J_")]
        columns = [circuit.parameters.index(name) for name in coupling]
        found[method] = {
            "ratio": {name: quartiles(ratio[:, j]) for j, name in enumerate(circuit.parameters)},
            "mean_error": quartiles(np.abs(ratio - 1).mean(1)),
            "coupling_error": {
                name: quartiles(np.abs(ratio[:, j] - 1)) for name, j in zip(coupling, columns, strict=True)
            },
        }
    return found


def activity_scores(answers: Answers, windows: Sequence[Window], circuit: Circuit) -> dict[str, Any]:
    """Of each method that infers activity: correlation with the true rates of each population, quartiles over windows.

    ``correlation``: both smoothed with an sd of 20 ms; ``correlation_raw``: as they are, in bins of 4 ms; ``level_error``:
    inferred less true mean rate, Hz; ``coverage_90``: fraction of bins within the stated intervals; ``with_switch``: the
    correlation in windows in which the leader changes.
    """
    found: dict[str, Any] = {}
    for method, given in answers.items():
        rows = []
        for answer, window in zip(given, windows, strict=True):
            if answer is None or answer.rates is None:
                continue
            inside = np.full(len(window.rates), np.nan)
            if answer.low is not None and answer.high is not None:
                inside = ((answer.low <= window.rates) & (window.rates <= answer.high)).mean(1)
            smooth = activity_correlation(answer.rates, window.rates, DT)
            raw = activity_correlation(answer.rates, window.rates, DT, 0.0)
            off = (answer.rates - window.rates).mean(1)
            rows.append((smooth, raw, off, inside, np.where(window.switches > 0, smooth, np.nan)))
        if rows:
            names = ("correlation", "correlation_raw", "level_error", "coverage_90", "with_switch")
            found[method] = {
                name: {circuit.names[m]: quartiles(values[:, m]) for m in range(len(circuit.names))}
                for name, values in zip(names, np.swapaxes(np.array(rows), 0, 1), strict=True)
            }
    return found


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Text in columns, the first to the left."""
    widths = [max(len(row[k]) for row in [head, *rows]) for k in range(len(head))]
    lines = [
        "  ".join(c.ljust(w) if k == 0 else c.rjust(w) for k, (c, w) in enumerate(zip(row, widths, strict=True)))
        for row in [head, *rows]
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def spread(entry: Quartiles | None, digits: int = 2) -> str:
    """Median and both quartiles in one cell; a dash where there are none."""
    if entry is None or entry["median"] is None or not np.isfinite(entry["median"]):
        return "-"
    return f"{entry['median']:.{digits}f} ({entry['low']:.{digits}f} {entry['high']:.{digits}f})"


def tables(document: Mapping[str, Any]) -> list[tuple[str, list[str], list[list[str]]]]:
    """Caption, head and rows of each table of a document that :func:`mesoscopic_evaluation.evaluate_networks` made."""
    names, populations = document["parameters"], document["populations"]
    found = []
    ratio, seconds = document["ratios"], document["methods"]
    rows = [
        [
            method,
            *(spread(entry["coupling_error"].get(f"J_{p}")) for p in populations),
            *(spread(entry["ratio"].get(f"J_{p}")) for p in populations),
            spread(entry["mean_error"]),
            _seconds(seconds[method]["seconds_per_neuron"]),
            str(seconds[method]["n"]),
        ]
        for method, entry in ratio.items()
    ]
    head = ["windows", *(f"|J_{p}/true - 1|" for p in populations), *(f"J_{p}/true" for p in populations)]
    caption = (
        "Parameters at the published values: medians (quartiles) over windows; mean error is that of all parameters"
    )
    found.append((caption, [*head, "mean error", "CPU s", "n"], rows))
    rows = [
        [method, *(spread(entry["ratio"][name]) for name in names if not name.startswith("J_"))]
        for method, entry in ratio.items()
    ]
    found.append(("The other parameters, estimate over truth", ["windows", *(n for n in names if n[0] != "J")], rows))
    for what, keys in (("correlation", ("correlation", "with_switch")), ("bins", ("correlation_raw", "coverage_90"))):
        head = [f"{HEADS[key]} {p}" for key in keys for p in populations]
        rows = [
            [method, *(spread(entry[key][p], 3) for key in keys for p in populations)]
            for method, entry in document["activity"].items()
        ]
        found.append((ACTIVITY[what], ["windows", *head], rows))
    if document["free_simulation"]:
        found.append(_free_table(document["free_simulation"]))
    if document["perturbation"]:
        head = ["a step to one population", "R2 of the response", "in 90 % band", "n"]
        rows = [
            [method, spread(entry["r2"]), spread(entry["within_band"]), str(entry["r2"]["n"])]
            for method, entry in document["perturbation"]["methods"].items()
        ]
        found.append(("Mean response to a step, inferred without input; 0: no response", head, rows))
    draws = document["draws"]
    if draws["methods"]:
        head = ["draws of the prior", *(f"R2 {name}" for name in names)]
        rows = [[m, *(_number(e["r2"][name]) for name in names)] for m, e in draws["methods"].items()]
        found.append((f"{draws['n']} draws of the prior ({draws['stable']} of them stable)", head, rows))
        head = ["draws of the prior", *names]
        network = draws["methods"]["amortized"]
        rows = [
            [label, *(_number(network[key][name]) for name in names)]
            for label, key in (("coverage of 90 %", "coverage_90"), ("SBC p", "sbc_p"))
        ]
        found.append(("Calibration of the network", head, rows))
        head = ["stable draws", *(f"|J_{p}/true - 1|" for p in populations)]
        rows = [
            [method, *(spread(entry.get(f"J_{p}")) for p in populations)]
            for method, entry in draws["coupling_error"].items()
        ]
        found.append(("Couplings of stable draws", head, rows))
    return found


def _free_table(entry: Mapping[str, Any]) -> tuple[str, list[str], list[list[str]]]:
    true = entry["truth"]
    rest = " ".join(f"{rate:.1f}" for rate in true["rest"])
    head = ["free simulation", "like the truth", "with switch", "levels right", "switching"]
    head += ["leader Hz", "other Hz", "per 100 s", "dwell s", "n"]
    rows = [
        [
            "microscopic truth", "-", "-", "-", "-", f"{true['winner']:.1f}", f"{true['loser']:.1f}",
            spread(true["changes"], 1), f"{true['dwell_mean']:.1f}", str(true["changes"]["n"]),
        ]
    ]  # fmt: skip
    for method, found in entry["methods"].items():
        rows.append(
            [
                method,
                *(_number(found[key]) for key in ("like_truth", "like_truth_with_switch", "levels_right", "switching")),
                *(spread(found[key], 1) for key in ("winner", "loser", "changes")),
                _number(found["dwell_mean"], 1),
                str(found["n"]),
            ]
        )
    caption = (
        f"{entry['seconds']:.0f} s of free simulation: fraction of samples like the truth, that is with both levels within 2 Hz "
        f"and switches; in windows with a switch; the true network's other populations: {rest} Hz"
    )
    return caption, head, rows


def _number(value: float | None, digits: int = 2) -> str:
    return "-" if value is None or not np.isfinite(value) else f"{value:.{digits}f}"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def text(document: Mapping[str, Any], sentences: Sequence[str]) -> str:
    """All tables, and sentences below."""
    parts = [f"{caption}\n\n{table(head, rows)}" for caption, head, rows in tables(plain(document))]
    return "\n\n".join([*parts, *(f"* {sentence}" for sentence in sentences)]) + "\n"
