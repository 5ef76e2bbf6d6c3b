"""Refinement of one recording, and as a method among others, from a network whose answers are given."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from noise_neurons import FIXED, PRIOR, RANGES, SIMULATOR, Observed, observe
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.distributions import Distribution, MultivariateNormal

from neuroinf.datasets.observation import Observation
from neuroinf.errors import InputError
from neuroinf.evaluation.comparison import Condition
from neuroinf.evaluation.methods import Refined
from neuroinf.fits import by_twin, glif_family
from neuroinf.fits.evidence import Evidence
from neuroinf.fits.posterior import refined_posterior
from neuroinf.inference import Estimator
from neuroinf.models.novelty import Score
from neuroinf.networks.agreement import Pooled
from neuroinf.posterior import Posterior
from neuroinf.priors import Prior
from neuroinf.recordings import Recording, from_arrays

SD = 0.05  # of the network's posterior, in z
SIMULATION: dict[str, Any] = {
    "class_path": "neuroinf.datasets.Simulation",
    "init_args": {
        "simulator": {
            "class_path": "neuroinf.simulators.GLIF",
            "init_args": {"level": 3, "frame": "absolute", "fixed": FIXED},
        },
        "prior": {"class_path": "neuroinf.priors.Prior", "init_args": {"parameters": RANGES}},
        "stimulus": {
            "class_path": "neuroinf.stimuli.OrnsteinUhlenbeck",
            "init_args": {"duration": 900.0, "dt": 1.0, "mean": [0.3, 1.2], "sd": [0.1, 0.6], "tau": [1.0, 20.0]},
        },
        "n": 10,
        "dt": 0.1,
        "record_dt": 1.0,
        "seed": 1,
    },
}


class Recognised(nn.Module):
    """An encoder that knows each neuron by the first sample of its stimulus, and returns the answer in z that is given."""

    def __init__(self, stimuli: NDArray[np.float64], z: Tensor) -> None:
        super().__init__()
        self.features, self.z, self.first = z.shape[1], z, torch.from_numpy(stimuli[:, 0].astype(np.float32))

    def forward(self, x: Tensor) -> Tensor:
        return self.z[(x[:, 2, :1] - self.first).abs().argmin(1)]


class About(nn.Module):
    """A density N(features, SD^2)."""

    def posterior(self, features: Tensor) -> Distribution | None:
        return MultivariateNormal(features, SD**2 * torch.eye(features.shape[1], dtype=features.dtype))

    def unit_mean(self, features: Tensor, prior: Prior) -> Tensor:
        return torch.special.ndtr(features / (1 + SD**2) ** 0.5)

    def loss(self, features: Tensor, z: Tensor) -> Tensor:
        raise AssertionError("refinement does not ask for it")

    def floor(self, z: Tensor) -> Tensor:
        raise AssertionError("refinement does not ask for it")

    def embedding(self, features: Tensor) -> Tensor:
        return features

    def pooled(self, features: Tensor) -> Pooled | None:
        raise AssertionError("refinement does not ask for it")


DATA = observe(20, 0.5, np.random.default_rng(0), 900)


def z_of(theta: NDArray[np.float64]) -> Tensor:
    return PRIOR.to_unconstrained(torch.from_numpy(theta))


def estimator(off: float, data: Observed = DATA, **provenance: Any) -> Estimator:
    """A checkpoint whose answers are `off` away from the truth, in every parameter and in z."""
    encoder = Recognised(data.x[:, 2], z_of(data.theta) + off)
    known = {"simulation": SIMULATION, "dt": 0.1} | provenance
    return Estimator(Path("given.ckpt"), PRIOR, Observation(spike_cut=3.8), encoder, About(), None, [], 0.0, known)


def recording(i: int, data: Observed = DATA) -> Recording:
    return from_arrays(dt=1.0, voltage=data.x[i, 0], stimulus=data.x[i, 2], spikes=data.spikes[i], name="given")


def test_it_is_narrower_nearer_and_holds_the_truth() -> None:
    network = estimator(SD)
    z = z_of(DATA.theta).numpy()
    errors, inside, settled = [], [], 0
    for i in range(20):
        found = refined_posterior(network, recording(i))
        draws = z_of(found.sample(2000)).numpy()
        low, high = np.quantile(draws, (0.05, 0.95), axis=0)
        inside.append((low <= z[i]) & (z[i] <= high))
        errors.append(np.abs(draws.mean(0) - z[i]).mean())
        if (found.refined.sd < SD).all():  # in a neuron that tells less than that the network is too sure
            settled += 1
            assert not any("disagree" in warning for warning in found.warnings)
        assert np.isfinite(found.log_prob(DATA.theta[i]))
        assert found.to_dict()["pieces"] == 1
    assert settled > 10
    assert np.mean(np.array(errors) < SD) >= 0.8
    # 120 of them, 0.9 each, but not independent within a neuron: as if of the 20 neurons alone, P(< 0.6) = 1e-4
    assert np.mean(inside) > 0.6


def test_the_network_s_own_warnings_stay_and_its_doubts_do_not() -> None:
    network = estimator(SD)
    start = network.infer(recording(1))
    start.warnings.append("a remark on the recording")
    found = refined_posterior(network, recording(1), start)
    assert "a remark on the recording" in found.warnings


def test_disagreement_is_named_and_widens_the_intervals() -> None:
    """A network 10 of its sds off: intervals reach back to it; the same answer within 3 sds is narrow."""
    near, far = (refined_posterior(estimator(off), recording(2)) for off in (SD, 10 * SD))
    assert any("disagree" in w and "C by" in w for w in far.warnings)
    sd_near, sd_far = (np.sqrt(np.diagonal(found.refined.covariance[0])) for found in (near, far))
    assert (sd_far >= 5 * SD).all()
    assert (sd_near < SD).all()


def test_outside_the_training_distribution_widens_too() -> None:
    network = estimator(2 * SD)
    start = network.infer(recording(3))
    outside = Posterior(PRIOR, start.density, start.features, novelty=Score(5.0, 1.3, 1e-5, ("hum",)))
    plain, wide = (refined_posterior(network, recording(3), given) for given in (start, outside))
    assert (np.sqrt(np.diagonal(wide.refined.covariance[0])) >= SD).all()
    assert np.diagonal(plain.refined.covariance[0]).sum() < np.diagonal(wide.refined.covariance[0]).sum()
    assert any("may still be too narrow" in warning for warning in wide.warnings)


def test_what_cannot_be_refined_is_refused() -> None:
    network = estimator(SD)
    with pytest.raises(InputError, match="takes one sweep, found 2"):
        refined_posterior(network, [recording(0), recording(1)])
    blind = from_arrays(dt=1.0, stimulus=DATA.x[0, 2], spikes=DATA.spikes[0], name="blind")
    with pytest.raises(InputError, match="needs a voltage"):
        refined_posterior(network, blind)
    with pytest.raises(InputError, match="GLIF simulator"):
        refined_posterior(estimator(SD, simulation={"class_path": "unknown.Thing"}), recording(0))


class Tested:
    """What the method asks of the test neurons: their evidence under a condition."""

    def __init__(self, network: Estimator) -> None:
        self.observation = network.observation

    def evidence(self, x: np.ndarray, condition: Condition) -> Evidence:
        known = "spikes" not in condition.missing
        trains = [np.asarray(s, np.float64) if known else None for s in DATA.spikes[: len(x)]]
        return Evidence(x, self.observation, trains)


def test_the_method_refines_the_first_rows_alone() -> None:
    network, twin = estimator(SD), by_twin(SIMULATOR, PRIOR, 1.0, 0.1)
    assert twin is not None
    condition = Condition("0.5 mV", {"voltage": 0.5})
    refinement = glif_family.refinements(twin)["amortized_refined"]
    method = Refined("amortized_refined", network, refinement, Tested(network), 8)  # type: ignore[arg-type]
    found = method(DATA.x, condition)
    assert found is not None and found.samples is not None and found.seconds_per_neuron is not None
    assert np.isfinite(found.mean[:8]).all() and np.isnan(found.mean[8:]).all()
    assert found.seconds_per_neuron > 0
    z = z_of(DATA.theta[:8]).numpy()
    better = np.abs(z_of(found.mean[:8]).numpy() - z).mean(1) < SD
    assert better.mean() > 0.85
    assert method(DATA.x, Condition("no spikes", {}, ("spikes",))) is None


def test_the_command_refines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from neuroinf.commands import infer as command

    path = tmp_path / "one.npz"
    np.savez(path, voltage=DATA.x[4, 0], stimulus=DATA.x[4, 2], spikes=DATA.spikes[4], dt=1.0)
    monkeypatch.setattr(command, "checkpoint_kind", lambda _: "amortized")
    monkeypatch.setattr(command, "load", lambda *_: estimator(SD))
    command.infer(["given.ckpt", str(path)])
    plain = capsys.readouterr().out
    command.infer(["given.ckpt", str(path), "--refine"])
    refined = capsys.readouterr().out
    sd = [float(next(x for x in out.splitlines() if x.startswith("C (pF)")).split()[3]) for out in (plain, refined)]
    assert sd[1] < sd[0]
