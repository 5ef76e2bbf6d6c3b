r"""Generalized linear neurons: some inputs observed, some hidden, a nonlinearity, and rate, Bernoulli or Poisson output.

Bin t of dt ms has the drive

.. math::
    \eta_t = b + \sum_{i,j} w_{ij} (B_j * x_i)_t + \sum_{i,j} c_{ij} (C_j * s_i)_{t - 1} + \sum_j a_j (H_j * y)_{t - 1}
             + \sum_k w_{h,k}\, h_{k,t}, \qquad (B * x)_t = \sum_{l \ge 0} B(l\, dt)\, x_{t - l}

of observed inputs x, coupled neurons' counts s, the neuron's own response y and hidden inputs h; all are 0 before the
first bin. Hidden inputs act in their own bin, inputs through a basis B from their own bin on (without one, in it
alone), coupling and history through the bases C and H from the next bin on. The response is

=========== ====================== ==========================================================
output      channel                y_t
=========== ====================== ==========================================================
"rate"      ``rate``               f(eta_t)
"bernoulli" ``count``, 0 or 1      1 with probability f (logistic) or 1 - exp(-f) (exponential)
"poisson"   ``count``              Poisson of mean f(eta_t)
=========== ====================== ==========================================================

with f(eta) = 1 / (1 + exp(-eta)), "logistic", or exp(eta), "exponential".

Only the product of a hidden input and its weight enters: (w_h, h) and (-w_h, -h) give the same response, bit by bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuroinf.errors import InputError
from neuroinf.simulators.bases import Basis
from neuroinf.simulators.glm_kernel import BERNOULLI, ENDED, NOT_A_NUMBER, POISSON, RATE, glm_rows
from neuroinf.simulators.protocol import Response
from neuroinf.simulators.seeds import row_seeds
from neuroinf.simulators.stimulus_samples import stimulus_samples
from neuroinf.simulators.threads import in_threads

FloatArray = NDArray[np.float64]
Nonlinearity = Literal["logistic", "exponential"]
Output = Literal["rate", "bernoulli", "poisson"]

OUTPUTS = {"rate": RATE, "bernoulli": BERNOULLI, "poisson": POISSON}
# Fewer input-samples than this (about 0.2 ms of work) are not worth waking another thread for.
SAMPLES_PER_THREAD = 400_000


class GLM:
    """A batch of generalized linear neurons; see the module for the equations.

    The rows of the stimulus are the observed inputs, the coupled neurons' counts and the hidden inputs, in this order.
    The parameters, all without unit: the inputs' weights w_1 to w_I (with a basis of J functions w_1_1 to w_I_J), the
    bias b, the coupling weights c_1_1 to c_m_J, the history weights a_1 to a_J, and the hidden weights, ``w_hidden`` if
    there is one or their sum, else w_hidden_1 to w_hidden_K.

    Args:
        inputs: Number of observed inputs I.
        hidden: Number of hidden inputs K.
        summed: One weight for all hidden inputs. How many of them a neuron has, 1 to K, and their shares d of the
            weight are drawn for each row from its seed, d uniform on the unit sphere with a positive sum; its hidden
            activity is :math:`h_t = \\sum_k d_k h_{k,t}`, of variance 1 where the inputs are independent and have it.
        coupled: Number of coupled neurons m.
        filters: Basis of the inputs' filters; None: the weights act in the same bin.
        coupling: Basis of the coupling filters; there must be one if neurons are coupled.
        history: Basis of the neuron's own history; None: without.
        nonlinearity: f.
        output: What the neuron shows.

    Attributes:
        parameters, units: The columns of theta.
        channels: The channel and its unit.
        hidden_inputs: K: the last so many rows of the stimulus are not observed.
        sign_symmetric: The hidden weights. The sign of each may be changed together with that of its hidden input
            (if summed, of all of them) without a trace in the response.

    Raises:
        InputError: for impossible numbers, or parts that do not fit each other.

    Example:
        >>> neuron = GLM(inputs=2, hidden=1)
        >>> neuron.parameters
        ('w_1', 'w_2', 'b', 'w_hidden')
        >>> response = neuron.simulate([[0.5, -0.5, 0.0, 1.0]], np.ones((1, 3, 4)), dt=1.0)
        >>> response["rate"].round(3)
        array([[0.731, 0.731, 0.731, 0.731]])
    """

    stimulus_unit = "1"

    def __init__(
        self,
        inputs: int = 9,
        hidden: int = 1,
        summed: bool = False,
        coupled: int = 0,
        filters: Basis | None = None,
        coupling: Basis | None = None,
        history: Basis | None = None,
        nonlinearity: Nonlinearity = "logistic",
        output: Output = "rate",
    ) -> None:
        for name, count in (("inputs", inputs), ("hidden", hidden), ("coupled", coupled)):
            if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 0:
                raise InputError(f"GLM {name}: expected a whole number that is not negative, found {count!r}")
        self.inputs, self.hidden, self.coupled = int(inputs), int(hidden), int(coupled)
        self.summed, self.filters, self.coupling, self.history = summed, filters, coupling, history
        self.nonlinearity: Nonlinearity = nonlinearity
        self.output: Output = output
        self._check_parts()
        self.channels: dict[str, str] = {"rate": "1"} if output == "rate" else {"count": "1"}
        self.hidden_inputs = self.hidden
        self.sign_symmetric: tuple[str, ...] = ()
        if self.hidden:
            one = summed or self.hidden == 1
            self.sign_symmetric = ("w_hidden",) if one else tuple(f"w_hidden_{k + 1}" for k in range(self.hidden))
        self.parameters: tuple[str, ...] = (*self._observed_parameters(), *self.sign_symmetric)
        self.units: tuple[str, ...] = ("1",) * len(self.parameters)

    def _check_parts(self) -> None:
        for name, value, kind in (("nonlinearity", self.nonlinearity, Nonlinearity), ("output", self.output, Output)):
            if value not in get_args(kind):
                raise InputError(f"GLM {name}: expected one of {', '.join(get_args(kind))}, found {value!r}")
        for name in ("filters", "coupling", "history"):
            basis = getattr(self, name)
            if basis is not None and not isinstance(basis, Basis):
                raise InputError(
                    f"GLM {name}: expected a basis, such as neuroinf.simulators.bases.RaisedCosines, found {basis!r}"
                )
        if not isinstance(self.summed, bool):
            raise InputError(f"GLM summed: expected true or false, found {self.summed!r}")
        if self.inputs + self.hidden + self.coupled == 0:
            raise InputError("GLM: a neuron needs an observed, hidden or coupled input, found 0 of each")
        if self.summed and not self.hidden:
            raise InputError("GLM summed: there are no hidden inputs to be summed; set hidden, or summed to false")
        if self.filters is not None and not self.inputs:
            raise InputError("GLM filters: there are no observed inputs to be filtered; set inputs, or filters to null")
        if self.coupled and self.coupling is None:
            raise InputError(f"GLM coupled: {self.coupled} coupled neurons need a basis; set coupling")
        if self.coupling is not None and not self.coupled:
            raise InputError("GLM coupling: there are no coupled neurons; set coupled, or coupling to null")

    def _observed_parameters(self) -> list[str]:
        inputs = [f"w_{i + 1}" for i in range(self.inputs)]
        if self.filters is not None:
            inputs = [f"{name}_{j + 1}" for name in inputs for j in range(self.filters.size)]
        coupling, history = 0 if self.coupling is None else self.coupling.size, self.history
        names = [f"c_{i + 1}_{j + 1}" for i in range(self.coupled) for j in range(coupling)]
        return [*inputs, "b", *names, *(f"a_{j + 1}" for j in range(0 if history is None else history.size))]

    def simulate(self, theta: ArrayLike, stimulus: ArrayLike, dt: float, seed: int | Sequence[int] = 0) -> Response:
        """Simulate n neurons; the rows are shared among as many threads as NUMBA_NUM_THREADS says.

        Args:
            theta: Parameters :math:`(n, P)`.
            stimulus: :math:`(n, I + m + K, T)`, or :math:`(1, I + m + K, T)` for all rows.
            dt: Length of a bin, ms.
            seed: n numbers below 2^64, or one, from which row i's is made: the same whatever n is.

        Returns:
            The channel :math:`(n, T)` and ``"latent/hidden"``, :math:`(n, T)` if summed or K = 1, else
            :math:`(n, K, T)`, in the stimulus' precision (sums are always float64); ``"terminated"`` :math:`(n,)`, the
            rows that stopped at a rate above 2^24 in one bin, nan from there on: a history that excites itself does.

        Raises:
            InputError: for a wrong shape or an impossible value.
        """
        theta = self._checked_theta(theta)
        n, rows = len(theta), self.inputs + self.coupled + self.hidden
        meaning = "observed inputs, coupled neurons and hidden inputs in this order"
        # writable, as numba compiles anew for what is not
        x = np.require(stimulus_samples(stimulus, n, rows, meaning), requirements=("C", "W"))
        if not (isinstance(dt, int | float | np.number) and math.isfinite(dt) and dt > 0):
            raise InputError(f"dt: expected a positive number of ms, found {dt!r}")
        steps = x.shape[2]
        same_bin, nothing = np.ones((1, 1)), np.zeros((0, 1))
        filters = same_bin if self.filters is None else _kernels(self.filters, dt, "filters")
        coupling = nothing if self.coupling is None else _kernels(self.coupling, dt, "coupling")
        history = nothing if self.history is None else _kernels(self.history, dt, "history")
        sizes = (self.inputs * len(filters), 1, self.coupled * len(coupling), len(history), len(self.sign_symmetric))
        weights, bias, coupling_weights, history_weights, hidden_weights = (
            np.ascontiguousarray(part) for part in np.split(theta, np.cumsum(sizes)[:-1], axis=1)
        )
        response = np.empty((n, steps), x.dtype)
        hidden = np.empty((n, steps) if self.summed else (0, 0), x.dtype)
        ended, seeds = np.zeros(n, np.int8), row_seeds(seed, n)

        def simulate_rows(first: int, last: int) -> None:
            glm_rows(
                first,
                last,
                x,
                bias[:, 0],
                weights.reshape(n, self.inputs, len(filters)),
                filters,
                coupling_weights.reshape(n, self.coupled, len(coupling)),
                coupling,
                history_weights,
                history,
                hidden_weights,
                self.summed,
                self.nonlinearity == "logistic",
                OUTPUTS[self.output],
                seeds,
                response,
                hidden,
                ended,
            )

        in_threads(simulate_rows, n, n * rows * steps // SAMPLES_PER_THREAD)
        if (ended == NOT_A_NUMBER).any():
            _refuse_stimulus(x, int(np.argmax(ended == NOT_A_NUMBER)))
        result: Response = {next(iter(self.channels)): response}
        if self.summed:
            result["latent/hidden"] = hidden
        elif self.hidden:
            rest = x[:, -1] if self.hidden == 1 else x[:, -self.hidden :]
            result["latent/hidden"] = np.array(np.broadcast_to(rest, (n, *rest.shape[1:])))
        result["terminated"] = ended == ENDED
        return result

    def _checked_theta(self, theta: ArrayLike) -> FloatArray:
        try:
            values = np.asarray(theta, dtype=np.float64)
        except (TypeError, ValueError) as problem:
            raise InputError(f"theta: expected numbers, one row per neuron: {problem}") from None
        if values.ndim != 2 or values.shape[1] != len(self.parameters):
            raise InputError(
                f"theta: expected shape (n, {len(self.parameters)}) with columns {', '.join(self.parameters)}, "
                f"found shape {values.shape}"
            )
        if not np.isfinite(values).all():
            row, column = np.argwhere(~np.isfinite(values))[0]
            raise InputError(f"theta row {row}: {self.parameters[column]} must be finite, found {values[row, column]}")
        return values


def _kernels(basis: Basis, dt: float, name: str) -> FloatArray:
    kernels = np.ascontiguousarray(basis.kernels(float(dt)), np.float64)
    if kernels.ndim != 2 or len(kernels) != basis.size or not kernels.shape[1] or not np.isfinite(kernels).all():
        raise InputError(
            f"GLM {name}: {type(basis).__name__}.kernels must give finite numbers of shape ({basis.size}, L), "
            f"found shape {kernels.shape}"
        )
    return kernels


def _refuse_stimulus(x: NDArray[Any], row: int) -> None:
    """Say which sample of a row is not finite; the drive itself can only overflow beyond that."""
    seen = x[row if len(x) > 1 else 0]
    if np.isfinite(seen).all():
        raise InputError(f"row {row}: the drive is not a finite number: weights or stimulus are too large")
    line, t = np.argwhere(~np.isfinite(seen))[0]
    raise InputError(f"stimulus row {row}: input {line + 1} must be finite, found {seen[line, t]} in bin {t}")
