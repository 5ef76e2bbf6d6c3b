"""Stimuli: each against its design, in closed form or with a bound that a right one breaks once in 10,000 tries."""

import math
from typing import Any

import numpy as np
import pytest
import yaml
from jsonargparse import ArgumentParser
from numpy.typing import NDArray
from scipy import stats

from neuroinf.errors import InputError
from neuroinf.specification import specify
from neuroinf.stimuli import (
    LongSquare,
    Mixture,
    Noise1,
    Noise2,
    OrnsteinUhlenbeck,
    PinkNoise,
    Ramp,
    ShortSquare,
    Stimulus,
    Sum,
    TripleShortSquare,
)

FALSE_ALARM = 1e-4
TWO_SIDED = float(stats.norm.isf(FALSE_ALARM / 2))

FRESH: list[Stimulus] = [
    PinkNoise(3000.0, scale=(0.5, 1.5), cv=(0.1, 0.3), shuffle=True),
    OrnsteinUhlenbeck(3000.0, start=(0, 300), modulation=(0, 1)),
    LongSquare(3000.0),
    ShortSquare(3000.0),
    TripleShortSquare(3000.0, start=(1000, 2000)),
    Ramp(3000.0),
    Mixture([LongSquare(3000.0), OrnsteinUhlenbeck(3000.0)], [1, 3]),
    Sum([LongSquare(3000.0, amplitude=-0.2, start=10, stop=30), PinkNoise(3000.0, start=100)]),
]
FROZEN: list[Stimulus] = [Noise1(), Noise2(), Noise1(3000.0, layout="compact"), Noise2(3000.0, layout="compact")]


def named(stimulus: Stimulus) -> str:
    return type(stimulus).__name__


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def draws(stimulus: Stimulus, n: int, seed: int = 0) -> NDArray[np.float64]:
    generator = rng(seed)
    return np.stack([stimulus.sample(generator)[0] for _ in range(n)])


# -- all of them -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stimulus", FRESH + FROZEN, ids=named)
def test_contract(stimulus: Stimulus) -> None:
    waveform = stimulus.sample(rng())
    assert isinstance(stimulus, Stimulus) and stimulus.inputs == 1 and stimulus.unit == "rheobase"
    assert waveform.shape == (1, round(stimulus.duration / stimulus.dt)) and waveform.dtype == np.float64
    assert np.isfinite(waveform).all() and np.abs(waveform).max() > 0


@pytest.mark.parametrize("stimulus", FRESH, ids=named)
def test_a_waveform_depends_on_the_passed_generator_s_state_alone(stimulus: Stimulus) -> None:
    generator = rng(3)
    state = generator.bit_generator.state
    first, second = stimulus.sample(generator), stimulus.sample(generator)
    generator.bit_generator.state = state
    assert (stimulus.sample(generator) == first).all() and (first != second).any() and not stimulus.frozen


@pytest.mark.parametrize("stimulus", FROZEN, ids=named)
def test_a_frozen_waveform_is_always_the_same_and_cannot_be_damaged(stimulus: Stimulus) -> None:
    generator = rng(3)
    state = generator.bit_generator.state
    first = stimulus.sample(generator)
    kept = first.copy()
    first *= 0
    assert (stimulus.sample(rng(4)) == kept).all() and generator.bit_generator.state == state and stimulus.frozen


@pytest.mark.parametrize("stimulus", FRESH + FROZEN, ids=named)
def test_a_stimulus_is_made_again_from_its_yaml(stimulus: Stimulus) -> None:
    again = from_yaml(yaml.safe_dump(specify(stimulus)))
    assert type(again) is type(stimulus)
    assert (again.sample(rng(5)) == stimulus.sample(rng(5))).all()


@pytest.mark.parametrize("stimulus", FRESH + FROZEN, ids=named)
def test_an_unknown_key_or_a_wrong_type_in_yaml_is_refused(stimulus: Stimulus) -> None:
    specification = specify(stimulus)
    for key, value in {"amplitute": 1.0, "unit": "A"}.items():
        arguments = {**specification["init_args"], key: value}
        with pytest.raises(Exception, match=r"stimulus|amplitute"):
            from_yaml(yaml.safe_dump({**specification, "init_args": arguments}))


def from_yaml(text: str) -> Any:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--stimulus", type=Stimulus)
    return parser.instantiate(parser.parse_object({"stimulus": yaml.safe_load(text)})).stimulus


