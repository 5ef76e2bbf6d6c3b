"""The novelty score: false alarms as stated under all conditions, what is different found and named, equivalences not seen."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats
from spoilt_recordings import OBSERVATION, record, spoil

from neuroinf.models.departures import Departures
from neuroinf.models.novelty import FALSE_ALARMS, Calibration, Novelty, Score, key
from neuroinf.models.tails import Tail

CHANNELS = key(OBSERVATION.channels)


def embeddings(n: int, seed: int) -> torch.Tensor:
    """Correlated, of very different spreads, as a hidden layer's are."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(12, 12, generator=torch.Generator().manual_seed(99)) * torch.logspace(-2, 1, 12)
    return torch.randn(n, 12, generator=generator) @ mixing


def unknown(n: int) -> Departures:
    return Departures.unknown(np.full(n, 1000.0))


def scores(novelty: Novelty, embedding: torch.Tensor, found: Departures) -> list[Score]:
    """One for each recording of a single piece."""
    every = [novelty.score([CHANNELS], embedding[i : i + 1], found.rows([i])) for i in range(len(embedding))]
    assert all(score is not None for score in every)
    return [score for score in every if score is not None]


def most(n: int, calibrated: int) -> int:
    """Alarms among n that are exceeded with probability below 1e-4, the limit being a quantile of `calibrated` others."""
    alarms = np.arange(n + 1)
    # the false-alarm rate of a quantile of m values is Beta distributed
    rate = stats.beta(FALSE_ALARMS * (calibrated + 1), (1 - FALSE_ALARMS) * (calibrated + 1))
    probability = [rate.expect(lambda p, a=a: stats.binom.sf(a, n, p)) for a in alarms[: n // 3]]
    return int(np.argmax(np.array(probability) < 1e-4))


@pytest.fixture(scope="module")
def calibrated() -> Novelty:
    """A score learnt from 900 recordings of a model, next to embeddings that know nothing."""
    found = record(900, 1).departures(np.random.default_rng(1))
    return Novelty({CHANNELS: Calibration.fit(embeddings(900, 1), found)})


@pytest.mark.parametrize("noise", [None, 0.0, 0.05, 0.5, 2.0])
def test_false_alarms_at_every_noise_level(calibrated: Novelty, noise: float | None) -> None:
    good = record(120, 2, noise)
    found = scores(calibrated, embeddings(120, 2), good.departures(np.random.default_rng(2)))
    assert sum(score.outside for score in found) <= most(120, 300)


def test_false_alarms_are_not_too_few() -> None:
    """Both sides, where recordings cost nothing: embeddings alone. 3.9 joint standard errors either side (1e-4)."""
    novelty = Novelty({CHANNELS: Calibration.fit(embeddings(9000, 0), unknown(9000))})
    alarms = sum(score.outside for score in scores(novelty, embeddings(3000, 1), unknown(3000)))
    error = (2 * 3000 * FALSE_ALARMS * (1 - FALSE_ALARMS)) ** 0.5
    assert abs(alarms - 3000 * FALSE_ALARMS) < 3.9 * error


def test_false_alarms_of_several_pieces() -> None:
    """A recording of 5 pieces is called outside no more often than one of a single piece."""
    novelty = Novelty({CHANNELS: Calibration.fit(embeddings(9000, 0), unknown(9000))})
    every = embeddings(5 * 1000, 3).reshape(1000, 5, 12)
    found = [novelty.score([CHANNELS] * 5, pieces, unknown(5)) for pieces in every]
    alarms = sum(score is not None and score.outside for score in found)
    assert abs(alarms - 1000 * FALSE_ALARMS) < 3.9 * (1000 * 0.05 * 0.95 * (1 + 1000 * 5 / 3000)) ** 0.5


@pytest.mark.parametrize(
    ("how", "named"),
    [
        ("hum", "periodic component at 60"),
        ("drift", "rises by"),
        ("current", "does not explain"),
        ("clipped", "cut off at"),
        ("noise", "does not explain"),
        ("constant", ""),
    ],
)
def test_what_is_different_is_found_and_named(calibrated: Novelty, how: str, named: str) -> None:
    """At observation noise 0.5 mV at least 90 %; the reason among those given for most of them."""
    rng = np.random.default_rng(4)
    good = record(60, 4, 0.5)
    bad = spoil(good, how, rng)
    changed = np.flatnonzero(~np.isclose(bad.x, good.x, equal_nan=True).all((1, 2)))
    found = scores(calibrated, embeddings(60, 4), bad.departures(rng))
    found = [found[i] for i in changed]
    assert len(found) >= 20
    assert np.mean([score.outside for score in found]) >= 0.9
    assert np.mean([any(named in reason for reason in score.reasons) for score in found if score.outside]) > 0.5
    warning = next(score for score in found if score.outside).warnings()[0]
    assert warning.startswith("outside the training distribution") and "neuroinf fit" in warning


def test_what_the_parameters_absorb_is_not_seen(calibrated: Novelty) -> None:
    """A voltage moved by 3 mV is another El; a current k times as large is R_input / k, k C and k times the amplitudes."""
    good = record(60, 5, 0.5)
    theta, k = good.theta.copy(), 1.2
    moved, scaled = good.x.copy(), good.x.copy()
    moved[:, 0] += 3.0
    scaled[:, 2] *= k
    theta[:, 2] += 3.0
    for x in (moved, scaled):
        other = theta.copy() if x is moved else good.theta * [k, 1 / k, 1, 1, k, k]
        inside = np.all((other > [40, 0.07, -84, 16, -75, -470]) & (other < [200, 0.7, -60, 41, 0, 20]), axis=1)
        bad = type(good)(x[inside], other[inside], good.noise[inside])
        found = scores(calibrated, embeddings(60, 5)[inside], bad.departures(np.random.default_rng(5)))
        assert len(found) >= 10 and sum(score.outside for score in found) <= most(len(found), 300)


def test_far_along_a_narrow_direction() -> None:
    """Where the plain distance is small."""
    novelty = Novelty({CHANNELS: Calibration.fit(embeddings(9000, 0), unknown(9000))})
    narrow = torch.linalg.eigh(torch.cov(embeddings(9000, 0).T)).eigenvectors[:, 0]
    (score,) = scores(novelty, embeddings(1, 3) + 2.0 * narrow, unknown(1))
    assert score.outside and "network's view" in score.reasons[0]


def test_other_channels_have_no_score() -> None:
    novelty = Novelty({CHANNELS: Calibration.fit(embeddings(90, 0), unknown(90))})
    assert novelty.score(["spikes"], embeddings(1, 1), unknown(1)) is None


def test_tails_are_survival_functions() -> None:
    """Within the data and beyond them: an exponential sample's own tail, to 3.9 standard errors of its estimate."""
    sample = np.random.default_rng(0).exponential(size=(20_000, 1))
    tail = Tail.fit(sample, 0.0, 0.0)
    at = np.array([0.5, 2.0, 3.0, 8.0])
    found: NDArray[np.float64] = tail.log10(at[:, None])[:, 0] * np.log(10)
    np.testing.assert_allclose(found, -at, atol=0.02 + 3.9 * 0.05 * at.max())
    np.testing.assert_allclose(found[:3], -at[:3], atol=0.1)
    assert np.isnan(tail.log10(np.array([[np.nan]]))[0, 0])


def test_kept_in_a_checkpoint_it_is_the_same(tmp_path: Path) -> None:
    novelty = Novelty({CHANNELS: Calibration.fit(embeddings(90, 0), unknown(90))})
    torch.save(novelty.plain(), tmp_path / "score.pt")
    again = Novelty.from_plain(torch.load(tmp_path / "score.pt", weights_only=True))
    assert again is not None
    assert scores(again, embeddings(9, 5), unknown(9)) == scores(novelty, embeddings(9, 5), unknown(9))
    json.dumps(scores(again, embeddings(1, 5), unknown(1))[0].to_dict(), allow_nan=False)


def test_a_score_of_another_make_is_none() -> None:
    """Checkpoints of before held a mean and a precision only."""
    old = {"mean": torch.zeros(2), "precision": torch.eye(2), "limit": 1.0, "median": 0.5}
    assert Novelty.from_plain(old) is None and Novelty.from_plain(None) is None
