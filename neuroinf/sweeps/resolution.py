"""The experiment that a command line of train.py describes, whatever its kind."""

from __future__ import annotations

from collections.abc import Sequence

from neuroinf.experiment import TrainingCLI, experiment
from neuroinf.network_study import is_network_study, network_study
from neuroinf.population_study import is_population_study, population_study
from neuroinf.selection import is_selection, selection


def resolve(arguments: Sequence[str]) -> TrainingCLI:
    """Data, model and trainer, made and checked; nothing is simulated, trained or written.

    Raises:
        InputError: on a bad configuration.
    """
    if is_network_study(arguments):
        return network_study(arguments)
    if is_population_study(arguments):
        return population_study(arguments)
    if is_selection(arguments):
        return selection(arguments)
    return experiment(arguments)