# -- pink noise --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dt", [0.5, 1.0])
def test_pink_noise_has_its_spectrum_mean_and_variation_exactly(dt: float) -> None:
    stimulus = PinkNoise(22000.0, dt, start=2020, gap=5000, epoch=3000)
    waveform = stimulus.sample(rng())[0]
    n = round(3000 / dt)
    for onset, amplitude in zip((2020, 10020, 18020), (0.75, 1.0, 1.5), strict=True):
        first = round(onset / dt)
        epoch = waveform[first : first + n]
        assert waveform[first - 1] == 0 and (waveform[first + n : first + n + 1000] == 0).all()
        assert epoch.mean() == pytest.approx(amplitude, rel=1e-12)
        assert epoch.std() / epoch.mean() == pytest.approx(0.2, rel=1e-12)
        power = np.abs(np.fft.rfft(epoch - epoch.mean())) ** 2
        frequency = np.fft.rfftfreq(n, dt / 1000)
        band = (frequency > 1 - 1e-6) & (frequency < 100 + 1e-6)
        assert power[~band].max() < 1e-20 * power.max()
        np.testing.assert_allclose(power[band] * frequency[band], (power * frequency)[band].mean(), rtol=1e-9)
        assert np.polyfit(np.log(frequency[band]), np.log(power[band]), 1)[0] == pytest.approx(-1, abs=1e-9)


def test_fresh_phases_are_uniform_and_independent_between_epochs_and_draws() -> None:
    n = 400
    waveforms = draws(PinkNoise(9000.0, amplitudes=[1.0, 1.0, 1.0], cv=1.0), n).reshape(n, 3, 3000) - 1
    phases = np.angle(np.fft.rfft(waveforms, axis=-1)[..., 3:301])
    # mean resultant: each of n * 3 * 298 unit vectors is independent; 2 |sum|^2 / N is chi2 with 2 degrees of freedom
    for harmonic in (1, 2):
        resultants = np.exp(1j * harmonic * phases)
        assert 2 * np.abs(resultants.sum()) ** 2 / resultants.size < stats.chi2(2).isf(FALSE_ALARM / 2)
    # at a fixed time z is sub-Gaussian of variance 1 (a sum of cosines of uniform phases), whatever another epoch holds
    z, other = waveforms[:, 0, 700], waveforms[:, 1, 700]
    for weight in (np.ones(n), other):
        assert abs((weight * z).sum()) < math.sqrt(2 * math.log(2 / FALSE_ALARM) * (weight**2).sum())


def test_pink_noise_is_scaled_shuffled_and_varied_as_asked() -> None:
    n = 2000
    stimulus = PinkNoise(300.0, 1.0, [1.0, 2.0, 4.0], cv=0.0, scale=(0.5, 1.5), shuffle=True)
    levels = draws(stimulus, n)[:, [50, 150, 250]]
    scale = levels.sum(1) / 7
    assert stats.kstest(scale, stats.uniform(0.5, 1.0).cdf).pvalue > FALSE_ALARM
    orders, counts = np.unique(np.round(levels / scale[:, None]), axis=0, return_counts=True)
    assert len(orders) == 6 and stats.chisquare(counts).pvalue > FALSE_ALARM
    cvs = [w.std() / w.mean() for w in draws(PinkNoise(3000.0, 1.0, [1.0], cv=(0.1, 0.4)), 500)]
    assert stats.kstest(cvs, stats.uniform(0.1, 0.3).cdf).pvalue > FALSE_ALARM


def test_a_short_epoch_is_the_beginning_of_a_published_one() -> None:
    long, short = PinkNoise(3000.0, amplitudes=[1.0]), PinkNoise(1000.0, amplitudes=[1.0])
    assert (long.sample(rng())[0, :1000] == short.sample(rng())[0]).all()


# -- frozen noise ------------------------------------------------------------------------------------------------------

# Numbers of these realisations: samples at 2020, 2500, 12345 and 20000 ms of the published layout at 1 ms, in rheobase.
# A change of any digit makes another stimulus, and every dataset and checkpoint that used it another experiment.
FINGERPRINTS = {
    Noise1: [0.718162098781, 0.897748285252, 1.149963216176, 1.543308654134],
    Noise2: [0.737900485873, 0.809479597652, 1.225826993733, 1.474981035204],
}


