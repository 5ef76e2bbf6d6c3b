"""Principal components of responses that begin at one event, all brought to one size."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

SMALLEST = 1e-3  # of the largest component's sd: what is smaller, in a channel without noise, is rounding


class PrincipalComponents(nn.Module):
    r"""Coordinates of each channel's samples along its largest principal components, each divided by its sd.

    .. math:: z_{ck} = \frac{1}{s_{ck}} \sum_t b_{ckt} (x_{ct} - m_{ct})

    with m the mean over the training distribution, b_k the eigenvectors of the covariance and :math:`s_k^2` its eigenvalues,
    noise included. Samples that were not observed are taken for the mean. Before :meth:`fit` all coordinates are 0.

    Args:
        channels: C.
        samples: T.
        components: K, at most T.
    """

    centre: Tensor
    basis: Tensor

    def __init__(self, channels: int, samples: int, components: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(channels, samples))
        self.register_buffer("basis", torch.zeros(channels, samples, components))

    @property
    def fitted(self) -> bool:
        """Whether the components are known."""
        return bool(self.basis.any())

    def forward(self, x: Tensor) -> Tensor:
        """Coordinates (B, C, K) of x (B, C, T'), nan where not observed; T' is at most T."""
        length = x.shape[-1]
        apart = torch.nan_to_num(x.float() - self.centre[:, :length])
        return torch.einsum("bct,ctk->bck", apart, self.basis[:, :length])

    @torch.no_grad()
    def fit(self, batches: Iterable[Tensor]) -> None:
        """Find the components of batches (B, C, T'), nan where not observed."""
        channels, samples, components = self.basis.shape
        device = self.basis.device
        number = torch.zeros(channels, samples, samples, dtype=torch.float64, device=device)
        total, product = torch.zeros_like(number), torch.zeros_like(number)
        for x in batches:
            x = nn.functional.pad(x[..., :samples].double(), (0, samples - min(x.shape[-1], samples)), value=torch.nan)
            there = torch.isfinite(x).double()
            x = torch.nan_to_num(x)
            number += torch.einsum("bcs,bct->cst", there, there)
            total += torch.einsum("bcs,bct->cst", x, there)  # of sample s, over the rows that have t as well
            product += torch.einsum("bcs,bct->cst", x, x)
        count = number.clamp(min=1)
        covariance = product / count - total / count * (total / count).mT
        values, vectors = torch.linalg.eigh(covariance)
        sd = values.flip(-1)[:, :components].clamp(min=0).sqrt()
        sd = sd.clamp(min=SMALLEST * sd[:, :1])
        sd[sd == 0] = 1.0  # a channel that never varies
        self.centre.copy_((total / count).diagonal(dim1=-2, dim2=-1))
        self.basis.copy_(vectors.flip(-1)[..., :components] / sd[:, None])
