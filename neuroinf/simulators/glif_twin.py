r"""The GLIF models in torch, differentiable in their parameters: the twin of the compiled kernel.

Below threshold one step is linear in the state :math:`x = (a_1, a_2, v, t_s, t_v)`, the held current I and 1
(equations: :mod:`neuroinf.simulators.glif`), and so is the reset after a spike. n steps under a held current are
therefore the n-th power of one small triangular matrix. Two ways to run:

- :meth:`GLIFTwin.simulate` runs freely, step by step; a spike is a step function whose derivative is replaced by a
  surrogate.
- :meth:`GLIFTwin.forced` is told when the neuron spiked and follows the model in between. Without a threshold to be
  crossed everything is a chain of linear recurrences over *segments* (:mod:`.glif_segments`), exactly differentiable.
"""

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from neuroinf.simulators.glif_segments import PAD, Segments
from neuroinf.simulators.recurrence import linear_recurrence

if TYPE_CHECKING:
    from neuroinf.simulators.glif import GLIF

A1, A2, V, TS, TV, CURRENT, ONE = range(7)
AFTER_SPIKE_LEVELS, RESET_LEVELS, VOLTAGE_THRESHOLD_LEVELS = (3, 4, 5), (2, 4, 5), (5,)
BAD_RESET_SAMPLES = 5  # the reference repeats a reset state that lies above threshold this often, then stops


class Forced(NamedTuple):
    """States at the ends of the segments: voltage and threshold :math:`(B, S)`, mV, in the simulator's frame."""

    voltage: Tensor
    threshold: Tensor


class Free(NamedTuple):
    """Free-running response, each :math:`(B, T)`: voltage and threshold, mV (nan during the spike cut), and the spike
    train (0 or 1)."""

    voltage: Tensor
    threshold: Tensor
    spikes: Tensor


class _Spike(torch.autograd.Function):
    r"""Heaviside step; derivative :math:`1 / (w (1 + |d| / w)^2)` (SuperSpike: Zenke & Ganguli 2018, Neural Comput.
    30:1514)."""

    @staticmethod
    def forward(ctx, distance: Tensor, width: float) -> Tensor:  # pyright: ignore
        ctx.save_for_backward(distance)
        ctx.width = width
        return (distance > 0).to(distance)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:  # pyright: ignore
        (distance,) = ctx.saved_tensors
        return grad / (ctx.width * (1 + distance.abs() / ctx.width).square()), None


