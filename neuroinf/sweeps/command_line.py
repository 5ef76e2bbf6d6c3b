"""The command of a trial: what W&B's agent would start, with this interpreter."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from neuroinf.errors import InputError
from neuroinf.sweeps.sweep_file import Sweep

_VARIABLE = re.compile(r"\$\{envvar:([A-Za-z0-9_]*)\}")


def arguments(sweep: Sweep, values: Mapping[str, Any], folder: Path) -> list[str]:
    """The command's words after the program.

    Raises:
        InputError: if the command does not run the program, or has no place for the values.
    """
    words = _filled(sweep, values, folder)
    return words[words.index(sweep.program) + 1 :]


def command_line(sweep: Sweep, values: Mapping[str, Any], folder: Path) -> list[str]:
    """All words of the command, and where train.py puts the run's folder: inside the trial's own.

    Args:
        sweep: With the command.
        values: Of the keys, dotted where the file nests them.
        folder: The trial's; it need not exist, unless the command has ${args_json_file}.
    """
    return _filled(sweep, values, folder)


def _filled(sweep: Sweep, values: Mapping[str, Any], folder: Path) -> list[str]:
    macros = _macros(sweep, _nested(sweep, values), folder)
    words: list[str] = []
    placed = False
    for word in sweep.command:
        word = _VARIABLE.sub(lambda found: os.environ.get(found[1], found[1]), word)
        if not (word.startswith("${") and word.endswith("}")):
            words.append(word)
            continue
        name = word[2:-1]
        if name not in macros:
            raise InputError(f"command: expected macros such as ${{args}}, found {word}; there is {', '.join(macros)}")
        words += macros[name]
        placed = placed or name.startswith("args")
    if not placed:
        raise InputError("command: expected ${args} in it, found no place for the swept values")
    if sweep.program not in words:
        raise InputError(f"command: expected ${{program}} in it, found {' '.join(sweep.command)}")
    if is_training(sweep):
        words.append(f"--runs={folder}")
    return words


def is_training(sweep: Sweep) -> bool:
    """Whether the program is our train.py."""
    return Path(sweep.program).name == "train.py"


def _nested(sweep: Sweep, values: Mapping[str, Any]) -> dict[str, Any]:
    """As W&B hands them over: a key under which the file nests others has a dictionary for its value."""
    written = sweep.specification["parameters"]
    found: dict[str, Any] = {}
    for key, value in values.items():
        # a key that is itself written with dots stays as it is
        first = key if key in written else next(name for name in written if key.startswith(f"{name}."))
        if first == key:
            found[key] = value
            continue
        place, *rest = found.setdefault(first, {}), *key.removeprefix(f"{first}.").split(".")
        for name in rest[:-1]:
            place = place.setdefault(name, {})
        place[rest[-1]] = value
    return found


def _macros(sweep: Sweep, values: Mapping[str, Any], folder: Path) -> dict[str, Sequence[str]]:
    flags = [f"{key}={value}" for key, value in values.items()]
    switches = [
        f"--{key}" if value is True else f"--{key}={value}" for key, value in values.items() if value is not False
    ]
    return {
        "env": ["/usr/bin/env"] if os.name == "posix" else [],
        "interpreter": [sys.executable],
        "program": [sweep.program],
        "args": [f"--{flag}" for flag in flags],
        "args_no_equals": [word for key, value in values.items() for word in (f"--{key}", str(value))],
        "args_no_hyphens": flags,
        "args_no_boolean_flags": switches,
        "args_append_hydra": [f"+{flag}" for flag in flags],
        "args_override_hydra": [f"++{flag}" for flag in flags],
        "args_json": [json.dumps(values)],
        "args_json_file": [str(folder / "values.json")],
    }


__all__ = ["arguments", "command_line", "is_training"]
