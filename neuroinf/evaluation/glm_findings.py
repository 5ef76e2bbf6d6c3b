"""GLM neurons: their hidden activity, the bins after the observed ones, and weights where inputs are correlated."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from neuroinf.evaluation.comparison import Condition
from neuroinf.evaluation.confounding import confounding
from neuroinf.evaluation.estimates import Estimates
from neuroinf.evaluation.held_out import HeldOut
from neuroinf.evaluation.held_out_bins import Continued, predicted_bins
from neuroinf.evaluation.hidden import Recovered, hidden_scores, weight_error
from neuroinf.evaluation.hidden_figures import HiddenPanel, hidden_scatter, hidden_traces
from neuroinf.evaluation.response_figure import best_median_worst
from neuroinf.fits.hidden_law import hidden_laws
from neuroinf.hidden_activity import hidden_activity, hidden_atoms
from neuroinf.simulators import GLM

FloatArray = NDArray[np.float64]
# posterior samples over which a neuron's hidden activity is averaged
SAMPLES = 200
ATOMS_SEED = 20_260_104
# bins after the observed ones that are predicted: a bin's log-probability is then known to a thirtieth of its sd
PREDICTED = 1000
# rows whose inputs tell the correlation between them
_CORRELATED_ROWS = 20


@dataclass(frozen=True)
class GLMNeurons:
    """The first n test neurons as they were observed, and what is true of them.

    Args:
        test: The first n rows.
        condition: How they were observed.
    """

    test: HeldOut
    condition: Condition

    @property
    def simulator(self) -> GLM:
        """What they are."""
        return cast(GLM, self.test.simulation.simulator)

    @property
    def channel(self) -> str:
        """Their response: rate or count."""
        return next(iter(self.simulator.channels))

    @property
    def columns(self) -> list[int]:
        """Columns of the parameters in the simulator's order."""
        return [self.test.simulation.prior.names.index(name) for name in self.simulator.parameters]

    @property
    def weights(self) -> list[int]:
        """Columns of the observed inputs' weights: those before the bias in the simulator's order."""
        return self.columns[: self.simulator.parameters.index("b")]

    @property
    def hidden_column(self) -> int | None:
        """Column of the hidden weight; None if there is none, or there are several."""
        names = self.test.simulation.prior.names
        return names.index("w_hidden") if "w_hidden" in names else None

    def observed(self) -> tuple[FloatArray, FloatArray]:
        """Inputs (n, I, T) and response (n, T) under the condition."""
        x = self.test.observe(self.condition).astype(np.float64)
        observation = self.test.observation
        return x[:, observation.rows("stimulus")], x[:, observation.rows(self.channel).start]

    def atoms(self) -> list[FloatArray | None]:
        """Equally likely values of each neuron's hidden input, by its observed inputs; None for rates, which need none."""
        if self.simulator.output == "rate":
            return [None] * len(self.test.rows)
        rng = np.random.default_rng(ATOMS_SEED)
        return [hidden_atoms(self.test.simulation, x, rng) for x in self.observed()[0]]

    def continued(self) -> Continued | None:
        """With the bins after the observed ones, which nobody has seen; None where the observation leaves none."""
        seen = self.test.bins(self.condition)
        if seen is None:
            return None
        stop = min(seen + PREDICTED, round(self.test.duration / self.test.observation.dt))
        if stop <= seen:
            return None
        whole = GLMNeurons(self.test, Condition("whole", {}, duration=stop * self.test.observation.dt))
        x, y = whole.observed()
        laws = hidden_laws(self.test.simulation, x[..., :seen])
        return Continued(self.simulator, laws, x, y, seen, self.test.simulation.dt)


