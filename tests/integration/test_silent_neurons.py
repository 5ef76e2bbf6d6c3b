"""The released network on neurons that never spike: it must say that their after-spike currents are not to be seen."""

from pathlib import Path

import numpy as np
import pytest

from neuroinf.inference import Estimator, load
from neuroinf.simulators import GLIF
from neuroinf.stimuli import LongSquare, Noise2, OrnsteinUhlenbeck

RELEASED = Path(__file__).resolve().parents[2] / "checkpoints" / "glif.ckpt"
AFTER_SPIKE = ["asc_amp_1", "asc_amp_2"]
NEURONS = 16
# each in units of the neuron's rheobase, hence subthreshold
STIMULI = {
    "step": LongSquare(3000.0, 1.0, amplitude=[0.5, 0.5], start=[500.0, 500.0], stop=[2500.0, 2500.0]),
    "negative step": LongSquare(3000.0, 1.0, amplitude=[-1.0, -1.0], start=[500.0, 500.0], stop=[2500.0, 2500.0]),
    "noise": OrnsteinUhlenbeck(3000.0, 1.0, mean=[0.2, 0.2], sd=[0.2, 0.2], tau=[3.0, 3.0]),
    "half of the test stimulus": Noise2(duration=3000.0, dt=1.0, layout="compact"),
}


@pytest.fixture(scope="module")
def estimator() -> Estimator:
    return load(RELEASED)


@pytest.mark.parametrize("kind", STIMULI)
def test_what_only_spikes_could_show_is_named_as_not_identified(estimator: Estimator, kind: str) -> None:
    rng = np.random.default_rng(11)
    simulation = estimator.simulation
    assert simulation is not None and isinstance(simulation.simulator, GLIF)
    theta = estimator.prior.sample(NEURONS, rng)
    factor = 0.5 if "half" in kind else 1.0
    drawn = np.stack([STIMULI[kind].sample(rng) for _ in range(NEURONS)])
    current = factor * simulation.simulator.rheobase(theta)[:, None, None] * drawn
    response = simulation.simulator.simulate(theta, np.repeat(current, 10, axis=2), dt=0.1, seed=0)
    ratios, named = [], []
    for row in range(NEURONS):
        if len(response["spikes"][row]):
            continue
        voltage = response["voltage"][row, 9::10] + rng.normal(0.0, 0.5, current.shape[-1])
        posterior = estimator.infer(voltage=voltage, stimulus=current[row, 0], spikes=np.empty(0), dt=1.0)
        ratios.append([posterior.sd_over_prior[name] for name in AFTER_SPIKE])
        (warning,) = [text for text in posterior.warnings if "not identified" in text] or [""]
        named.append([name in warning for name in AFTER_SPIKE])
        assert "C" not in posterior.unidentified and "R_input" not in posterior.unidentified
    assert len(ratios) > NEURONS / 2
    middle = np.median(np.array(ratios, np.float64), axis=0)
    assert ((middle > 0.9) & (middle < 1.1)).all()
    assert np.mean(named) > 0.8
