"""The figure of a cascade: nothing over anything else."""

from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image

from neuroinf.simulators import Cascade
from neuroinf.simulators.cascade_figure import ROW, draw, layout

GRAPHS = sorted((Path(__file__).parents[2] / "configs" / "cascades").glob("*.yaml"))


@pytest.mark.parametrize("path", GRAPHS, ids=lambda path: path.stem)
def test_every_subunit_has_a_place_of_its_own_and_every_long_edge_a_gap(path: Path, tmp_path: Path) -> None:
    graph = Cascade(str(path)).description
    found = layout(graph)
    assert set(found.column) == {*graph.inputs, *graph.subunits}
    for place, members in enumerate(found.rows):
        heights = [found.place(each, place)[1] for each in members]
        assert len(set(members)) == len(members)
        assert all(upper - lower == pytest.approx(ROW) for upper, lower in pairwise(heights))
    assert all(left < right for left, right in pairwise(found.x))
    for number, edge in enumerate(graph.edges):
        between = range(found.column[edge.source] + 1, found.column[edge.target])
        assert all(number in found.rows[place] for place in between)
    draw(graph, tmp_path / "graph.png")
    with Image.open(tmp_path / "graph.png") as image:
        grey = image.convert("L")
        border = [
            *(grey.getpixel((x, y)) for x in range(grey.width) for y in (0, grey.height - 1)),
            *(grey.getpixel((x, y)) for x in (0, grey.width - 1) for y in range(grey.height)),
        ]
    assert min(border) == 255, "something is cut off"  # type: ignore[type-var]
