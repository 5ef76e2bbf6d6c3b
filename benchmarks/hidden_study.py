"""The published study's own neuron and notebooks, for hidden_inputs.py: what it printed, and the same runs redone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from numpy.typing import NDArray

from neuroinf.fits.hidden_descent import Descent, descend
from neuroinf.fits.penalty_sweep import Neurons, Setting, neurons, sweep
from neuroinf.models.gradient_descent import GradientDescent

FloatArray = NDArray[np.float64]
# the one neuron of all its notebooks: 9 weights, bias, hidden weight. It is the draw of torch.nn.Linear(10, 1) with seed 42,
# so that a start with the seed 42 would be the answer
SEED = 43
NEURON = [0.2418, 0.2625, -0.0741, 0.2905, -0.0693, 0.0638, -0.1540, 0.1857, 0.2788, 0.2749, -0.2320]
RANGE = (0.75, 0.93)
SHOWN = (0, 1_000, 3_000, 5_000, 10_000, 14_000, 20_000)


@dataclass(frozen=True)
class Run:
    """A run of the study.

    Args:
        notebook: Its number and the run's name there.
        loss: Printed at the end: of the last batch, penalty included.
        r: Correlation read off its scatter plot; None: not shown.
        setting: The same for us.
    """

    notebook: str
    loss: float
    r: float | None
    setting: Setting


NOTEBOOKS = (
    Run("02 first", 2.3e-4, -0.9, Setting(epochs=12_000)),
    Run("02 T=100", 9.3e-4, -0.75, Setting(bins=100)),
    Run("02 T=1000", 1.7e-7, -0.8, Setting()),
    Run("02 sweep, T=80", 6.1e-4, -0.5, Setting(bins=80)),
    Run("02 sweep, T=800", 1.3e-4, -0.95, Setting(bins=800)),
    Run("03 variable, T=100", 1.15e-3, None, Setting("variable_poisson", 100)),
    Run("03 constant, T=100", 5.4e-4, None, Setting("poisson", 100)),
    Run("03 constant, T=1000", 1.44e-6, None, Setting("poisson")),
    Run("03 start sd 3, T=100", 12.8, None, Setting("poisson", 100, init_sd=3.0)),
    Run("03 start sd 3, T=1000", 2.3e-4, None, Setting("poisson", init_sd=3.0)),
    Run("03 start sd 5, T=100", 104.5, None, Setting("poisson", 100, init_sd=5.0)),
    Run("03 start sd 5, T=1000", 0.095, None, Setting("poisson", init_sd=5.0)),
    Run("03 standardised, sd 3, T=100", 1.49, None, Setting("standardised_poisson", 100, init_sd=3.0)),
    Run("04 Adam", 1.7e-9, None, Setting("variable_poisson")),
    Run("04 AdamW", 3.1e-12, None, Setting("variable_poisson", optimizer="adamw")),
    Run("04 Adadelta", 0.240, None, Setting("variable_poisson", optimizer="adadelta")),
    Run("04 Adagrad", 0.240, None, Setting("variable_poisson", optimizer="adagrad")),
    Run("04 Cox, T=1000", 4.9e-11, None, Setting("cox")),
    Run("02 sweep, T=8000", 2.0e-11, -0.95, Setting(bins=8_000)),
    Run("04 Cox, T=10,000", 6.5e-13, None, Setting("cox", 10_000)),
)


class WrongValidation(Callback):
    """The study's two validations, neither of which can be trusted.

    The first pairs held-out bins with the hidden activity of the first training bins. The second gives them their true
    hidden input, which only a simulation knows, times a weight of the wrong sign.

    Args:
        x: Held-out inputs (R, 10, T'), the hidden one last.
        y: Rates (R, T').
    """

    def __init__(self, x: FloatArray, y: FloatArray) -> None:
        self.x, self.y = torch.from_numpy(x.astype(np.float32)), torch.from_numpy(y.astype(np.float32))
        self.shared: list[FloatArray] = []
        self.told: list[FloatArray] = []
        self.hidden_weight: list[FloatArray] = []

    def _add(self, module: L.LightningModule) -> None:
        assert isinstance(module, GradientDescent)
        with torch.no_grad():
            self.hidden_weight.append(module.hidden_weight.numpy().copy())
            for values, hidden in ((self.shared, module.hidden[:, : self.y.shape[1]]), (self.told, self.x[:, -1])):
                values.append((module.predicted(self.x[:, :-1], hidden) - self.y).square().mean(1).numpy())

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Before the first pass."""
        self._add(pl_module)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """After each hundred passes."""
        self._add(pl_module)


def both_signs(bins: int = 1_000) -> tuple[FloatArray, Neurons]:
    """The study's neuron, and the same with a positive hidden weight: parameters (2, 11) and data."""
    theta = np.array([NEURON, NEURON])
    theta[1, -1] *= -1
    return theta, neurons(theta, "gaussian", bins, SEED)


def descent(theta: FloatArray, data: Neurons, bins: int, epochs: int) -> tuple[Descent, WrongValidation]:
    """Gradient descent with all three validations, an entry for every 100 passes."""
    x, y = data.x[..., bins:], data.y[:, bins:]
    wrong = WrongValidation(x, y)
    found = descend(
        data.y[:, :bins],
        data.x[:, :9, :bins],
        data.variance,
        SEED,
        epochs=epochs,
        held_out=(y, x[:, :9]),
        truth=(theta[:, :9], data.x[:, 9, :bins]),
        callbacks=[wrong],
    )
    return found, wrong


def descents(epochs: int) -> dict[str, Any]:
    """A5, printed."""
    theta, data = both_signs()
    found, wrong = descent(theta, data, 1_000, epochs)
    history, results = found.history, {}
    for row, weight in enumerate(theta[:, -1]):
        print(f"\nA5  gradient descent, T = 1000, true hidden weight {weight:+.3f}; {found.seconds / 2:.0f} s")
        print("    epoch      r       R2    w error  train loss  validation  (bins shared)  (hidden input told)")
        for epoch in (e for e in SHOWN if e <= epochs):
            i = epoch // 100
            values = [history[key][i, row] for key in ("r", "r2", "weight_error", "train_loss", "val_loss")]
            r, r2, error, train, val = values
            shared, told = wrong.shared[i][row], wrong.told[i][row]
            print(
                f"    {epoch:6} {r:+.3f}  {r2:+.3f}   {error:.3f}    {train:.1e}     {val:.2e}     {shared:.2e}       {told:.2e}"
            )
        r, val = history["r"][:, row], history["val_loss"][:, row]
        lowest, peak = int(val.argmin()), int(np.abs(r).argmax())
        inside = 0 < lowest < len(val) - 1 and val[-1] > 1.1 * val[lowest]
        within = RANGE[0] <= abs(r[-1]) <= RANGE[1]
        print(
            f"    |r| {abs(r[-1]):.3f} in {RANGE[0]} to {RANGE[1]}: {'yes' if within else 'NO'}; largest {abs(r[peak]):.3f} at "
            f"{100 * peak}; the sign is {'right' if r[-1] > 0 else 'wrong'}; found hidden weight "
            f"{found.hidden_weight[row]:+.3f}; validation lowest at {100 * lowest} ({val[lowest]:.2e}), end "
            f"{val[-1]:.2e}, U-shaped: {'yes' if inside else 'NO'}"
        )
        results[f"w_h={weight:+.3f}"] = {
            "r": float(r[-1]),
            "r2": float(history["r2"][-1, row]),
            "largest_r": float(np.abs(r).max()),
            "lowest_validation_epoch": 100 * lowest,
            "validation": [float(val[lowest]), float(val[-1])],
            "weight_error": float(history["weight_error"][-1, row]),
            "met": bool(inside and within and (r[-1] > 0) == (weight > 0)),
        }
    return results


def published_table(runs: Sequence[Run], path: Path) -> dict[str, Mapping[str, float]]:
    """The notebooks, printed as Markdown: one row a run, of the study's neuron as it is and with its hidden weight's sign
    changed."""
    theta = both_signs(100)[0]
    head = (
        "run",
        "published loss",
        "r",
        "our loss",
        "r for w_h < 0, > 0",
        "largest",
        "R2",
        "weight error",
        "validation: lowest, end",
    )
    print("\n| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    results = {}
    for run in runs:
        # one at a time, so that each neuron's own sign is seen
        rows = [
            sweep([run.setting], theta[i : i + 1], SEED, path.with_stem(f"{path.stem}_{'-+'[i]}"))[0][1] for i in (0, 1)
        ]
        true = rows[0]
        r = ", ".join(f"{row.r * (1 if row.positive else -1):+.2f}" for row in rows)
        print(
            f"| {run.notebook} | {run.loss:.2g} | {'' if run.r is None else run.r} | {true.train_loss:.2g} | {r} | "
            f"{true.largest_r:.2f} | {true.r2:.2f} | {true.weight_error:.2f} | {true.lowest_val_loss:.1e}, {true.val_loss:.1e} |",
            flush=True,
        )
        results[run.notebook] = {"published_loss": run.loss, **vars(true)}
    return results
