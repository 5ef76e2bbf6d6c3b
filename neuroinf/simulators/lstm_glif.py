"""The simulator of the published study that inferred GLIF parameters with an LSTM: five labels, one without effect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from neuroinf.errors import InputError
from neuroinf.simulators.glif import GLIF
from neuroinf.simulators.protocol import Response

# coeffs.th_inf of the one published neuron on which the study's grid is built: its labels are multiplied by it
THRESHOLD_COEFFICIENT = 1.1958624156695845
# 55 steps of the 5 microseconds to which the study overwrote the neuron's step
SPIKE_CUT = 0.275


class LSTMGLIF:
    """GLIF level 1 as the study ran it, with its five labels.

    C, El, R_input and th_inf enter as in :class:`neuroinf.simulators.GLIF` in the frame of rest, th_inf multiplied by the
    coefficient of the neuron that the study started from. The label dt enters nowhere: the study set it at construction and
    overwrote it with the sampling step before each run.

    Attributes:
        label_scale: What each label is multiplied by in the study's loss, from this project's units.
        published_losses: The study's own, mean squared error of the scaled labels.

    Source:
        github.com/kevinbdsouza/lstm_glif, commit 2311524: README (1.7527) and model configuration.
    """

    parameters: tuple[str, ...] = ("C", "El", "R_input", "dt", "th_inf")
    units: tuple[str, ...] = ("pF", "mV", "GOhm", "ms", "mV")
    channels: dict[str, str] = {"voltage": "mV"}  # noqa: RUF012  (the protocol asks for an attribute)
    stimulus_unit: str = "pA"
    # nF, V, GOhm, units of 10 microseconds, V
    label_scale: tuple[float, ...] = (1e-3, 1e-3, 1.0, 1e2, 1e-3)
    published_losses: Mapping[str, float] = {"published test loss": 1.7527}

    spike_cut: float = SPIKE_CUT

    def __init__(self) -> None:
        self._neuron = GLIF(level=1, frame="rest", fixed={"spike_cut_length": SPIKE_CUT})

    def simulate(self, theta: ArrayLike, stimulus: ArrayLike, dt: float, seed: int | Sequence[int] = 0) -> Response:
        """See Simulator; theta (n, 5) in the order of `parameters`.

        Raises:
            InputError: if theta has another width.
        """
        theta = np.asarray(theta, np.float64)
        if theta.ndim != 2 or theta.shape[1] != 5:
            raise InputError(
                f"theta: expected shape (n, 5) with columns {', '.join(self.parameters)}, found {theta.shape}"
            )
        values = dict(zip(self.parameters, theta.T, strict=True))
        values["th_inf"] = values["th_inf"] * THRESHOLD_COEFFICIENT
        columns = np.stack([values[name] for name in self._neuron.parameters], axis=1)
        return self._neuron.simulate(columns, stimulus, dt, seed)
