"""The shape of a waveform with several rows."""

from neuroinf.errors import InputError
from neuroinf.stimuli.timing import steps


def shape(inputs: int, duration: float, dt: float) -> tuple[int, int]:
    """Rows and steps (K, T) of a waveform.

    Raises:
        InputError: if there is no row, or the duration is no whole number of steps.
    """
    if inputs < 1:
        raise InputError(f"a stimulus needs at least one input, found inputs {inputs}")
    return int(inputs), steps(duration, dt)
