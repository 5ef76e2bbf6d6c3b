"""Which rows train, which validate, which test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from neuroinf.errors import InputError

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Partition:
    """Disjoint, sorted row indices; test may be empty (then tests need a file of their own)."""

    train: Rows
    val: Rows
    test: Rows


@runtime_checkable
class Split(Protocol):
    """Assigns each of N rows to training, validation, test or none."""

    def partition(self, names: tuple[str, ...], theta: NDArray[np.float64], waveform: Rows, seed: int) -> Partition:
        """Rows by their parameters theta (N, P) and the index (N,) of the waveform that each saw.

        Where neurons have several sweeps, neurons are divided instead, and waveform is (N, S): see `divide`.
        """
        ...


def divide(
    split: Split, names: tuple[str, ...], theta: NDArray[np.float64], waveform: Rows, sweeps: int, seed: int
) -> Partition:
    """The rows of a file by a split that keeps the sweeps of a neuron together.

    Args:
        split: What divides rows or, if there are several sweeps, neurons.
        names: Names of the parameters.
        theta: Parameters of the rows (N, P).
        waveform: Waveform index of the rows (N,).
        sweeps: Rows of each neuron, S: row i belongs to neuron i // S.
        seed: Of the split.

    Raises:
        InputError: if the split cannot divide this file.
    """
    if sweeps == 1:
        return split.partition(names, theta, waveform, seed)
    neurons = split.partition(names, theta[::sweeps], waveform.reshape(-1, sweeps), seed)
    train, val, test = (
        (part[:, None] * sweeps + np.arange(sweeps)).ravel() for part in (neurons.train, neurons.val, neurons.test)
    )
    return Partition(train, val, test)


def _check_fraction(value: float, where: str) -> None:
    if not 0 <= value < 1:
        raise InputError(f"{where} must be a fraction in [0, 1), found {value}")


def _shuffled(rows: Rows, seed: int) -> Rows:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=(1,)))).permutation(rows)


def _train_and_val(rows: Rows, val: float, seed: int) -> tuple[Rows, Rows]:
    order = _shuffled(rows, seed)
    n_val = max(1, round(val * len(order)))
    if n_val >= len(order):
        raise InputError(f"the split leaves no row to train on: {len(order)} rows, validation fraction {val}")
    return np.sort(order[n_val:]), np.sort(order[:n_val])


@dataclass(frozen=True)
class RandomRows:
    """Rows at random.

    Args:
        val: Fraction of the rows for validation.
        test: Fraction for testing.
    """

    val: float = 0.05
    test: float = 0.0

    def __post_init__(self) -> None:
        _check_fraction(self.val, "split.val")
        _check_fraction(self.test, "split.test")

    def partition(self, names: tuple[str, ...], theta: NDArray[np.float64], waveform: Rows, seed: int) -> Partition:
        """See Split."""
        order = _shuffled(np.arange(len(theta), dtype=np.int64), seed)
        n_test = round(self.test * len(order))
        train, val = _train_and_val(order[n_test:], self.val / max(1 - self.test, 1e-9), seed)
        return Partition(train, val, np.sort(order[:n_test]))


@dataclass(frozen=True)
class HeldOutWaveforms:
    """Tests on waveforms that training never saw: a part of the file's bank is held out with all its rows.

    Args:
        test: Fraction of the bank's waveforms.
        val: Fraction of the remaining rows for validation.
    """

    test: float = 0.1
    val: float = 0.05

    def __post_init__(self) -> None:
        _check_fraction(self.val, "split.val")
        _check_fraction(self.test, "split.test")

    def partition(self, names: tuple[str, ...], theta: NDArray[np.float64], waveform: Rows, seed: int) -> Partition:
        """See Split."""
        if waveform.ndim > 1:
            raise InputError(
                "HeldOutWaveforms divides rows by their waveform, and here a neuron has several sweeps, each with its own "
                "(simulation.sweeps): take RandomRows, and test under another stimulus by data.test_stimulus"
            )
        bank = np.unique(waveform)
        if len(bank) < 2:
            raise InputError(
                f"HeldOutWaveforms needs a file with at least 2 waveforms, this one has {len(bank)}: "
                f"for a frozen stimulus give another one as data.test_stimulus"
            )
        held = _shuffled(bank, seed)[: max(1, round(self.test * len(bank)))]
        is_test = np.isin(waveform, held)
        train, val = _train_and_val(np.flatnonzero(~is_test), self.val, seed)
        return Partition(train, val, np.flatnonzero(is_test))


@dataclass(frozen=True)
class HeldOutRegion:
    """Tests in a region of parameter space that training never saw.

    Args:
        region: Parameter name -> [low, high], in the parameter's unit; a row is in the region if all hold.
        val: Fraction of the remaining rows for validation.
    """

    region: dict[str, list[float]]
    val: float = 0.05

    def __post_init__(self) -> None:
        _check_fraction(self.val, "split.val")
        for name, bounds in self.region.items():
            if len(bounds) != 2 or not bounds[0] < bounds[1]:
                raise InputError(f"split.region.{name} must be [low, high] with low < high, found {bounds}")

    def partition(self, names: tuple[str, ...], theta: NDArray[np.float64], waveform: Rows, seed: int) -> Partition:
        """See Split."""
        inside = np.ones(len(theta), bool)
        for name, (low, high) in self.region.items():
            if name not in names:
                raise InputError(f"split.region names {name!r}; the file's parameters are {list(names)}")
            column = theta[:, names.index(name)]
            inside &= (column >= low) & (column <= high)
        train, val = _train_and_val(np.flatnonzero(~inside), self.val, seed)
        return Partition(train, val, np.flatnonzero(inside))
