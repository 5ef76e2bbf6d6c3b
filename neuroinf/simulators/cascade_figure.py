"""A cascade drawn as a figure: inputs to the left, each subunit to the right of what drives it, what comes back above or below."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from neuroinf.simulators.cascade_diagram import inside, label_of
from neuroinf.simulators.cascade_graph import Edge, Graph

# inches: rows, the gap between columns, lanes for what comes back, a letter of a box and of a label
ROW, GAP, LANE, LETTER, SMALL = 1.15, 0.7, 0.32, 0.054, 0.048
LINE: dict[str, Any] = {"color": "black", "linewidth": 1.0, "zorder": 1}


@dataclass
class Layout:
    """Where things stand, inches.

    Attributes:
        column: Of each subunit and input, from the left.
        rows: What stands in each column from the top: names, and numbers of the edges that pass through.
        x: Middle of each column.
        lanes: Lanes already taken above and below.
    """

    column: dict[str, int]
    rows: list[list[str | int]]
    x: list[float] = field(default_factory=list)
    lanes: dict[int, int] = field(default_factory=lambda: {1: 0, -1: 0})

    def place(self, what: str | int, column: int) -> tuple[float, float]:
        """Middle of a box, or of the gap that an edge passes through."""
        members = self.rows[column]
        return self.x[column], ((len(members) - 1) / 2 - members.index(what)) * ROW

    def side(self, name: str) -> int:
        """1 if the way up is open, or -1: the way down."""
        members = self.rows[self.column[name]]
        return 1 if members.index(name) < len(members) / 2 else -1

    def lane(self, side: int) -> float:
        """Height of the next free lane on a side."""
        self.lanes[side] += 1
        tallest = max(map(len, self.rows))
        return side * (tallest * ROW / 2 + (self.lanes[side] - 0.5) * LANE)


def layout(graph: Graph) -> Layout:
    """Columns by the longest way from an input; rows near those of what drives them."""
    column: dict[str, int] = dict.fromkeys(graph.inputs, 0)
    for name in graph.subunits:
        column[name] = 1 + max(
            (column[e.source] for e in graph.edges if e.target == name and e.source in column), default=0
        )
    found = Layout(column, [[] for _ in range(max(column.values()) + 1)])
    height: dict[str | int, float] = {}
    for place, members in enumerate(found.rows):
        sources: dict[str | int, list[float]] = {name: [] for name in column if column[name] == place}
        for number, edge in enumerate(graph.edges):
            first, last = column[edge.source], column[edge.target]
            if first < place <= last:
                before = height[number] if number in height else height[edge.source]
                sources.setdefault(edge.target if place == last else number, []).append(before)
        members += sorted(sources, key=lambda each: sum(sources[each]) / len(sources[each]) if sources[each] else 0.0)
        height |= {each: i - (len(members) - 1) / 2 for i, each in enumerate(members)}
    widths = [max((_width(graph, each) for each in members), default=0.0) for members in found.rows]
    labels = [0.0] * len(widths)
    for edge in graph.edges:
        if column[edge.source] < column[edge.target]:
            gap = column[edge.target]
            labels[gap] = max(labels[gap], SMALL * len(label_of(edge)))
    left = 0.0
    for width, label in zip(widths, labels, strict=True):
        left += GAP + label
        found.x.append(left + width / 2)
        left += width
    return found


def draw(graph: Graph, path: Path) -> None:
    """Write the graph as a figure; the file's ending says in which format."""
    from matplotlib.figure import Figure

    found = layout(graph)
    figure = Figure(figsize=(6, 3), dpi=150)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    boxes: dict[str, Any] = {}
    for name, place in found.column.items():
        written = name if name in graph.inputs else "\n".join(inside(graph, name))
        frame = {
            "boxstyle": "round,pad=0.4",
            "facecolor": "white",
            "edgecolor": "none" if name in graph.inputs else "black",
        }
        at = found.place(name, place)
        boxes[name] = axes.text(
            *at, written, ha="center", va="center", fontsize=7, bbox=frame, zorder=3
        ).get_bbox_patch()
    entered: dict[str, int] = {}
    for number, edge in enumerate(graph.edges):
        if found.column[edge.target] > found.column[edge.source]:
            _forward(axes, found, edge, number, boxes)
        else:
            entered[edge.target] = entered.get(edge.target, 0) + (edge.source != edge.target)
            size = _width(graph, edge.source), len(inside(graph, edge.source))
            _back(axes, found, edge, entered[edge.target], size, boxes)
    for name, subunit in graph.subunits.items():
        if subunit.blocked_by:
            start, end = (found.place(each, found.column[each]) for each in (subunit.blocked_by, name))
            style = {"arrowstyle": "-[,widthB=0.4,lengthB=0", "color": "0.45", "linewidth": 1.2}
            axes.annotate(
                "", end, start, arrowprops=style | {"patchB": boxes[name], "shrinkA": 0, "shrinkB": 3}, zorder=1
            )
            _label(axes, start, end, "blocks")
    right = found.x[-1] + max(_width(graph, each) for each in found.rows[-1]) / 2 + 0.3
    half = max(map(len, found.rows)) * ROW / 2
    low, high = (side * (half + found.lanes[side] * LANE + 0.15) for side in (-1, 1))
    axes.set_xlim(0.2, right)
    axes.set_ylim(low, high)
    figure.set_size_inches(right - 0.2, high - low)
    # arrows end at boxes, whose places are known once they have been drawn
    figure.draw_without_rendering()
    figure.savefig(path)


