"""From a plain dictionary, which may come with a file from anywhere, back to the object that it describes."""

from __future__ import annotations

import re
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from importlib import import_module
from importlib.machinery import ModuleSpec
from typing import Any, TypeVar, cast

from jsonargparse import ArgumentParser

from neuroinf.datasets.simulation import Simulation
from neuroinf.errors import InputError

T = TypeVar("T")
OWN = "neuroinf"


def build(spec: Mapping[str, Any], expected: type[T], trust: Sequence[str] = ()) -> T:
    """The object that a specification describes, its arguments checked against the annotations of its class.

    Args:
        spec: ``{"class_path": ..., "init_args": {...}}``, nested as deep as its arguments are objects; what
            :func:`neuroinf.specification.specify` gives.
        expected: The class or protocol that the object must be of.
        trust: Top-level packages, beside neuroinf's own, whose code may be imported and run.

    Raises:
        InputError: if a class path is neither of neuroinf nor of a trusted package (nothing is imported then), an
            argument is unknown, missing or of another type, or the object is none of `expected`.
    """
    where = getattr(expected, "__name__", str(expected))
    if not isinstance(spec, Mapping) or not isinstance(spec.get("class_path"), str):
        raise InputError(f"a {where} is described by {{class_path, init_args}}, found {spec!r}")
    for path in _class_paths(spec):
        if path.split(".")[0] not in (OWN, *trust):
            raise InputError(
                f"{where} names the class {path}, which is not neuroinf's own: its code runs only if you trust it; "
                f"if you do, add --trust {path.split('.')[0]} (in Python: trust=[{path.split('.')[0]!r}])"
            )
    for path in _class_paths(spec):
        _import(path)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--it", type=expected, required=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with _no_other_import(spec, trust):
                parsed = parser.parse_object({"it": deepcopy(dict(spec))})  # jsonargparse writes into nested parts
            thing = parser.instantiate_classes(parsed)["it"]
    except InputError:
        raise
    except Exception as error:  # jsonargparse raises many types, and constructors their own
        raise InputError(f"{where} cannot be made from its description: {_one_line(error)}") from error
    if not isinstance(thing, expected):
        raise InputError(f"expected a {where}, found a {type(thing).__name__} ({spec['class_path']})")
    return cast(T, thing)


def simulation_from_spec(spec: Mapping[str, Any], trust: Sequence[str] = ()) -> Simulation:
    """The simulation that made a file, from the file's attribute ``simulation``; see :func:`build`."""
    return build(spec, Simulation, trust)


def _class_paths(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        if "class_path" in value:
            yield str(value["class_path"])
        for item in value.values():
            yield from _class_paths(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _class_paths(item)


def _import(path: str) -> None:
    parts = path.split(".")
    for depth in range(len(parts) - 1, 0, -1):
        module = ".".join(parts[:depth])
        try:
            found: Any = import_module(module)
        except ModuleNotFoundError as error:
            if error.name is not None and (module == error.name or module.startswith(error.name + ".")):
                continue
            raise InputError(f"{path} cannot be imported: {error}") from error
        except Exception as error:
            raise InputError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
        for part in parts[depth:]:
            found = getattr(found, part, None)
        if isinstance(found, type):
            return
        break
    raise InputError(f"there is no class {path}: the class path is misspelt, or its package is not installed")


class _Refusal:
    """An import finder that refuses some top-level packages in one thread."""

    def __init__(self, packages: set[str]) -> None:
        self._packages, self._thread = packages, threading.get_ident()

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name.split(".")[0] in self._packages and threading.get_ident() == self._thread:
            raise ImportError(f"{name} is not trusted")
        return None


@contextmanager
def _no_other_import(spec: Mapping[str, Any], trust: Sequence[str]) -> Iterator[None]:
    """While a specification is parsed, no word in it makes Python import a package.

    A configuration parser takes also a plain string, or YAML in a string, for a class path where it expects an object.
    """
    words = set(re.findall(r"\w+", repr(spec))) - {OWN, *trust}
    refusal = _Refusal({word for word in words if word not in sys.modules})
    sys.meta_path.insert(0, cast(Any, refusal))
    try:
        yield
    finally:
        sys.meta_path.remove(cast(Any, refusal))


def _one_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines).replace('Parser key "it": ', "").replace('Parser key "it"', "it")


__all__ = ["build", "simulation_from_spec"]
