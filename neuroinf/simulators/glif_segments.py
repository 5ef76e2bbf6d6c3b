"""Time cut into the stretches over which a GLIF model with given spikes is one linear map: whole windows, and parts at
spikes."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuroinf.errors import InputError

PAD, RESET = -1, 0


@dataclass(frozen=True)
class Segments:
    """Segments of B neurons, S of each at most, over W windows of k steps.

    Attributes:
        kind: :math:`(B, S)` int64: number of steps; ``RESET`` for the spike cut and its reset, ``PAD`` after the last.
        window: :math:`(B, S)` int64, the window whose stimulus is held.
        observed: :math:`(B, W)` int64, the segment that ends with the window's last step; -1 within a spike cut.
        spike: :math:`(B, S)` bool, the segment is a spike step.
        silent: :math:`(B, S)` bool, it ends with a step at which the neuron was free to spike and did not.
        dropped: :math:`(B,)` int64, spikes left out because they fell within the cut of another or outside the windows.
        longest: k.
    """

    kind: Tensor
    window: Tensor
    observed: Tensor
    spike: Tensor
    silent: Tensor
    dropped: Tensor
    longest: int

    def rows(self, index: Tensor) -> "Segments":
        """The segments of the neurons at `index`, in that order."""
        tensors = {f.name: getattr(self, f.name)[index] for f in fields(self) if f.name != "longest"}
        return Segments(**tensors, longest=self.longest)

    def until(self, windows: Tensor) -> "Segments":
        """Without tests or samples from window number `windows` :math:`(B,)` on."""
        if (windows >= self.observed.shape[1]).all():
            return self
        inside = self.window < windows[:, None]
        observed = torch.where(torch.arange(self.observed.shape[1]) < windows[:, None], self.observed, -1)
        return replace(self, observed=observed, spike=self.spike & inside, silent=self.silent & inside)


@numba.njit(cache=True, nogil=True)
def _cut(
    spikes: np.ndarray,
    cut: int,
    k: int,
    windows: int,
    kind: np.ndarray,
    window: np.ndarray,
    role: np.ndarray,
    seen: np.ndarray,
) -> tuple[int, int]:
    pos = s = i = kept = 0
    total = windows * k
    while pos < total:
        j = pos // k
        while i < len(spikes) and spikes[i] < pos:
            i += 1
        spiking = i < len(spikes) and spikes[i] < (j + 1) * k
        end = spikes[i] if spiking else (j + 1) * k
        if end > pos:
            kind[s], window[s] = end - pos, j
            if not spiking:
                seen[j] = s
            pos = end
            s += 1
        if spiking:
            kept += 1
            kind[s], window[s], role[s] = 1, j, 1
            kind[s + 1], window[s + 1], role[s + 1] = 0, j, 2
            pos += cut + 1
            if pos % k == 0 and pos <= total:
                seen[pos // k - 1] = s + 1
            s += 2
            i += 1
    return s, kept


def segments(
    spikes: Sequence[NDArray[np.float64]], cut: NDArray[np.int64], windows: int, k: int, dt: float
) -> Segments:
    """Cuts the time of B neurons at windows and spikes.

    Args:
        spikes: For each neuron its spike times, ms: the start of the step at which the threshold was found to be
            crossed.
        cut: For each neuron the length of the spike cut, in steps.
        windows: Number W of windows.
        k: Steps in each.
        dt: Step, ms.

    Raises:
        InputError: if a neuron's spike times are not sorted or not finite.
    """
    count, most = len(spikes), windows + 3 * max((len(s) for s in spikes), default=0)
    kind, window = np.full((count, most), PAD, np.int64), np.zeros((count, most), np.int64)
    role, seen = np.zeros((count, most), np.int64), np.full((count, windows), -1, np.int64)
    lengths, dropped = np.zeros(count, np.int64), np.zeros(count, np.int64)
    for b, times in enumerate(spikes):
        if not np.isfinite(times).all() or (np.diff(times) < 0).any():
            raise InputError(
                f"spike times must be finite and sorted; those of neuron {b} are not: sort them, remove nan"
            )
        steps = np.rint(np.asarray(times, np.float64) / dt).astype(np.int64)
        steps = steps[steps >= 0]
        lengths[b], kept = _cut(steps, int(cut[b]), k, windows, kind[b], window[b], role[b], seen[b])
        dropped[b] = len(times) - kept
    last = max(int(lengths.max(initial=1)), 1)
    # contiguous, so that compiled code that reads them exists in one version only
    kind, window, role = (np.ascontiguousarray(x[:, :last]) for x in (kind, window, role))
    return Segments(
        torch.from_numpy(kind),
        torch.from_numpy(window),
        torch.from_numpy(seen),
        torch.from_numpy(role == 1),
        torch.from_numpy((role == 0) & (kind > 0)),
        torch.from_numpy(dropped),
        k,
    )
