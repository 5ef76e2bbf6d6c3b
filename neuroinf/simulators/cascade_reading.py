"""A cascade from plain data, such as a YAML file, with everything checked that can be wrong in it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import yaml

from neuroinf.errors import InputError
from neuroinf.simulators.cascade_filters import FILTERS, Number
from neuroinf.simulators.cascade_graph import PORTS, Edge, Graph, Subunit
from neuroinf.simulators.cascade_nonlinearities import NONLINEARITIES

# what must be positive wherever it stands
POSITIVE = ("tau", "width")


def load_graph(path: str) -> dict[str, Any]:
    """The content of a YAML file.

    Raises:
        InputError: if there is no such file, or it is no YAML mapping with each key once.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"cascade: expected a graph or the path of one in YAML, found no file at {path}")
    try:
        plain = yaml.load(file.read_text(), Loader=_OnceEach)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected YAML: {error}") from error
    if not isinstance(plain, dict):
        raise InputError(f"{path}: expected a graph with inputs, subunits, edges and record, found {plain!r}")
    return plain


class _OnceEach(yaml.SafeLoader):
    """A YAML reader to which a key given twice is an error: the first would be lost in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise InputError(f"cascade: {key!r} is defined twice{node.start_mark}")
        return super().construct_mapping(node, deep)


def read_graph(plain: Mapping[str, Any]) -> Graph:
    """The graph that a mapping of inputs, subunits, edges, record, spikes and parameters describes.

    Raises:
        InputError: if a part is missing, unknown, or does not fit the others.
    """
    _only(plain, ("inputs", "subunits", "edges", "record", "spikes", "parameters"), "cascade")
    for part in ("inputs", "subunits", "edges", "record"):
        if not plain.get(part):
            ending = ": a graph without output" if part == "record" else ""
            raise InputError(f"cascade: expected {part}, found none{ending}")
    values, units = _parameters(plain.get("parameters") or {})
    inputs = tuple(str(name) for name in _of_type(plain["inputs"], list | tuple, "cascade inputs: expected a list"))
    described = _of_type(plain["subunits"], Mapping, "cascade subunits: expected name: {filter, nonlinearity, ...}")
    names = [*inputs, *map(str, described)]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"cascade: the name {name!r} is used twice; inputs and subunits need names of their own")
        if "." in name:
            raise InputError(f"cascade: expected a name without a dot, found {name!r}")
    subunits = {str(name): _subunit(str(name), each, values) for name, each in described.items()}
    listed = _of_type(plain["edges"], list | tuple, "cascade edges: expected a list of {source, target, ...}")
    edges = tuple(_edge(each, inputs, subunits, values) for each in listed)
    for name, subunit in subunits.items():
        if subunit.blocked_by is not None and subunit.blocked_by not in inputs:
            raise InputError(
                f"cascade {name}: blocked_by must be one of the inputs {', '.join(inputs)}, found {subunit.blocked_by!r}"
            )
        if all(edge.target != name for edge in edges):
            raise InputError(f"cascade: nothing drives the subunit {name!r}; give it an edge, or leave it out")
    channels = _of_type(plain["record"], Mapping, "cascade record: expected channel: port")
    record = {str(channel): _port(str(port), (), subunits, "record") for channel, port in channels.items()}
    spikes = plain.get("spikes")
    if spikes is not None and (spikes not in subunits or not hasattr(subunits[spikes].nonlinearity, "threshold")):
        raise InputError(f"cascade spikes: expected a subunit with a step or a pulse, found {spikes!r}")
    graph = Graph(inputs, _ordered(subunits, edges), edges, record, spikes, values, units)
    unused = [name for name in values if name not in _names(graph)]
    if unused:
        raise InputError(f"cascade parameters: nothing in the graph uses {unused[0]!r}")
    return graph


def _parameters(described: Any) -> tuple[dict[str, float], dict[str, str]]:
    values, units = {}, {}
    for name, each in _of_type(described, Mapping, "cascade parameters: expected name: {unit, value}").items():
        _only(_of_type(each, Mapping, f"cascade parameter {name}: expected {{unit, value}}"), ("unit", "value"), name)
        values[str(name)] = _number(each.get("value"), f"cascade parameter {name}: value")
        units[str(name)] = str(each.get("unit", "1"))
    return values, units


def _subunit(name: str, plain: Any, values: Mapping[str, float]) -> Subunit:
    where = f"cascade {name}"
    known = [field.name for field in fields(Subunit)]
    _only(_of_type(plain, Mapping, f"{where}: expected any of {', '.join(known)}"), known, where)
    nonlinearity = _part(plain.get("nonlinearity"), NONLINEARITIES, f"{where} nonlinearity", values)
    if plain.get("blocked_by") is not None and nonlinearity is None:
        raise InputError(f"{where}: blocked_by takes the nonlinear part away, but there is no nonlinearity")
    lag = plain.get("lag", 0)
    if isinstance(lag, bool) or not isinstance(lag, int) or lag < 0:
        raise InputError(f"{where}: lag must be a whole number of steps, not negative, found {lag!r}")
    return Subunit(
        _part(plain.get("filter"), FILTERS, f"{where} filter", values),
        nonlinearity,
        _term(plain.get("linear", 0.0), f"{where}: linear", values),
        _part(plain.get("linear_filter"), FILTERS, f"{where} linear_filter", values),
        lag,
        plain.get("blocked_by"),
    )


def _part(plain: Any, kinds: Mapping[str, Any], where: str, values: Mapping[str, float]) -> Any:
    """A filter or nonlinearity from {kind: {argument: number}}."""
    if plain is None:
        return None
    if not isinstance(plain, Mapping) or len(plain) != 1 or next(iter(plain)) not in kinds:
        found = next(iter(plain)) if isinstance(plain, Mapping) and len(plain) == 1 else plain
        raise InputError(f"{where}: expected one of {', '.join(kinds)}, with its arguments, found {found!r}")
    kind, arguments = next(iter(plain.items()))
    arguments = _of_type(arguments, Mapping, f"{where}: expected {kind}: {{name: value}}")
    known = {field.name: field for field in fields(kinds[kind])}
    _only(arguments, list(known), f"{where} {kind}")
    for name, field in known.items():
        if name not in arguments:
            if field.default is MISSING:
                raise InputError(f"{where} {kind}: {name} is missing")
            continue
        if str(field.type).startswith("Number") and not (name == "first" and arguments[name] is None):
            _term(arguments[name], f"{where} {kind}: {name}", values)
    part = kinds[kind](**arguments)
    if hasattr(part, "check"):
        part.check(f"{where} {kind}")
    return part


def _edge(plain: Any, inputs: Sequence[str], subunits: Mapping[str, Subunit], values: Mapping[str, float]) -> Edge:
    expected = "cascade edge: expected {source, target, gain, steps or delay, detach}"
    _only(_of_type(plain, Mapping, expected), ("source", "target", "gain", "steps", "delay", "detach"), "cascade edge")
    source, port = _port(str(plain.get("source")), inputs, subunits, "edge source")
    target = plain.get("target")
    if target not in subunits:
        raise InputError(
            f"cascade edge from {source!r}: its target must be one of {', '.join(subunits)}, found {target!r}"
        )
    edge = Edge(source, port, target, plain.get("gain", 1.0), plain.get("steps", 0), 0.0, plain.get("detach", False))
    _term(edge.gain, f"cascade edge {edge}: gain", values)
    if isinstance(edge.steps, bool) or not isinstance(edge.steps, int) or edge.steps < 0:
        raise InputError(f"cascade edge {edge}: steps must be a whole number, not negative, found {edge.steps!r}")
    delay = _number(plain.get("delay", 0.0), f"cascade edge {edge}: delay")
    if delay < 0 or (delay and edge.steps) or not isinstance(edge.detach, bool):
        raise InputError(
            f"cascade edge {edge}: expected a delay (ms) or steps, neither negative, and detach true or false, found {plain}"
        )
    return Edge(source, port, target, edge.gain, edge.steps, delay, edge.detach)


def _port(text: str, inputs: Sequence[str], subunits: Mapping[str, Subunit], where: str) -> tuple[str, str]:
    if text in inputs:
        return text, "input"
    name, _, port = text.partition(".")
    if name not in subunits:
        raise InputError(f"cascade {where}: expected one of {', '.join([*inputs, *subunits])}, found {text!r}")
    if (port or "soma") not in PORTS:
        raise InputError(f"cascade {where}: expected {name} or {name}.{'/'.join(PORTS[1:])}, found {text!r}")
    return name, port or "soma"


def _ordered(subunits: dict[str, Subunit], edges: Sequence[Edge]) -> dict[str, Subunit]:
    """The subunits so that each comes after those that it needs in the same step."""

    def needed(name: str) -> Iterator[str]:
        for edge in edges:
            late = edge.steps or edge.delay or (subunits[edge.source].lag if edge.port in ("soma", "nonlinear") else 0)
            if edge.target == name and edge.port != "input" and not late:
                yield edge.source

    ordered: dict[str, Subunit] = {}

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            loop = " -> ".join([*path[path.index(name) :], name][::-1])
            raise InputError(f"cascade: a loop without delay: {loop}; give one of its edges a delay, or steps: 1")
        if name not in ordered:
            for source in needed(name):
                visit(source, (*path, name))
            ordered[name] = subunits[name]

    for name in subunits:
        visit(name, ())
    return ordered


def _names(graph: Graph) -> set[str]:
    """Every parameter that something in the graph names."""
    terms: list[Any] = [edge.gain for edge in graph.edges]
    for subunit in graph.subunits.values():
        terms.append(subunit.linear)
        for part in (subunit.filter, subunit.linear_filter, subunit.nonlinearity):
            terms += [] if part is None else [getattr(part, field.name) for field in fields(part)]
    return {term.removeprefix("-") for term in terms if isinstance(term, str)}


def _term(value: Any, where: str, values: Mapping[str, float]) -> Number:
    """A number, or the name of a parameter."""
    if isinstance(value, str):
        if value.removeprefix("-") not in values:
            known = ", ".join(values) or "none"
            raise InputError(f"{where} must be a number or one of the graph's parameters ({known}), found {value!r}")
        found = values[value.removeprefix("-")] * (-1.0 if value.startswith("-") else 1.0)
    else:
        found = _number(value, where)
    name = where.rpartition(": ")[2]
    if name in POSITIVE and not found > 0:
        raise InputError(f"{where} must be positive, found {found:g}")
    return value


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError(f"{where} must be a finite number, found {value!r}")
    return float(value)


def _only(plain: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    unknown = [key for key in plain if key not in known]
    if unknown:
        raise InputError(f"{where}: unknown key {unknown[0]!r}; expected any of {', '.join(known)}")


def _of_type(value: Any, kind: Any, expected: str) -> Any:
    if not isinstance(value, kind):
        raise InputError(f"{expected}, found {value!r}")
    return value
