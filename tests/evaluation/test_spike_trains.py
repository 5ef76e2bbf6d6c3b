"""Similarities of spike trains against hand-made values, other programs and brute force."""

from itertools import combinations, pairwise, permutations

import numpy as np
import pytest
from scipy import stats

from neuroinf.evaluation import spike_trains as st

# Three repeats and a prediction, in steps of 0.1 ms, 1 s long.
REPEATS = [
    np.array([23, 1500, 2210, 4100, 4700, 6900, 8450, 9990]) * 0.1,
    np.array([30, 1485, 2300, 4111, 4650, 6905, 8300]) * 0.1,
    np.array([10, 1550, 2205, 4000, 4720, 7100, 8460, 9700]) * 0.1,
]
MODEL = np.array([5, 1510, 2250, 4080, 5200, 6910, 8600, 9985]) * 0.1
DURATION = 1000.0


def poisson(rng: np.random.Generator, hertz: float, duration: float) -> np.ndarray:
    return np.sort(rng.uniform(0, duration, rng.poisson(hertz * duration / 1000)))


def most_pairs(a: np.ndarray, b: np.ndarray, window: float) -> int:
    """By trying every order in which the spikes of a may choose."""
    best = 0
    for order in permutations(range(len(a))):
        left, count = list(b), 0
        for i in order:
            near = [s for s in left if abs(s - a[i]) <= window]
            if near:
                left.remove(near[0])
                count += 1
        best = max(best, count)
    return best


def test_coincidences_are_the_most_pairs_that_can_be_formed() -> None:
    rng = np.random.default_rng(0)
    for _ in range(60):
        a, b = (np.sort(rng.uniform(0, 20, rng.integers(0, 6))) for _ in range(2))
        assert st.coincidences(a, b, 2.0) == st.coincidences(b, a, 2.0) == most_pairs(a, b, 2.0)


def test_gamma_by_hand() -> None:
    # 5 coincidences, 8 spikes each, rate 8 / s: (5 - 2 * 8e-3 * 2 * 8) / 8 / (1 - 2 * 8e-3 * 2)
    expected = (5 - 0.032 * 8) / 8 / (1 - 0.032)
    assert st.coincidence_factor(REPEATS[0], MODEL, DURATION, 2.0) == pytest.approx(expected, rel=1e-12)
    # brian2modelfitting's normalisation, which is the same at equal rates, gives
    assert expected == pytest.approx(0.612603305785124, rel=1e-12)


def test_gamma_is_one_for_itself_zero_for_silence_and_undefined_for_two_silences() -> None:
    silent = np.array([])
    assert st.coincidence_factor(MODEL, MODEL, DURATION) == pytest.approx(1.0, abs=1e-12)
    assert st.coincidence_factor(MODEL, silent, DURATION) == st.coincidence_factor(silent, MODEL, DURATION) == 0.0
    assert np.isnan(st.coincidence_factor(silent, silent, DURATION))
    assert np.isnan(st.coincidence_factor(MODEL, np.arange(300) * 3.0, DURATION))  # 300 Hz > 1 / (2 * 2 ms)


@pytest.mark.parametrize("window", [2.0, 4.0])
def test_gamma_is_zero_by_chance(window: float) -> None:
    """Independent Poisson trains.

    With r the rate in 1/ms, the number X of pairs within the window has mean 2 W r^2 T and variance at most
    mean (1 + 4 r W). One-to-one matching loses a pair only where a third spike lies within 2 W of one of the two:
    at most mean * 2 * 4 r W pairs, which bounds the bias of Gamma from below; nothing biases it upwards.
    """
    rng, pairs, hertz, duration = np.random.default_rng(1), 400, 10.0, 10_000.0
    gammas = [
        st.coincidence_factor(poisson(rng, hertz, duration), poisson(rng, hertz, duration), duration, window)
        for _ in range(pairs)
    ]
    r = hertz / 1000
    mean = 2 * window * r**2 * duration
    per_pair = 1 / (r * duration) / (1 - 2 * r * window)
    noise = stats.norm.isf(0.5e-4) * np.sqrt(mean * (1 + 4 * r * window) / pairs) * per_pair * 1.1  # 1.1: random counts
    assert -noise - mean * 8 * r * window * per_pair <= np.mean(gammas) <= noise


def test_gamma_falls_with_jitter() -> None:
    rng = np.random.default_rng(2)
    train = np.arange(1, 200) * 50.0
    scores = [st.coincidence_factor(train, np.sort(train + s * rng.normal(size=199)), 1e4) for s in (0.1, 1.5, 5, 30)]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == pytest.approx(1.0, abs=1e-12)
    # P(|N(0, 1.5)| <= 2) of the spikes stay, within binomial noise (1e-4)
    p = 1 - 2 * stats.norm.sf(2 / 1.5)
    low, high = stats.binom.ppf([0.5e-4, 1 - 0.5e-4], 199, p) / 199
    chance = 2 * 2 * 199 / 1e4
    assert (low - chance) / (1 - chance) <= scores[1] <= (high - chance) / (1 - chance)


