"""The table of an evaluation of latents: every method's numbers, session by session, and those of every dimension tried."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

FAR = 20  # bins ahead of the second forecast
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
    f"forecast_{FAR}": f"{FAR} bins",
    f"ar1_{FAR}": "AR(1)",
    "bits_per_spike": "bits/spike",
    "seconds": "fit (s)",
}


def latent_table(metrics: Mapping[str, Any]) -> str:
    """The numbers of all methods, and of all dimensions if they were scanned."""
    truth, sessions = metrics["true_dimension"], metrics["sessions"]
    lines = [
        f"{metrics['dimension']} latents, {metrics['n_test']:,} bins that were not trained on: {metrics['dataset']}"
        + ("" if truth is None else f"; {truth} latents there are")
    ]
    for session in sessions:
        title = (
            "" if len(sessions) == 1 else f"{session['name']}, {session['neurons']} neurons, {session['n_test']:,} bins"
        )
        lines += [title, f"{'':<9}" + "".join(f"{column:>15}" for column in COLUMNS.values())]
        for name, scores in session["methods"].items():
            lines.append(f"{name:<9}" + "".join(f"{_cell(scores[key]):>15}" for key in COLUMNS))
        if session["inputs_beyond_90"] is not None:
            lines.append(
                f"inferred inputs: 0 is outside of the 90 % interval in {session['inputs_beyond_90']:.1%} of bins"
            )
        if session["latent_r2_by_first"] is not None:
            by_first = _cell(session["latent_r2_by_first"])
            lines.append(
                f"latent R2 by the first session's regression: {by_first}; 1 if the latents mean the same there"
            )
    lines += [
        "",
        "EV, all seen: each entry from a latent that has read it: noise that is copied counts as explained. Hidden neurons: a",
        "quarter of them at a time, predicted from the others; of counts in bits per spike. EV of span: least squares in the span",
        "of the read-out, as PCA does. Forecasts of the latents, R2; AR(1): each latent alone.",
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
