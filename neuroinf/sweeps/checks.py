"""Before the first trial: every swept key must change the run."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from neuroinf.errors import InputError
from neuroinf.experiment import TrainingCLI
from neuroinf.specification import specify
from neuroinf.sweeps.command_line import arguments, is_training
from neuroinf.sweeps.distributions import Distribution
from neuroinf.sweeps.probe import EPOCHS, Batches, first_batches, trained_digest
from neuroinf.sweeps.resolution import resolve
from neuroinf.sweeps.sweep_file import Sweep

# Other keys' values at which a key is tried: dropout between layers, for one, shows only where there are two
SETTINGS = 3
MOST_VALUES = 6  # of a long list the ends and some between
# where things are put, and under which name: the same run
_PLACES = ("name", "runs", "output")
# a folder that no trial has: it is not made
_NOWHERE = Path("sweep")
Values = dict[str, Any]


def check_sweep(sweep: Sweep, seed: int) -> None:
    """Refuse a sweep in which a key has no effect.

    Three looks, the quick ones first: at the sweep itself (a key with one value), at the configurations that train.py
    makes of the values (a key that another flag overwrites), and at what a few steps of training do (a key that is
    read, and kept, and never used: an argument in the wrong slot). For the last one the data are made, as the first
    trial would.

    Args:
        sweep: With at least one swept key.
        seed: Of the other keys' values.

    Raises:
        InputError: naming the key, or whatever train.py would have found wrong with its values.
    """
    if not is_training(sweep):
        raise InputError(
            f"program: expected train.py, found {sweep.program}: of another program it cannot be told whether a key has an effect"
        )
    if not Path(sweep.program).is_file():
        raise InputError(f"program: expected a script, found none at {sweep.program}: run the sweep from its folder")
    if not sweep.swept:
        raise InputError("parameters: expected a key to sweep, found constants")
    for key, of in sweep.swept.items():
        if len({json.dumps(value, sort_keys=True, default=str) for value in of.extremes}) < 2:
            raise InputError(
                f"parameters.{key}: expected different values, found {of.extremes[0]!r} alone; a constant is given by value:"
            )
        if key in _PLACES:
            raise InputError(f"parameters.{key}: it names the run and does not change it; leave it out")
    experiments = _Experiments(sweep)
    settings = _settings(sweep, seed)
    for key, of in sweep.swept.items():
        _changes_configuration(experiments, key, of, settings[0])
    print("checking that every swept key changes the run", file=sys.stderr)
    first = experiments.fresh(settings[0])
    first.datamodule.prepare_data()
    batches = first_batches(first.datamodule)
    sections = {key: key.partition(".")[0] for key in sweep.swept}
    if "model" in sections.values():
        _is_repeatable(first, experiments.fresh(settings[0]), batches)
    for key, of in sweep.swept.items():
        if sections[key] == "model":
            _changes_training(experiments, key, of, settings, batches)
        elif sections[key] == "data":
            _changes_data(experiments, key, of, settings)
        elif sections[key] == "readout":
            _has_readout(experiments, key, settings)


def _settings(sweep: Sweep, seed: int) -> list[Values]:
    """Values of all keys, drawn as trials would, but for extremes."""
    rng = np.random.default_rng([seed, 1])
    return [{key: of.quantile(float(rng.uniform())) for key, of in sweep.parameters.items()} for _ in range(SETTINGS)]


class _Experiments:
    """Experiments by their values. To make one takes longer than to train it for four steps: none is made in vain."""

    def __init__(self, sweep: Sweep) -> None:
        self._sweep, self._unused = sweep, dict[str, TrainingCLI]()

    def seen(self, values: Values) -> TrainingCLI:
        """To be looked at only."""
        name = json.dumps(values, sort_keys=True, default=str)
        if name not in self._unused:
            self._unused[name] = resolve(arguments(self._sweep, values, _NOWHERE))
        return self._unused[name]

    def fresh(self, values: Values) -> TrainingCLI:
        """To be trained."""
        made = self.seen(values)
        del self._unused[json.dumps(values, sort_keys=True, default=str)]
        return made


def _tried(of: Distribution) -> list[Any]:
    values = of.extremes
    if len(values) <= MOST_VALUES:
        return values
    places = np.linspace(0, len(values) - 1, MOST_VALUES).round().astype(int)
    return [values[place] for place in places]


def _changes_configuration(experiments: _Experiments, key: str, of: Distribution, others: Values) -> None:
    """The run's folder is named after its configuration."""
    if len({experiments.seen(others | {key: value}).folder for value in of.extremes}) == 1:
        raise InputError(
            f"parameters.{key}: no effect: {_listed(of.extremes)} give the same configuration; a flag or a --config behind "
            f"${{args}} in the command overwrites it"
        )


def _is_repeatable(one: TrainingCLI, other: TrainingCLI, batches: Batches) -> None:
    """Else every key would seem to have an effect."""
    if trained_digest(one.model, batches) != trained_digest(other.model, batches):
        raise InputError(
            "the same configuration trained twice gave different weights: make the model take its randomness from torch's "
            "generator, else no key's effect can be told"
        )


def _changes_training(
    experiments: _Experiments, key: str, of: Distribution, settings: list[Values], batches: Batches
) -> None:
    def effect(values: Values) -> str:
        return trained_digest(experiments.fresh(values).model, batches)

    _differs(key, of, settings, effect, f"{EPOCHS * len(batches.train)} training steps")


def _changes_data(experiments: _Experiments, key: str, of: Distribution, settings: list[Values]) -> None:
    def effect(values: Values) -> str:
        data = experiments.fresh(values).datamodule
        simulation = getattr(data, "simulation", None)
        if simulation is not None:
            made[data.path].add(described := json.dumps(specify(simulation), sort_keys=True, default=str))
            if len(simulated | {described}) > 1:
                return described
        data.prepare_data()
        return first_batches(data).digest

    first = experiments.seen(settings[0]).datamodule
    simulation = getattr(first, "simulation", None)
    simulated = set() if simulation is None else {json.dumps(specify(simulation), sort_keys=True, default=str)}
    made: defaultdict[str, set[str]] = defaultdict(set)
    _differs(key, of, settings, effect, "the simulations and the first batches")
    for path, several in made.items():
        if len(several) > 1:
            raise InputError(
                f"parameters.{key}: its values need different simulations, but all trials would keep theirs in {path}: "
                f"make a dataset for each, and sweep data.path or --config in its place"
            )


def _differs(key: str, of: Distribution, settings: list[Values], effect: Callable[[Values], str], looked: str) -> None:
    """Whether two values differ, at one setting of the other keys at least."""
    for others in settings:
        found: set[str] = set()
        for value in _tried(of):
            found.add(effect(others | {key: value}))
            if len(found) > 1:
                return
    raise InputError(
        f"parameters.{key}: no effect: {_listed(of.extremes)} make different configurations, but {looked} are the same: the "
        f"value is never used (is it handed on to where it belongs?); leave the key out, or give it as value:"
    )


def _has_readout(experiments: _Experiments, key: str, settings: list[Values]) -> None:
    """A second stage of no epochs is left out."""
    if key == "readout.epochs":
        return
    if all(experiments.seen(others).config.readout.epochs == 0 for others in settings):
        raise InputError(f"parameters.{key}: no effect: readout.epochs is 0, there is no second stage")


def _listed(values: list[Any]) -> str:
    shown = [f"{value:.4g}" if isinstance(value, float) else str(value) for value in values]
    return ", ".join(shown if len(shown) <= MOST_VALUES else [*shown[:3], "...", shown[-1]])


__all__ = ["check_sweep"]
