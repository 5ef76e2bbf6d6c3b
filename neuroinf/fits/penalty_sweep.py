"""Direct gradient descent under many settings: one table of where each ends, resumed where it was left."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from neuroinf.errors import InputError
from neuroinf.fits.hidden_descent import descend
from neuroinf.models.gradient_descent import OptimizerName
from neuroinf.simulators import GLM
from neuroinf.stimuli import CoxInputs, GaussianInputs, PoissonInputs, Stimulus

FloatArray = NDArray[np.float64]
Law = Literal["gaussian", "poisson", "variable_poisson", "standardised_poisson", "cox"]
LAWS: dict[Law, Callable[[int, float], Stimulus]] = {
    "gaussian": lambda rows, bins: GaussianInputs(rows, bins),
    "poisson": lambda rows, bins: PoissonInputs(rows, bins),
    "variable_poisson": lambda rows, bins: PoissonInputs(rows, bins, variable=True),
    "standardised_poisson": lambda rows, bins: PoissonInputs(rows, bins, standardised=True),
    # binary, 1 ms, rates that vary over 10 ms; not correlated between rows, as the published ones turned out to be
    "cox": lambda rows, bins: CoxInputs(rows, bins, rates=100.0, cv=0.5, tau=10.0),
}
# settings that may differ between runs side by side, and those that must not
PENALTIES = ("init_sd", "variance_penalty", "norm_penalty")
TOGETHER = ("bins", "epochs", "optimizer", "lr", "batch_size", "norm")
VALIDATION = 4  # training bins for each held-out bin


@dataclass(frozen=True)
class Setting:
    """One run.

    Args:
        law: Of all inputs, the hidden one included.
        bins: T.
        epochs: Passes through them; rounded up to a multiple of 100.
        optimizer, lr, init_sd, batch_size, variance_penalty, norm_penalty, norm: See `GradientDescent`.
    """

    law: Law = "gaussian"
    bins: int = 1000
    epochs: int = 20_000
    optimizer: OptimizerName = "adam"
    lr: float = 1e-4
    init_sd: float = 1.0
    batch_size: int = 256
    variance_penalty: float = 1.0
    norm_penalty: float = 0.0
    norm: float = 2.0


@dataclass(frozen=True)
class Row:
    """Where a run ended for one neuron.

    Attributes:
        train_loss: Penalty included.
        val_loss: On bins whose hidden input nobody knows.
        lowest_val_loss: On the way.
        r2: Between hidden activity found and true, as they stand.
        r: Their correlation, with its sign.
        largest_r: On the way, without its sign.
        weight_error: Relative.
        seconds: For one neuron and setting, of a run of many side by side.
    """

    train_loss: float
    val_loss: float
    lowest_val_loss: float
    r2: float
    r: float
    largest_r: float
    weight_error: float
    seconds: float


@dataclass(frozen=True)
class Neurons:
    """Logistic neurons whose inputs follow a law; the last input is hidden from the fits.

    Attributes:
        x: Inputs :math:`(R, I + 1, T + T')`, the hidden one last.
        y: Rates :math:`(R, T + T')`.
        variance: Of the hidden input in the first T bins, :math:`(R,)`.
    """

    x: FloatArray
    y: FloatArray
    variance: FloatArray


def neurons(theta: FloatArray, law: Law, bins: int, seed: int) -> Neurons:
    """Simulates R neurons over T training bins and a quarter as many more.

    Args:
        theta: Parameters :math:`(R, I + 2)` in the order of `GLM`: weights, bias, hidden weight.
        law: Of their inputs.
        bins: T.
        seed: Neurons of the same seed, law and T have the same inputs.
    """
    rows = theta.shape[1] - 1
    stimulus = LAWS[law](rows, float(bins + bins // VALIDATION))
    streams = np.random.SeedSequence([seed, bins]).spawn(len(theta))
    x = np.stack([stimulus.sample(np.random.default_rng(stream)) for stream in streams])
    y = np.asarray(GLM(rows - 1, 1).simulate(theta, x, 1.0)["rate"], np.float64)
    return Neurons(x, y, x[:, -1, :bins].var(axis=1, ddof=1))


def run(wanted: Sequence[Setting], theta: FloatArray, seed: int, progress: str | None = None) -> list[list[Row]]:
    """A row of the table for each neuron, of each setting; all settings side by side, from the same start.

    Args:
        wanted: Settings that agree in all of `TOGETHER`.
        theta: Parameters :math:`(R, I + 2)` of the neurons, as for :func:`neurons`.
        seed: Of the inputs, the start and the order of bins.
        progress: What the run is called in lines on stderr; None: silent.
    """
    first, t, r = wanted[0], wanted[0].bins, len(theta)
    made = [neurons(theta, setting.law, t, seed) for setting in wanted]
    x, y = np.concatenate([one.x for one in made]), np.concatenate([one.y for one in made])
    each = {name: np.repeat([getattr(setting, name) for setting in wanted], r) for name in PENALTIES}
    found = descend(
        y[:, :t],
        x[:, :-1, :t],
        np.concatenate([one.variance for one in made]),
        seed,
        epochs=100 * -(-first.epochs // 100),
        batch_size=first.batch_size,
        lr=first.lr,
        optimizer=first.optimizer,
        norm=first.norm,
        blocks=len(wanted),
        held_out=(y[:, t:], x[:, :-1, t:]),
        truth=(np.tile(theta[:, :-2], (len(wanted), 1)), x[:, -1, :t]),
        progress=progress,
        init_sd=each["init_sd"],
        variance_penalty=each["variance_penalty"],
        norm_penalty=each["norm_penalty"],
    )
    table = {
        **{name: found.history[name][-1] for name in ("train_loss", "val_loss", "r2", "r", "weight_error")},
        "lowest_val_loss": found.history["val_loss"].min(axis=0),
        "largest_r": np.abs(found.history["r"]).max(axis=0),
        "seconds": np.full(len(y), found.seconds / len(y)),
    }
    rows = [Row(**{name: float(values[i]) for name, values in table.items()}) for i in range(len(y))]
    return [rows[i : i + r] for i in range(0, len(rows), r)]


def settings(base: Setting, axes: Mapping[str, Sequence[Any]]) -> list[Setting]:
    """Every combination of the values of some of the base's fields, the last changing fastest.

    Raises:
        InputError: if a name is no field of Setting, or two combinations are the same run.
    """
    names = {field.name for field in fields(Setting)}
    if set(axes) - names:
        raise InputError(f"swept settings: expected some of {sorted(names)}, found {sorted(set(axes) - names)}")
    made = [replace(base, **dict(zip(axes, values, strict=True))) for values in product(*axes.values())]
    if len(set(made)) < len(made):
        raise InputError(f"swept settings: every value must change the run, found repeated ones in {dict(axes)}")
    return made


def sweep(
    wanted: Iterable[Setting], theta: FloatArray, seed: int, path: Path | None = None, progress: bool = False
) -> list[tuple[Setting, list[Row]]]:
    """Runs all settings, those side by side that can be; those that the file has already are read from it.

    Args:
        wanted: Settings.
        theta: Parameters :math:`(R, I + 2)` of the neurons, the same for all.
        seed: Likewise.
        path: CSV, a line for each neuron of a run, written as soon as that is done; None: nothing is kept.
        progress: Lines on stderr now and then.

    Raises:
        InputError: if the file is of something else, or of other neurons or another seed.
    """
    about = {"seed": str(seed), "neurons": str(len(theta)), "checksum": f"{float(np.square(theta).sum()):.9g}"}
    done = {} if path is None or not path.exists() else _read(path, about)
    wanted = list(wanted)
    groups: dict[tuple[Any, ...], list[Setting]] = {}
    for setting in dict.fromkeys(wanted):
        if len(done.get(setting, [])) != len(theta):
            groups.setdefault(tuple(getattr(setting, name) for name in TOGETHER), []).append(setting)
    for i, group in enumerate(groups.values()):
        first = group[0]
        name = f"descent {i + 1} of {len(groups)} ({len(group)} settings, T={first.bins}, {first.optimizer})"
        for setting, rows in zip(group, run(group, theta, seed, name if progress else None), strict=True):
            done[setting] = rows
            if path is not None:
                _write(path, [{**about, **asdict(setting), **asdict(row)} for row in rows])
    return [(setting, done[setting]) for setting in wanted]


def text(table: Sequence[tuple[Setting, Sequence[Row]]]) -> str:
    """Medians over the neurons of each run, beside those settings that differ between runs.

    `r > 0` is the fraction of neurons whose hidden activity has the right sign.
    """
    varying = [f.name for f in fields(Setting) if len({getattr(setting, f.name) for setting, _ in table}) > 1]
    head = [*varying, "train loss", "val loss", "lowest", "R2", "|r|", "r > 0", "max |r|", "w error", "s"]
    lines = [head]
    for setting, rows in table:
        column = {f.name: np.array([getattr(row, f.name) for row in rows]) for f in fields(Row)}
        losses = (column["train_loss"], column["val_loss"], column["lowest_val_loss"])
        before, after = (column["r2"], np.abs(column["r"])), (column["largest_r"], column["weight_error"])
        lines.append([
            *(f"{getattr(setting, name)}" for name in varying),
            *(f"{np.median(values):.2e}" for values in losses),
            *(f"{np.median(values):.3f}" for values in before),
            f"{(column['r'] > 0).mean():.2f}",
            *(f"{np.median(values):.3f}" for values in after),
            f"{np.median(column['seconds']):.1f}",
        ])  # fmt: skip
    widths = [max(len(line[j]) for line in lines) for j in range(len(head))]
    return "\n".join("  ".join(cell.rjust(w) for cell, w in zip(line, widths, strict=True)) for line in lines)


def _write(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    """Adds lines to a file."""
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, lines[0].keys())
        if new:
            writer.writeheader()
        writer.writerows(lines)


def _read(path: Path, about: Mapping[str, str]) -> dict[Setting, list[Row]]:
    """Runs of a file."""
    expected = [*about, *(f.name for f in fields(Setting)), *(f.name for f in fields(Row))]
    found: dict[Setting, list[Row]] = {}
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames != expected:
            raise InputError(f"{path}: expected a sweep's table with columns {expected}, found {reader.fieldnames}")
        for line in reader:
            if any(line[key] != value for key, value in about.items()):
                other = {key: line[key] for key in about}
                raise InputError(f"{path}: a sweep of other neurons, {other} and not {dict(about)}; name another file")
            setting: dict[str, Any] = {name: type(value)(line[name]) for name, value in asdict(Setting()).items()}
            found.setdefault(Setting(**setting), []).append(Row(**{f.name: float(line[f.name]) for f in fields(Row)}))
    return found
