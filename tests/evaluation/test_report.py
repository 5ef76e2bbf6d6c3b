"""A report that needs nothing else, draws the baseline, and says in words what the numbers mean."""

import copy
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from neuroinf.evaluation import figures
from neuroinf.evaluation.comparison import Comparison, Condition, cost, run
from neuroinf.evaluation.estimates import Estimates
from neuroinf.evaluation.identifiability import Effect, identifiability
from neuroinf.evaluation.paired import paired
from neuroinf.evaluation.predictive import Responses
from neuroinf.evaluation.report import Report, terminal_report, terminal_table, write_report
from neuroinf.evaluation.response_figure import Overlay, best_median_worst, overlays
from neuroinf.evaluation.verdict import Loss, verdict
from neuroinf.evaluation.wording import duration
from neuroinf.priors import Prior

CONDITIONS = (Condition("0.5 mV", {"voltage": 0.5}), Condition("2 mV", {"voltage": 2.0}))
N = 150


@pytest.fixture(scope="module")
def comparison(prior: Prior) -> Comparison:
    """A network that knows tau and gain, not th nor label; a fit that answers 100 neurons and cannot under 2 mV."""
    rng = np.random.default_rng(0)
    truth = prior.sample(N, rng)
    u = prior.to_unit(truth)
    known = np.array([True, True, False, False])

    def network(x, condition):
        mean = np.where(known, np.clip(u + 0.1 * rng.normal(size=u.shape), 0, 1), 0.5 + 0.01 * rng.normal(size=u.shape))
        spread = np.where(known, 0.1, 0.3)
        samples = np.clip(mean[:, None] + spread * rng.normal(size=(N, 100, 4)), 0, 1)
        return Estimates("amortized", prior.from_unit(mean), prior.from_unit(samples), None, np.zeros(N), 0.002)

    def fit(x, condition):
        mean = prior.from_unit(np.clip(u + np.array([0.01, 0.3, 0.01, 1]) * rng.normal(size=u.shape), 0, 1))
        mean[100:] = np.nan
        return None if condition.noise["voltage"] > 1 else Estimates("per_neuron_fit", mean, seconds_per_neuron=2.0)

    methods = {"amortized": network, "per_neuron_fit": fit}
    return run(methods, lambda c: np.zeros((N, 1, 10)), truth, prior, CONDITIONS)


@pytest.fixture
def metrics(scored: dict) -> dict:
    """A copy for each test to spoil."""
    return copy.deepcopy(scored)


@pytest.fixture(scope="module")
def scored(comparison: Comparison, prior: Prior) -> dict:
    effects = {name: Effect(name, 0 if name == "label" else 5, 5, "each simulated again") for name in prior.names}
    rng = np.random.default_rng(1)
    estimates = comparison.given(CONDITIONS[0])
    network, fit = (answer for answer in estimates if answer.method in ("amortized", "per_neuron_fit"))
    methods: dict = comparison.metrics(CONDITIONS[0])
    methods["per_neuron_fit"]["beside_amortized"] = paired(comparison.truth, fit.mean, network.mean, prior, rng)
    return {
        "checkpoint": "checkpoints/glif.ckpt",
        "dataset": "data/test.h5",
        "simulator": "Leak <script>alert(1)</script>",
        "n_test": N,
        "parameters": list(prior.names),
        "methods": methods,
        "predictive": {
            "amortized": {"voltage_rmse": 0.4, "spike_gamma": None, "explained_variance_ratio": 0.7, "n": 3}
        },
        "identifiability": identifiability(comparison.truth, estimates, prior, effects, rng),
        "cost": cost(100.0, 500.0, 2.0, 0.002),
    }


def all_figures(comparison: Comparison) -> list[tuple[str, object]]:
    truth, prior = comparison.truth, comparison.prior
    answers = comparison.estimates["0.5 mV"]
    network, fit = answers["amortized"], answers["per_neuron_fit"]
    assert network is not None
    assert network.samples is not None
    assert fit is not None
    response = Responses(100.0, 1.0, np.zeros((1, 100)), [np.array([20.0, 30.0])])
    history = [{"epoch": float(e), "val/loss": 1 / (e + 1), "val/loss_prior": 1.0, "train/loss": 0.9} for e in range(3)]
    return [
        ("Recovery", figures.recovery(truth, fit, prior)),
        ("Error against time", figures.error_against_time(comparison)),
        ("Overlay", overlays([Overlay("best", response, response, np.zeros(100))])),
        ("Learning curves", figures.learning_curves(history)),
        ("Calibration", figures.calibration_curve(truth, network.samples, prior)),
    ]


