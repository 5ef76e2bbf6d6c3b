"""A cascade whose spikes are given: what it would have done between them."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from neuroinf.errors import InputError

GIVEN = "given_spikes"


def with_given_spikes(graph: dict[str, Any]) -> dict[str, Any]:
    """The same graph with an input in the place of the spikes: every edge from the spiking subunit starts there.

    The input is the subunit's output at each step. Reset and back-propagating spikes are then where they were observed,
    and the rest is as smooth in the parameters as its filters and sigmoids are.

    Args:
        graph: A cascade's description.

    Returns:
        A description with the further last input ``given_spikes``.

    Raises:
        InputError: if nothing in the graph spikes.
    """
    spiking = graph.get("spikes")
    if spiking is None:
        raise InputError("expected a cascade that spikes (spikes: a subunit), found none; its spikes cannot be given")
    found = deepcopy(graph)
    found["inputs"] = [*found["inputs"], GIVEN]
    for edge in found["edges"]:
        if edge["source"] in (spiking, f"{spiking}.nonlinear"):
            edge["source"] = GIVEN
    del found["spikes"]
    return found
