"""What a simulator must offer, so that a model of one's own works wherever a built-in one does."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

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
            A :data:`Response`: each channel :math:`(n, T)` at step dt (of K neurons: :math:`(n, K, T)`), ``"spikes"`` as n
            arrays of times in ms (where a row is several neurons, ``"units"`` as n arrays of which neuron each spike is of), and
            if the model has them ``"latent/<name>"`` arrays, ``"terminated"`` :math:`(n,)`, rows that stopped early, and
            ``"saturated"`` :math:`(n,)`, rows near the highest possible rate.
        """
        ...


@runtime_checkable
class HasRheobase(Protocol):
    """A simulator whose stimulus may be given in multiples of each neuron's rheobase."""

    def rheobase(self, theta: Any) -> Any:
        """The rheobase :math:`(n,)` of each row of ``theta``, in the simulator's stimulus unit."""
        ...


@runtime_checkable
class HasLimits(Protocol):
    """A simulator that can tell before the first row whether it can simulate a whole prior under a stimulus."""

    def check_limits(self, low: Mapping[str, float], inputs: int) -> None:
        """Refuse (InputError) lower edges of the prior, by parameter, or a number of stimulus rows."""
        ...


@runtime_checkable
class HasHiddenInputs(Protocol):
    """A simulator some of whose inputs are not observed.

    Attributes:
        hidden_inputs: The last so many rows of its stimulus are hidden: a file of simulations keeps them under
            `/latent` as far as the simulator returns them, and not under `/stimulus`.
    """

    hidden_inputs: int


@runtime_checkable
class OfPopulations(Protocol):
    """A simulator of whole populations: each channel has a row for each neuron, :math:`(n, K, T)`.

    Attributes:
        groups: Group of each neuron (K,), such as the layer that it lies in; whole numbers from 0.
        latents: Names of what it returns under `latent/` with a sample for each of the channels' samples, and the units.
    """

    groups: Any
    latents: dict[str, str]


@runtime_checkable
class SignSymmetric(Protocol):
    """A simulator to which the sign of some parameters means nothing, as long as an input's law does not know it.

    A hidden input enters as its weight times itself: w h = (-w) (-h). Where the law of h is symmetric, no data tell the
    two apart, and an answer is scored as right with either; where it is not (counts), the sign can be known, and how often
    it is known is scored beside.

    Attributes:
        sign_symmetric: Names of these parameters.
    """

    sign_symmetric: tuple[str, ...]


class GivenSpikes(NamedTuple):
    """What V variants of B neurons do when their spikes are given.

    Attributes:
        voltage: State at the end of each of W windows :math:`(V, B, W)`, in the channel's unit; nan during spike cuts.
        silent: Distance of the voltage above threshold there :math:`(V, B, W)`; nan within and at the end of a spike
            cut, where the model cannot spike.
        spiking: Distance above threshold at the spike in a window :math:`(V, B, W)`; nan without one.
    """

    voltage: NDArray[Any]
    silent: NDArray[Any]
    spiking: NDArray[Any]


@runtime_checkable
class FollowsSpikes(Protocol):
    """A simulator that can be told when the neuron spiked, and follows its equations in between.

    What a recording shows beyond that is what the model cannot explain: the score of
    :mod:`neuroinf.models.novelty` is made of it. Without this a score sees only what the network makes of a recording.

    Attributes:
        state_scales: Typical size of each of the K numbers by which the state at the beginning may differ from rest.
    """

    state_scales: tuple[float, ...]

    def given_spikes(self, theta: Any, state: Any, stimulus: Any, spikes: Any, dt: Any, record_dt: Any) -> GivenSpikes:
        """The response with spikes where they were observed.

        Args:
            theta: Parameters :math:`(V, B, P)`: V variants of each of B neurons.
            state: Deviation of the state at the beginning from rest :math:`(V, B, K)`.
            stimulus: :math:`(B, W)`, held during each window of ``record_dt``.
            spikes: Sorted spike times of each neuron, ms.
            dt: Step of the simulation, ms.
            record_dt: Length of a window, ms.
        """
        ...
