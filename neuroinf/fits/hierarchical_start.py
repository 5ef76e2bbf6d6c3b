"""Parameters of hierarchical neurons to begin with: at random, or those of a simpler model rearranged."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neuroinf.errors import InputError
from neuroinf.simulators.hierarchical_glm import HierarchicalGLM
from neuroinf.simulators.hierarchical_glm_tree import Synapse
from neuroinf.simulators.hierarchical_glm_twin import HierarchicalGLMTwin

FloatArray = NDArray[np.float64]

# Ujfalussy et al. (2018), before the weights are scaled to the subunits' range
WEIGHT_EXCITATORY, WEIGHT_INHIBITORY = (0.5, 2.0), (-1.0, 0.0)
TAU_EXCITATORY, TAU_INHIBITORY = (2.0, 8.0), (2.0, 30.0)  # ms, log-uniform
SLOPE = 4.0  # J that makes up for the sigmoid's slope of 1/4


class Parts:
    """The parameters of one neuron by kind, to be read and changed in place; J and theta have an entry per subunit."""

    def __init__(self, simulator: HierarchicalGLM, theta: FloatArray | None = None) -> None:
        self.simulator = simulator
        self.theta = np.zeros(len(simulator.parameters)) if theta is None else np.array(theta, np.float64)
        columns = simulator.columns
        self.w, self.w2, self.tau = (self.theta[columns[kind]] for kind in ("w", "w2", "tau"))
        first = 1 if simulator.linear_soma else 0
        self.J, self.threshold = np.ones(simulator.subunits), np.zeros(simulator.subunits)
        self.J[first:], self.threshold[first:] = self.theta[columns["J"]], self.theta[columns["theta"]]

    def scale_drive(self, m: int, factor: float) -> None:
        """Multiplies all that enters subunit m."""
        tree, simulator = self.simulator.tree, self.simulator
        self.w[[s.subunit == m for s in tree]] *= factor
        self.w2[[tree[k].subunit == m for k in simulator.slow]] *= factor
        self.J[[parent == m + 1 for parent in simulator.parents]] *= factor

    def done(self) -> FloatArray:
        """theta :math:`(P,)`."""
        first, columns = (1 if self.simulator.linear_soma else 0), self.simulator.columns
        self.theta[columns["J"]], self.theta[columns["theta"]] = self.J[first:], self.threshold[first:]
        return self.theta


def drives(simulator: HierarchicalGLM, theta: FloatArray, inputs: FloatArray, dt: float) -> FloatArray:
    """What each subunit's synapses contribute to its argument, :math:`(M, T)`; without after-spike currents."""
    twin, part = HierarchicalGLMTwin(simulator), simulator.columns
    filtered, _ = twin.filtered(theta, twin.summed(inputs), dt)
    weights = np.concatenate((theta[part["w"]], theta[part["w2"]]))
    return np.stack([weights[twin.subunit == m] @ filtered[twin.subunit == m] for m in range(simulator.subunits)])


def draw(
    simulator: HierarchicalGLM,
    inputs: FloatArray,
    dt: float,
    rng: np.random.Generator,
    linearity: float = 1.0,
    mean: float = -60.0,
    sd: float = 5.0,
) -> FloatArray:
    r"""A random neuron, none of whose subunits is saturated or idle.

    Weights and time constants are drawn; then, from the leaves to the root, each subunit's argument is scaled to
    standard deviation 1 / `linearity` under the inputs, with the threshold at its mean and J scaled back.

    Args:
        simulator: Architecture.
        inputs: Spikes per step :math:`(N, T)`.
        dt: Step, ms.
        rng: For weights and time constants.
        linearity: How many standard deviations of the argument lie within 1 of the threshold ("nSD").
        mean, sd: Of the voltage, mV.

    Returns:
        theta :math:`(P,)`; parameters of spiking are 0.

    Source:
        Ujfalussy et al. (2018), the published program's initialisation.
    """
    parts, tree = Parts(simulator), simulator.tree
    excites = np.array([synapse.excitatory for synapse in tree])

    def uniform(of_excitatory: tuple[float, float], of_inhibitory: tuple[float, float]) -> FloatArray:
        low, high = np.where(excites, np.array(of_excitatory)[:, None], np.array(of_inhibitory)[:, None])
        return rng.uniform(low, high)

    parts.w[:] = uniform(WEIGHT_EXCITATORY, WEIGHT_INHIBITORY)
    parts.w2[:] = rng.uniform(*WEIGHT_EXCITATORY, len(parts.w2))
    log_e, log_i = (tuple(np.log(pair).tolist()) for pair in (TAU_EXCITATORY, TAU_INHIBITORY))
    parts.tau[:] = np.exp(uniform(log_e, log_i))
    parts.J[:] = SLOPE
    argument = drives(simulator, parts.theta, inputs, dt)
    for m in reversed(range(simulator.subunits)):
        spread = float(argument[m].std())
        factor = 1.0 / (linearity * spread) if spread > 0 else 1.0
        if m == 0 and simulator.linear_soma:
            parts.scale_drive(0, sd / spread if spread > 0 else 1.0)
            parts.theta[0] = mean - float(argument[0].mean()) * (sd / spread if spread > 0 else 1.0)
            return parts.done()
        parts.scale_drive(m, factor)
        argument[m] *= factor
        parts.threshold[m] = argument[m].mean()
        output = 1.0 / (1.0 + np.exp(parts.threshold[m] - argument[m]))
        if m:
            parts.J[m] = SLOPE / factor
            argument[simulator.parents[m] - 1] += parts.J[m] * output
        else:
            parts.J[0] = sd / max(float(output.std()), 1e-12)
            parts.theta[0] = mean - parts.J[0] * float(output.mean())
    return parts.done()


