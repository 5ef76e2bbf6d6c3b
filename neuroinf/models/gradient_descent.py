r"""Direct gradient descent on one neuron's weights and its free hidden activity: the published study's method, a baseline.

.. math:: \hat y_t = f(v \cdot x_t + v_h h_t + c), \qquad
    L = \frac1{|\mathcal B|} \sum_{t \in \mathcal B} (\hat y_t - y_t)^2 + \lambda_V (\mathrm{Var}\, h - V)^2
    + \lambda\, \Vert h \Vert_p

with a number :math:`h_t` for every bin beside the weights, the variance over all bins at every step. What it can and
cannot find:

- **Scale**: only :math:`v_h h` enters. The penalty knows V, the true variance of the hidden input: oracle knowledge.
- **Sign**: :math:`(v_h, h) \sim (-v_h, -h)` exactly: both have the same loss, with a ridge at :math:`v_h = 0`, where no finite
  h explains the rate. :math:`v_h` starts at +1 and keeps its sign, unless it is thrown across before h has learnt anything;
  then h has that of the hidden weight times :math:`v_h`'s, whatever the optimiser. No data decide it.
- **Weights**: with T free numbers for T equations, any v has a loss of 0. Only early training tells them, while v has
  moved and h has not. Trained to the end, :math:`|r| = |w_h| / \sqrt{w_h^2 + |v - w|^2}` for inputs of variance 1.

Validation is honest: a bin that was not trained on has no :math:`h_t`. It is predicted with the hidden input at the mean it
was initialised with, 0, where c has learnt the rest: nothing of the training bins' hidden activity reaches it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import lightning as L
import torch
from torch import Tensor
from torch.optim import SGD, Adadelta, Adagrad, Adam, AdamW, Optimizer

from neuroinf.errors import InputError

OptimizerName = Literal["adam", "adamw", "sgd", "adadelta", "adagrad"]
# one compiled loop for each where there is one: a step then costs as much as the loss itself
OPTIMIZERS: dict[OptimizerName, Callable[..., Optimizer]] = {
    "adam": lambda p, lr: Adam(p, lr=lr, fused=True),
    "adamw": lambda p, lr: AdamW(p, lr=lr, fused=True),
    "sgd": lambda p, lr: SGD(p, lr=lr, fused=True),
    "adadelta": lambda p, lr: Adadelta(p, lr=lr),
    "adagrad": lambda p, lr: Adagrad(p, lr=lr, fused=True),
}


@dataclass(frozen=True)
class Truth:
    """What is only known of simulated neurons, for scores.

    Attributes:
        weights: Of the observed inputs :math:`(R, I)`.
        hidden: Activity :math:`(R, T)`.
    """

    weights: Tensor
    hidden: Tensor


class GradientDescent(L.LightningModule):
    """Fits R neurons side by side, each by itself: no sum mixes rows, and the optimisers work number by number.

    One training step is `epochs_per_step` passes through the module's own data; the batch given to it is ignored.

    Args:
        y: Rates :math:`(R, T)`.
        x: Observed inputs :math:`(R, I, T)`.
        hidden_variance: V :math:`(R,)`, the true variance of the hidden input: oracle knowledge.
        generator: Of the start and of the order of bins.
        nonlinearity: f.
        batch_size: Bins in a batch, shuffled anew in each pass; T or more: all at once.
        lr: Learning rate.
        optimizer: One of adam, adamw, sgd, adadelta, adagrad, with torch's defaults but for `lr`.
        init_sd: Sd of h at the start; this and the penalties one for all rows or :math:`(R,)`.
        variance_penalty: :math:`\\lambda_V`.
        norm_penalty: :math:`\\lambda`.
        norm: p, 1 or more.
        free_hidden: False: there is no hidden input, h and its weight stay 0; the positive control, all inputs observed.
        blocks: Of how many equal blocks of rows each has the same start as the first, but for its `init_sd`.
        epochs_per_step: Passes in a training step, between two entries of `history`.
        held_out: Rates :math:`(R, T')` and inputs :math:`(R, I, T')` that are not trained on.
        truth: For the scores beside the losses.

    Attributes:
        weights, bias, hidden_weight, hidden: v :math:`(R, I)`, c and :math:`v_h` :math:`(R,)`, h :math:`(R, T)`.
        history: Entries of :meth:`scores`, one for the start and one after each training step.

    Raises:
        InputError: if shapes do not fit together, or a setting has no meaning.
    """

    def __init__(
        self,
        y: Tensor,
        x: Tensor,
        hidden_variance: Tensor,
        generator: torch.Generator,
        nonlinearity: Literal["logistic", "exponential"] = "logistic",
        batch_size: int = 256,
        lr: float = 1e-4,
        optimizer: OptimizerName = "adam",
        init_sd: float | Tensor = 1.0,
        variance_penalty: float | Tensor = 1.0,
        norm_penalty: float | Tensor = 0.0,
        norm: float = 2.0,
        free_hidden: bool = True,
        blocks: int = 1,
        epochs_per_step: int = 100,
        held_out: tuple[Tensor, Tensor] | None = None,
        truth: Truth | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        if y.ndim != 2 or x.ndim != 3 or y.shape != (len(x), x.shape[2]) or hidden_variance.shape != y.shape[:1]:
            raise InputError(
                f"expected rates (R, T), inputs (R, I, T) and hidden variances (R,), found shapes {tuple(y.shape)}, "
                f"{tuple(x.shape)} and {tuple(hidden_variance.shape)}"
            )
        if blocks < 1 or len(y) % blocks:
            raise InputError(f"expected {len(y)} rows in equal blocks, found {blocks} blocks")
        if optimizer not in OPTIMIZERS:
            raise InputError(f"optimizer: expected one of {', '.join(OPTIMIZERS)}, found {optimizer!r}")
        if batch_size < 1 or epochs_per_step < 1 or norm < 1:
            raise InputError(
                f"expected batch_size, epochs_per_step and norm of 1 or more, found {batch_size}, {epochs_per_step}, {norm}"
            )
        self.data, self.hidden_variance, self.generator = (y, x), hidden_variance.to(y.dtype), generator
        self.optimizer: OptimizerName = optimizer
        self.nonlinearity, self.batch_size, self.lr = nonlinearity, batch_size, lr
        spread, self.variance_penalty, self.norm_penalty = (
            torch.as_tensor(value, dtype=y.dtype).expand(len(y)) for value in (init_sd, variance_penalty, norm_penalty)
        )
        self.norm, self.free_hidden = norm, free_hidden
        self.epochs_per_step, self.held_out, self.truth = epochs_per_step, held_out, truth
        self.epochs = 0

        r, inputs, bins = x.shape
        # torch.nn.Linear's default, of as many inputs as there are with the hidden one
        edge = (inputs + free_hidden) ** -0.5
        shape = (r // blocks, inputs + 1)
        start = edge * (2 * torch.rand(shape, generator=generator, dtype=y.dtype) - 1).repeat(blocks, 1)
        self.weights = torch.nn.Parameter(start[:, :inputs].clone())
        self.bias = torch.nn.Parameter(start[:, inputs].clone())
        h = torch.randn((r // blocks, bins), generator=generator, dtype=y.dtype).repeat(blocks, 1)
        h = h * spread[:, None] * free_hidden
        self.hidden_weight = torch.nn.Parameter(torch.full((r,), float(free_hidden), dtype=y.dtype), free_hidden)
        self.hidden = torch.nn.Parameter(h, free_hidden)
        self.history: list[dict[str, Tensor]] = [self.scores()]

    def predicted(self, x: Tensor, hidden: Tensor | None = None) -> Tensor:
        """Rate :math:`(R, T')` of inputs :math:`(R, I, T')`; without hidden activity :math:`(R, T')` that of h = 0."""
        eta = torch.einsum("ri,rit->rt", self.weights, x) + self.bias[:, None]
        if hidden is not None:
            eta = eta + self.hidden_weight[:, None] * hidden
        return torch.sigmoid(eta) if self.nonlinearity == "logistic" else eta.exp()

    def penalty(self) -> Tensor:
        """What the loss has beside the squared error, :math:`(R,)`."""
        if not self.free_hidden:
            return torch.zeros_like(self.bias)
        off = self.hidden.var(dim=1) - self.hidden_variance
        return self.variance_penalty * off.square() + self.norm_penalty * self.hidden.norm(self.norm, dim=1)

    def loss(self, bins: Tensor | slice = slice(None)) -> Tensor:
        """The loss :math:`(R,)` of some bins."""
        y, x = self.data
        return (self.predicted(x[..., bins], self.hidden[:, bins]) - y[:, bins]).square().mean(1) + self.penalty()

    def validation_loss(self) -> Tensor:
        """Squared error :math:`(R,)` on held-out bins, whose hidden input is not known."""
        if self.held_out is None:
            return torch.full_like(self.bias, torch.nan)
        y, x = self.held_out
        return (self.predicted(x) - y).square().mean(1)

    @torch.no_grad()
    def scores(self) -> dict[str, Tensor]:
        """Of each row :math:`(R,)`.

        `epoch`; `train_loss` over all bins, penalty included; `val_loss`; with the truth also `weight_error`, relative,
        and where there is a hidden input `r2` between h and the true activity as they stand and `r`, their correlation
        with its sign.
        """
        found = {"epoch": torch.full_like(self.bias, self.epochs), "train_loss": self.loss()}
        found["val_loss"] = self.validation_loss()
        if self.truth is not None:
            found["weight_error"] = (self.weights - self.truth.weights).norm(dim=1) / self.truth.weights.norm(dim=1)
        if self.truth is not None and self.free_hidden:
            h, true = self.hidden, self.truth.hidden
            a, b = (values - values.mean(1, keepdim=True) for values in (h, true))
            found["r2"] = 1 - (h - true).square().sum(1) / b.square().sum(1)
            found["r"] = (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))
        return {key: value.detach().clone() for key, value in found.items()}

    def configure_optimizers(self) -> Optimizer:
        """Over all rows at once."""
        return OPTIMIZERS[self.optimizer]([p for p in self.parameters() if p.requires_grad], self.lr)

    @torch.no_grad()
    def training_step(self, batch: Any, batch_idx: int) -> None:
        """Several passes through the data."""
        # Lightning's own would take longer to call than the step takes
        optimizer = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, Optimizer)
        for _ in range(self.epochs_per_step):
            for y, x, bins in self._batches():
                self.descend(y, x, bins)
                optimizer.step()
        self.epochs += self.epochs_per_step
        self.history.append(self.scores())
        self.log_dict({key: value.mean() for key, value in self.history[-1].items() if key != "epoch"})

    def descend(self, y: Tensor, x: Tensor, bins: Tensor | slice) -> None:
        """Puts the gradient of each row's :meth:`loss` of a batch into the parameters.

        By hand: tens of thousands of steps of a few microseconds each are not to be recorded for differentiation.
        """
        size, h = y.shape[1], self.hidden
        hb = h[:, bins]
        eta = torch.baddbmm(self.bias[:, None, None], self.weights[:, None], x)[:, 0]
        eta.addcmul_(self.hidden_weight[:, None], hb)
        if self.nonlinearity == "logistic":
            rate = eta.sigmoid_()
            slope = rate * (1 - rate)
        else:
            rate = slope = eta.exp_()
        g = (rate - y).mul_(slope).mul_(2 / size)
        self.weights.grad = torch.bmm(x, g[..., None])[..., 0]
        self.bias.grad = g.sum(1)
        if not self.free_hidden:
            return
        variance, mean = torch.var_mean(h, dim=1, keepdim=True)
        off = (4 / (h.shape[1] - 1)) * self.variance_penalty[:, None] * (variance - self.hidden_variance[:, None])
        gh = (h - mean).mul_(off)
        if self.norm_penalty.any():
            length = h.norm(self.norm, dim=1, keepdim=True).clamp(min=torch.finfo(h.dtype).tiny)
            gh += self.norm_penalty[:, None] * h.sign() * (h.abs() / length) ** (self.norm - 1)
        through = g * self.hidden_weight[:, None]
        if isinstance(bins, slice):
            gh += through
        else:
            gh.index_add_(1, bins, through)
        self.hidden_weight.grad = (g * hb).sum(1)
        self.hidden.grad = gh

    def _batches(self) -> Iterator[tuple[Tensor, Tensor, Tensor | slice]]:
        """Rates, inputs and bins of each batch of a pass."""
        y, x = self.data
        if self.batch_size >= y.shape[1]:
            yield y, x, slice(None)
            return
        order = torch.randperm(y.shape[1], generator=self.generator)
        y, x = y[:, order], x[..., order]
        for i in range(0, len(order), self.batch_size):
            part = slice(i, i + self.batch_size)
            yield y[:, part], x[..., part], order[part]
