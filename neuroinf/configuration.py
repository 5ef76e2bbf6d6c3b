"""What a configuration library says of a bad configuration, on one line: the key, what was expected, what was found."""

from __future__ import annotations

import difflib
import inspect
import re
import typing
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from neuroinf.errors import InputError

LONGEST = 500
# as many arguments as one cares to read; of more, only those that look alike are named
FEW = 12

_REWRITTEN = (
    (r"^Parser key \"[^\"]*\": (?=Parser key \")", ""),
    (r"Unable to load config (['\"]?)(.+?)\1(?: -|:) (?:Parser key \"config\": )?", r"\2: "),
    (r"Parser key \"([^\"]*)\": ", r"\1: "),
    (r"Problem with given class_path '[^']*': ", ""),
    (r"Type collections\.abc\.Callable\[.*?\] expects a function or a callable class: ", ""),
    (r"\.? Got value: Namespace\(.*", ""),
    (r"Problems parsing config: ", "expected YAML, found this "),
    (r" in \"<unicode string>\",", " in"),
    (r"^'utf-8' codec can't decode", "expected YAML, found bytes that are no text: cannot decode"),
    (r"Unexpected config:$", "expected sections such as data and model, found an empty file"),
    (r"Unexpected config: ", "expected sections such as data and model, found "),
    (r"(?:config: )?File does not exist: '(.*?)'", r"expected a configuration, found no file at \1"),
    (
        r"Does not validate against any of the Union subtypes Subtypes: \[(.*?)\] Errors: .*? Given value: (.*)",
        r"expected one of \1, found \2",
    ),
    (
        r"Does not implement protocol (\w+)\. Got value: (.*?) Subclass types expect .*",
        r"expected a \1 {class_path: ..., init_args: {...}}, found \2",
    ),
    (r"Import path (\S+) does not implement protocol (\w+)", r"expected the class path of a \2, found \1"),
    (r"Expected a typing\.Literal\[(.*?)\]", r"expected one of \1"),
    (r"Expected an? ", "expected "),
    (r"<class '(?:\w+\.)*(\w+)'>", r"\1"),
    (r"\bNoneType\b", "null"),
    (r"\. Got value: ", ", found "),
    (r"module '([\w.]+)' has no attribute '(\w+)'", r"found no class \1.\2"),
    (r"No module named '([\w.]+)'", r"found no package \1: it is misspelt, or not installed"),
    (r"(?i)the following arguments are required: (.*)", r"expected \1, found nothing there"),
    (r"\b(?:collections\.abc|typing|pathlib|torch\.nn\.modules\.module)\.", ""),
)


def one_line(
    error: BaseException, arguments: Sequence[str] = (), groups: Mapping[str, Any] | None = None
) -> InputError:
    """The error that a user sees: our own if one of ours is behind it, else the library's, in fewer words.

    Args:
        error: As raised while a configuration was read or its objects made.
        arguments: Of the command line. If all they name is a configuration file, the message begins with it.
        groups: The class that each first part of a key configures, to name its arguments.
    """
    text = _first_of_ours(error)
    if text is None:
        text = _shortened(re.sub(r"\s+", " ", str(error)).strip() or type(error).__name__, groups or {})
    file = _only_source(arguments)
    if file is not None and file not in text:
        text = f"{file}: {text}"
    return InputError(text if len(text) <= LONGEST else text[: LONGEST - 3] + "...")


def _first_of_ours(error: BaseException) -> str | None:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, InputError):
            return str(cause)
        cause = cause.__cause__ or cause.__context__
    return None


def _only_source(arguments: Sequence[str]) -> str | None:
    """The configuration file, if there is one and nothing else that could be wrong."""
    words = [word for argument in arguments for word in argument.split("=", 1)]
    if len(words) == 2 and words[0] == "--config":
        return words[1]
    return None


def _shortened(text: str, groups: Mapping[str, Any]) -> str:
    group = re.match(r"Group '(\w+)' does not accept (?:option|nested key) '([\w.]+)'", text)
    if group:
        path = [group[1], *group[2].split(".")]
        return f"{'.'.join(path)}: unknown key; {_known(_type_at(path[:-1], groups), path[-1])}"
    flag = re.match(r"unrecognized arguments: --(\w+)\.([\w.]+)", text)
    if flag:
        path = [flag[1], *flag[2].split(".")]
        return f"--{'.'.join(path)}: unknown key; {_known(_type_at(path[:-1], groups), path[-1])}"
    owners = re.findall(r"given class_path '([\w.]+)'|class_path='([\w.]+)'", text)
    unknown = re.search(r"(?:Option|Key|nested key) ['\"]([\w.-]+)['\"] is not (?:accepted|expected)", text)
    if unknown:
        name = unknown[1]
        known = (
            _known(_class("".join(owners[-1])), name) if owners else f"expected sections such as {', '.join(groups)}"
        )
        text = text[: unknown.end()].replace(unknown[0], f"unknown key {name!r}; {known}")
    for pattern, replacement in _REWRITTEN:
        text = re.sub(pattern, replacement, text)
    return text


def _type_at(path: Sequence[str], groups: Mapping[str, Any]) -> Any:
    """The annotated type at a dotted key, starting from the groups' classes."""
    found = groups.get(path[0])
    for name in path[1:]:
        if not isinstance(found, type):
            return None
        found = typing.get_type_hints(found.__init__).get(name)
    return found


def _class(path: str) -> Any:
    module, _, name = path.rpartition(".")
    try:
        return getattr(import_module(module), name, None)
    except ImportError:
        return None


def _known(owner: Any, name: str) -> str:
    """Which arguments a class has, or those that look like the one asked for."""
    if not isinstance(owner, type):
        return "see the documentation for the keys that are expected"
    names = [n for n in inspect.signature(owner).parameters if n not in ("args", "kwargs")]
    if len(names) > FEW:
        names = difflib.get_close_matches(name, names, 3, 0.5) or names[:FEW]
        return f"expected for example {', '.join(names)}"
    return f"expected one of {', '.join(names)}"
