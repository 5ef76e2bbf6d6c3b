r"""The manifold study's network: a bidirectional LSTM, a bottleneck in every bin, one linear layer back to the neurons.

.. math::
    y_t = \tfrac12 \big( \overrightarrow{\mathrm{LSTM}}(x)_t + \overleftarrow{\mathrm{LSTM}}(x)_t \big), \qquad
    q_t = \mathrm{MLP}(y_t) \in \mathbb R^D, \qquad \hat x_t = W q_t + c

with a perceptron D, 2 D, 2 D, D, Mish after each layer, and dropout before its last. There is no noise model, no prior and no
generator; both directions see the bin itself, so an entry's own noise is among what it is reconstructed from, unless it is
hidden.

Source:
    Neural Manifold Animals, Neuromatch Academy 2021 (github.com/sazio/NMAs). There the dimension that was swept never reached
    the network; here it is the network's second argument, and is refused where it could not have an effect.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neuroinf.errors import InputError


class BiLSTMAutoencoder(nn.Module):
    """The network, with the parts' names of the study's file Net_Complete.pt: rnn, mlp.0, mlp.2, mlp.5 and fc.

    Entries that are not observed are replaced by the read-out's constant c, and the others' distance from it is divided by
    their share of the bin, as dropout does; if all are observed this is the study's network.

    Args:
        neurons: K.
        factors: D, the width of the bottleneck and of each direction of the LSTM.
        layers: Layers of the LSTM.
        dropout: Before the perceptron's last layer, while training.
        layer_dropout: Between the layers of the LSTM.

    Raises:
        InputError: if a number is out of its range, or `layer_dropout` is given for one layer, where it has no effect.

    Example:
        >>> network = BiLSTMAutoencoder(neurons=1131, factors=75)
        >>> sum(p.numel() for p in network.parameters())
        856131
    """

    def __init__(
        self, neurons: int, factors: int, layers: int = 1, dropout: float = 0.25, layer_dropout: float = 0.0
    ) -> None:
        super().__init__()
        _check("BiLSTMAutoencoder", neurons, factors, dropout)
        if layers < 1 or not 0 <= layer_dropout < 1 or (layers == 1 and layer_dropout):
            raise InputError(
                f"BiLSTMAutoencoder: expected at least 1 layer, and a layer_dropout in [0, 1), which is between layers and must be "
                f"0 for one, found {layers} and {layer_dropout}"
            )
        self.neurons, self.factors = neurons, factors
        self.rnn = nn.LSTM(neurons, factors, layers, batch_first=True, bidirectional=True, dropout=layer_dropout)
        self.mlp = perceptron((factors, 2 * factors, 2 * factors, factors), dropout)
        self.fc = nn.Linear(factors, neurons)

    def encode(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """Latents q (B, T, D) of activity (B, T, K), of which only the observed entries (B, T, K) are read."""
        return self.mlp(_both_ways(self.rnn, visible(x, observed, self.fc.bias)))

    def decode(self, factors: Tensor) -> Tensor:
        """Activity (..., K) of latents (..., D)."""
        return self.fc(factors)

    def forward(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """The reconstruction (B, T, K)."""
        return self.decode(self.encode(x, observed))


class FeedbackAutoencoder(nn.Module):
    r"""The study's second network: a first bottleneck is expanded to K signals, which a second LSTM reads beside the activity.

    .. math::
        q'_t = \mathrm{BiLSTM}_1(x)_t, \qquad g_t = \mathrm{MLP}(q'_t) \in \mathbb R^K, \qquad
        q_t = \mathrm{BiLSTM}_2([x, g])_t \in \mathbb R^D, \qquad \hat x_t = W q_t + c

    with both directions averaged and a perceptron D, 3 K, 3 K, K. The second LSTM sees x again: it is a larger encoder, and nothing
    is fed back in time.

    Args:
        neurons: K.
        factors: D.
        dropout: Before the perceptron's last layer, while training.

    Raises:
        InputError: if a number is out of its range.
    """

    def __init__(self, neurons: int, factors: int, dropout: float = 0.5) -> None:
        super().__init__()
        _check("FeedbackAutoencoder", neurons, factors, dropout)
        self.neurons, self.factors = neurons, factors
        self.rnn = nn.LSTM(neurons, factors, batch_first=True, bidirectional=True)
        self.mlp = perceptron((factors, 3 * neurons, 3 * neurons, neurons), dropout)
        self.rnn_feedback = nn.LSTM(2 * neurons, factors, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(factors, neurons)

    def encode(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """Latents q (B, T, D) of activity (B, T, K), of which only the observed entries (B, T, K) are read."""
        seen = visible(x, observed, self.fc.bias)
        expanded = self.mlp(_both_ways(self.rnn, seen))
        return _both_ways(self.rnn_feedback, torch.cat([seen, expanded], -1))

    def decode(self, factors: Tensor) -> Tensor:
        """Activity (..., K) of latents (..., D)."""
        return self.fc(factors)

    def forward(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """The reconstruction (B, T, K)."""
        return self.decode(self.encode(x, observed))


def perceptron(widths: tuple[int, int, int, int], dropout: float) -> nn.Sequential:
    """Three linear layers with Mish after each and dropout before the last."""
    first, second, third, last = widths
    return nn.Sequential(
        nn.Linear(first, second),
        nn.Mish(),
        nn.Linear(second, third),
        nn.Mish(),
        nn.Dropout(dropout),
        nn.Linear(third, last),
        nn.Mish(),
    )


def visible(x: Tensor, observed: Tensor | None, constant: Tensor) -> Tensor:
    r"""What an encoder may see of activity x (B, T, K): :math:`c + m (x - c) / \bar m`, with :math:`\bar m` the bin's mean of m.

    The division keeps the size of the LSTM's input whatever is hidden; an entry that is not observed may be nan.
    """
    if observed is None:
        return x
    c = constant.detach()  # the read-out's constant is learnt as a read-out's, not as an input
    share = observed.to(x.dtype).mean(-1, keepdim=True).clamp_min(1 / x.shape[-1])
    return c + torch.where(observed, x - c, x.new_zeros(())) / share


def _both_ways(rnn: nn.LSTM, x: Tensor) -> Tensor:
    """Mean (B, T, D) of both directions' states."""
    states, _ = rnn(x)
    forwards, backwards = states.chunk(2, -1)
    return (forwards + backwards) / 2


def _check(name: str, neurons: int, factors: int, dropout: float) -> None:
    if neurons < 1 or factors < 1 or not 0 <= dropout < 1:
        raise InputError(
            f"{name}: expected at least 1 neuron, at least 1 factor and a dropout in [0, 1), found {neurons}, {factors} and "
            f"{dropout}"
        )
