r"""Populations of neurons driven by a few latents, which are known.

.. math:: x_{i,t} = c_i \cdot z^{(l_i)}_t, \qquad \mathrm{Var}_t(x_i) = 1, \qquad y_{i,t} \sim p(y | x_{i, \le t})

where :math:`z^{(l)}` are the latents that neurons of layer l see: those shared by all layers, then the layer's own; the
directions of the loadings c are uniform. What becomes of the drive x is the observation's affair:
:mod:`neuroinf.simulators.population_observation`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from neuroinf.errors import InputError
from neuroinf.simulators.dynamics import Dynamics
from neuroinf.simulators.population_observation import PopulationObservation
from neuroinf.simulators.protocol import Response
from neuroinf.simulators.seeds import purpose_seeds, row_seeds
from neuroinf.simulators.threads import in_threads

FloatArray = NDArray[np.float64]

LAYERS = 9  # as many as the published recording has planes
# purposes of a row's seed; layer l's own dynamics has OWN + l
NOISE, SHARED, OWN = 0, 1, 2
# stretches of drive on which gains are found, and their bins beyond the observation's lead
STRETCHES, BINS = 256, 400


class Population:
    """One population; each row of a simulation is another stretch of its activity.

    The loadings and other constants of the neurons come from the population's own seed: every row is of the same neurons. A row's
    seed makes its latents and its noise.

    Args:
        dynamics: The latents that neurons of all layers see.
        observation: What is recorded.
        neurons: Number in each layer.
        layers: 1 to 9.
        private: Latents of which each layer has its own, independent ones; None: none.
        seed: Of the neurons' constants.

    Attributes:
        dimension: D, of all latents together: the shared ones, then each layer's.
        groups: Layer of each neuron (K,), from 0.
        latents: Names and units of what is known beside the activity: `factors` (n, D, T), and `rates` (n, K, T), the expected
            activity given the latents, in the activity's unit.

    Raises:
        InputError: if a number is out of its range.

    Example:
        >>> from neuroinf.simulators import GaussianObservation, LinearDynamics
        >>> population = Population(LinearDynamics(2), GaussianObservation(snr=1.5), neurons=10)
        >>> response = population.simulate(np.empty((3, 0)), np.zeros((1, 1, 50)), dt=10.0)
        >>> response["activity"].shape, response["latent/factors"].shape, response["latent/rates"].shape
        ((3, 10, 50), (3, 2, 50), (3, 10, 50))
    """

    stimulus_unit = "1"

    def __init__(
        self,
        dynamics: Dynamics,
        observation: PopulationObservation,
        neurons: int = 40,
        layers: int = 1,
        private: Dynamics | None = None,
        seed: int = 0,
    ) -> None:
        if neurons < 1 or not 1 <= layers <= LAYERS or seed < 0:
            raise InputError(
                f"Population: expected at least 1 neuron, 1 to {LAYERS} layers and a seed of at least 0, found {neurons}, {layers} "
                f"and {seed}"
            )
        self.dynamics, self.observation, self.neurons = dynamics, observation, neurons
        self.layers, self.private, self.seed = layers, private, seed
        self.parameters: tuple[str, ...] = ()
        self.units: tuple[str, ...] = ()
        self.channels: dict[str, str] = {"activity": observation.unit}
        self.latents: dict[str, str] = {"factors": "1", "rates": observation.unit}
        self.groups: NDArray[np.int64] = np.repeat(np.arange(layers), neurons)
        own = 0 if private is None else private.dimension
        self.dimension = dynamics.dimension + layers * own
        self._constants: dict[float, FloatArray] = {}
        self._loadings = self._draw_loadings(own)

    def _draw_loadings(self, own: int) -> FloatArray:
        shared = self.dynamics.dimension
        covariance = np.zeros((shared + own, shared + own))
        covariance[:shared, :shared] = self.dynamics.covariance
        if self.private is not None:
            covariance[shared:, shared:] = self.private.covariance
        seen = np.random.default_rng([self.seed, 0]).standard_normal((len(self.groups), shared + own))
        seen /= np.sqrt(np.einsum("ki,ij,kj->k", seen, covariance, seen))[:, None]
        loadings = np.zeros((len(self.groups), self.dimension))
        loadings[:, :shared] = seen[:, :shared]
        for layer in range(self.layers if own else 0):
            start = shared + layer * own
            loadings[self.groups == layer, start : start + own] = seen[self.groups == layer, shared:]
        return loadings

    @property
    def loadings(self) -> FloatArray:
        """c :math:`(K, D)`; 0 where a neuron does not see a latent."""
        return self._loadings.copy()

    def constants(self, dt: float) -> FloatArray:
        """Each neuron's constants of the observation (K, c), in bins of dt ms."""
        if dt not in self._constants:
            rng = np.random.default_rng([self.seed, 1])

            @cache
            def factors() -> FloatArray:
                seeds = np.random.SeedSequence([self.seed, 2]).generate_state(STRETCHES, np.uint64).astype(np.uint64)
                return self._factors(seeds, self.observation.lead(dt) + BINS, dt)

            # a neuron at a time: the drives of all would be gigabytes
            def drive(neuron: int) -> FloatArray:
                weights = self._loadings[neuron]
                return sum((weights[d] * factors()[:, d] for d in np.flatnonzero(weights)), np.zeros(1))

            self._constants[dt] = self.observation.constants(len(self.groups), drive, dt, rng)
        return self._constants[dt]

    def simulate(self, theta: ArrayLike, stimulus: ArrayLike, dt: float, seed: int | Sequence[int] = 0) -> Response:
        """Simulate n stretches; rows are shared among as many threads as NUMBA_NUM_THREADS says.

        Args:
            theta: :math:`(n, 0)`: there are no free parameters.
            stimulus: :math:`(n, 1, T)` or :math:`(1, 1, T)`; its length is the stretch's, its values have no effect.
            dt: Bin, ms.
            seed: n numbers below 2^64, or one, from which row i's is made: the same whatever n is.

        Returns:
            ``"activity"`` :math:`(n, K, T)`, ``"latent/factors"`` :math:`(n, D, T)`, ``"latent/rates"`` :math:`(n, K, T)`.

        Raises:
            InputError: for a wrong shape or a dt that is not positive.
        """
        values, x = np.asarray(theta), np.asarray(stimulus)
        if values.ndim != 2 or values.shape[1] != 0:
            raise InputError(
                f"theta: expected shape (n, 0), as a population has no free parameters, found {values.shape}"
            )
        n = len(values)
        if x.ndim != 3 or x.shape[0] not in (1, n) or not x.shape[2]:
            raise InputError(f"stimulus: expected shape ({n}, 1, T) or (1, 1, T), found {x.shape}")
        if not (isinstance(dt, int | float | np.number) and math.isfinite(dt) and dt > 0):
            raise InputError(f"dt: expected a positive number of ms, found {dt!r}")
        seeds, lead = row_seeds(seed, n), self.observation.lead(float(dt))
        factors = self._factors(seeds, lead + x.shape[2], float(dt))
        noise = purpose_seeds(seeds, NOISE)
        activity, rates = self.observation.respond(self._drive(factors), self.constants(float(dt)), noise, float(dt))
        return {
            "activity": activity[..., lead:],
            "latent/factors": factors[..., lead:],
            "latent/rates": rates[..., lead:],
        }

    def _factors(self, seeds: NDArray[np.uint64], steps: int, dt: float) -> FloatArray:
        """All latents (n, D, T)."""
        parts = [self.dynamics.paths(purpose_seeds(seeds, SHARED), steps, dt)]
        for layer in range(self.layers if self.private is not None else 0):
            assert self.private is not None
            parts.append(self.private.paths(purpose_seeds(seeds, OWN + layer), steps, dt))
        return np.concatenate(parts, 1)

    def _drive(self, factors: FloatArray) -> FloatArray:
        """Drives (n, K, T)."""
        n, _, steps = factors.shape
        drive = np.empty((n, len(self.groups), steps))
        in_threads(lambda first, last: _project(first, last, self._loadings, factors, drive), n, n)
        return drive


@njit(nogil=True, cache=True)
def _project(first: int, last: int, loadings: FloatArray, factors: FloatArray, drive: FloatArray) -> None:
    # not a library's product, whose rounding may depend on how many rows there are
    for row in range(first, last):
        for k in range(loadings.shape[0]):
            drive[row, k] = 0.0
            for d in range(loadings.shape[1]):
                if loadings[k, d] != 0.0:
                    for t in range(factors.shape[2]):
                        drive[row, k, t] += loadings[k, d] * factors[row, d, t]