def _width(graph: Graph, each: str | int) -> float:
    if isinstance(each, int):
        return 0.0
    lines = [each] if each in graph.inputs else inside(graph, each)
    return LETTER * max(map(len, lines)) + 0.15


def _forward(axes: Any, found: Layout, edge: Edge, number: int, boxes: dict[str, Any]) -> None:
    """Straight, or through the gaps that were left for it."""
    first, last = found.column[edge.source], found.column[edge.target]
    stops = [found.place(edge.source, first)]
    stops += [found.place(number, place) for place in range(first + 1, last)]
    end = found.place(edge.target, last)
    axes.plot(*zip(*stops, strict=True), **LINE)
    style = {"arrowstyle": "-|>", "color": "black", "linewidth": 1.0, "patchB": boxes[edge.target]}
    axes.annotate("", end, stops[-1], arrowprops=style | {"shrinkA": 0, "shrinkB": 2}, zorder=1)
    _label(axes, stops[0], [*stops, end][1], label_of(edge))


def _back(axes: Any, found: Layout, edge: Edge, order: int, size: tuple[float, int], boxes: dict[str, Any]) -> None:
    """Out at the top or the bottom, along a lane of its own, and in again; dashed. A loop stays by its box.

    `size` is the box's width and its number of lines.
    """
    width, lines = size
    (x, y), (to, down) = (found.place(each, found.column[each]) for each in (edge.source, edge.target))
    if edge.source == edge.target:
        lane, x, to = y + 0.06 * lines + 0.2, x + 0.32 * width, x + 0.12 * width
    else:
        lane, x, to = found.lane(found.side(edge.source)), x - 0.25, to - 0.25 + 0.25 * order
    axes.plot([x, x, to], [y, lane, lane], linestyle="--", **LINE)
    style = {"arrowstyle": "-|>", "color": "black", "linewidth": 1.0, "linestyle": "--", "patchB": boxes[edge.target]}
    axes.annotate("", (to, down), (to, lane), arrowprops=style | {"shrinkA": 0, "shrinkB": 2}, zorder=1)
    axes.text((x + to) / 2, lane + 0.03, label_of(edge), ha="center", va="bottom", fontsize=6, zorder=4)


def _label(axes: Any, start: tuple[float, float], end: tuple[float, float], label: str) -> None:
    """On the way out of a box, where the ways part."""
    if label:
        at = tuple(0.5 * (a + b) for a, b in zip(start, end, strict=True))
        frame = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}
        axes.text(*at, label, ha="center", va="center", fontsize=6, bbox=frame, zorder=2)


__all__ = ["draw", "layout"]
