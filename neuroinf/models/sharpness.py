r"""Sharpness-aware minimisation: a step by the gradient at the worst point nearby.

.. math::
    \epsilon = \rho\, \frac{g}{\lVert g \rVert_2 + 10^{-12}}, \qquad
    w \leftarrow \mathrm{base}\big(w,\ \nabla L(w + \epsilon)\big)

with one norm over all parameters; adaptive: :math:`\epsilon = \rho\, w^2 g / \big(\lVert\, |w| g\, \rVert_2 + 10^{-12}\big)`,
which does not change if parameters are rescaled. It takes two gradients for each step.

Source:
    Foret et al. (2021), Sharpness-Aware Minimization for Efficiently Improving Generalization; Kwon et al. (2021), ASAM.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim import Optimizer

from neuroinf.errors import InputError

Closure = Callable[[], Any]

# keeps a gradient of zero from being divided by its norm
SMALLEST_NORM = 1e-12


class SharpnessAware(Optimizer):
    """Any optimiser, stepping by the gradient at the worst point nearby.

    It is an optimiser itself, of the same parameters, state and learning rates as `base`: schedulers, Lightning and checkpoints
    take it as they take `base`. With a closure (Lightning's automatic optimisation gives one) `step(closure)` does everything; in
    manual optimisation call `ascend()` after the first backward pass and `step()` after the second.

    Args:
        base: The optimiser that steps.
        rho: Distance to the worst point; 0: `base` itself, at twice the cost.
        adaptive: Measure distance relative to each parameter's size.

    Raises:
        InputError: if `rho` is negative or not finite.

    Example:
        >>> w = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
        >>> optimizer = SharpnessAware(torch.optim.SGD([w], lr=0.1), rho=0.5)
        >>> def closure():
        ...     optimizer.zero_grad()
        ...     loss = w.square().sum() / 2
        ...     loss.backward()
        ...     return loss
        >>> float(optimizer.step(closure))
        12.5
        >>> w.data  # w - 0.1 (w + 0.5 w / |w|)
        tensor([2.6700, 3.5600])
    """

    def __init__(self, base: Optimizer, rho: float = 0.05, adaptive: bool = False) -> None:
        if not 0 <= rho < float("inf"):
            raise InputError(f"SharpnessAware: expected rho of at least 0, found {rho}")
        super().__init__(base.param_groups, base.defaults)
        self.base, self.rho, self.adaptive = base, rho, adaptive
        self._before: dict[Tensor, Tensor] = {}
        self._share()

    def _share(self) -> None:
        """One set of groups and states, so that whoever changes a learning rate changes the base's."""
        self.param_groups, self.state = self.base.param_groups, self.base.state

    @torch.no_grad()
    def ascend(self) -> None:
        """Go to the worst point nearby by the gradients there are, and clear them.

        Raises:
            InputError: if it has gone already and no step was made since.
        """
        if self._before:
            raise InputError("SharpnessAware: expected step() after ascend(), found ascend() twice")
        parameters = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        gradients = [cast(Tensor, p.grad) for p in parameters]
        scaled = [p.abs() * g if self.adaptive else g for p, g in zip(parameters, gradients, strict=True)]
        norm = torch.stack([torch.linalg.vector_norm(g) for g in scaled]).norm() if scaled else torch.ones(())
        for p, g in zip(parameters, gradients, strict=True):
            self._before[p] = p.detach().clone()
            p.add_((p.square() * g if self.adaptive else g) * (self.rho / (norm + SMALLEST_NORM)))
        self.zero_grad()

    @torch.no_grad()
    def _return(self) -> None:
        # the stored values, not w + e - e: rounding would stay in the weights
        for p, value in self._before.items():
            p.copy_(value)
        self._before.clear()

    def step(self, closure: Closure | None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One step; returns the loss before it.

        Args:
            closure: Clears the gradients, evaluates the loss, goes backward and returns it; it is called twice. None: after
                `ascend()` and a second backward pass.

        Raises:
            InputError: without a closure, if `ascend()` was not called.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
            if loss is None:  # Lightning's closure where a training step was skipped
                return None
            loss = loss.detach().clone() if isinstance(loss, Tensor) else loss
            self.ascend()
            with torch.enable_grad():
                closure()
        elif not self._before:
            raise InputError("SharpnessAware: expected a closure, or ascend() before step(), found neither")
        self._return()
        self.base.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """The base's."""
        return self.base.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The base's."""
        self.base.load_state_dict(state_dict)
        self._share()
