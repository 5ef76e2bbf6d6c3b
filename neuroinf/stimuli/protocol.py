"""What a stimulus must offer, so that one of one's own works wherever a built-in one does."""

from typing import Any, Literal, Protocol, runtime_checkable

Unit = Literal["pA", "rheobase", "1", "1/s"]


@runtime_checkable
class Stimulus(Protocol):
    """A source of waveforms :math:`(K, T)`, T = duration / dt, each sample held for dt.

    Attributes:
        unit: ``"pA"``; ``"rheobase"``: the waveform is multiplied by the rheobase of each simulated
            neuron; ``"1"``: inputs without a unit, such as counts; or ``"1/s"``: a voltage without a unit, per s.
        dt: The waveform's own step, ms; an integer multiple of the simulation's step.
        duration: ms.
        inputs: K, the number of input lines.
        frozen: True if every draw is the same waveform.
    """

    unit: Unit
    dt: float
    duration: float
    inputs: int
    frozen: bool

    # Any, because jsonargparse accepts a class named in a YAML only if its annotations are the protocol's own or
    # the protocol has none: a user's stimulus shall not have to repeat them.
    def sample(self, rng: Any) -> Any:
        """One waveform :math:`(K, T)`, float64, drawn from ``rng`` alone (a ``numpy.random.Generator``)."""
        ...
