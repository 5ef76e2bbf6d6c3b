"""Direct gradient descent: its gradient, its exact symmetry, honest validation, and what the published study saw."""

import numpy as np
import pytest
import torch
from torch import Tensor

from neuroinf.errors import InputError
from neuroinf.fits.hidden_descent import descend
from neuroinf.fits.logit_regression import regress
from neuroinf.fits.penalty_sweep import neurons
from neuroinf.models.gradient_descent import GradientDescent, OptimizerName, Truth

STUDY = np.array([
    [0.2418, 0.2625, -0.0741, 0.2905, -0.0693, 0.0638, -0.1540, 0.1857, 0.2788, 0.2749, -0.2320]
])  # fmt: skip


def data(rows: int = 2, bins: int = 60, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Rates, observed inputs and hidden activity."""
    rng = np.random.default_rng(0)
    theta = rng.uniform(-0.3, 0.3, (rows, 5))
    made = neurons(theta, "gaussian", bins, 1)
    x, y = torch.from_numpy(made.x[..., :bins]), torch.from_numpy(made.y[:, :bins])
    return y.to(dtype), x[:, :-1].to(dtype), x[:, -1].to(dtype)


def module(
    y: Tensor,
    x: Tensor,
    batch_size: int = 16,
    optimizer: OptimizerName = "adam",
    norm_penalty: float = 0.0,
    norm: float = 2,
) -> GradientDescent:
    return GradientDescent(
        y,
        x,
        torch.ones(len(y)),
        torch.Generator().manual_seed(3),
        batch_size=batch_size,
        lr=1e-2,
        optimizer=optimizer,
        norm_penalty=norm_penalty,
        norm=norm,
        epochs_per_step=2,
        held_out=(y[:, :20].clone(), x[..., :20].clone()),
    )


@pytest.mark.parametrize("nonlinearity", ["logistic", "exponential"])
@pytest.mark.parametrize(("norm_penalty", "norm"), [(0.0, 2.0), (0.1, 1.0), (0.1, 2.0), (0.1, 3.0)])
@pytest.mark.parametrize("whole", [True, False])
def test_the_gradient_is_that_of_the_loss(nonlinearity: str, norm_penalty: float, norm: float, whole: bool) -> None:
    y, x, _ = data()
    of = module(y, x, norm_penalty=norm_penalty, norm=norm)
    of.nonlinearity = nonlinearity
    bins = slice(None) if whole else torch.randperm(60, generator=torch.Generator().manual_seed(0))[:20]
    of.loss(bins).sum().backward()
    expected = [p.grad.clone() for p in of.parameters() if p.grad is not None]
    assert len(expected) == 4
    of.descend(y[:, bins], x[..., bins], bins)
    for a, b in zip(expected, of.parameters(), strict=True):
        torch.testing.assert_close(a, b.grad)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "adadelta", "adagrad"])
def test_rows_do_not_touch_each_other_and_every_optimiser_moves(optimizer: OptimizerName) -> None:
    """A row's path is the same whatever the other row's data are."""
    y, x, _ = data()
    ends = []
    for other in (0.0, 0.3):
        of = module(torch.cat((y[:1], y[1:] * (1 - other))), x, optimizer=optimizer)
        before = of.hidden.detach().clone()
        step = of.configure_optimizers()
        for _ in range(3):
            for yb, xb, bins in of._batches():
                of.descend(yb, xb, bins)
                step.step()
        assert (of.hidden - before).abs().max() > 0
        ends.append((of.weights[0].detach().clone(), of.hidden[0].detach().clone()))
    torch.testing.assert_close(ends[0], ends[1], rtol=0, atol=0)


def test_the_loss_has_an_exact_symmetry() -> None:
    """Bit for bit, of the loss and of the validation; so has every step, but for the start of the hidden weight."""
    y, x, _ = data()
    of = module(y, x)
    loss, validation = of.loss(), of.validation_loss()
    with torch.no_grad():
        of.hidden_weight.neg_()
        of.hidden.neg_()
    assert torch.equal(of.loss(), loss) and torch.equal(of.validation_loss(), validation)


def test_no_hidden_state_is_shared_with_validation() -> None:
    """A11: whatever becomes of the training bins' hidden activity and its weight, validation does not see it."""
    y, x, _ = data()
    of = module(y, x)
    before, train = of.validation_loss(), of.loss()
    generator = torch.Generator().manual_seed(1)
    changes = (
        lambda h: h[:, torch.randperm(h.shape[1], generator=generator)],
        lambda h: 100 * h + 7,
        lambda h: torch.full_like(h, torch.nan),
    )
    for change in changes:
        with torch.no_grad():
            of.hidden.copy_(change(of.hidden))
        assert torch.equal(of.validation_loss(), before)
        assert not torch.equal(of.loss(), train)
    with torch.no_grad():
        of.hidden_weight.fill_(-3.0)
        assert torch.equal(of.validation_loss(), before)
        of.weights.add_(0.1)
    assert not torch.equal(of.validation_loss(), before)


def test_training_does_not_depend_on_validation_or_truth() -> None:
    y, x, h = data(dtype=torch.float32)
    ends = []
    for held_out, truth in ((None, None), ((y[:, :9], x[..., :9]), (x[:, :, 0], h))):
        pair = None if held_out is None else (held_out[0].numpy(), held_out[1].numpy())
        known = None if truth is None else (truth[0].numpy(), truth[1].numpy())
        end = descend(
            y.numpy(), x.numpy(), 1.0, 4, epochs=20, batch_size=16, record_every=10, held_out=pair, truth=known
        )
        ends.append(end)
        assert end.history["epoch"][:, 0].tolist() == [0, 10, 20]
    np.testing.assert_array_equal(ends[0].hidden, ends[1].hidden)
    assert np.isnan(ends[0].history["val_loss"]).all() and "r" in ends[1].history and "r" not in ends[0].history


def test_scores_are_those_of_numpy() -> None:
    y, x, h = data()
    of = GradientDescent(
        y, x, torch.ones(2), torch.Generator().manual_seed(0), truth=Truth(torch.full((2, 3), 0.5).double(), h)
    )
    scores, found = of.scores(), of.hidden.detach().numpy()
    for i in range(2):
        assert scores["r"][i].item() == pytest.approx(np.corrcoef(found[i], h[i])[0, 1])
        assert scores["r2"][i].item() == pytest.approx(
            1 - ((found[i] - h[i].numpy()) ** 2).sum() / 60 / h[i].var(correction=0)
        )


@pytest.mark.parametrize(
    ("change", "match"), [("y", "expected rates"), ("optimizer", "optimizer"), ("batch", "1 or more")]
)
def test_wrong_arguments_are_refused(change: str, match: str) -> None:
    y, x, _ = data()
    with pytest.raises(InputError, match=match):
        GradientDescent(
            y[:, :5] if change == "y" else y,
            x,
            torch.ones(2),
            torch.Generator(),
            optimizer="newton" if change == "optimizer" else "adam",  # type: ignore[arg-type]
            batch_size=0 if change == "batch" else 256,
        )


def test_without_a_hidden_input_it_finds_the_weights() -> None:
    """A3, the positive control: neither hidden activity nor its weight exists, in the rate, the loss or the optimiser."""
    rng = np.random.default_rng(0)
    theta, x = rng.uniform(-0.3, 0.3, (3, 5)), rng.standard_normal((3, 4, 1000))
    y = 1 / (1 + np.exp(-np.einsum("ri,rit->rt", theta[:, :4], x) - theta[:, 4:]))
    found = descend(
        y, x, 1.0, 0, epochs=1000, batch_size=1000, lr=1e-2, free_hidden=False, truth=(theta[:, :4], x[:, 0])
    )
    assert (found.history["weight_error"][-1] < 1e-3).all() and np.abs(found.bias - theta[:, 4]).max() < 1e-3
    assert not found.hidden.any() and not found.hidden_weight.any()
    assert "r" not in found.history and (found.history["train_loss"][-1] < 1e-8).all()


def test_once_every_rate_is_learnt_the_hidden_activity_is_what_the_weights_leave() -> None:
    """v_h h = logit y - v . x - c, whatever v is: the weights are those of early training, not those of the least loss."""
    y, x, h = (values.float().numpy() for values in data(2, 200))
    found = descend(y, x, h.var(axis=1, ddof=1), 1, epochs=6000, batch_size=200, lr=1e-2, truth=(x[:, :, 0], h))
    assert (found.history["train_loss"][-1] < 1e-9).all()
    left = np.log(y / (1 - y)) - np.einsum("ri,rit->rt", found.weights, x) - found.bias[:, None]
    np.testing.assert_allclose(found.hidden_weight[:, None] * found.hidden, left, atol=2e-3)
    np.testing.assert_allclose(np.abs(found.hidden_weight), left.std(axis=1, ddof=1) / h.std(axis=1, ddof=1), rtol=1e-2)


def test_a_hidden_input_makes_it_wrong_in_sign_and_overtrained() -> None:
    """A5 in small, with ten times the learning rate and a tenth of the passes: r of the hidden weight's sign, since the
    model's weight keeps the sign it started with; less than the regression's; validation that stops falling
    long before the training loss does.

    The bar's own numbers, and the rise of validation, are those of the study's rate and passes, below.
    """
    theta = np.repeat(STUDY, 4, axis=0)
    theta[2:, -1] *= -1
    made = neurons(theta, "gaussian", 1000, 42)
    found = descend(
        made.y[:, :1000],
        made.x[:, :9, :1000],
        made.variance,
        42,
        epochs=2000,
        lr=1e-3,
        record_every=50,
        held_out=(made.y[:, 1000:], made.x[:, :9, 1000:]),
        truth=(theta[:, :9], made.x[:, 9, :1000]),
    )
    r, validation = found.history["r"], found.history["val_loss"]
    assert (found.hidden_weight > 0).all() and (r[-1] * theta[:, -1] > 0).all()
    closed = regress(made.y[:, :1000], made.x[:, :9, :1000]).hidden
    best = [np.abs(np.corrcoef(a, b)[0, 1]) for a, b in zip(closed, made.x[:, 9, :1000], strict=True)]
    assert (np.abs(r[-1]) > 0.75).all() and (np.abs(r[-1]) < np.array(best) - 0.03).all()
    lowest = validation.argmin(axis=0)
    assert (validation[0] > 5 * validation.min(axis=0)).all() and np.median(lowest) < len(validation) / 2
    assert (found.history["train_loss"][-1] < found.history["train_loss"][len(validation) // 2] / 2).all()


@pytest.mark.slow
def test_the_published_behaviour() -> None:
    """A5: hidden activity of the sign that it started with, |r| in 0.75 to 0.93, validation that falls and rises."""
    theta = np.concatenate((STUDY, STUDY))
    theta[1, -1] *= -1
    made = neurons(theta, "gaussian", 1000, 42)
    found = descend(
        made.y[:, :1000],
        made.x[:, :9, :1000],
        made.variance,
        42,
        epochs=20_000,
        record_every=500,
        held_out=(made.y[:, 1000:], made.x[:, :9, 1000:]),
        truth=(theta[:, :9], made.x[:, 9, :1000]),
    )
    r, validation = found.history["r"], found.history["val_loss"]
    assert (r[-1] * theta[:, -1] > 0).all() and (found.hidden_weight > 0).all()
    assert ((np.abs(r[-1]) > 0.75) & (np.abs(r[-1]) < 0.93)).all()
    assert (np.abs(r).max(0) > np.abs(r[-1]) + 0.03).all()  # overtrained
    lowest = validation.argmin(0)
    assert (lowest > 2).all() and (lowest < 30).all()
    assert (validation[-1] > 1.2 * validation.min(0)).all() and (validation[0] > 5 * validation.min(0)).all()
