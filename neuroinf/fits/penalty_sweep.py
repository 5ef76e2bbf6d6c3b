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
    """Where a run ended; medians over the neurons.

    Attributes:
        train_loss: Penalty included.
        val_loss: On bins whose hidden input nobody knows.
        lowest_val_loss: On the way.
        r2: Between hidden activity found and true, as they stand.
        r: Their correlation without its sign.
        positive: Fraction of neurons where that is positive.
        largest_r: On the way, without its sign.
        weight_error: Relative.
        seconds: For one neuron.
    """

    train_loss: float
    val_loss: float
    lowest_val_loss: float
    r2: float
    r: float
    positive: float
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


def run(setting: Setting, theta: FloatArray, seed: int) -> Row:
    """One row of the table.

    Args:
        setting: What is run.
        theta: Parameters :math:`(R, I + 2)` of the neurons, as for :func:`neurons`.
        seed: Of the inputs, the start and the order of bins.
    """
    t, data = setting.bins, neurons(theta, setting.law, setting.bins, seed)
    options = {k: v for k, v in asdict(setting).items() if k not in ("law", "bins", "epochs")}
    found = descend(
        data.y[:, :t],
        data.x[:, :-1, :t],
        data.variance,
        seed,
        epochs=100 * -(-setting.epochs // 100),
        held_out=(data.y[:, t:], data.x[:, :-1, t:]),
        truth=(theta[:, :-2], data.x[:, -1, :t]),
        **options,
    )
    end = {key: values[-1] for key, values in found.history.items()}
    return Row(
        train_loss=float(np.median(end["train_loss"])),
        val_loss=float(np.median(end["val_loss"])),
        lowest_val_loss=float(np.median(found.history["val_loss"].min(axis=0))),
        r2=float(np.median(end["r2"])),
        r=float(np.median(np.abs(end["r"]))),
        positive=float((end["r"] > 0).mean()),
        largest_r=float(np.median(np.abs(found.history["r"]).max(axis=0))),
        weight_error=float(np.median(end["weight_error"])),
        seconds=found.seconds / len(theta),
    )


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
    wanted: Iterable[Setting], theta: FloatArray, seed: int, path: Path | None = None
) -> list[tuple[Setting, Row]]:
    """Runs all settings in turn; those that the file has already are read from it.

    Args:
        wanted: Settings.
        theta: Parameters :math:`(R, I + 2)` of the neurons, the same for all.
        seed: Likewise.
        path: CSV, a line for each run, written as soon as it is done; None: nothing is kept.

    Raises:
        InputError: if the file is of something else, or of other neurons or another seed.
    """
    about = {"seed": str(seed), "neurons": str(len(theta)), "checksum": f"{float(np.square(theta).sum()):.9g}"}
    done = {} if path is None or not path.exists() else _read(path, about)
    table = []
    for setting in wanted:
        if setting not in done:
            done[setting] = run(setting, theta, seed)
            if path is not None:
                line = {**about, **asdict(setting), **asdict(done[setting])}
                new = not path.exists()
                with path.open("a", newline="") as file:
                    writer = csv.DictWriter(file, line.keys())
                    if new:
                        writer.writeheader()
                    writer.writerow(line)
        table.append((setting, done[setting]))
    return table


def text(table: Sequence[tuple[Setting, Row]]) -> str:
    """The table, with those settings that differ between its rows."""
    varying = [f.name for f in fields(Setting) if len({getattr(setting, f.name) for setting, _ in table}) > 1]
    head = [*varying, "train loss", "val loss", "lowest", "R2", "|r|", "r > 0", "max |r|", "w error", "s"]
    lines = [head]
    for setting, row in table:
        losses = (row.train_loss, row.val_loss, row.lowest_val_loss)
        scores = (row.r2, row.r, row.positive, row.largest_r, row.weight_error)
        lines.append([
            *(f"{getattr(setting, name)}" for name in varying),
            *(f"{value:.2e}" for value in losses),
            *(f"{value:.3f}" for value in scores),
            f"{row.seconds:.1f}",
        ])  # fmt: skip
    widths = [max(len(line[j]) for line in lines) for j in range(len(head))]
    return "\n".join("  ".join(cell.rjust(w) for cell, w in zip(line, widths, strict=True)) for line in lines)


def _read(path: Path, about: Mapping[str, str]) -> dict[Setting, Row]:
    """Runs of a file."""
    expected = [*about, *(f.name for f in fields(Setting)), *(f.name for f in fields(Row))]
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames != expected:
            raise InputError(f"{path}: expected a sweep's table with columns {expected}, found {reader.fieldnames}")
        found = {}
        for line in reader:
            if any(line[key] != value for key, value in about.items()):
                other = {key: line[key] for key in about}
                raise InputError(f"{path}: a sweep of other neurons, {other} and not {dict(about)}; name another file")
            setting: dict[str, Any] = {name: type(value)(line[name]) for name, value in asdict(Setting()).items()}
            found[Setting(**setting)] = Row(**{f.name: float(line[f.name]) for f in fields(Row)})
    return found
