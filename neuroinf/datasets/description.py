"""A file of simulations in words: what `neuroinf info` prints of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from neuroinf.datasets.arrays import ArrayFile
from neuroinf.datasets.designs import in_words
from neuroinf.datasets.layout import STATUS, TIMES

if TYPE_CHECKING:
    from neuroinf.datasets.schema import Dataset


def described(file: Dataset, arrays: ArrayFile) -> str:
    """A few lines on what a file holds.

    Args:
        file: The file.
        arrays: Its arrays.

    Raises:
        InputError: if what is read for it is damaged.
    """
    counts = np.bincount(file.status, minlength=len(STATUS))
    kept = ", ".join(f"{name} {count:,}" for name, count in zip(STATUS, counts, strict=True) if count)
    bank = arrays.stored("stimulus/waveform").shape
    keys = ("neuroinf_version", "created", "root_seed")
    version, created, seed = (arrays.attribute("", key) for key in keys)
    lines = [
        f"dataset {file.path}: {file.n:,} simulations of {arrays.json('', 'simulator')['class_path']}",
        f"made by neuroinf {version} on {created} in {file.seconds:.1f} s, root seed {seed}",
        f"size: {file.path.stat().st_size / 1e6:,.1f} MB",
        f"status: {kept}",
        f"stimulus: {bank[0]:,} waveforms of {bank[2] * file.stimulus_dt:g} ms at {file.stimulus_dt:g} ms, "
        f"{bank[1]} input(s), unit {arrays.attribute('stimulus/waveform', 'unit')}",
    ]
    sweeps = f", {file.sweeps} sweeps each" if file.sweeps > 1 else ""
    lines.append(f"neurons: {file.n // file.sweeps:,}{sweeps}; {in_words(file.design, file.prior)}")
    lines += [f"channel {k}: {u}, every {file.record_dt:g} ms" for k, u in file.channels.items()]
    for name, groups in file.groups.items():
        if name == "spikes":
            continue
        shape = arrays.stored(f"response/{name}").shape
        lines.append(f"  of {shape[1]:,} neurons in {len(np.unique(groups))} group(s), {shape[2]:,} samples a row")
    for name, stored in arrays.all().items():
        if name.startswith("latent/"):
            unit = f", unit {stored.attrs['unit']}" if "unit" in stored.attrs else ""
            lines.append(f"{name}: {' x '.join(f'{size:,}' for size in stored.shape[1:]) or '1'} a row{unit}")
    if TIMES in arrays.all():
        spikes = len(arrays.stored(TIMES))
        groups = file.groups.get("spikes")
        of = "" if groups is None else f", of {len(groups):,} neurons in {len(np.unique(groups))} group(s)"
        lines.append(f"spikes: {spikes:,}, {spikes / file.n:.1f} a row{of}")
    low, high = file.parameters.min(0), file.parameters.max(0)
    lines += [
        f"parameter {name}: {a:.4g} to {b:.4g} {unit}"
        for name, unit, a, b in zip(file.names, file.units, low, high, strict=True)
    ]
    return "\n".join(lines)


__all__ = ["described"]
