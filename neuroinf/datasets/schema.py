"""Reading a file of simulations: what must be in it, and its rows, a batch at a time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuroinf.datasets.arrays import ArrayFile, runs
from neuroinf.datasets.description import described
from neuroinf.datasets.designs import Design
from neuroinf.datasets.layout import OFFSETS, STATUS, TIMES, UNIT
from neuroinf.datasets.simulated_rows import present
from neuroinf.datasets.structure import check_structure
from neuroinf.errors import InputError
from neuroinf.priors import Prior
from neuroinf.specification import Plain

# a waveform bank up to this size is read once and kept; reading each batch's waveforms takes 30 microseconds a row more
BANK_BYTES = 4 * 2**20
SCAN_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Rows:
    """n rows of a file.

    Attributes:
        parameters: :math:`(n, P)`.
        continuous: Each channel :math:`(n, T')`, of populations :math:`(n, K, T')`.
        spikes: n arrays of times, ms; None if the simulator has no spikes.
        stimulus: What each row saw :math:`(n, K, T)`, in :attr:`Dataset.stimulus_unit`.
        status: Index into ``STATUS`` :math:`(n,)`.
        units: n arrays of the recorded neuron of each spike; None where a row is one neuron.
    """

    parameters: NDArray[np.float64]
    continuous: dict[str, NDArray[np.float32]]
    spikes: list[NDArray[np.float32]] | None
    stimulus: NDArray[np.float32]
    status: NDArray[np.uint8]
    units: list[NDArray[np.int16]] | None = None


class Dataset:
    """A file of simulations, opened when first read, once in each process.

    It may be sent to other processes, which open the file for themselves. Every array is checksummed: damage is
    noticed when it is read.

    Args:
        path: The file.

    Raises:
        InputError: if there is no such file, it is damaged, or not a dataset of this schema. Also from every reading.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._arrays = ArrayFile(self.path)
        check_structure(self._arrays)

    def __len__(self) -> int:
        return self.n

    def close(self) -> None:
        """Close the file; reading opens it again."""
        self._arrays.close()

    # -- what is in it -----------------------------------------------------------------------------------------------

    @cached_property
    def n(self) -> int:
        """Number of rows, N."""
        return int(self._arrays.stored("parameters").shape[0])

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters."""
        return tuple(str(name) for name in self._arrays.attribute("parameters", "names"))

    @cached_property
    def units(self) -> tuple[str, ...]:
        """Units of the parameters."""
        return tuple(str(unit) for unit in self._arrays.attribute("parameters", "units"))

    @cached_property
    def prior(self) -> Prior:
        """What the parameters were drawn from."""
        return Prior.from_dict(self._arrays.json("parameters", "prior"))

    @cached_property
    def specification(self) -> Plain:
        """What made the file; see :func:`neuroinf.construction.simulation_from_spec`."""
        return self._arrays.json("", "simulation")

    @property
    def design(self) -> Design:
        """How its neurons were chosen; a file from before there was a choice holds draws."""
        return self.specification["init_args"].get("design", "random")

    @cached_property
    def seconds(self) -> float:
        """Seconds that making the file took, all its runs together."""
        return float(self._arrays.attribute("", "seconds"))

    @cached_property
    def channels(self) -> dict[str, str]:
        """The continuous channels and their units."""
        return {name: str(self._arrays.attribute(f"response/{name}", "unit")) for name in self._channel_names()}

    @cached_property
    def groups(self) -> dict[str, NDArray[np.int64]]:
        """Group of each neuron (K,) of the channels that have a row for each neuron, and of ``"spikes"`` with units."""
        stored = {name: self._arrays.stored(f"response/{name}") for name in self._channel_names()}
        stored = {name: array for name, array in stored.items() if array.ndim == 3}
        if UNIT in self._arrays.all():
            stored["spikes"] = self._arrays.stored(UNIT)
        return {k: np.asarray(s.attrs["group"], np.int64) for k, s in stored.items() if "group" in s.attrs}

    @cached_property
    def record_dt(self) -> float:
        """Step of the continuous channels, ms; nan if there is none."""
        names = self._channel_names()
        return float(self._arrays.attribute(f"response/{names[0]}", "dt")) if names else float("nan")

    @cached_property
    def stimulus_dt(self) -> float:
        """Step of the stimulus, ms, held in between."""
        return float(self._arrays.attribute("stimulus/waveform", "dt"))

    @cached_property
    def stimulus_unit(self) -> str:
        """Unit of the stimulus that a row saw."""
        scaled = "stimulus/scale" in self._arrays.all()
        return str(self._arrays.attribute("stimulus/scale" if scaled else "stimulus/waveform", "unit"))

    @property
    def parameters(self) -> NDArray[np.float64]:
        """All parameters :math:`(N, P)`, natural units."""
        return self._arrays.read("parameters")

    @cached_property
    def waveform_index(self) -> NDArray[np.int64]:
        """The waveform that each row saw :math:`(N,)`."""
        return self._arrays.read("stimulus/index").astype(np.int64)

    @cached_property
    def neuron(self) -> NDArray[np.int64]:
        """The neuron that each row is a sweep of :math:`(N,)`; rows of one neuron have the same parameters."""
        if "neuron" not in self._arrays.all():
            return np.arange(self.n)
        return self._arrays.read("neuron").astype(np.int64)

    @cached_property
    def sweeps(self) -> int:
        """Rows of each neuron, S: row i is a sweep of neuron i // S."""
        sweeps = max(1, int((self.neuron == 0).sum()))
        if self.n % sweeps or not np.array_equal(self.neuron, np.arange(self.n) // sweeps):
            self._arrays.refuse("neuron does not number groups of equally many rows from 0")
        return sweeps

    @cached_property
    def status(self) -> NDArray[np.uint8]:
        """Each row's status :math:`(N,)`, an index into ``STATUS``."""
        return self._arrays.read("status")

    # -- rows --------------------------------------------------------------------------------------------------------

    def rows(self, indices: ArrayLike) -> Rows:
        """Rows in the order asked for, repeated ones repeated; the reading itself goes through the file in order."""
        asked = np.asarray(indices, dtype=np.int64)
        if asked.ndim != 1 or (asked.size and (asked.min() < 0 or asked.max() >= self.n)):
            raise InputError(
                f"{self.path}: row indices must be one-dimensional, from 0 to {self.n - 1}, found {indices!r}"
            )
        rows, back = np.unique(asked, return_inverse=True)
        continuous = {name: self._arrays.gather(f"response/{name}", rows)[back] for name in self._channel_names()}
        spikes = units = None
        if TIMES in self._arrays.all():
            trains = self._trains(TIMES, rows)
            spikes = [trains[i] for i in back]
        if UNIT in self._arrays.all():
            neurons = self._trains(UNIT, rows)
            units = [neurons[i] for i in back]
        scale = self._scale[asked] if self._scale is not None else None
        stimulus = present(self._waveforms(self.waveform_index[asked]), scale)
        theta = self._arrays.gather("parameters", rows)[back]
        return Rows(theta, continuous, spikes, stimulus, self.status[asked], units)

    def latent(self, name: str, indices: ArrayLike) -> NDArray[Any]:
        """Rows of ``/latent/<name>``, which is known to the simulation and not observed."""
        if f"latent/{name}" not in self._arrays.all():
            raise InputError(
                f"{self.path} has no latent/{name}; it has {[k for k in self._arrays.all() if k.startswith('latent/')]}"
            )
        rows, back = np.unique(np.asarray(indices, dtype=np.int64), return_inverse=True)
        return self._arrays.gather(f"latent/{name}", rows)[back]

    def verify(self) -> None:
        """Read every chunk of the file, and check that the parts fit each other.

        Raises:
            InputError: naming the first dataset that is damaged.
        """
        for name, stored in self._arrays.all().items():
            row_bytes = max(1, stored.dtype.itemsize * int(np.prod(stored.shape[1:])))
            step = max(1, SCAN_BYTES // row_bytes)
            for start in range(0, len(stored), step):
                self._arrays.read(name, start, start + step)
        status, index = self.status, self.waveform_index
        if len(status) and status.max() >= len(STATUS):
            self._arrays.refuse(f"status holds {status.max()}, expected less than {len(STATUS)}")
        if len(index) and (index.min() < 0 or index.max() >= len(self._arrays.stored("stimulus/waveform"))):
            self._arrays.refuse("stimulus/index points outside the waveforms")
        _ = self.sweeps  # refuses a grouping that is none
        if TIMES in self._arrays.all() and ((np.diff(self._offsets) < 0).any() or self._offsets[0] != 0):
            self._arrays.refuse(f"{OFFSETS} do not increase from 0")
        if "spikes" in self.groups:
            units = self._arrays.read(UNIT)
            if ((units < 0) | (units >= len(self.groups["spikes"]))).any():
                self._arrays.refuse(f"{UNIT} names neurons that there are not")

    def describe(self) -> str:
        """A few lines on what the file holds."""
        return described(self, self._arrays)

    # -- access ------------------------------------------------------------------------------------------------------

    def _channel_names(self) -> list[str]:
        names = [name.removeprefix("response/") for name in self._arrays.all() if name.startswith("response/")]
        return [name for name in names if "/" not in name]

    @cached_property
    def _offsets(self) -> NDArray[np.int64]:
        return self._arrays.read(OFFSETS)

    @cached_property
    def _scale(self) -> NDArray[np.float64] | None:
        return self._arrays.read("stimulus/scale") if "stimulus/scale" in self._arrays.all() else None

    @cached_property
    def _bank(self) -> NDArray[np.float32]:
        return self._arrays.read("stimulus/waveform")

    def _waveforms(self, index: NDArray[np.int64]) -> NDArray[np.float32]:
        if self._arrays.stored("stimulus/waveform").nbytes <= BANK_BYTES:
            return self._bank[index]
        rows, back = np.unique(index, return_inverse=True)
        return self._arrays.gather("stimulus/waveform", rows)[back]

    def _trains(self, name: str, rows: NDArray[np.int64]) -> list[NDArray[Any]]:
        """What is stored for each spike of each row."""
        stored, offsets, found = self._arrays.stored(name), self._offsets, []
        with self._arrays.reading(name):
            for first, last in runs(rows):
                low, high = offsets[rows[first]], offsets[rows[last - 1] + 1]
                block = stored[low:high]
                found.extend(block[offsets[row] - low : offsets[row + 1] - low] for row in rows[first:last])
        return found


__all__ = ["STATUS", "Dataset", "Rows"]
