r"""Latents of two sessions turned into the same coordinates, by their dynamics alone: no neuron and no bin is common to both.

Latents of unit variance are known up to a rotation Q. The one that is sought makes one session's moments those of the other:

.. math::
    \min_{Q^T Q = I} \sum_l \| Q^T M_l' Q - M_l \|^2 + \| S'(Q, Q, Q) - S \|^2, \qquad
    M_l = \langle z_t z_{t+l}^T \rangle, \quad S = \langle z_t \otimes z_t \otimes z_t \rangle

It begins at latents ordered by how slow they are, of which only signs are unknown. What leaves all moments unchanged, such as a
shift in the phase of an oscillation, leaves the dynamics unchanged, too.

Source:
    Wiskott and Sejnowski (2002), Neural Computation 14:715 (slow features), for the beginning.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor

LAGS = (1, 2, 5, 10)
# signs to try, and of them those that are followed; steps of the descent
SIGNS, FOLLOWED, STEPS = 256, 3, 80
# of more latents than this, third moments are left out
THIRD = 16


def aligned(first: Sequence[Tensor], other: Sequence[Tensor]) -> Tensor:
    """The rotation Q (D, D) for which z Q, of the other session's latents z, are as the first's.

    Args:
        first: Latents of the first session's sequences (T, D).
        other: Of the other's.
    """
    ours, theirs = [x.double() for x in first], [x.double() for x in other]
    factors = ours[0].shape[1]
    wanted, given = _moments(ours), _moments(theirs)
    basis, start = _slowness(ours), _slowness(theirs)
    # all signs of a few latents; of many, some
    draws = torch.Generator().manual_seed(0)
    signs = (
        torch.tensor(list(product((1.0, -1.0), repeat=factors)), dtype=torch.double)
        if 2**factors <= SIGNS
        else torch.randint(2, (SIGNS, factors), generator=draws).double() * 2 - 1
    )
    candidates = torch.stack([start @ torch.diag(sign) @ basis.T for sign in signs])
    losses = torch.stack([_mismatch(q, given, wanted) for q in candidates])
    best, chosen = torch.inf, candidates[int(losses.argmin())]
    for index in losses.argsort()[:FOLLOWED].tolist():
        found, loss = _descended(candidates[index], given, wanted)
        if loss < best:
            best, chosen = loss, found
    return chosen.float()


def _descended(q: Tensor, given: list[Tensor], wanted: list[Tensor]) -> tuple[Tensor, float]:
    with torch.enable_grad():
        free = torch.zeros_like(q, requires_grad=True)
        optimizer = torch.optim.Adam([free], lr=0.05)
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss = _mismatch(q @ torch.linalg.matrix_exp(free - free.T), given, wanted)
            loss.backward()
            optimizer.step()
    found = q @ torch.linalg.matrix_exp((free - free.T).detach())
    return found, float(_mismatch(found, given, wanted))


def _moments(sequences: Sequence[Tensor]) -> list[Tensor]:
    """Lagged covariances, where the sequences are long enough, and third moments."""
    shortest, factors = min(map(len, sequences)), sequences[0].shape[1]
    bins = sum(map(len, sequences))
    lags = [lag for lag in (0, *LAGS) if lag < shortest]
    found = [
        sum((x[: len(x) - lag].T @ x[lag:] for x in sequences), torch.zeros(factors, factors).double())
        / (bins - lag * len(sequences))
        for lag in lags
    ]
    if factors <= THIRD:
        whole = torch.cat(list(sequences))
        found.append(torch.einsum("ti,tj,tk->ijk", whole, whole, whole) / bins)
    return found


def _mismatch(q: Tensor, given: list[Tensor], wanted: list[Tensor]) -> Tensor:
    loss = torch.zeros((), dtype=q.dtype)
    for theirs, ours in zip(given, wanted, strict=True):
        turned = q.T @ theirs @ q if theirs.ndim == 2 else torch.einsum("abc,ai,bj,ck->ijk", theirs, q, q, q)
        loss = loss + (turned - ours).square().sum()
    return loss


def _slowness(sequences: Sequence[Tensor]) -> Tensor:
    """Columns are directions, the slowest first."""
    symmetric = sum((m + m.T for m in _moments(sequences)[1:] if m.ndim == 2), torch.zeros(()))
    if symmetric.ndim == 0:  # sequences too short for any lag
        return torch.eye(sequences[0].shape[1], dtype=torch.double)
    return torch.linalg.eigh(symmetric)[1].flip(-1)
