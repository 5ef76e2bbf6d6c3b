"""The sweep's table: resumed where it was left, refused where it would mix neurons, its settings all different runs."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from neuroinf.errors import InputError
from neuroinf.fits import penalty_sweep
from neuroinf.fits.hidden_descent import descend
from neuroinf.fits.penalty_sweep import LAWS, Row, Setting, neurons, settings, sweep, text
from neuroinf.simulators import GLM

BASE = Setting(bins=40, epochs=100, batch_size=64)
THETA = np.array([[0.2, -0.1, 0.3, 0.25], [0.2, -0.1, 0.3, -0.25]])


def test_a_run_is_resumed_and_each_setting_changes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "sweep.csv"
    wanted = settings(BASE, {"norm_penalty": [0.0, 0.1], "init_sd": [1.0, 3.0], "optimizer": ["adam", "sgd"]})
    first = sweep(wanted[:3], THETA, 1, path)
    asked: list[Setting] = []

    run = penalty_sweep.run

    def counted(group: Sequence[Setting], theta: np.ndarray, seed: int, progress: str | None) -> list[list[Row]]:
        asked.extend(group)
        return run(group, theta, seed, progress)

    monkeypatch.setattr(penalty_sweep, "run", counted)
    table = sweep(wanted, THETA, 1, path)
    assert set(asked) == set(wanted[3:]) and len(asked) == len(wanted) - 3 and table[:3] == first
    assert sweep(wanted, THETA, 1, path) == table and len(asked) == len(wanted) - 3
    assert len({rows[0].train_loss for _, rows in table}) == len(wanted)
    shown = text(table)
    assert len(shown.splitlines()) == 9 and "norm_penalty" in shown and "batch_size" not in shown
    with pytest.raises(InputError, match="other neurons"):
        sweep(wanted, THETA, 2, path)
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="expected a sweep's table"):
        sweep(wanted, THETA, 1, tmp_path / "other.csv")


def test_settings_that_change_nothing_are_refused() -> None:
    with pytest.raises(InputError, match="every value must change the run"):
        settings(BASE, {"norm_penalty": [0.1, 0.1]})
    with pytest.raises(InputError, match="expected some of"):
        settings(BASE, {"latent": [1, 2]})


@pytest.mark.parametrize("law", list(LAWS))
def test_neurons_of_every_law_differ_in_inputs_and_keep_to_their_seed(law: penalty_sweep.Law) -> None:
    made, again = neurons(THETA, law, 200, 5), neurons(THETA, law, 200, 5)
    np.testing.assert_array_equal(made.x, again.x)
    assert made.x.shape == (2, 3, 250) and made.y.shape == (2, 250)
    assert not np.array_equal(made.x[0], made.x[1])
    drive = np.einsum("ri,rit->rt", THETA[:, [0, 1, 3]], made.x) + THETA[:, 2:3]
    np.testing.assert_allclose(np.log(made.y / (1 - made.y)), drive, atol=1e-9)
    np.testing.assert_allclose(made.variance, made.x[:, 2, :200].var(axis=1, ddof=1))


def test_both_signs_of_a_hidden_weight_end_alike() -> None:
    """The same inputs but for the hidden one's sign: the same rates, hence the same path, and opposite correlations."""
    one = neurons(THETA[:1], "gaussian", 80, 7)
    x = one.x.copy()
    x[:, -1] *= -1
    y = np.asarray(GLM(2, 1).simulate(THETA[1:], x, 1.0)["rate"])
    np.testing.assert_array_equal(y, one.y)
    ends = [
        descend(one.y, one.x[:, :-1], 1.0, 3, epochs=100, lr=1e-2, truth=(THETA[:1, :2], h[:, -1])) for h in (one.x, x)
    ]
    np.testing.assert_array_equal(ends[0].hidden, ends[1].hidden)
    np.testing.assert_allclose(ends[0].history["r"], -ends[1].history["r"], atol=1e-6)


def test_settings_side_by_side_are_each_as_if_alone() -> None:
    """The same start and order of bins, whatever is run beside: no row of the table depends on the others."""
    wanted = [*settings(BASE, {"init_sd": [1.0, 3.0], "variance_penalty": [1.0, 0.0]}), Setting("poisson", 40, 100)]
    wanted[-1] = replace(wanted[-1], batch_size=64)
    together, alone = sweep(wanted, THETA, 1), [sweep([setting], THETA, 1)[0] for setting in wanted]
    for (_, many), (_, one) in zip(together, alone, strict=True):
        for a, b in zip(many, one, strict=True):
            # single precision, summed in another order
            assert vars(a) | {"seconds": 0} == pytest.approx(vars(b) | {"seconds": 0}, rel=1e-3, abs=1e-5)


def test_the_table_has_medians_over_neurons() -> None:
    """A12: losses, R2 and correlation as they stand, its sign, and weight error."""
    rows = [Row(1e-3, 2e-3, 1e-3, r2, r, 0.9, error, 1.0) for r2, r, error in ((-2, -0.8, 0.1), (0.5, 0.9, 0.3))]
    head, line = (row.split() for row in text([(BASE, rows)]).replace(" loss", "_loss").replace("r > 0", "r>0")
                  .replace("max |", "max_|").replace("w error", "w_error").splitlines())  # fmt: skip
    shown = dict(zip(head, line, strict=True))
    assert shown["train_loss"] == "1.00e-03" and shown["val_loss"] == "2.00e-03"
    found = {name: float(shown[name]) for name in ("R2", "|r|", "r>0", "w_error")}
    assert found == pytest.approx({"R2": -0.75, "|r|": 0.85, "r>0": 0.5, "w_error": 0.2})