class _References(HTMLParser):
    """Collects whatever a browser would load, and the tags in order."""

    def __init__(self) -> None:
        super().__init__()
        self.references: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        loads = ("src", "href", "srcset", "data", "action", "poster", "background")
        self.references += [value or "" for name, value in attrs if name in loads]


def test_report_is_one_file_without_outside_references(comparison: Comparison, metrics: dict, tmp_path: Path) -> None:
    report = Report(
        "GLIF",
        metrics,
        {"tau": "ms", "label": "1"},
        all_figures(comparison),
        {"2 mV": comparison.metrics(CONDITIONS[1])},
        [Loss("predict the mean", 1.742, "predict_mean"), Loss("network", 1.7527, "method")],
        {"command": "python evaluate.py & <x>"},
        ["A note of the study."],
    )
    page = write_report(tmp_path / "report.html", report).read_text(encoding="utf-8")
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    parser = _References()
    parser.feed(page)
    assert len(parser.references) == 5
    assert all(r.startswith("data:image/png;base64,") for r in parser.references)
    assert not {"script", "link", "iframe", "object", "embed"} & set(parser.tags)  # and nothing was injected
    text = re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+", "", page)
    assert not re.search(r"https?://|url\(|@import|//[a-z]", text)
    for expected in ("tau (ms)", "<th>label</th>", "cannot, under this condition", "A note of the study.", "&lt;x&gt;"):
        assert expected in text
    assert "None" not in text
    assert not re.search(r"\bnan\b", text)


def test_verdict_in_words(metrics: dict) -> None:
    words = " ".join(verdict(metrics))
    assert (
        "The network beats the prior mean for tau and gain. It does not beat the prior mean for th and label." in words
    )
    assert "label has no effect on the response (each simulated again): it is not identified" in words
    assert "per_neuron_fit answered 100 of 150 neurons" in words
    assert (
        "Against per_neuron_fit the network has smaller error for gain; larger error for tau and th; "
        "no difference that 100 neurons show for label (100 neurons that both answered, paired test, p < 0.0001)"
        in words
    )
    assert "pay from 301 neurons on (2 ms for one neuron against 2 s for a fit)" in words


def test_few_neurons_are_compared_in_no_words(metrics: dict) -> None:
    entry = metrics["methods"]["per_neuron_fit"]
    entry["beside_amortized"]["n"] = 3
    entry |= {"n": 3, "asked": 20, "answers": "inputs that are not correlated"}
    words = " ".join(verdict(metrics))
    assert "Against per_neuron_fit nothing can be said of the errors: only 3 neurons were answered by both" in words
    assert "smaller error" not in words and "larger error" not in words
    assert (
        "per_neuron_fit answered 3 of the 20 neurons (of 150) that it was asked about: "
        "it has an answer only for inputs that are not correlated; its scores are over those." in words
    )


def test_a_network_that_learnt_nothing_is_told_so(comparison: Comparison, metrics: dict, tmp_path: Path) -> None:
    prior, rng = comparison.prior, np.random.default_rng(2)
    useless = Estimates("amortized", prior.from_unit(0.5 + 0.02 * rng.normal(size=(N, 4))))
    result = run(
        {"amortized": lambda x, c: useless}, lambda c: np.zeros((N, 1, 10)), comparison.truth, prior, CONDITIONS
    )
    metrics["methods"] = result.metrics(CONDITIONS[0])
    metrics["identifiability"] = identifiability(comparison.truth, result.given(CONDITIONS[0]), prior, {}, rng)
    losses = [
        Loss("the network", 1.7527, "method"),
        Loss("predict the mean", 1.742, "predict_mean"),
        Loss("all but dt known", 1.6, "attainable"),
    ]
    page = write_report(tmp_path / "report.html", Report("Study", metrics, {}, losses=losses)).read_text("utf-8")
    for text in (page, terminal_report(metrics, losses, width=1000)):
        assert "The network does not beat the prior mean for any parameter" in text
        assert "loss 1.7527 against 1.7420 (predict the mean), not below it: this loss shows no learning" in text
        assert "No method can come below 1.6000 (all but dt known)." in text
        assert "No method recovers tau, gain, th and label better than the prior mean" in text


