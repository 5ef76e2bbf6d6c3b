"""An HDF5 file's arrays, read safely: opened late, in each process, and damage told in one line."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

import h5py
import numpy as np
from numpy.typing import NDArray

from neuroinf.datasets.layout import datasets
from neuroinf.errors import InputError
from neuroinf.specification import Plain


class ArrayFile:
    """The arrays and attributes of a file, opened when first read and closed by pickling.

    Raises:
        InputError: from every method, if what it reads is damaged or absent.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: h5py.File | None = None
        self._found: dict[str, h5py.Dataset] = {}
        self._process = 0

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_file": None, "_found": {}, "_process": 0}

    def close(self) -> None:
        """Close the file; reading opens it again."""
        if self._file is not None:
            self._file.close()
        self._file, self._found = None, {}

    def file(self) -> h5py.File:
        """The file, open."""
        # a forked process must not read through its parent's handle
        if self._file is None or self._process != os.getpid():
            with self.reading("the file"):
                self._file, self._process = h5py.File(self.path), os.getpid()
                self._found = datasets(self._file)
        return self._file

    def all(self) -> dict[str, h5py.Dataset]:
        """Every dataset by its path."""
        self.file()
        return self._found

    def stored(self, name: str) -> h5py.Dataset:
        """A dataset, not yet read."""
        found = self.all()
        if name not in found:
            self.refuse(f"no dataset {name}")
        return found[name]

    def read(self, name: str, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """The rows of a dataset from start to stop - 1; by default all."""
        stored = self.stored(name)
        with self.reading(name):
            return stored[start:stop]

    def attribute(self, name: str, key: str) -> Any:
        """An attribute of a dataset, or of the file if the name is empty."""
        holder = self.stored(name) if name else self.file()
        with self.reading(f"attribute {key} of {name or 'the file'}"):
            return holder.attrs[key]

    def json(self, name: str, key: str) -> Plain:
        """An attribute that holds a JSON object."""
        try:
            content = json.loads(str(self.attribute(name, key)))
        except json.JSONDecodeError:
            content = None
        if not isinstance(content, Mapping):
            self.refuse(f"attribute {key} of {name or 'the file'} is not a JSON object")
        return dict(content)

    def gather(self, name: str, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Rows, given in increasing order: one reading for each run of neighbours, twice as fast as h5py's indexing."""
        stored = self.stored(name)
        found = np.empty((len(rows), *stored.shape[1:]), stored.dtype)
        if not found.size:
            return found
        with self.reading(name):
            source, starts = stored.id.get_space(), (0,) * (stored.ndim - 1)
            for first, last in runs(rows):
                count = (last - first, *stored.shape[1:])
                source.select_hyperslab((int(rows[first]), *starts), count)
                stored.id.read(h5py.h5s.create_simple(count), source, found[first:last])
        return found

    @contextmanager
    def reading(self, name: str) -> Iterator[None]:
        """Turns what HDF5 raises on a damaged file into an InputError that names the file and the part."""
        try:
            yield
        except (OSError, RuntimeError, KeyError, ValueError, UnicodeDecodeError) as error:
            if isinstance(error, InputError):
                raise
            self.close()
            raise InputError(
                f"{self.path} is damaged or no HDF5 file: {name} cannot be read ({error}); copy it again, or delete it "
                f"and run neuroinf simulate again"
            ) from error

    def refuse(self, what: str) -> NoReturn:
        """InputError: the file is sound HDF5, but not what is expected."""
        raise InputError(f"{self.path} is not a dataset that can be used: {what}; make it again with neuroinf simulate")


def runs(rows: NDArray[np.int64]) -> list[tuple[int, int]]:
    """First and one past the last position of each run of neighbours among increasing rows."""
    if len(rows) == 0:
        return []
    edges = [0, *(np.flatnonzero(np.diff(rows) != 1) + 1).tolist(), len(rows)]
    return list(pairwise(edges))
