"""The tree of a hierarchical neuron: subunits, which inputs they get, and the named architectures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from neuroinf.errors import InputError

Sharing = Literal["individual", "shared"]

# Ujfalussy et al. (2018): one linear unit, one global sigmoid, then trees of two, three and four layers of sigmoids. The
# parents of 4N are not printed there: the binary tree goes on.
ARCHITECTURES: dict[str, tuple[int, ...]] = {
    "1L": (0,),
    "1N": (0,),
    "2N": (0, 1, 1),
    "3N": (0, 1, 1, 2, 2, 3, 3),
    "4N": (0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7),
}


@dataclass(frozen=True)
class Synapse:
    """Inputs that reach one subunit with one weight and one time constant.

    Attributes:
        label: Name in the parameters: ``"<input>_<subunit>"``, or ``"e_<subunit>"``, ``"i_<subunit>"`` if shared.
        subunit: Index from 0.
        inputs: Rows of the stimulus, from 0.
        excitatory: Whether the inputs are.
    """

    label: str
    subunit: int
    inputs: tuple[int, ...]
    excitatory: bool


def check_parents(parents: Sequence[int]) -> tuple[int, ...]:
    """The parent of each subunit, 0 for the root, which is the first.

    Raises:
        InputError: for no root or several, a parent that does not exist, a cycle, or a parent after its child.
    """
    found = [*parents]
    if not found or any(isinstance(p, bool) or not isinstance(p, int) for p in found):
        raise InputError(f"parents: expected one whole number for each subunit, 0 for the root, found {found}")
    if [p for p in found if p == 0] != [0] or found[0] != 0:
        raise InputError(f"parents: expected one root, subunit 1, with parent 0, found {found}")
    for m, parent in enumerate(found[1:], start=2):
        if not 1 <= parent <= len(found):
            raise InputError(f"parents: subunit {m} has parent {parent}, but the subunits are 1 to {len(found)}")
    for m in range(1, len(found) + 1):
        path = [m]
        while found[path[-1] - 1] != 0:
            path.append(found[path[-1] - 1])
            if path[-1] in path[:-1]:
                cycle = path[path.index(path[-1]) :]
                raise InputError(
                    f"parents: subunits {' -> '.join(map(str, cycle))} form a cycle; each must reach the root"
                )
    for m, parent in enumerate(found[1:], start=2):
        if parent > m:
            raise InputError(f"parents: subunit {m} comes before its parent {parent}; number parents before children")
    return tuple(found)


def connect(
    subunits: int, excitatory: Sequence[Sequence[int]], inhibitory: Sequence[Sequence[int]], sharing: Sharing
) -> tuple[Synapse, ...]:
    """All synapses, subunit by subunit, excitatory before inhibitory.

    An input may reach several subunits ("multiplexing"): it has a synapse at each.

    Args:
        subunits: Their number M.
        excitatory, inhibitory: For each subunit the inputs attached to it, numbered from 1.
        sharing: Whether each input has its own weight and time constant, or those of its kind and subunit.

    Raises:
        InputError: for inputs at a missing subunit, or an input that is no positive number or is there twice.
    """
    found: list[Synapse] = []
    kinds: dict[int, str] = {}
    for kind, lists in (("excitatory", excitatory), ("inhibitory", inhibitory)):
        if len(lists) != subunits:
            extra = f"; inputs {list(lists[-1])} are attached to subunit {len(lists)}, which does not exist"
            raise InputError(
                f"{kind}: expected a list of inputs for each of the {subunits} subunits, found {len(lists)}"
                + (extra if len(lists) > subunits else "; give an empty list to a subunit without any")
            )
        for m, inputs in enumerate(lists, start=1):
            if any(isinstance(i, bool) or not isinstance(i, int) or i < 1 for i in inputs):
                raise InputError(f"{kind}: subunit {m} must list inputs by number, from 1, found {list(inputs)}")
            if len(set(inputs)) != len(inputs):
                raise InputError(f"{kind}: subunit {m} lists an input twice: {list(inputs)}")
            for i in inputs:
                if kinds.setdefault(i, kind) != kind:
                    raise InputError(
                        f"{kind}: input {i} at subunit {m} is {kinds[i]} elsewhere; an input is of one kind"
                    )
            if sharing == "individual":
                found += [Synapse(f"{i}_{m}", m - 1, (i - 1,), kind == "excitatory") for i in inputs]
            elif inputs:
                found.append(Synapse(f"{kind[0]}_{m}", m - 1, tuple(i - 1 for i in inputs), kind == "excitatory"))
    if not found:
        raise InputError("excitatory, inhibitory: no input is attached to any subunit; attach at least one")
    used = {i for synapse in found for i in synapse.inputs}
    if missing_inputs := set(range(max(used))) - used:
        raise InputError(
            f"excitatory, inhibitory: input {min(missing_inputs) + 1} is attached nowhere, but input {max(used) + 1} is; "
            f"number the inputs without gaps"
        )
    return tuple(sorted(found, key=lambda synapse: (synapse.subunit, not synapse.excitatory)))


def attached_to_leaves(parents: Sequence[int], first: int, count: int) -> list[list[int]]:
    """Inputs first, ..., first + count - 1 in equal shares to the leaves, in order.

    In a tree with twice as many leaves each leaf's share is divided among its two children.
    """
    leaves = [m for m in range(1, len(parents) + 1) if m not in parents]
    lists: list[list[int]] = [[] for _ in parents]
    for k in range(count):
        lists[leaves[k * len(leaves) // count] - 1].append(first + k)
    return lists


@dataclass(frozen=True)
class Columns:
    """Where each kind of parameter is in theta.

    Attributes:
        names, units: Of all columns, in order.
        kinds: The columns of v0, J, theta, w, w2, tau, after_spike, soft (beta and v_th) and threshold; some are empty.
    """

    names: tuple[str, ...]
    units: tuple[str, ...]
    kinds: dict[str, slice]


def arrange(tree: Sequence[Synapse], parents: Sequence[int], linear_soma: bool, double: bool, bumps: int) -> Columns:
    """The parameters of a tree, `bumps` of them for after-spike currents and as many for the threshold.

    What adds up in a linear soma is in mV, what enters a sigmoid has no unit. A linear soma has no J and no theta.
    """
    soma = "mV" if linear_soma else "1"
    subunits = range(2 if linear_soma else 1, len(parents) + 1)
    named: dict[str, list[tuple[str, str]]] = {"v0": [("v0", "mV")]}
    named["J"] = [(f"J_{m}", "mV" if parents[m - 1] == int(linear_soma) else "1") for m in subunits]
    named["theta"] = [(f"theta_{m}", "1") for m in subunits]
    unit = [soma if synapse.subunit == 0 else "1" for synapse in tree]
    named["w"] = [(f"w_{s.label}", u) for s, u in zip(tree, unit, strict=True)]
    named["w2"] = [(f"w2_{s.label}", u) for s, u in zip(tree, unit, strict=True) if double and s.excitatory]
    named["tau"] = [(f"tau_{s.label}", "ms") for s in tree]
    named["after_spike"] = [(f"after_spike_{b + 1}", soma) for b in range(bumps)]
    named["soft"] = [("beta", "1/mV"), ("v_th", "mV")] if bumps else []
    named["threshold"] = [(f"threshold_{b + 1}", "mV") for b in range(bumps)]
    pairs = [pair for kind in named.values() for pair in kind]
    ends = list(accumulate(len(kind) for kind in named.values()))
    kinds = {kind: slice(a, b) for kind, a, b in zip(named, [0, *ends[:-1]], ends, strict=True)}
    return Columns(tuple(name for name, _ in pairs), tuple(unit for _, unit in pairs), kinds)
