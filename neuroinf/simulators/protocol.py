"""What a simulator must offer, so that a model of one's own works wherever a built-in one does."""

from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

Response = dict[str, NDArray[Any] | list[NDArray[Any]]]


@runtime_checkable
class Simulator(Protocol):
    r"""Parameters and stimulus to response, for n neurons with P parameters, K inputs and T steps.

    Attributes:
        parameters: Names of the P columns of ``theta``.
        units: Their units.
        channels: The continuous response channels and their units, e.g. ``{"voltage": "mV"}``; may be empty.
        stimulus_unit: The unit in which ``stimulus`` is expected, e.g. ``"pA"``.
    """

    parameters: tuple[str, ...]
    units: tuple[str, ...]
    channels: dict[str, str]
    stimulus_unit: str

    # Any, because jsonargparse accepts a class named in a YAML only if its annotations are the protocol's own or
    # the protocol has none: a user's simulator shall not have to repeat them.
    def simulate(self, theta: Any, stimulus: Any, dt: Any, seed: Any = 0) -> Any:
        """Simulate n neurons.

        Args:
            theta: Parameters :math:`(n, P)`, float64.
            stimulus: Input :math:`(n, K, T)`, or :math:`(1, K, T)` shared by all rows.
            dt: Step, ms.
            seed: One integer, or n of them: a row's result depends on its own seed alone.

        Returns:
            A :data:`Response`: each channel :math:`(n, T)` at step dt, ``"spikes"`` as n arrays of times in ms, and if
            the model has them ``"latent/<name>"`` arrays and ``"terminated"`` :math:`(n,)`, rows that stopped early.
        """
        ...


@runtime_checkable
class HasRheobase(Protocol):
    """A simulator whose stimulus may be given in multiples of each neuron's rheobase."""

    def rheobase(self, theta: Any) -> Any:
        """The rheobase :math:`(n,)` of each row of ``theta``, in the simulator's stimulus unit."""
        ...
