"""Correlation designs: whether one is possible, the nearest one that is, and the matrix that gives noise with it."""

import math

import numpy as np
from numpy.typing import NDArray

from neuroinf.errors import InputError
from neuroinf.stimuli.timing import as_range

FloatArray = NDArray[np.float64]
Correlation = float | tuple[float, float] | list[list[float]]
"""One coefficient for all pairs, a range [low, high] of it that is drawn for each waveform, or a matrix (K, K)."""

# eigenvalues of a singular design are zero only to rounding
ROUNDING = 1e-8
ITERATIONS, CONVERGED = 2000, 1e-9


def design(what: str, inputs: int, value: Correlation, nearest: bool) -> tuple[float, float] | FloatArray:
    """A checked range of coefficients, or matrix :math:`(K, K)`, whichever was given.

    Raises:
        InputError: see :func:`coefficient_range` and :func:`correlation_matrix`.
    """
    if isinstance(value, int | float):
        return coefficient_range(what, inputs, (value, value), nearest)
    if len(value) == 2 and all(isinstance(end, int | float) for end in value):
        return coefficient_range(what, inputs, (value[0], value[1]), nearest)  # pyright: ignore[reportArgumentType]
    return correlation_matrix(what, inputs, value, nearest)


def coefficient_range(what: str, inputs: int, ends: tuple[float, float], nearest: bool) -> tuple[float, float]:
    r"""The two ends of a range of coefficients, each possible for all pairs of K inputs: c from -1 / (K - 1) to 1.

    With `nearest`, a coefficient below becomes that bound, which gives the nearest correlation matrix.

    Raises:
        InputError: if the range is reversed or exceeds 1, or a coefficient is too negative and `nearest` is not asked for.
    """
    low, high = as_range("correlation", ends, -1, 1)
    least = -1 / (inputs - 1) if inputs > 1 else -1.0
    if low < least - ROUNDING and not nearest:
        raise InputError(
            f"{what}: correlation {low:g} among {inputs} inputs is not positive semidefinite, its smallest eigenvalue is "
            f"{1 + (inputs - 1) * low:.3g}; use {least:.3g} or more, or nearest: true for the nearest design that is"
        )
    return max(low, least), max(high, least)


def equicorrelation(inputs: int, c: float) -> FloatArray:
    """The matrix :math:`(K, K)` with 1 on the diagonal and c elsewhere."""
    return np.eye(inputs) * (1 - c) + c


def correlation_matrix(what: str, inputs: int, value: object, nearest: bool) -> FloatArray:
    """A given correlation matrix :math:`(K, K)`, checked; if it is not positive semidefinite and `nearest`, projected.

    Raises:
        InputError: if it is not (K, K), symmetric, finite, with a diagonal of 1 and entries in [-1, 1], or not positive
            semidefinite without `nearest`.
    """
    try:
        matrix = np.array(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{what}: correlation must be {inputs} rows of {inputs} numbers, found {value!r}") from error
    if matrix.shape != (inputs, inputs):
        raise InputError(f"{what}: correlation must be ({inputs}, {inputs}) for {inputs} inputs, found {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise InputError(f"{what}: correlation must be finite, found {matrix[~np.isfinite(matrix)][0]}")
    if np.abs(np.diag(matrix) - 1).max() > ROUNDING:
        worst = int(np.abs(np.diag(matrix) - 1).argmax())
        raise InputError(
            f"{what}: correlation must be 1 on the diagonal, found {matrix[worst, worst]:g} at input {worst + 1}"
        )
    if np.abs(matrix - matrix.T).max() > ROUNDING:
        i, j = np.unravel_index(np.abs(matrix - matrix.T).argmax(), matrix.shape)
        raise InputError(
            f"{what}: correlation must be symmetric, found {matrix[i, j]:g} for inputs {i + 1}, {j + 1} and "
            f"{matrix[j, i]:g} for {j + 1}, {i + 1}"
        )
    if np.abs(matrix).max() > 1 + ROUNDING:
        i, j = np.unravel_index(np.abs(matrix).argmax(), matrix.shape)
        raise InputError(
            f"{what}: correlation must lie within [-1, 1], found {matrix[i, j]:g} for inputs {i + 1}, {j + 1}"
        )
    return possible(what, (matrix + matrix.T) / 2, nearest)


def possible(what: str, matrix: FloatArray, nearest: bool) -> FloatArray:
    """A symmetric matrix with unit diagonal as it is if it is positive semidefinite, else the nearest one, if asked for.

    Raises:
        InputError: if it is not, and `nearest` is not asked for.
    """
    eigenvalues = np.linalg.eigvalsh(matrix)
    if eigenvalues[0] >= -ROUNDING:
        return matrix
    if nearest:
        return nearest_correlation(matrix)
    negative = int((eigenvalues < -ROUNDING).sum())
    raise InputError(
        f"{what}: the correlation matrix is not positive semidefinite, its smallest eigenvalue is {eigenvalues[0]:.3g} "
        f"({negative} of {len(matrix)} are negative); make the correlations smaller or more alike, or use nearest: true "
        f"for the nearest matrix that is"
    )


def nearest_correlation(matrix: FloatArray) -> FloatArray:
    r"""The correlation matrix nearest in the Frobenius norm.

    Alternating projections onto the positive semidefinite matrices and those of unit diagonal, with Dykstra's correction,
    without which they would end at some feasible matrix rather than at the nearest:

    .. math:: X_k = P_S(Y_{k-1} - D_{k-1}), \quad D_k = X_k - (Y_{k-1} - D_{k-1}), \quad Y_k = P_U(X_k)

    Args:
        matrix: Symmetric :math:`(K, K)`.

    Source:
        Higham 2002, IMA J Numer Anal 22:329.
    """
    y, correction = np.array(matrix, dtype=np.float64), np.zeros_like(matrix)
    x = y
    for _ in range(ITERATIONS):
        shifted = y - correction
        values, vectors = np.linalg.eigh(shifted)
        x = (vectors * np.maximum(values, 0)) @ vectors.T
        correction = x - shifted
        y = x.copy()
        np.fill_diagonal(y, 1.0)
        if np.linalg.norm(y - x) < CONVERGED * np.linalg.norm(y):
            break
    scale = 1 / np.sqrt(np.diag(x))  # what is left between the two sets: stay positive semidefinite
    x = scale[:, None] * x * scale
    np.fill_diagonal(x, 1.0)
    return (x + x.T) / 2


def factor(matrix: FloatArray) -> FloatArray:
    r"""The symmetric root A :math:`(K, K)` with :math:`A A^T = C`, also of a singular C."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


def equicorrelate(z: FloatArray, c: float) -> FloatArray:
    r"""Independent rows of unit variance :math:`(K, T)` made equicorrelated by the symmetric root of their design.

    .. math:: x_i = \sqrt{1 - c} \, z_i + \bigl(\sqrt{1 + (K - 1) c} - \sqrt{1 - c}\bigr) \, \bar z
    """
    private, common = math.sqrt(1 - c), math.sqrt(max(0.0, 1 + (len(z) - 1) * c))
    return private * z + (common - private) * z.mean(axis=0)
