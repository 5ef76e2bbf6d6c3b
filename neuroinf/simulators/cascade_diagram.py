"""A cascade drawn: as text for a terminal, and as a figure."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from neuroinf.simulators.cascade_filters import Number
from neuroinf.simulators.cascade_graph import Edge, Graph

# columns of the figure, inches
WIDTH, HEIGHT = 4.4, 1.5


def diagram(graph: Graph) -> str:
    """The graph in text: each subunit in a box, what drives it above, what leaves it below."""
    lines = [f"inputs: {', '.join(graph.inputs)}", ""]
    for name in graph.subunits:
        lines += [f"  {_arrow(edge)}" for edge in graph.edges if edge.target == name]
        inside = _inside(graph, name)
        width = max(len(line) for line in inside)
        lines.append(f"  +-{'-' * width}-+")
        lines += [f"  | {line:<{width}} |" for line in inside]
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


def draw(graph: Graph, path: Path) -> None:
    """Write the graph as a figure; the file's ending says in which format."""
    from matplotlib.figure import Figure

    column: dict[str, int] = dict.fromkeys(graph.inputs, 0)
    for name in graph.subunits:
        forward = [column[e.source] for e in graph.edges if e.target == name and e.source in column]
        column[name] = 1 + max(forward, default=0)
    places: dict[str, tuple[float, float]] = {}
    for place in sorted(set(column.values())):
        members = [name for name in column if column[name] == place]
        for i, name in enumerate(members):
            places[name] = (place * WIDTH, ((len(members) - 1) / 2 - i) * HEIGHT)
    tall = max(sum(c == place for c in column.values()) for place in column.values())
    figure = Figure(figsize=(WIDTH * (max(column.values()) + 1), HEIGHT * (tall + 1)), layout="constrained")
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set_xlim(-WIDTH / 2, (max(column.values()) + 0.5) * WIDTH)
    axes.set_ylim(-HEIGHT * (tall + 1) / 2, HEIGHT * (tall + 1) / 2)
    boxes: dict[str, Any] = {}
    for name, (x, y) in places.items():
        text = name if name in graph.inputs else "\n".join(_inside(graph, name))
        frame = {
            "boxstyle": "round,pad=0.4",
            "facecolor": "white",
            "edgecolor": "none" if name in graph.inputs else "black",
        }
        boxes[name] = axes.text(x, y, text, ha="center", va="center", fontsize=7, bbox=frame, zorder=3).get_bbox_patch()
    for edge in graph.edges:
        _draw_edge(axes, edge, places, boxes)
    for name, subunit in graph.subunits.items():
        if subunit.blocked_by:
            ends = {"patchA": boxes[subunit.blocked_by], "patchB": boxes[name], "shrinkA": 2, "shrinkB": 2}
            style = {"arrowstyle": "-[,widthB=0.5", "linestyle": ":", "color": "black", "linewidth": 1.0}
            axes.annotate("", xy=places[name], xytext=places[subunit.blocked_by], arrowprops=style | ends)
    figure.savefig(path, dpi=150, bbox_inches="tight")


def _draw_edge(axes: Any, edge: Edge, places: dict[str, tuple[float, float]], boxes: dict[str, Any]) -> None:
    start, end = places[edge.source], places[edge.target]
    loop, back = edge.source == edge.target, end[0] <= start[0]
    if loop:
        start, end = (start[0] + 0.5, start[1] + 0.1), (end[0] - 0.5, end[1] + 0.1)
    curve = 1.0 if loop else 0.5 if back else 0.0
    style = {"arrowstyle": "-|>", "shrinkA": 2, "shrinkB": 2, "color": "black", "linewidth": 1.0}
    # an arrow begins and ends where it crosses a box
    style |= {"shrinkA": 10, "shrinkB": 10} if loop else {"patchA": boxes[edge.source], "patchB": boxes[edge.target]}
    style |= {"connectionstyle": f"arc3,rad={curve}", "linestyle": "--" if back else "-"}
    axes.annotate("", xy=end, xytext=start, arrowprops=style)
    label = _label(edge)
    if label:
        across, up = end[0] - start[0], end[1] - start[1]
        # on the middle of the arc
        x, y = (start[0] + end[0] + curve * up) / 2, (start[1] + end[1] - curve * across) / 2
        middle = (x, y + (0.45 if loop else 0.05))
        axes.text(*middle, label, ha="center", va="bottom", fontsize=6, zorder=4)


def _inside(graph: Graph, name: str) -> list[str]:
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
    label = _label(edge)
    return f"{_port(edge.source, edge.port)} --{f'[{label}]--' if label else ''}> {edge.target}"


def _label(edge: Edge) -> str:
    late = f"{edge.steps} step{'s' * (edge.steps > 1)}" if edge.steps else f"{edge.delay:g} ms" if edge.delay else ""
    gain = "" if edge.gain == 1 else f"x {_number(edge.gain)}"
    return ", ".join(part for part in (gain, late, "no gradient" if edge.detach else "") if part)


def _port(name: str, port: str) -> str:
    return name if port in ("soma", "input") else f"{name}.{port}"


def _position(graph: Graph, name: str) -> int:
    return list(graph.subunits).index(name)
