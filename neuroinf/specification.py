"""From an object to the plain dictionary that makes it again: what datasets and checkpoints keep of a configuration."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from neuroinf.errors import InputError

Plain = dict[str, Any]


def specify(thing: object) -> Any:
    """The class path and arguments of an object, of plain types only (JSON, and torch's weights-only loader).

    An object says how it was made by keeping each argument of its constructor as an attribute of the same name; all
    classes that a YAML file may name do so, and a user's own must too.

    Returns:
        Numbers, strings, booleans and None as they are; sequences as lists; mappings as dictionaries; any other object
        as {"class_path": ..., "init_args": {...}}.

    Raises:
        InputError: if an object does not keep an argument.
    """
    if thing is None or isinstance(thing, (bool, int, float, str)):
        return thing
    if isinstance(thing, np.generic):
        return thing.item()
    if isinstance(thing, np.ndarray):
        return thing.tolist()
    if isinstance(thing, Mapping):
        return {str(key): specify(value) for key, value in thing.items()}
    if isinstance(thing, Sequence):
        return [specify(value) for value in thing]
    cls = type(thing)
    arguments: Plain = {}
    for name in inspect.signature(cls).parameters:
        if not hasattr(thing, name):
            raise InputError(
                f"{cls.__module__}.{cls.__qualname__} does not keep its argument {name!r}: a class that a configuration "
                f"names must store each argument as an attribute of the same name, so that a file can say how it was made"
            )
        arguments[name] = specify(getattr(thing, name))
    return {"class_path": class_path(cls), "init_args": arguments}


def class_path(cls: type) -> str:
    """The shortest import path of a class: the package that exports it, if one of its parents does."""
    parts = cls.__module__.split(".")
    for depth in range(1, len(parts)):
        package = ".".join(parts[:depth])
        module = sys.modules.get(package)
        if module is not None and getattr(module, cls.__name__, None) is cls:
            return f"{package}.{cls.__name__}"
    return f"{cls.__module__}.{cls.__qualname__}"


def differences(ours: Any, theirs: Any, where: str = "") -> list[str]:
    """The dotted keys at which two specifications differ, with both values."""
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        found: list[str] = []
        for key in dict.fromkeys([*ours, *theirs]):
            path = f"{where}.{key}" if where else str(key)
            if key not in ours or key not in theirs:
                found.append(f"{path}: {ours.get(key, 'absent')} / {theirs.get(key, 'absent')}")
            else:
                found.extend(differences(ours[key], theirs[key], path))
        return found
    return [] if ours == theirs else [f"{where}: {ours} / {theirs}"]


__all__ = ["Plain", "class_path", "differences", "specify"]
