r"""What a GLM neuron's linear drive is linear in: filtered inputs, one, filtered coupled counts and its own past.

.. math:: \eta_t = \sum_d \beta_d X_{d,t} + \sum_k w_{h,k} h_{k,t}

with the D coefficients :math:`\beta` in the order of :class:`neuroinf.simulators.GLM`'s parameters, before the hidden
inputs' weights: the inputs' (input by input, filter by filter), the bias, the coupling's, the history's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve, lfilter

from neuroinf.errors import InputError
from neuroinf.simulators.bases import Basis
from neuroinf.simulators.glm import GLM

FloatArray = NDArray[np.float64]
SHORT = 32  # bins of a filter, up to which convolving directly is faster


def design(simulator: GLM, x: NDArray[np.floating[Any]], y: NDArray[np.floating[Any]] | None, dt: float) -> FloatArray:
    """The design matrices of B neurons, transposed: :math:`(B, D, T)`.

    Args:
        simulator: The model.
        x: Observed rows of the stimulus, inputs and then coupled neurons' counts, :math:`(B, n + m, T)`.
        y: The neurons' own counts or rates :math:`(B, T)`; None: the model has no history.
        dt: Bin, ms.

    Raises:
        InputError: if the shapes are not those of the model, or it has a history and y is None.
    """
    x = np.asarray(x, np.float64)
    rows = simulator.inputs + simulator.coupled
    if x.ndim != 3 or x.shape[1] != rows:
        raise InputError(f"expected observed inputs (B, {rows}, T) for this model, found shape {x.shape}")
    if simulator.history is not None and (y is None or y.shape != (len(x), x.shape[2])):
        found = "none" if y is None else str(y.shape)
        raise InputError(f"the model has a history: expected responses {(len(x), x.shape[2])}, found {found}")
    inputs, counts = x[:, : simulator.inputs], x[:, simulator.inputs :]
    columns = [_filtered(inputs, simulator.filters, dt), np.ones((len(x), 1, x.shape[2]))]
    if simulator.coupled:
        columns.append(_past(_filtered(counts, simulator.coupling, dt)))
    if simulator.history is not None and y is not None:
        columns.append(_past(_filtered(np.asarray(y, np.float64)[:, None], simulator.history, dt)))
    return np.concatenate(columns, axis=1)


def _filtered(rows: FloatArray, basis: Basis | None, dt: float) -> FloatArray:
    """Rows (B, n, T) through each filter of a basis: (B, n J, T); at lag 0 alone without one."""
    if basis is None:
        return rows
    kernels = np.asarray(basis.kernels(dt), np.float64)
    b, n, t = rows.shape
    through = np.empty((b, n, len(kernels), t))
    for j, kernel in enumerate(kernels):
        if len(kernel) <= SHORT:
            through[:, :, j] = lfilter(kernel, [1.0], rows, axis=-1)
        else:
            through[:, :, j] = fftconvolve(rows, kernel[None, None], axes=-1)[..., :t]
    return through.reshape(b, -1, t)


def _past(rows: FloatArray) -> FloatArray:
    """One bin later: a bin's own count is no part of its drive."""
    return np.concatenate((np.zeros((*rows.shape[:2], 1)), rows[..., :-1]), axis=-1)
