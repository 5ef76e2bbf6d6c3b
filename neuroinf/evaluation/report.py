"""report.html, one file that needs nothing else, and the same table for the terminal."""

from __future__ import annotations

import base64
import io
import math
import os
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from neuroinf.evaluation.metrics import check_metrics, plain
from neuroinf.evaluation.verdict import Loss, verdict
from neuroinf.evaluation.wording import duration

_DPI = 110


@dataclass(frozen=True)
class Report:
    """What the report is made of.

    Args:
        title: Heading.
        metrics: The content of metrics.json.
        units: Unit of each parameter, by name.
        figures: Captions and figures, or the PNG that one was saved as, in order.
        conditions: Under other conditions than that of `metrics`: for each one's name, each method's entry M or None
            (`Comparison.metrics`).
        losses: Losses to be judged against predicting the mean.
        provenance: What made this: checkpoint, data, commands, versions; shown as it is.
        notes: Further sentences for the verdict, e.g. of a study.
    """

    title: str
    metrics: Mapping[str, Any]
    units: Mapping[str, str]
    figures: Sequence[tuple[str, Figure | Path]] = ()
    conditions: Mapping[str, Mapping[str, Mapping[str, Any] | None]] = field(default_factory=dict)
    losses: Sequence[Loss] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()


def write_report(path: Path, report: Report) -> Path:
    """Write report.html, whole or not at all: tables, verdict and figures in one file without any outside reference.

    Raises:
        ValueError: if the metrics are not what :func:`check_metrics` expects.
    """
    metrics = plain(report.metrics)
    check_metrics(metrics)
    environment = Environment(
        loader=PackageLoader("neuroinf.evaluation", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number, duration=duration, count=_count, percent=_percent, scored=_scored)
    page = environment.get_template("report.html.j2").render(
        title=report.title,
        metrics=metrics,
        units=report.units,
        sentences=[*verdict(metrics, report.losses), *report.notes],
        conditions=plain(report.conditions),
        losses=report.losses,
        provenance=report.provenance,
        figures=[(caption, _embedded(figure)) for caption, figure in report.figures],
    )
    aside = path.with_name(path.name + ".part")
    aside.write_text(page, encoding="utf-8")
    os.replace(aside, path)
    return path


def terminal_table(metrics: Mapping[str, Any]) -> str:
    """R2 of each method and parameter as plain text, with mean error, time and number of neurons answered."""
    metrics = plain(metrics)
    names = metrics["parameters"]
    rows = [["R2", *names, "mean error", "per neuron", "neurons"]]
    for method, entry in metrics["methods"].items():
        scores = [number(entry["r2"][name]) for name in names]
        rows.append(
            [method, *scores, number(_mean(entry["nrmse"])), duration(entry["seconds_per_neuron"]), str(entry["n"])]
        )
    return _columns(rows)


def _columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows below a header, the first column to the left and the others to the right."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if k == 0 else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def hidden_table(metrics: Mapping[str, Any]) -> str:
    """What is known of hidden inputs' signs, their activity, and the bins to come, as plain text; empty without any."""
    metrics = plain(metrics)
    parts = []
    for name, methods in metrics.get("symmetries", {}).items():
        keys = ("probability", "right", "undecided", "brier", "brier_of_guessing", "bimodal", "n")
        parts.append(_lined_up(f"sign of {name}", keys, methods))
    if metrics.get("hidden"):
        keys = ("r", "r_5", "raw_r", "r2", "coverage_90", "weight_error", "n")
        parts.append(_lined_up("hidden activity", keys, metrics["hidden"]))
    if metrics.get("confounding"):
        found = metrics["confounding"]
        title = f"weights, inputs correlated {found['input_correlation']:.2f}"
        parts.append(_lined_up(title, ("bias", "bias_over_fit", "width", "coverage_90", "n"), found["methods"]))
    held_out = metrics.get("predictive", {})
    keys = _scored(held_out) if held_out else []
    if any(key.startswith("held_out") for key in keys):
        parts.append(_lined_up("bins to come", keys, held_out))
    return "\n\n".join(parts)


def _lined_up(title: str, keys: Sequence[str], methods: Mapping[str, Mapping[str, float | None]]) -> str:
    rows = [[title, *keys]]
    for method, entry in methods.items():
        rows.append([method, *(str(entry[key]) if key == "n" else number(entry.get(key)) for key in keys)])
    return _columns(rows)


def terminal_report(
    metrics: Mapping[str, Any], losses: Sequence[Loss] = (), notes: Sequence[str] = (), width: int = 100
) -> str:
    """:func:`terminal_table`, :func:`hidden_table` if there are hidden inputs, and the verdict with notes below."""
    sentences = [
        textwrap.fill(s, width, initial_indent="* ", subsequent_indent="  ")
        for s in [*verdict(plain(metrics), losses), *notes]
    ]
    hidden = hidden_table(metrics)
    return "\n".join([terminal_table(metrics), *(["", hidden] if hidden else []), "", *sentences])


def number(value: float | None) -> str:
    """A score with three decimals, a large one with three digits; a dash if there is none."""
    if value is None or not math.isfinite(value):
        return "-"
    text = f"{value:.3f}" if abs(value) < 1000 else f"{value:.3g}"
    return "0.000" if text == "-0.000" else text


def _percent(value: float | None) -> str:
    """A fraction in per cent; a dash if there is none."""
    return "-" if value is None else f"{100 * value:.1f}"


def _scored(methods: Mapping[str, Mapping[str, float | None]]) -> list[str]:
    """The first method's scores that any method has; all of them if none has any, for the dashes to be seen."""
    keys = list(next(iter(methods.values())))
    return [key for key in keys if any(scores.get(key) is not None for scores in methods.values())] or keys


def _count(value: float | None) -> str:
    """A number of things, rounded up; a dash if there is none."""
    return "-" if value is None else f"{math.ceil(value):,}"


def _mean(scores: Mapping[str, float | None]) -> float | None:
    """Mean over parameters; None if any is missing, for a mean over fewer would look better or worse than it is."""
    known = [value for value in scores.values() if value is not None]
    return math.fsum(known) / len(known) if known and len(known) == len(scores) else None


def _embedded(figure: Figure | Path) -> str:
    """A figure as the text of a data URI."""
    if isinstance(figure, Path):
        content = figure.read_bytes()
    else:
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
        content = buffer.getvalue()
    return "data:image/png;base64," + base64.b64encode(content).decode("ascii")