def extend(
    simple: HierarchicalGLM, theta: FloatArray, deep: HierarchicalGLM, inputs: FloatArray, dt: float, linearity: float
) -> FloatArray:
    """A deeper model that does nearly what a simpler one does: the new subunits work in their nearly linear range.

    Args:
        simple, theta: The simpler model and its parameters :math:`(P,)`.
        deep: Has the simple model's subunits first; each input is where it was in the simple model, or further out.
            Parameters shared in the simple model may be individual in the deep one.
        inputs: Spikes per step :math:`(N, T)`.
        dt: Step, ms.
        linearity: As for :func:`draw`, of the new subunits.

    Returns:
        The deep model's parameters :math:`(P',)`.

    Raises:
        InputError: if the deep model is not an extension of the simple one.
    """
    if deep.parents[: simple.subunits] != simple.parents or (deep.linear_soma and not simple.linear_soma):
        raise InputError(
            f"extension: the deeper model must begin with the simpler one's subunits {simple.parents}, "
            f"found {deep.parents[: simple.subunits]}, and may have a linear soma only if that one has"
        )
    old, new = Parts(simple, theta), Parts(deep)
    source = [_source(synapse, simple, deep) for synapse in deep.tree]
    new.w[:], new.tau[:] = old.w[source], old.tau[source]
    slow = {k: j for j, k in enumerate(simple.slow)}
    new.w2[:] = [old.w2[slow[source[k]]] if source[k] in slow else 0.0 for k in deep.slow]
    new.J[: simple.subunits], new.threshold[: simple.subunits] = old.J, old.threshold
    new.theta[0] = theta[0]
    for kind in ("after_spike", "soft", "threshold"):
        if simple.spiking and deep.spiking:
            new.theta[deep.columns[kind]] = theta[simple.columns[kind]]

    argument, before = drives(deep, new.theta, inputs, dt), drives(simple, theta, inputs, dt)
    for m in reversed(range(1, simple.subunits)):
        before[simple.parents[m] - 1] += old.J[m] / (1.0 + np.exp(old.threshold[m] - before[m]))
    for m in reversed(range(deep.subunits)):
        added = m >= simple.subunits or (m == 0 and simple.linear_soma and not deep.linear_soma)
        if m == 0 and deep.linear_soma:
            new.theta[0] += before[0].mean() - argument[0].mean()
            break
        spread = float(argument[m].std())
        factor = 1.0 / (linearity * spread) if added and spread > 0 else 1.0
        if added:
            new.scale_drive(m, factor)
            argument[m] *= factor
            new.threshold[m] = argument[m].mean()
        else:
            new.threshold[m] += argument[m].mean() - before[m].mean()
        output = 1.0 / (1.0 + np.exp(new.threshold[m] - argument[m]))
        if added:
            new.J[m] = float(argument[m].std() / factor / output.std()) if spread > 0 else SLOPE
        if m:
            argument[deep.parents[m] - 1] += new.J[m] * output
        elif added:
            new.theta[0] += before[0].mean() - new.J[0] * output.mean()
    return new.done()


def _source(synapse: Synapse, simple: HierarchicalGLM, deep: HierarchicalGLM) -> int:
    """The simple model's synapse from which a deep one's comes: the same inputs, at the subunit or nearer the soma."""
    path = [synapse.subunit]
    while path[-1]:
        path.append(deep.parents[path[-1]] - 1)
    for subunit in path:
        for k, other in enumerate(simple.tree):
            kind = other.excitatory == synapse.excitatory
            if kind and other.subunit == subunit and set(synapse.inputs) <= set(other.inputs):
                return k
    raise InputError(
        f"extension: synapse {synapse.label} of the deeper model has no counterpart nearer the soma in the simpler one"
    )