def test_explained_variance_ratio_as_published() -> None:
    """The numbers are those of the code published with Teeter et al. 2018, run on these trains."""
    assert st.explained_variance_ratio(REPEATS, MODEL, DURATION, 0.1) == pytest.approx(0.6597478118032297, rel=1e-9)
    assert st.explained_variance_ratio(REPEATS[:1], MODEL, DURATION, 0.1) == pytest.approx(
        st.explained_variance(*st.smoothed([REPEATS[0], MODEL], DURATION, 0.1, 10.0, "same")), rel=1e-12
    )


def test_explained_variance_ratio_by_brute_force() -> None:
    """Sums over kernels instead of FFTs; and the ceiling with and without the repeat itself."""
    dt, sigma, steps = 1.0, 10.0, 400
    rng = np.random.default_rng(3)
    repeats = [np.unique(rng.integers(0, steps, 12)) * dt for _ in range(3)]
    model = np.unique(rng.integers(0, steps, 12)) * dt
    points = int(10 * sigma / dt)
    kernel = np.exp(-0.5 * ((np.arange(points) - (points - 1) / 2) / (sigma / dt)) ** 2)
    kernel /= kernel.sum()

    def full(train: np.ndarray) -> np.ndarray:
        trace = np.zeros(steps + points - 1)
        for spike in train:
            trace[int(spike / dt) : int(spike / dt) + points] += kernel
        return trace

    def same(train: np.ndarray) -> np.ndarray:
        start = (points - 1) // 2
        return full(train)[start : start + steps]

    def ev(x: np.ndarray, y: np.ndarray) -> float:
        return (x.var() + y.var() - (x - y).var()) / (x.var() + y.var())

    top = np.mean([ev(same(model), same(d)) for d in repeats])
    mean = np.mean([full(d) for d in repeats], axis=0)
    ceiling = np.mean([ev(mean, full(d)) for d in repeats])
    others = np.mean([ev(np.mean([full(d) for d in repeats if d is not e], axis=0), full(e)) for e in repeats])
    assert st.explained_variance_ratio(repeats, model, steps * dt, dt) == pytest.approx(top / ceiling, rel=1e-9)
    honest = st.explained_variance_ratio(repeats, model, steps * dt, dt, leave_one_out=True)
    assert honest == pytest.approx(top / others if others > 0 else np.nan, rel=1e-9, nan_ok=True)


def test_explained_variance_of_silence_and_limits() -> None:
    silent = np.array([])
    assert st.explained_variance_ratio([silent], silent, DURATION, 0.1) == 1.0  # as published: var(x - y) = 0
    assert st.explained_variance_ratio([silent], MODEL, DURATION, 0.1) == pytest.approx(0.0, abs=1e-12)
    assert st.explained_variance_ratio([MODEL] * 3, MODEL, DURATION, 0.1) == pytest.approx(1.0, abs=1e-9)
    assert np.isnan(st.explained_variance_ratio([MODEL], MODEL, DURATION, 0.1, leave_one_out=True))
    with pytest.raises(ValueError, match="does not fit"):
        st.explained_variance_ratio([silent], silent, 50.0, 0.1)
    with pytest.raises(ValueError, match="do not lie"):
        st.explained_variance_ratio([MODEL], np.array([DURATION + 1]), DURATION, 0.1)


def test_leave_one_out_ceiling_is_lower() -> None:
    """The repeat itself in the mean makes the published ceiling too high, so the published ratio is the smaller one."""
    published = st.explained_variance_ratio(REPEATS, MODEL, DURATION, 0.1)
    assert st.explained_variance_ratio(REPEATS, MODEL, DURATION, 0.1, leave_one_out=True) > published


@pytest.mark.parametrize(("window", "published"), [(3.0, 0.5454545454545454), (5.5, 0.8), (8.0, 0.8108108108108107)])
def test_md_star_by_counting(window: float, published: float) -> None:
    """The published values are GIFFittingToolbox's, its Kistler window run on these trains at 0.1 ms.

    Its kernel has an even number of points and so leaves out a lag of exactly the window on one side; none occurs here.
    """

    def inner(a: np.ndarray, b: np.ndarray) -> int:
        return int((np.abs(a[:, None] - b[None]) <= window).sum())

    dd = np.mean([inner(a, b) for a, b in combinations(REPEATS, 2)])
    dm = np.mean([inner(d, MODEL) for d in REPEATS])
    expected = 2 * dm / (dd + inner(MODEL, MODEL))
    assert st.md_star(REPEATS, [MODEL], window) == pytest.approx(expected, rel=1e-12)
    assert expected == pytest.approx(published, rel=1e-12)


