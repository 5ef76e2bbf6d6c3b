"""What a run has logged so far, from the tables in its folder."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Logged:
    """Values of one metric.

    Args:
        values: Epochs counted from 1 over all stages of a training, and the metric after each of them.
        names: All metrics that have been logged.
    """

    values: dict[int, float]
    names: list[str]


def read_logged(folder: Path, metric: str) -> Logged:
    """From every metrics.csv below a trial's folder, the first stage's first.

    A table that is being written at this moment counts as far as it can be read.
    """
    values: dict[int, float] = {}
    names: dict[str, None] = {}
    before = 0
    # a second stage has its own table, in a folder inside the run's, or goes on in the same, from epoch 0 again
    for table in sorted(folder.rglob("metrics.csv"), key=lambda path: (len(path.parts), path)):
        last = -1
        for row in _rows(table):
            names |= dict.fromkeys(name for name, text in row.items() if text and name not in ("epoch", "step"))
            value, epoch = _number(row.get(metric)), _number(row.get("epoch"))
            if value is None or epoch is None:
                continue
            if epoch < last:
                before += last + 1
            last = int(epoch)
            values[before + last + 1] = value
        before += last + 1
    return Logged(values, list(names))


def _rows(table: Path) -> list[dict[str, str]]:
    try:
        with table.open(newline="") as file:
            return [{key: text for key, text in row.items() if key and text} for row in csv.DictReader(file)]
    except (OSError, csv.Error):
        return []


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


__all__ = ["Logged", "read_logged"]