def glm_findings(
    test: HeldOut, condition: Condition, answers: Sequence[Estimates], most: int
) -> tuple[dict[str, Any], list[tuple[str, str, Figure]]]:
    """Entries "predictive", "hidden" and "confounding" of metrics.json, and the figures of hidden activity.

    Args:
        test: Test neurons and their simulator.
        condition: How they were observed.
        answers: Every method's, signs included.
        most: Look at so many neurons, the first ones.
    """
    neurons = GLMNeurons(test.first(most), condition)
    truth, n = neurons.test.truth, len(neurons.test.rows)
    entries: dict[str, Any] = {"predictive": {}}
    if not {"stimulus", neurons.channel} <= set(test.observation.channels):
        return entries, []
    some = [answer.restricted(np.arange(n)) for answer in answers]
    continued = neurons.continued()
    if continued is not None:
        entries["predictive"] = predicted_bins(continued, truth, some, neurons.columns)
    hidden = neurons.hidden_column
    if hidden is None:
        return entries, []
    atoms = neurons.atoms()
    recovered = {answer.method: _recovered(neurons, answer, hidden, atoms) for answer in some}
    entries["hidden"] = {
        answer.method: hidden_scores(
            list(recovered[answer.method][0].values()),
            weight_error(truth[:, neurons.weights], answer.mean[:, neurons.weights]),
            recovered[answer.method][1],
        )
        for answer in some
    }
    entries["confounding"] = confounding(
        test.truth, answers, neurons.weights, hidden, input_correlation(neurons.test.first(_CORRELATED_ROWS))
    )
    network, fit = (recovered.get(name, ({}, 0.0))[0] for name in ("amortized", "per_neuron_fit"))
    return entries, _figures(neurons, some, network, fit)


def input_correlation(test: HeldOut) -> float:
    """Mean correlation of two inputs of a row, the hidden ones included."""
    waveforms = test.stimulus(np.arange(len(test.rows))).astype(np.float64)
    if waveforms.shape[1] < 2:
        return 0.0
    pairs = np.triu_indices(waveforms.shape[1], 1)
    return float(np.nanmean([np.corrcoef(waveform)[pairs] for waveform in waveforms]))


def _recovered(
    neurons: GLMNeurons, answer: Estimates, hidden: int, atoms: Sequence[FloatArray | None]
) -> tuple[dict[int, Recovered], float]:
    """The hidden activity by row, and seconds for one; empty for a method whose hidden weight is 0."""
    x, y = neurons.observed()
    activity = neurons.test.hidden(neurons.test.rows, y.shape[-1])
    assert activity is not None
    found: dict[int, Recovered] = {}
    begin = time.perf_counter()
    for row in np.flatnonzero(answer.answered).tolist():
        point = answer.samples is None
        theta = answer.mean[row, None] if answer.samples is None else answer.samples[row, :SAMPLES]
        if point and theta[0, hidden] == 0:
            continue
        true_sign = 1 if neurons.test.truth[row, hidden] >= 0 else -1
        known = (np.sign(theta[:, hidden]) == true_sign).any()
        names, dt = neurons.test.simulation.prior.names, neurons.test.observation.dt
        sign = true_sign if known else -true_sign
        given = hidden_activity(theta, x[row], y[row], neurons.simulator, names, atoms[row], sign, dt=dt)
        low, high = (given.low, given.high) if known else (-given.high, -given.low)
        if point:
            low = high = np.full_like(given.mean, np.nan)
        right = (given.positive > 0.5) == (true_sign > 0)
        found[row] = Recovered(activity[row], given.mean if known else -given.mean, low, high, right)
    return found, (time.perf_counter() - begin) / max(1, len(found))


def _figures(
    neurons: GLMNeurons, answers: Sequence[Estimates], network: dict[int, Recovered], fit: dict[int, Recovered]
) -> list[tuple[str, str, Figure]]:
    """Best, median and worst neuron of the network, among those that were fitted as well if any were."""
    answer = next((a for a in answers if a.method == "amortized"), None)
    if not network or answer is None:
        return []
    both = network.keys() & fit.keys() or network.keys()
    r = np.array([network[row].r if row in both else np.nan for row in range(len(neurons.test.rows))])
    x, y = neurons.observed()
    dt = neurons.test.simulation.dt
    theta = answer.mean[:, None] if answer.samples is None else answer.samples[:, :SAMPLES]
    panels = []
    for label, row in best_median_worst(-r).items():
        laws = hidden_laws(neurons.test.simulation, x[row, None])
        one = Continued(neurons.simulator, laws, x[row, None], y[row, None], y.shape[-1], dt)
        expected = one.expected(theta[row, None][..., neurons.columns])[0]
        title = f"{label} (test neuron {row}): |r| = {r[row]:.3f}"
        panels.append(
            HiddenPanel(
                title, network[row], fit.get(row), y[row], expected, neurons.channel, neurons.test.observation.dt
            )
        )
    return [
        (
            "hidden_scatter",
            "Inferred against true hidden activity, the sign of its weight given.",
            hidden_scatter(panels),
        ),
        ("hidden_traces", "Hidden activity in time, and what the observed inputs explain.", hidden_traces(panels)),
    ]
