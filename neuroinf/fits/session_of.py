"""Which of the recordings that a network was trained on a new one is another stretch of: told by its neurons' names."""

from __future__ import annotations

from collections.abc import Sequence

from neuroinf.datasets.populations import Kind, PopulationData
from neuroinf.errors import InputError


def session_of(data: PopulationData, sessions: Sequence[tuple[str, ...]], kind: Kind, dt: float) -> int:
    """The number of the session whose neurons a recording has.

    Args:
        data: The recording.
        sessions: Names of the neurons of each session of the training, in order.
        kind: Of the training's activity.
        dt: Bin of the training, ms.

    Raises:
        InputError: if neurons, kind or bins are not those of any session.
    """
    if data.names not in sessions:
        raise InputError(f"{data.name}: {_unknown(data, sessions)}")
    if data.kind != kind:
        raise InputError(f"{data.name}: expected {kind}, as in the training, found {data.kind}")
    if abs(data.dt - dt) > 1e-6 * dt:
        raise InputError(f"{data.name}: expected bins of {dt:g} ms, as in the training, found {data.dt:g} ms")
    return list(sessions).index(data.names)


def parts_of_sessions(data: PopulationData, sessions: Sequence[tuple[str, ...]]) -> list[PopulationData]:
    """The recording itself, or, if it has all neurons of several sessions, such as all layers, those of each of them."""
    if data.names in sessions or len(sessions) == 1:
        return [data]
    place = {name: k for k, name in enumerate(data.names)}
    found = [data.select([place[name] for name in names]) for names in sessions if set(names) <= set(place)]
    return found or [data]


def _unknown(data: PopulationData, sessions: Sequence[tuple[str, ...]]) -> str:
    sizes = [len(names) for names in sessions]
    if data.neurons not in sizes:
        known = f"the {sizes[0]} neurons of the training" if len(sizes) == 1 else f"one session's neurons, {sizes}"
        return f"expected {known}, found {data.neurons}: a network reads no other neurons; train one on these"
    if len(sizes) > 1:
        known = "; ".join(f"{names[0]}, {names[1]}, ..." for names in sessions if len(names) > 1)
        return f"expected the neurons of one of {len(sizes)} sessions ({known}), in its order, found {data.names[0]!r} first"
    ours, theirs = next((a, b) for a, b in zip(sessions[0], data.names, strict=True) if a != b)
    return f"expected the neurons of the training, in its order, found {theirs!r} in the place of {ours!r}"
