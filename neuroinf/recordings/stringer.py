"""Stringer's recordings of spontaneous activity as published: a dictionary in a NumPy file, which is a pickle.

A pickle is a program. This one is read by an interpreter that knows only how arrays and numbers are put down: whatever names
anything else is refused before it is imported, and of arrays not even NumPy's own reconstruction is run.
"""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from neuroinf.datasets.populations import PopulationData, population
from neuroinf.datasets.preprocessing import by_depth
from neuroinf.errors import InputError

BIN = 1200.0  # ms, of stringer_spontaneous.npy; the file does not say
RESPONSES = ("sresp", "spks", "resp")


def read_stringer(path: Path, dt: float = BIN) -> PopulationData:
    """Deconvolved activity (T, K) from `sresp` (K, T), positions from `xyz`, and the planes as groups.

    Args:
        path: stringer_spontaneous.npy or a file of its form.
        dt: Bin, ms.

    Raises:
        InputError: if it is no such file, or its pickle names anything but NumPy's arrays.

    Source:
        Stringer, Pachitariu, Steinmetz, Reddy, Carandini and Harris (2019), Science 364:eaav7893; osf.io/dpqaj.
    """
    content = _dictionary(path)
    key = next((name for name in RESPONSES if name in content), None)
    if key is None:
        raise InputError(
            f"{path}: expected activity as sresp (neurons, bins), found {', '.join(map(str, content)) or 'nothing'}"
        )
    activity = _array(content[key], f"{path}: {key}")
    if activity.ndim != 2:
        raise InputError(f"{path}: {key}: expected shape (neurons, bins), found {activity.shape}")
    neurons, positions = len(activity), None
    if "xyz" in content:
        positions = _array(content["xyz"], f"{path}: xyz").astype(np.float64)
        if positions.shape == (3, neurons):
            positions = positions.T
        if positions.shape != (neurons, 3):
            raise InputError(f"{path}: xyz: expected shape (3, {neurons}), found {positions.shape}")
    found = population(activity.T, dt, "trace", positions=positions, name=path.name)
    return found if positions is None else by_depth(found)


def _dictionary(path: Path) -> dict[Any, Any]:
    try:
        with open(path, "rb") as file:
            plain = _plain_array(file)
            if plain is not None:
                raise InputError(
                    f"{path}: expected a dictionary with sresp and xyz, found {plain}: put it in an .npz with its dt"
                )
            content = _Reader(file, encoding="latin1").load()
    except InputError as error:
        raise InputError(f"{path}: {error}" if str(path) not in str(error) else str(error)) from None
    except Exception as error:  # a damaged pickle raises anything
        raise InputError(
            f"{path}: expected a NumPy file of a dictionary, could not read it: {type(error).__name__}: {error}"
        ) from None
    if isinstance(content, _Array) and isinstance(content.data, list) and len(content.data) == 1:
        content = content.data[0]
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a dictionary with sresp and xyz, found {type(content).__name__.strip('_')}")
    return content


def _plain_array(file: BinaryIO) -> str | None:
    """Reads past the header; what the file holds if that is no pickle."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    return None if dtype.hasobject else f"an array {dtype} of shape {shape}"


class _DType:
    """A type of numbers as a pickle puts it down."""

    def __init__(self, code: Any = "", *_: Any) -> None:
        self.code, self.order = code, "|"

    def __setstate__(self, state: Any) -> None:
        self.order = state[1]

    def numbers(self) -> np.dtype[Any] | None:
        """The type; None if it is none of real numbers."""
        if (
            isinstance(self.code, str)
            and len(self.code) in (2, 3)
            and self.code[0] in "biuf"
            and self.code[1:].isdigit()
        ):
            return np.dtype(self.code).newbyteorder(">" if self.order == ">" else "<")
        return None


class _Array:
    """An array as a pickle puts it down: its type, shape and bytes, or a list of objects."""

    shape: Any = ()
    type: Any = None
    data: Any = b""
    fortran = False

    def __setstate__(self, state: Any) -> None:
        _, self.shape, self.type, self.fortran, self.data = state


class _Name:
    """Stands for the class `ndarray`, which a pickle names and which is not needed."""


def _new_array(*_: Any) -> _Array:
    return _Array()


def _scalar(kind: Any, data: Any = b"") -> Any:
    dtype = kind.numbers() if isinstance(kind, _DType) else None
    return None if dtype is None else np.frombuffer(data, dtype, 1)[0]


def _encode(text: str, encoding: str = "latin1") -> bytes:
    if encoding != "latin1":
        raise InputError(f"its pickle encodes text as {encoding}, which arrays never do: it is not opened")
    return text.encode("latin1")


_KNOWN = {
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _new_array for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
    ("numpy", "ndarray"): _Name,
    ("numpy", "dtype"): _DType,
    ("_codecs", "encode"): _encode,
}


class _Reader(pickle.Unpickler):
    """Knows arrays and numbers, and nothing that could run."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _KNOWN:
            raise InputError(
                f"its pickle asks for {module}.{name}, which is neither array nor number and could run code: it is not opened; "
                f"save sresp and xyz as activity and positions in an .npz"
            )
        return _KNOWN[module, name]


def _array(value: Any, where: str) -> NDArray[Any]:
    """An array of real numbers."""
    dtype = value.type.numbers() if isinstance(value, _Array) and isinstance(value.type, _DType) else None
    if dtype is None or not isinstance(value.data, bytes):
        raise InputError(f"{where}: expected an array of real numbers, found {type(value).__name__.strip('_')}")
    shape = tuple(int(size) for size in value.shape)
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(value.data):
        raise InputError(f"{where}: damaged: {len(value.data)} bytes for the shape {shape}")
    return np.frombuffer(value.data, dtype).reshape(shape, order="F" if value.fortran else "C")


__all__ = ["read_stringer"]
