"""The cells of a recording's file, ready for inference or a fit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from neuroinf.errors import InputError
from neuroinf.recordings import Recording, cells, compensate, electrode_sweep, read


def recorded_cells(path: Path, chosen: Sequence[int] | None) -> list[tuple[str, list[Recording]]]:
    """The cells of a file with their sweeps, the electrode's artefact taken away where a sweep was made for that."""
    sweeps = read(path)
    if chosen is not None:
        unknown = [i for i in chosen if not 0 <= i < len(sweeps)]
        if unknown:
            raise InputError(f"{path}: --sweeps names {unknown}; the file has sweeps 0 to {len(sweeps) - 1}")
        electrode = electrode_sweep(sweeps)
        kept = [sweeps[i] for i in chosen]
        sweeps = kept if electrode is None or any(s is electrode for s in kept) else [*kept, electrode]
    groups: list[tuple[str, list[Recording]]] = []
    for label, members in cells(sweeps).items():
        electrode = electrode_sweep(members)
        if electrode is not None and len(members) > 1:
            members = compensate(members, electrode)
        members = [sweep for sweep in members if sweep.attributes.get("role") != "electrode"]
        if members:
            groups.append((label, members))
    if not groups:
        raise InputError(f"{path}: expected a current-clamp sweep of a neuron, found only electrode sweeps")
    return groups
