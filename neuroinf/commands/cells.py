"""The cells of a recording's file, ready for inference or a fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from neuroinf.errors import InputError
from neuroinf.recordings import Recording, cells, compensate, electrode_sweep, read, repeats


@dataclass(frozen=True)
class Cell:
    """One neuron of a file.

    Args:
        label: Its name in the file; "" if it has none.
        sweeps: What is to be used of it.
        notes: What was done to the sweeps and which were left out, as sentences.
        alone: Whether the file holds no other cell.
    """

    label: str
    sweeps: list[Recording]
    notes: list[str]
    alone: bool


def recorded_cells(path: Path, chosen: Sequence[int] | None) -> list[Cell]:
    """The cells of a file with their sweeps, the electrode's artefact taken away where a sweep was made for that.

    By default one sweep of each stimulus is used: repeats of one waveform share whatever the model has wrong about it,
    and would make an estimate look surer than it is.

    Args:
        path: The file.
        chosen: Numbers of the sweeps to use instead, counted from 0 in the file.

    Raises:
        InputError: if the file cannot be read, has no such sweeps, or none of a neuron.
    """
    sweeps = read(path)
    unknown = [i for i in chosen or [] if not 0 <= i < len(sweeps)]
    if unknown:
        raise InputError(f"{path}: --sweeps names {unknown}; the file has sweeps 0 to {len(sweeps) - 1}")
    named = None if chosen is None else {id(sweeps[i]) for i in chosen}
    groups: list[tuple[str, list[Recording], list[str]]] = []
    for label, members in cells(sweeps).items():
        neuron = [sweep for sweep in members if sweep.attributes.get("role") != "electrode"]
        used = [group[0] for group in repeats(neuron)]
        if named is not None:
            used = [sweep for sweep in neuron if id(sweep) in named]
        if not used:
            continue
        notes = []
        if len(used) < len(neuron):
            why = "the others repeat their stimuli (--sweeps names others)" if named is None else "as --sweeps says"
            notes.append(f"{len(used)} of {len(neuron)} sweeps used: {why}")
        electrode = electrode_sweep(members)
        if electrode is not None:
            used = compensate(used, electrode)
            notes.append(
                f"the electrode's artefact ({used[0].attributes['electrode_resistance']}, from {electrode.name}) was "
                f"taken off the voltage"
            )
        groups.append((label, used, notes))
    if not groups:
        raise InputError(f"{path}: expected a current-clamp sweep of a neuron, found only electrode sweeps")
    return [Cell(label, used, notes, len(groups) == 1) for label, used, notes in groups]