def test_verdict_without_a_permutation_test_goes_by_the_error(metrics: dict) -> None:
    for entry in metrics["identifiability"].values():
        entry.clear()
        entry["posterior_over_prior_sd"] = None
    # a hair's breadth below the prior mean by chance counts then: what the permutation test is for
    metrics["methods"]["amortized"]["nrmse"].update(th=0.2999, label=0.3001)
    metrics["methods"]["prior_mean"]["nrmse"].update(th=0.3, label=0.3)
    assert "beats the prior mean for tau, gain and th" in verdict(metrics)[0]


def test_dishonest_intervals_and_cost_are_named(metrics: dict) -> None:
    metrics["methods"]["amortized"]["coverage_90"] = {"tau": 0.6, "gain": 0.9, "th": 1.0, "label": 0.88}
    metrics["cost"] = cost(100.0, 500.0, 0.001, 0.002)
    words = " ".join(verdict(metrics))
    assert "too narrow for tau (60 %): too sure" in words
    assert "too wide for th (100 %): too cautious" in words
    assert "never pay in time" in words


def test_joint_miscalibration_is_named_with_the_test_that_saw_it(metrics: dict) -> None:
    entry = metrics["methods"]["amortized"]
    entry["expected_coverage_p"], entry["tarp_p"] = 0.5, 0.2
    assert "joint posterior" not in " ".join(verdict(metrics))
    entry["expected_coverage_p"], entry["tarp_p"] = None, 1e-6
    assert (
        "joint posterior of amortized is miscalibrated: its regions hold the truth more or less often than they say (TARP"
        in " ".join(verdict(metrics))
    )


def test_terminal_table_lines_up(metrics: dict) -> None:
    table = terminal_table(metrics).splitlines()
    assert table[0].split() == ["R2", "tau", "gain", "th", "label", "mean", "error", "per", "neuron", "neurons"]
    assert [line.split()[0] for line in table[2:]] == ["prior_mean", "amortized", "per_neuron_fit"]
    assert len({len(line) for line in table}) == 1
    assert table[-1].split()[-1] == "100"


def test_baselines_are_drawn(comparison: Comparison) -> None:
    """The prior's mean in every recovery panel, its error in the comparison, its loss beside the learning curves."""
    prior, drawn = comparison.prior, dict(all_figures(comparison))
    for axes, mean in zip(drawn["Recovery"].axes, prior.from_unit(np.full(4, 0.5)), strict=True):
        lines = [line for line in axes.lines if line.get_label() == "prior mean"]
        assert lines[0].get_ydata()[0] == pytest.approx(mean)
    axes = drawn["Error against time"].axes[0]
    floor = next(line for line in axes.lines if line.get_label() == "prior mean").get_ydata()[0]
    assert floor == pytest.approx(1 / np.sqrt(12), rel=0.1)
    # methods can be told apart without colour
    styles = {(line.get_marker(), line.get_linestyle()) for line in axes.lines if line.get_label()[0] != "_"}
    assert len(styles) == 3
    assert "predicting the prior" in [line.get_label() for line in drawn["Learning curves"].axes[0].lines]
    for figure in drawn.values():
        assert all(axes.get_ylabel() for axes in figure.axes)


def test_best_median_worst() -> None:
    assert best_median_worst(np.array([3.0, np.nan, 1.0, 2.0, 9.0])) == {"best": 2, "median": 3, "worst": 4}
    assert best_median_worst(np.array([np.nan, 4.0])) == {"best": 1}
    assert best_median_worst(np.array([np.nan])) == {}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0.0, "0 s"), (2e-6, "2 us"), (0.0021, "2.1 ms"), (12.34, "12.3 s"), (90, "1.5 min"), (7200, "2 h")],
)
def test_durations_are_legible(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text
