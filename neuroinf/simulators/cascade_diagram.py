"""A cascade drawn as text: for a terminal, and for the boxes of its figure."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from neuroinf.simulators.cascade_filters import Number
from neuroinf.simulators.cascade_graph import Edge, Graph


def diagram(graph: Graph) -> str:
    """The graph in text: each subunit in a box, what drives it above, what leaves it below."""
    lines = [f"inputs: {', '.join(graph.inputs)}", ""]
    for name in graph.subunits:
        lines += [f"  {_arrow(edge)}" for edge in graph.edges if edge.target == name]
        box = inside(graph, name)
        width = max(len(line) for line in box)
        lines.append(f"  +-{'-' * width}-+")
        lines += [f"  | {line:<{width}} |" for line in box]
        lines.append(f"  +-{'-' * width}-+")
        heard = list(dict.fromkeys(edge.target for edge in graph.edges if edge.source == name))
        back = [target for target in heard if _position(graph, target) <= _position(graph, name)]
        if heard:
            lines.append(f"      to {', '.join(f'{t} (back)' if t in back else t for t in heard)}")
        lines.append("")
    lines += [f"records {channel} = {_port(*place)}" for channel, place in graph.record.items()]
    if graph.spikes:
        lines.append(f"spikes  onsets of {graph.spikes}")
    if graph.values:
        lines.append("parameters")
        lines += [f"  {name:<20} {value:g} {graph.units[name]}" for name, value in graph.values.items()]
    return "\n".join(lines)


def inside(graph: Graph, name: str) -> list[str]:
    """What a subunit's box says."""
    subunit = graph.subunits[name]
    lines = [name]
    for part in (subunit.filter, subunit.nonlinearity):
        if part is not None:
            lines.append(_part(part))
    if subunit.blocked_by:
        lines[-1] += f", less 1 - {subunit.blocked_by}"
    if subunit.linear != 0:
        other = f" of {_part(subunit.linear_filter)}" if subunit.linear_filter else ""
        lines.append(f"+ {_number(subunit.linear)} linear{other}")
    if subunit.lag:
        lines.append(f"{subunit.lag} step{'s' * (subunit.lag > 1)} late")
    return lines


def _part(part: Any) -> str:
    """A filter or nonlinearity with its numbers, those that are as usual left out."""
    shown = [
        f"{field.name} {_number(getattr(part, field.name))}"
        for field in fields(part)
        if getattr(part, field.name) != field.default
    ]
    return f"{type(part).__name__.lower()}({', '.join(shown)})"


def _number(value: Number | bool | None) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _arrow(edge: Edge) -> str:
    label = label_of(edge)
    return f"{_port(edge.source, edge.port)} --{f'[{label}]--' if label else ''}> {edge.target}"


def label_of(edge: Edge) -> str:
    """Gain and delay of an edge, as far as it has any."""
    late = f"{edge.steps} step{'s' * (edge.steps > 1)}" if edge.steps else f"{edge.delay:g} ms" if edge.delay else ""
    gain = "" if edge.gain == 1 else f"x {_number(edge.gain)}"
    return ", ".join(part for part in (gain, late, "no gradient" if edge.detach else "") if part)


def _port(name: str, port: str) -> str:
    return name if port in ("soma", "input") else f"{name}.{port}"


def _position(graph: Graph, name: str) -> int:
    return list(graph.subunits).index(name)