class GLIFTwin:
    """Differentiable twin of a GLIF simulator: same parameters, columns, frame and results.

    Args:
        simulator: The kernel to be mirrored.
    """

    def __init__(self, simulator: "GLIF") -> None:
        self.simulator = simulator
        self.level: int = simulator.level
        self.frame = simulator.frame

    def columns(self, theta: Tensor) -> dict[str, Tensor]:
        """Every parameter of the level by name, each :math:`(B,)`, from theta :math:`(B, P)` and the fixed ones."""
        named = {name: theta[:, j] for j, name in enumerate(self.simulator.parameters)}
        return named | {name: torch.full_like(theta[:, 0], value) for name, value in self.simulator.fixed.items()}

    def cut_steps(self, theta: Tensor, dt: float) -> Tensor:
        """Length of the spike cut in steps, :math:`(B,)` int64 (no gradient)."""
        return torch.round(self.columns(theta.detach())["spike_cut_length"] / dt).to(torch.int64)

    def step_and_reset(self, theta: Tensor, dt: float) -> tuple[Tensor, Tensor]:
        """The linear maps of one step below threshold and of one spike's reset, each :math:`(B, 7, 7)`, rows and
        columns as ``A1, A2, V, TS, TV, CURRENT, ONE``."""
        p = self.columns(theta)
        zero, one = torch.zeros_like(p["C"]), torch.ones_like(p["C"])
        rate, gain = 1 / (p["R_input"] * p["C"]), dt / p["C"]
        rest = p["El"] if self.frame == "rest" else zero
        cut = self.cut_steps(theta, dt).to(theta.dtype) * dt

        step = {
            (CURRENT, CURRENT): one,
            (ONE, ONE): one,
            (V, V): 1 - rate * dt,
            (V, CURRENT): gain,
            (V, ONE): rate * rest * dt,
        }
        reset = {(CURRENT, CURRENT): one, (ONE, ONE): one}
        if self.level in AFTER_SPIKE_LEVELS:
            for j, row in ((1, A1), (2, A2)):
                step |= {(row, row): torch.exp(-dt / p[f"asc_tau_{j}"]), (V, row): gain}
                reset |= {(row, row): torch.exp(-cut / p[f"asc_tau_{j}"]), (row, ONE): p[f"asc_amp_{j}"]}
        if self.level in RESET_LEVELS:
            step[TS, TS] = torch.exp(-p["b_spike"] * dt)
            reset |= {(TS, TS): torch.exp(-p["b_spike"] * cut), (TS, ONE): p["a_spike"]}
            reset |= {(V, V): p["reset_a"], (V, ONE): p["reset_b"]}
        if self.level in VOLTAGE_THRESHOLD_LEVELS:
            # written with expm1 the exact step has no pole where b_voltage is 0 or 1/(R C)
            from_v = p["a_voltage"] * torch.exp(-rate * dt) * _relaxed(p["b_voltage"] - rate, dt)
            from_i = (p["a_voltage"] * _relaxed(p["b_voltage"], dt) - from_v) * p["R_input"]
            step |= {(TV, TV): torch.exp(-p["b_voltage"] * dt), (TV, V): from_v, (TV, ONE): -from_v * rest}
            step |= {(TV, A1): from_i, (TV, A2): from_i, (TV, CURRENT): from_i}
            reset[TV, TV] = one
        return _matrix(step, zero), _matrix(reset, zero)

    def maps(self, theta: Tensor, dt: float, longest: int) -> Tensor:
        """The maps of a segment by its kind: reset, then 1 to `longest` steps, :math:`(B, 1 + longest, 7, 7)`."""
        step, reset = self.step_and_reset(theta, dt)
        powers = [reset, step]
        for _ in range(longest - 1):
            powers.append(powers[-1] @ step)
        return torch.stack(powers, dim=1)

    def pattern(self) -> list[tuple[int, int]]:
        """The entries of the maps that can differ from 0 and drive a state, as (row, column)."""
        return [(row, column) for row, inputs in self._dependencies().items() for column in (row, *inputs)]

    def initial_state(self, theta: Tensor) -> list[Tensor]:
        """State before the first step, one :math:`(B,)` for each of A1, A2, V, TS, TV."""
        a_1, a_2 = self.simulator.init_AScurrents
        like = theta[:, 0].detach()
        return [torch.full_like(like, float(x)) for x in (a_1, a_2, self.simulator.init_voltage, 0.0, 0.0)]

    def forced(self, theta: Tensor, stimulus: Tensor, dt: float, segments: Segments) -> Forced:
        """Voltage and threshold with spikes at given times, at the end of each segment.

        Differentiable in reverse and forward mode, the latter under :func:`torch.func.vmap` too. At a segment that
        ends with a spike step the values are those that the threshold test sees, before the reset.

        Args:
            theta: Parameters :math:`(B, P)`, natural units, float64.
            stimulus: Current :math:`(B, W)`, pA, held constant within each of the W windows.
            dt: Step, ms.
            segments: Where the windows and spikes lie.
        """
        maps = self.maps(theta, dt, segments.longest)
        pad, kind = segments.kind == PAD, segments.kind.clamp(min=0)
        current = stimulus.gather(1, segments.window)
        initial = self.initial_state(theta)
        before: dict[int, Tensor] = {}
        after: dict[int, Tensor] = {}

        def entry(row: int, column: int) -> Tensor:
            return maps[:, :, row, column].gather(1, kind)

        for row, inputs in self._dependencies().items():
            m, u = torch.where(pad, 1.0, entry(row, row)), torch.zeros_like(current)
            for column in inputs:
                u = u + entry(row, column) * (before.get(column, current if column == CURRENT else 1.0))
            first = initial[row][:, None]
            u = torch.where(pad, 0.0, u)
            u = torch.cat((u[:, :1] + m[:, :1] * first, u[:, 1:]), dim=1)
            after[row] = linear_recurrence(m, u)
            before[row] = torch.cat((first, after[row][:, :-1]), dim=1)

        p = self.columns(theta)
        offset = p["El"][:, None] if self.frame == "absolute" else 0.0
        threshold = p["th_inf"][:, None].expand_as(after[V])
        for row in (TS, TV):
            threshold = threshold + after[row] if row in after else threshold
        return Forced(after[V] + offset, threshold + offset)

    def simulate(self, theta: Tensor, stimulus: Tensor, dt: float, width: float = 1.0) -> Free:
        """Run freely, step by step.

        Voltage and threshold have their exact derivatives for spikes that stay where they are; the spike train has the
        surrogate one, which does not pass through earlier resets (Zenke & Vogels 2021, Neural Comput. 33:899).

        Args:
            theta: Parameters :math:`(B, P)`, natural units.
            stimulus: Current :math:`(B, T)` or :math:`(1, T)`, pA, at step dt.
            dt: Step, ms.
            width: Width of the surrogate derivative, mV; the values do not depend on it.
        """
        step, reset = self.step_and_reset(theta, dt)
        p, cut = self.columns(theta), self.cut_steps(theta, dt)
        stimulus = stimulus.expand(len(theta), -1)
        offset = p["El"] if self.frame == "absolute" else torch.zeros_like(p["El"])
        one = torch.ones_like(p["C"])
        state = torch.stack([*self.initial_state(theta), torch.zeros_like(one), one], dim=1)
        waiting, lasting = torch.zeros_like(cut), torch.full_like(cut, -1)
        columns: list[tuple[Tensor, Tensor, Tensor]] = []
        for t in range(stimulus.shape[1]):
            active = (waiting == 0) & (lasting < 0)
            x = torch.cat((state[:, :CURRENT], stimulus[:, t, None], one[:, None]), dim=1)
            moved = torch.einsum("bij,bj->bi", step, x)
            spike = _Spike.apply(moved[:, V] - moved[:, TS] - moved[:, TV] - p["th_inf"], width)
            assert isinstance(spike, Tensor)
            spike, spiked = torch.where(active, spike, 0.0), active & (spike > 0)
            moved = torch.where(spiked[:, None], torch.einsum("bij,bj->bi", reset, moved), moved)
            state = torch.where(active[:, None], moved, state)

            waiting = torch.where(spiked, cut, (waiting - 1).clamp(min=0))
            threshold = p["th_inf"] + state[:, TS] + state[:, TV]
            bad = spiked & (state[:, V] > threshold)
            lasting = torch.where(bad, BAD_RESET_SAMPLES + 1, lasting)
            shown = (waiting == 0) & (lasting != 0)
            # after a bad reset the state is shown that often once the cut is over, then never again
            lasting = torch.where(shown & (lasting > 0), lasting - 1, lasting)
            hidden = torch.full_like(threshold, torch.nan)
            columns.append(
                (
                    torch.where(shown, state[:, V] + offset, hidden),
                    torch.where(shown, threshold + offset, hidden),
                    spike,
                )
            )
        voltage, threshold, spikes = (torch.stack(channel, dim=1) for channel in zip(*columns, strict=True))
        return Free(voltage, threshold, spikes)

    def _dependencies(self) -> dict[int, tuple[int, ...]]:
        """For each state in use, in order of computation, the entries that drive it."""
        currents = (A1, A2) if self.level in AFTER_SPIKE_LEVELS else ()
        rows: dict[int, tuple[int, ...]] = {row: (ONE,) for row in currents}
        rows[V] = (*currents, CURRENT, ONE)
        if self.level in RESET_LEVELS:
            rows[TS] = (ONE,)
        if self.level in VOLTAGE_THRESHOLD_LEVELS:
            rows[TV] = (*currents, V, CURRENT, ONE)
        return rows


def _relaxed(rate: Tensor, dt: float) -> Tensor:
    r""":math:`\int_0^{dt} e^{-rate\, s} ds`, also at rate 0."""
    safe = torch.where(rate == 0, 1.0, rate)
    return torch.where(rate == 0, dt, -torch.expm1(-safe * dt) / safe)


def _matrix(entries: dict[tuple[int, int], Tensor], zero: Tensor) -> Tensor:
    return torch.stack([torch.stack([entries.get((i, j), zero) for j in range(7)], -1) for i in range(7)], -2)
