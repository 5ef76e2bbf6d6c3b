"""A study of dimensions: the scores by hand, what they choose, continued runs, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from neuroinf.datasets.populations import PopulationData, population
from neuroinf.dimension_study import dimension_study, is_dimension_study, study_dimensions
from neuroinf.errors import InputError
from neuroinf.evaluation.dimension import DimensionScore, score_dimension
from neuroinf.evaluation.dimension_table import choices, dimension_table
from neuroinf.fits.latent_model import LatentEstimate

STUDY = Path(__file__).resolve().parents[1] / "configs" / "studies" / "manifold.yaml"
SMALL = [
    "--config", str(STUDY), "--dimensions=[1,2,3,4]", "--network_dimensions=[1,2]", "--bilstm.iterations=5", "--bilstm.batch=2",
    "--sequential_steps=5",
    "--data.simulation.simulator.init_args.neurons=24", "--data.simulation.stimulus.init_args.duration=1440000",
    "--data.simulation.simulator.init_args.dynamics.init_args.dimension=2",
]  # fmt: skip


class Copying:
    """A model that gives back what it sees and the mean of what it sees elsewhere."""

    dimension = 1

    def infer(self, activity: np.ndarray, observed: np.ndarray | None = None) -> LatentEstimate:
        seen = np.ones(activity.shape, bool) if observed is None else observed
        mean = np.where(seen, activity, 0).sum(1, keepdims=True) / seen.sum(1, keepdims=True)
        factors = np.zeros((len(activity), 1), np.float32)
        return LatentEstimate(factors, factors, np.where(seen, activity, mean).astype(np.float32))

    def forecast(self, factors: np.ndarray, steps: int) -> np.ndarray:
        raise AssertionError

    def rates_of(self, factors: np.ndarray) -> np.ndarray:
        raise AssertionError


def common_signal() -> tuple[PopulationData, PopulationData]:
    rng = np.random.default_rng(0)
    x = [rng.standard_normal((2000, 1)) + rng.standard_normal((2000, 40)) for _ in range(2)]
    return population(x[0], 1.0, "trace"), population(x[1], 1.0, "trace")


def test_copying_pays_only_where_nothing_is_hidden() -> None:
    """One common signal and noise, each of variance 1, in 40 neurons.

    Copied: EV 1. From the others' mean: an error of 1 + 1/n of 2, so EV (1 - 1/n)/2 with n = 30: .483. The standard error over
    2,000 bins is below .02 (the signal's square has variance 2): five of them.
    """
    train, test = common_signal()
    score = score_dimension(Copying(), train.mean, test, folds=4, blocks=10, hidden=0.25)
    assert np.allclose(np.mean(score.reconstruction), 1)
    assert score.rates is None
    for values in (score.entries, score.neurons):
        assert len(values) == 10
        assert abs(np.mean(values) - 0.483) < 0.1


def test_choice_by_hand() -> None:
    """4 is best by .002 in the mean, which is less than the standard error of the difference to 3; 2 is clearly worse."""
    rng = np.random.default_rng(0)
    block = rng.standard_normal(10)
    wobble = np.tile([0.01, -0.01], 5)
    of = {2: block - 0.5, 3: block - 0.002 + wobble, 4: block}
    scores = [DimensionScore(d, tuple(x), tuple(x), tuple(x), None) for d, x in of.items()]
    found = choices(scores)["entries"]
    # differences of 3: .002 -+ .01, of standard error .0105/sqrt(10) = .0033 > .002, whatever the blocks themselves do
    assert (found["best"], found["dimension"]) == (4, 3)
    assert found["interval"][0] == 3 and found["interval"][1] in (3, 4)
    table = dimension_table("blocks", {"method": scores}, {"method": {2: 1.0, 3: 1.0, 4: 1.0}})
    assert "one SE" in table and "3 [3," in table


def test_small_study_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.chdir(tmp_path)
    table = study_dimensions(SMALL)
    results = json.loads((table.parent / "results.json").read_text())
    assert results["true_dimension"] == 2
    assert results["chosen"]["PPCA"]["neurons"]["dimension"] == 2
    assert [each["dimension"] for each in results["scores"]["BiLSTM"]] == [1, 2]
    assert (table.parent / "dimension.png").stat().st_size > 10_000
    first = table.read_text()
    capsys.readouterr()
    fits = sorted((table.parent / "fits").iterdir())
    assert len(fits) == 4 + 2 + 2 + 2
    fits[0].unlink()
    study_dimensions(SMALL)
    assert capsys.readouterr().err.count("latents") == 1  # one fit was missing, and one was made
    assert results["scores"] == json.loads((table.parent / "results.json").read_text())["scores"]
    assert len(first.splitlines()) == len(table.read_text().splitlines())


def test_the_published_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_dimension_study(["--config", str(STUDY)])
    study = dimension_study(["--config", str(STUDY)])
    assert study.simulation.simulator.groups.size == 1131 and study.simulation.simulator.dimension == 5
    assert 75 in study.dimensions and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--dimensions=[0,2]", "dimensions: expected numbers from 1"),
        ("--hidden=1.5", "hidden: expected a share"),
        ("--folds=1", "folds: expected at least 2"),
        ("--bilstm.hidden=0.3", "bilstm.hidden: expected 0"),
        ("--bilstm.widht=3", "widht"),
    ],
)
def test_refusals(flag: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message.replace("[", r"\[")):
        dimension_study(["--config", str(STUDY), flag])
    assert not list(tmp_path.iterdir())