@pytest.mark.parametrize("noise", [Noise1, Noise2])
def test_frozen_noise_keeps_its_fingerprint(noise: type[Noise1] | type[Noise2]) -> None:
    waveform = noise().sample(rng())[0]
    np.testing.assert_allclose(waveform[[2020, 2500, 12345, 20000]], FINGERPRINTS[noise], rtol=0, atol=1e-11)


@pytest.mark.parametrize("noise", [Noise1, Noise2])
def test_frozen_noise_layouts_and_steps_are_one_realisation(noise: type[Noise1] | type[Noise2]) -> None:
    published = noise().sample(rng())[0]
    assert (np.flatnonzero(np.diff(published != 0)) + 1).tolist() == [2020, 5020, 10020, 13020, 18020, 21020]
    epochs = [published[o : o + 3000] for o in (2020, 10020, 18020)]
    for epoch, amplitude in zip(epochs, (0.75, 1.0, 1.5), strict=True):
        assert epoch.mean() == pytest.approx(amplitude, rel=1e-12) and epoch.std() == pytest.approx(0.2 * amplitude)
    for length in (1000, 3000):
        compact = noise(3.0 * length, layout="compact").sample(rng())[0]
        assert (compact == np.concatenate([e[:length] for e in epochs])).all()
    np.testing.assert_allclose(noise(dt=0.5).sample(rng())[0, ::2], published, rtol=0, atol=1e-12)


def test_the_two_frozen_noises_are_independent() -> None:
    one, two = (
        np.stack([n.sample(rng())[0, o : o + 3000] for o in (2020, 10020, 18020)]) for n in (Noise1(), Noise2())
    )
    power = 1 / np.arange(3, 301)
    power /= power.sum()
    pairs = [(a, b) for a in one for b in two] + [(x[i], x[j]) for x in (one, two) for i, j in ((0, 1), (0, 2), (1, 2))]
    # a correlation is the sum over frequencies of power times the cosine of a uniform phase, which is sub-Gaussian
    bound = math.sqrt((power**2).sum() * math.log(2 * len(pairs) / FALSE_ALARM))
    assert max(abs(np.corrcoef(a, b)[0, 1]) for a, b in pairs) < bound