def test_md_star_does_not_depend_on_the_number_of_repeats() -> None:
    """Data and model drop each of the same 2,000 spikes with probability 0.3: their similarity is 1, for 3 repeats too.

    Different trains share a spike with probability 0.49; the model's mean over all 20 x 20 pairs includes the 20 of a
    train with itself, which share 0.7. Dropping the data's own pairs is what keeps it from depending on 3.
    """
    rng = np.random.default_rng(4)
    base = np.arange(2000) * 20.0
    data, model = ([base[rng.random(2000) < 0.7] for _ in range(n)] for n in (3, 20))
    expected = 2 * 0.49 / (0.49 + 0.49 + 0.21 / 20)
    # <d, m> and <d, d> move together; the ratio moves by at most half the relative spread of <d, d>, a mean of 3 pairs
    # of 2,000 coin flips of 0.49, and half that of <d, m> on the data's side, 0.7 times 3 times 2,000 flips of 0.7
    noise = 0.5 * np.sqrt(0.49 * 0.51 / 2000) / 0.49 + 0.5 * np.sqrt(0.7 * 0.3 / 6000) / 0.7
    assert st.md_star(data, model, 1.0) == pytest.approx(expected, abs=stats.norm.isf(0.5e-4) * noise)
    assert np.isnan(st.md_star(data[:1], model))


def test_reliability_of_repeats() -> None:
    assert st.intrinsic_coincidence([MODEL, MODEL, MODEL], DURATION) == pytest.approx(1.0)
    assert np.isnan(st.intrinsic_coincidence([MODEL], DURATION))
    pairs = [st.coincidence_factor(a, b, DURATION, 4.0) for a, b in permutations(REPEATS, 2)]
    model = [st.coincidence_factor(d, MODEL, DURATION, 4.0) for d in REPEATS]
    ratio = st.coincidence_factor_of_repeats(REPEATS, MODEL, DURATION, 4.0)
    assert ratio == pytest.approx(np.mean(model) / np.mean(pairs), rel=1e-12)


def test_interval_statistics_against_elephant() -> None:
    """The first two values are elephant 1.2.1's cv and lv of these intervals."""
    train = np.array([12.0, 30.5, 44.0, 75.0, 80.0, 131.0, 190.0, 205.5])
    assert st.cv(train) == pytest.approx(0.6814458604782248, rel=1e-12)
    assert st.lv(train) == pytest.approx(0.8608179670106793, rel=1e-12)
    intervals = np.diff(train)
    by_hand = sum((b - a) / (b + a) for a, b in pairwise(intervals)) / 6
    assert st.adaptation_index(train) == pytest.approx(by_hand, rel=1e-12)
    assert st.rate(train, 400.0) == 20.0


def test_interval_statistics_of_known_processes() -> None:
    """Regular: 0. Poisson: cv and lv 1. Slowing: positive adaptation. Bounds at 1e-4 from the terms' own spread."""
    rng, z = np.random.default_rng(5), stats.norm.isf(0.5e-4)
    regular = np.arange(100) * 10.0
    assert st.cv(regular) == pytest.approx(0, abs=1e-12)
    assert st.lv(regular) == pytest.approx(0, abs=1e-12)
    n = 20_000
    train = np.cumsum(rng.exponential(10.0, n))
    # of exponentials: standard error of cv 1/sqrt(n); lv's terms 3u^2 (u uniform in (-1, 1)) have variance 4/5, and
    # neighbouring ones are correlated by less than one half
    assert st.cv(train) == pytest.approx(1.0, abs=z / np.sqrt(n))
    assert st.lv(train) == pytest.approx(1.0, abs=z * np.sqrt(0.8 * 2 / n))
    assert st.adaptation_index(train) == pytest.approx(0.0, abs=z * np.sqrt(1 / 3 * 2 / n))
    assert (
        st.adaptation_index(np.cumsum(np.arange(1.0, 20))) > 0 > st.adaptation_index(np.cumsum(np.arange(20.0, 1, -1)))
    )


@pytest.mark.parametrize("statistic", [st.cv, st.lv, st.adaptation_index])
def test_too_few_spikes_say_nothing_and_disorder_is_refused(statistic) -> None:
    assert np.isnan(statistic(np.array([1.0, 2.0])))
    with pytest.raises(ValueError, match="increase"):
        statistic(np.array([1.0, 3.0, 2.0, 4.0]))
