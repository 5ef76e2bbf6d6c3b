"""What a file of simulations holds, and how any of its rows is computed."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroinf.datasets.designs import Design, check_design, sobol
from neuroinf.datasets.layout import STATUS, UNIT
from neuroinf.datasets.simulated_rows import SimulatedRows, present
from neuroinf.datasets.streams import ROW, WAVEFORM, Streams
from neuroinf.errors import InputError
from neuroinf.priors import Prior
from neuroinf.simulators.protocol import HasHiddenInputs, HasLimits, HasRheobase, OfPopulations, Simulator
from neuroinf.stimuli import Stimulus

# stimulus and response of one call of the simulator: measured on GLIF, a row takes 44 microseconds with 4 or 8 MB,
# 75 with 32 and 138 with 128, where the system hands out fresh pages each time
CALL_BYTES = 8 * 2**20


@dataclass(frozen=True)
class Simulation:
    """Everything that defines a file's content.

    Args:
        simulator: Parameters and stimulus to response.
        prior: What the parameters of each row are drawn from; names as the simulator's, in any order.
        stimulus: What each row sees: one of a bank of waveforms, times the row's rheobase if that is its unit.
        n: Number of rows, N.
        dt: The simulator's step, ms.
        record_dt: Step of the stored channels, ms: each stored sample is the last one of its window.
        seed: Root seed. Row i depends on it and on i alone.
        waveforms: Size of the bank, S; waveform s depends on the seed and on s alone. If there are fewer rows, only
            those waveforms are kept that some row saw. A frozen stimulus has one.
        sweeps: Rows of one neuron: row i is a sweep of neuron i // sweeps, which has the parameters of all its rows,
            while waveform and noise are each row's own.
        design: random: each neuron's parameters are a draw from the prior (of an enumerated grid the next point). sobol:
            they are spread over it, see :func:`neuroinf.datasets.designs.sobol`; tests of calibration need draws.

    Raises:
        InputError: if the parts do not fit each other.
    """

    simulator: Simulator
    prior: Prior
    stimulus: Stimulus
    n: int
    dt: float
    record_dt: float
    seed: int = 0
    waveforms: int = 4096
    sweeps: int = 1
    design: Design = "random"

    def __post_init__(self) -> None:
        for name, least in (("n", 1), ("waveforms", 1), ("seed", 0), ("sweeps", 1)):
            if getattr(self, name) < least:
                raise InputError(f"simulation.{name} must be at least {least}, found {getattr(self, name)}")
        if self.n % self.sweeps:
            raise InputError(
                f"simulation.n counts rows and must be a multiple of simulation.sweeps, found {self.n} and {self.sweeps}"
            )
        if not (math.isfinite(self.dt) and self.dt > 0):
            raise InputError(f"simulation.dt must be a positive number of ms, found {self.dt}")
        _multiple(self.record_dt, self.dt, "simulation.record_dt", "simulation.dt")
        _multiple(self.stimulus.dt, self.dt, "the stimulus' dt", "simulation.dt")
        _multiple(self.stimulus.duration, self.stimulus.dt, "the stimulus' duration", "the stimulus' dt")
        _multiple(self.stimulus.duration, self.record_dt, "the stimulus' duration", "simulation.record_dt")
        self._check_names()
        check_design(self.design, self.prior, self.n // self.sweeps)
        self._check_unit()
        if isinstance(self.simulator, HasLimits):
            low = dict(zip(self.prior.names, self.prior.low.tolist(), strict=True))
            self.simulator.check_limits(low, self.stimulus.inputs)
        if self.observed_inputs < 0:
            raise InputError(
                f"the stimulus has {self.stimulus.inputs} input(s), fewer than the simulator's hidden ones: it must have a row "
                f"for each observed and each hidden input"
            )

    def _check_names(self) -> None:
        ours, theirs = dict(zip(self.prior.names, self.prior.units, strict=True)), self.simulator
        wanted = dict(zip(theirs.parameters, theirs.units, strict=True))
        missing, unknown = [k for k in wanted if k not in ours], [k for k in ours if k not in wanted]
        if missing or unknown:
            raise InputError(
                f"the prior must name the simulator's free parameters {list(wanted)}: missing {missing}, "
                f"unknown {unknown}; give a range to each, or fix it in the simulator"
            )
        for name, unit in wanted.items():
            if ours[name] != unit:
                raise InputError(f"the simulator takes {name} in {unit}, the prior gives it in {ours[name]}")

    def _check_unit(self) -> None:
        if self.in_rheobase and not isinstance(self.simulator, HasRheobase):
            raise InputError(
                f"the stimulus is given in rheobases, but {type(self.simulator).__name__} has no rheobase(theta); "
                f"give the stimulus in {self.simulator.stimulus_unit}, or add that method"
            )
        if not self.in_rheobase and self.stimulus.unit != self.simulator.stimulus_unit:
            raise InputError(
                f"the simulator takes a stimulus in {self.simulator.stimulus_unit}, this one is in {self.stimulus.unit}"
            )

    @property
    def observed_inputs(self) -> int:
        """The first so many rows of the stimulus are observed; the others are hidden inputs."""
        hidden = self.simulator.hidden_inputs if isinstance(self.simulator, HasHiddenInputs) else 0
        return self.stimulus.inputs - hidden

    @property
    def in_rheobase(self) -> bool:
        """Whether the waveform is multiplied by each row's rheobase."""
        return self.stimulus.unit == "rheobase"

    @property
    def duration(self) -> float:
        """Duration of each row, ms."""
        return float(self.stimulus.duration)

    def with_stimulus(self, stimulus: Stimulus, n: int, seed: int, sweeps: int = 1) -> Simulation:
        """Draws from the same prior under another stimulus, number of rows, seed and number of sweeps."""
        return replace(self, stimulus=stimulus, n=n, seed=seed, sweeps=sweeps, design="random")

    def bank(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The bank: its waveforms' numbers (S,), sorted, and the waveforms (S, K, T)."""
        numbers = np.arange(1 if self.stimulus.frozen else self.waveforms)
        if self.n < len(numbers):
            streams = Streams(self.seed, ROW)
            numbers = np.unique([self._draw_waveform(streams(row))[1] for row in range(self.n)])
        return numbers, self._waveforms(numbers)

    def _waveforms(self, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        """Waveforms (S, K, T) by their numbers."""
        streams = Streams(self.seed, WAVEFORM)
        return np.stack([self.stimulus.sample(streams(int(s))).astype(np.float32) for s in numbers])

    def waveforms_of(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """The waveforms (n, K, T) that some rows saw, hidden inputs included, not scaled."""
        streams = Streams(self.seed, ROW)
        numbers, back = np.unique([self._draw_waveform(streams(int(row)))[1] for row in rows], return_inverse=True)
        return self._waveforms(numbers)[back]

    def rows(self, start: int, stop: int, numbers: NDArray[np.int64], bank: NDArray[np.float32]) -> SimulatedRows:
        """Simulate rows start to stop - 1, given the bank."""
        streams, prior = Streams(self.seed, ROW), self.prior
        theta, seeds = np.empty((stop - start, len(prior.names))), []
        index, neuron = np.empty(stop - start, np.int64), np.arange(start, stop) // self.sweeps
        spread = None if self.design == "random" else sobol(prior, self.seed, int(neuron[0]), int(neuron[-1]) + 1)
        for i, row in enumerate(range(start, stop)):
            stream = streams(row)
            seed, index[i] = self._draw_waveform(stream)
            seeds.append(seed)
            if spread is not None:
                theta[i] = spread[neuron[i] - neuron[0]]
                continue
            if row % self.sweeps and i:
                theta[i] = theta[i - 1]
                continue
            if row % self.sweeps:  # a neuron's parameters come from the stream of its first sweep
                stream = streams(row - row % self.sweeps)
                self._draw_waveform(stream)
            theta[i] = prior.row(int(neuron[i]), stream)
        index = np.searchsorted(numbers, index).astype(np.int32)
        columns = theta[:, [prior.names.index(name) for name in self.simulator.parameters]]
        scale = None
        if isinstance(self.simulator, HasRheobase) and self.in_rheobase:
            scale = np.asarray(self.simulator.rheobase(columns), np.float64)
        steps = round(self.duration / self.dt)
        per_call = self._rows_per_call(4 * steps * (bank.shape[1] + 1 + self._outputs))
        rows = SimulatedRows(theta, index, scale, neuron.astype(np.int32) if self.sweeps > 1 else None)
        for i in range(0, stop - start, per_call):
            part = slice(i, i + per_call)
            stimulus = present(bank[index[part]], None if scale is None else scale[part])
            stimulus = np.repeat(stimulus, round(self.stimulus.dt / self.dt), axis=-1)
            response = self.simulator.simulate(columns[part], stimulus, self.dt, seeds[part])
            self._keep(rows, response, len(columns[part]), steps)
        return rows

    @property
    def _outputs(self) -> int:
        """Numbers that the simulator returns for each step of a row, spikes aside."""
        simulator = self.simulator
        if not isinstance(simulator, OfPopulations):
            return len(simulator.channels)
        # latents are about as many as neurons at most
        return len(simulator.groups) * (len(simulator.channels) + len(simulator.latents))

    @property
    def row_bytes(self) -> int:
        """About what a stored row takes, spikes aside."""
        return 4 * round(self.duration / self.record_dt) * self._outputs

    def _rows_per_call(self, row_bytes: int) -> int:
        """As many as fit; a simulator that loops over time in Python may ask for more: attribute ``rows_per_call``."""
        return max(1, CALL_BYTES // row_bytes, int(getattr(self.simulator, "rows_per_call", 1)))

    def _draw_waveform(self, stream: np.random.Generator) -> tuple[int, int]:
        """The first two draws of a row's stream: the simulator's seed, and which waveform the row sees."""
        seed = int(stream.integers(2**63))
        return seed, 0 if self.stimulus.frozen else int(stream.integers(self.waveforms))

    def _keep(self, rows: SimulatedRows, response: dict[str, Any], n: int, steps: int) -> None:
        every = round(self.record_dt / self.dt)
        failed = np.zeros(n, bool)
        for name, values in response.items():
            if name in ("spikes", "units", "terminated", "saturated"):
                continue
            values = self._checked(values, name, (n, steps))
            # NaN is a sample that the model does not define (a spike cut); what diverges passes through infinity
            failed |= np.isinf(values).any(axis=tuple(range(1, values.ndim)))
            if values.ndim > 1 and values.shape[-1] == steps:
                failed |= np.isnan(values).all(axis=tuple(range(1, values.ndim)))
                values = values[..., every - 1 :: every]
            key = name if name.startswith("latent/") else f"response/{name}"
            rows.arrays.setdefault(key, []).append(values.astype(np.float32))
        missing = [name for name in self.simulator.channels if f"response/{name}" not in rows.arrays]
        if missing:
            raise InputError(
                f"{type(self.simulator).__name__} announces the channels {missing} but did not return them"
            )
        status = np.zeros(n, np.uint8)
        if "spikes" in response:
            spikes = [np.asarray(times, np.float64) for times in response["spikes"]]
            if len(spikes) != n:
                raise InputError(f"{type(self.simulator).__name__} returned spikes of {len(spikes)} rows for {n}")
            rows.spikes.extend(times.astype(np.float32) for times in spikes)
            failed |= [not np.isfinite(times).all() for times in spikes]
            status[[len(times) == 0 for times in spikes]] = STATUS.index("silent")
            if "units" in response:
                rows.units.extend(self._checked_units(response["units"], spikes))
        for name in ("saturated", "terminated"):
            if name in response:
                status[np.asarray(response[name], bool)] = STATUS.index(name)
        status[failed] = STATUS.index("non_finite")
        rows.status.append(status)

    def _checked_units(self, units: Any, spikes: list[NDArray[np.float64]]) -> list[NDArray[np.int16]]:
        """Which recorded neuron each spike is of, if there is one for each and they are numbered as the groups are."""
        found = [np.asarray(row, np.int64) for row in units]
        neurons = (
            len(self.simulator.groups) if isinstance(self.simulator, OfPopulations) else np.iinfo(np.int16).max + 1
        )
        if [len(row) for row in found] != [len(times) for times in spikes] or any(
            len(row) and not 0 <= row.min() <= row.max() < neurons for row in found
        ):
            raise InputError(
                f"{type(self.simulator).__name__} returned units that do not go with its spikes: expected one from 0 to "
                f"{neurons - 1} for each spike of each row"
            )
        return [row.astype(np.int16) for row in found]

    def _checked(self, values: Any, name: str, shape: tuple[int, ...]) -> NDArray[Any]:
        """The response as an array, if it was announced and has the right shape: (n, T), latents (n, ...)."""
        channel, latent = name in self.simulator.channels, name.startswith("latent/")
        if channel and isinstance(self.simulator, OfPopulations):
            shape = (shape[0], len(self.simulator.groups), shape[1])
        found = np.asarray(values) if channel or latent else None
        if found is None or (found.shape != shape if channel else found.shape[:1] != shape[:1]):
            raise InputError(
                f"{type(self.simulator).__name__}.simulate returned {name!r}"
                f"{'' if found is None else f' of shape {found.shape}'}; expected the "
                f"channels {list(self.simulator.channels)} of shape {shape}, spikes, units, terminated, saturated, and "
                f"latent/<name> arrays of {shape[0]} rows"
            )
        return found

    def attributes(self) -> dict[str, dict[str, Any]]:
        """Names, units and steps: the attributes of each dataset that has any."""
        simulator, prior = self.simulator, self.prior
        unit = "rheobase" if self.in_rheobase else simulator.stimulus_unit
        recorded = {f"response/{k}": {"dt": self.record_dt, "unit": u} for k, u in simulator.channels.items()}
        if isinstance(simulator, OfPopulations):
            group = np.asarray(simulator.groups, np.int64)
            recorded = {k: {**values, "group": group} for k, values in recorded.items()} | {UNIT: {"group": group}}
            recorded |= {f"latent/{k}": {"dt": self.record_dt, "unit": u} for k, u in simulator.latents.items()}
        return {
            "parameters": {"names": list(prior.names), "units": list(prior.units), "prior": prior.to_dict()},
            "stimulus/waveform": {"dt": float(self.stimulus.dt), "unit": unit},
            "stimulus/scale": {"unit": simulator.stimulus_unit},
            "response/spikes/times": {"unit": "ms"},
            "status": {"names": list(STATUS)},
            "latent/hidden": {"dt": self.record_dt, "unit": simulator.stimulus_unit},
            **recorded,
        }


def _multiple(value: float, step: float, value_name: str, step_name: str) -> None:
    ratio = value / step
    if not (math.isfinite(ratio) and round(ratio) >= 1 and abs(ratio - round(ratio)) < 1e-6 * ratio):
        raise InputError(f"{value_name} must be a whole multiple of {step_name}, found {value} and {step} ms")