# -- Ornstein-Uhlenbeck ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tau", [1.0, 5.0, 80.0])
def test_ornstein_uhlenbeck_has_its_mean_sd_and_correlation_time(tau: float) -> None:
    n, mean, sd, dt = 400, 0.7, 0.3, 0.5
    x = (draws(OrnsteinUhlenbeck(300.0, dt, mean, sd, tau), n) - mean) / sd
    steps = x.shape[1]
    rho = math.exp(-dt / tau)
    # mean over time of one waveform: variance sum_ij rho^|i-j| / T^2
    lags = np.arange(1, steps)
    variance = (steps + 2 * ((steps - lags) * rho**lags).sum()) / steps**2
    assert abs(x.mean()) < TWO_SIDED * math.sqrt(variance / n)
    # stationary from the first sample on: the squares of n independent waveforms at one time are chi2
    for time in (0, steps // 2, steps - 1):
        square = (x[:, time] ** 2).sum()
        low, high = stats.chi2(n).ppf([FALSE_ALARM / 6, 1 - FALSE_ALARM / 6])
        assert low < square < high
    # one step ahead: the innovations are independent normals of variance 1 - rho^2, and uncorrelated with the past
    innovation = (x[:, 1:] - rho * x[:, :-1]) / math.sqrt(1 - rho**2)
    low, high = stats.chi2(innovation.size).ppf([FALSE_ALARM / 2, 1 - FALSE_ALARM / 2])
    assert low < (innovation**2).sum() < high
    # self-normalised bound for a martingale with normal increments, exact for any n (de la Pena et al. 2004)
    past, expected = x[:, :-1], float(innovation.size)
    power = (past**2).sum()
    bound = math.sqrt((power + expected) * (2 * math.log(1 / FALSE_ALARM) + math.log(1 + power / expected)))
    assert abs((innovation * past).sum()) < bound
    # hence the correlation time
    slope, error = (past * x[:, 1:]).sum() / power, math.sqrt(1 - rho**2) * bound / power
    assert -dt / math.log(slope - error) < tau < -dt / math.log(slope + error)
    assert error < 0.35 * (1 - rho), "the bound would accept any correlation time"


def test_ornstein_uhlenbeck_draws_its_ranges_and_keeps_its_window() -> None:
    waveforms = draws(OrnsteinUhlenbeck(1000.0, 1.0, (0.5, 1.5), 0.0, start=(100, 200), stop=(700, 900)), 400)
    assert (waveforms[:, :100] == 0).all() and (waveforms[:, 900:] == 0).all() and (waveforms[:, 200:700] != 0).all()
    assert stats.kstest(waveforms[:, 500], stats.uniform(0.5, 1).cdf).pvalue > FALSE_ALARM
    onset = (waveforms != 0).argmax(1)
    assert stats.kstest(onset + rng().uniform(-0.5, 0.5, 400), stats.uniform(100, 100).cdf).pvalue > FALSE_ALARM


def test_ornstein_uhlenbeck_modulation_is_a_sine_of_random_phase() -> None:
    flat = draws(OrnsteinUhlenbeck(1000.0, 1.0, 0.0, 1.0), 300)
    modulated = draws(OrnsteinUhlenbeck(1000.0, 1.0, 0.0, 1.0, modulation=0.8, period=500.0), 300)
    spectrum = np.fft.rfft(modulated / flat, axis=1) / 1000
    np.testing.assert_allclose(spectrum[:, 0], 1, atol=1e-9)
    np.testing.assert_allclose(np.abs(spectrum[:, 2]), 0.4, atol=1e-9)
    np.testing.assert_allclose(np.delete(spectrum, [0, 2], axis=1), 0, atol=1e-9)
    assert stats.kstest(np.angle(spectrum[:, 2]), stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > FALSE_ALARM


# -- squares and ramps -------------------------------------------------------------------------------------------------


def test_long_square() -> None:
    waveforms = draws(LongSquare(1000.0, 0.5, (-1.0, 2.5), start=(100, 200), stop=600), 500)
    assert ((waveforms != 0) == (np.abs(waveforms) == np.abs(waveforms).max(1, keepdims=True))).all()
    assert (waveforms[:, :200] == 0).all() and (waveforms[:, 400:1200] != 0).all() and (waveforms[:, 1200:] == 0).all()
    assert stats.kstest(waveforms[:, 1000], stats.uniform(-1, 3.5).cdf).pvalue > FALSE_ALARM


def test_short_square() -> None:
    waveforms = draws(ShortSquare(100.0, 0.1, (2, 4), start=20, width=3), 500)
    assert (np.flatnonzero(waveforms.any(0)) == np.arange(200, 230)).all()
    assert (waveforms[:, 200:230] == waveforms[:, 200:201]).all()
    assert stats.kstest(waveforms[:, 200], stats.uniform(2, 2).cdf).pvalue > FALSE_ALARM


def test_triple_short_square() -> None:
    waveforms = draws(TripleShortSquare(300.0, 1.0, (2, 4), start=20, spacing=(4, 120)), 500)
    spacings = []
    for waveform in waveforms:
        edges = np.flatnonzero(np.diff(waveform)) + 1
        onsets, ends = edges[::2], edges[1::2]
        assert len(onsets) == 3 and onsets[0] == 20 and (ends - onsets == 3).all()
        assert abs(np.diff(onsets, 2)[0]) <= 1 and len(np.unique(waveform)) == 2
        spacings.append(onsets[2] - onsets[0])
    jitter = rng().uniform(-0.5, 0.5, 500)
    assert stats.kstest(spacings + jitter, stats.uniform(8, 232).cdf).pvalue > FALSE_ALARM


def test_ramp_is_straight_and_reaches_its_end() -> None:
    waveforms = draws(Ramp(1000.0, 1.0, initial=0.25, final=(0.5, 3.0), start=100, stop=900), 300)
    assert (waveforms[:, :100] == 0).all() and (waveforms[:, 900:] == 0).all() and (waveforms[:, 100] == 0.25).all()
    np.testing.assert_allclose(np.diff(waveforms[:, 100:900], 2), 0, atol=1e-12)
    final = waveforms[:, 899] + np.diff(waveforms[:, 898:900])[:, 0]
    assert stats.kstest(final, stats.uniform(0.5, 2.5).cdf).pvalue > FALSE_ALARM


def test_pa_is_the_other_unit() -> None:
    assert LongSquare(3000.0, amplitude=50, unit="pA").unit == "pA"
    assert Mixture([LongSquare(3000.0, unit="pA")]).unit == "pA"


# -- made of others ----------------------------------------------------------------------------------------------------


def test_mixture_draws_each_component_by_its_weight() -> None:
    mixture = Mixture([LongSquare(10.0, amplitude=a, start=0, stop=10) for a in (1.0, 2.0, 3.0)], [1, 2, 5])
    counts = np.unique(draws(mixture, 4000)[:, 0], return_counts=True)[1]
    assert stats.chisquare(counts, 4000 * np.array([1, 2, 5]) / 8).pvalue > FALSE_ALARM


def test_sum_adds() -> None:
    square, noise = LongSquare(3000.0, amplitude=0.5), Noise1(3000.0, layout="compact")
    total = Sum([square, noise])
    assert (total.sample(rng(1)) == square.sample(rng(1)) + noise.sample(rng(1))).all()
    assert not total.frozen and Sum([noise]).frozen and Mixture([noise]).frozen and not Mixture([noise, noise]).frozen


# -- bad input ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LongSquare(3000.0, 0.7), "whole number of steps, found duration 3000.0 ms, dt 0.7 ms"),
        (lambda: LongSquare(-1.0), "positive duration"),
        (lambda: LongSquare(3000.0, 0.0), "positive duration and dt"),
        (lambda: LongSquare(3000.0, amplitude=(2.0, 1.0)), "reversed range"),
        (lambda: LongSquare(3000.0, amplitude=math.nan), "amplitude must be finite"),
        (lambda: LongSquare(1000.0), "start must lie within"),
        (lambda: LongSquare(3000.0, start=(500, 2500)), "stop must be after start"),
        (lambda: ShortSquare(1022.0), "may end at 1023 ms, after the duration of 1022 ms"),
        (lambda: ShortSquare(3000.0, 5.0), "width must be at least dt"),
        (lambda: TripleShortSquare(3000.0, spacing=(3.0, 50.0)), "spacing must lie within"),
        (lambda: TripleShortSquare(2500.0), "may end at"),
        (lambda: Ramp(3000.0, start=3000), "stop must be after start"),
        (lambda: OrnsteinUhlenbeck(3000.0, tau=0.0), "tau must be above 0"),
        (lambda: OrnsteinUhlenbeck(3000.0, sd=-1.0), "sd must lie within"),
        (lambda: OrnsteinUhlenbeck(3000.0, modulation=2.0), "modulation must lie within"),
        (lambda: OrnsteinUhlenbeck(3000.0, period=0.0), "period must be above 0"),
        (lambda: PinkNoise(3000.0, 5.0), "a step of 5 ms carries less than 100 Hz"),
        (lambda: PinkNoise(3000.0, band=(100.0, 1.0)), "reversed range"),
        (lambda: PinkNoise(3000.0, band=(1.1, 1.2)), "holds none"),
        (lambda: PinkNoise(3000.0, epoch=1500.0), "must fit in the duration"),
        (lambda: PinkNoise(3000.0, gap=2000.0), "must fit in the duration"),
        (lambda: PinkNoise(3000.0, amplitudes=[]), "one or more finite numbers"),
        (lambda: PinkNoise(3000.0, cv=-0.1), "cv must lie within"),
        (lambda: Noise1(3000.0), "must fit in the duration"),
        (lambda: Noise2(12000.0, layout="compact"), "at most 9000 ms, found duration 12000 ms"),
        (lambda: Noise2(3000.0, layout="loose"), "layout must be published or compact, found 'loose'"),  # pyright: ignore
        (lambda: Mixture([]), "at least one component"),
        (lambda: Sum([]), "at least one component"),
        (lambda: Mixture([Ramp(3000.0), Ramp(2000.0)]), "the same duration"),
        (lambda: Mixture([Ramp(3000.0), Ramp(3000.0, unit="pA")]), "the same unit"),
        (lambda: Sum([Ramp(3000.0), Ramp(3000.0, 0.5)]), "the same dt"),
        (lambda: Mixture([Ramp(3000.0)], [1, 2]), "a positive weight for each of 1 components"),
        (lambda: Mixture([Ramp(3000.0)], [0]), "a positive weight"),
    ],
)
def test_bad_input_is_refused_in_one_line(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)
