"""Whether a file is a dataset of this schema: its version, its attributes' checksum, and shapes that go together."""

from __future__ import annotations

from neuroinf.datasets.arrays import ArrayFile
from neuroinf.datasets.layout import CRC, OFFSETS, SCHEMA_VERSION, TIMES, UNIT, attributes_crc
from neuroinf.errors import InputError


def check_structure(arrays: ArrayFile) -> None:
    """Look at everything but the arrays' content; the file is closed again.

    Raises:
        InputError: if there is no such file, it is damaged, or not a dataset of this schema.
    """
    if not arrays.path.is_file():
        raise InputError(f"no dataset at {arrays.path}: expected an HDF5 file made by neuroinf simulate")
    file = arrays.file()
    try:
        with arrays.reading("its attributes"):
            version, crc = file.attrs.get("schema_version"), file.attrs.get(CRC)
            found = attributes_crc(file)
        if version is None:
            arrays.refuse("no attribute schema_version: it is an HDF5 file of another program")
        if version != SCHEMA_VERSION:
            arrays.refuse(f"schema_version {version}, this program reads {SCHEMA_VERSION}")
        if crc is not None and crc != found:
            arrays.refuse("its attributes have been damaged or changed since it was made")
        _check_shapes(arrays)
    finally:
        arrays.close()


def _check_shapes(arrays: ArrayFile) -> None:
    wanted = {"parameters": 2, "stimulus/waveform": 3, "stimulus/index": 1, "status": 1}
    for name, ndim in wanted.items():
        if arrays.stored(name).ndim != ndim:
            arrays.refuse(f"{name} has {arrays.stored(name).ndim} dimensions, expected {ndim}")
    if (TIMES in arrays.all()) != (OFFSETS in arrays.all()):
        arrays.refuse(f"{TIMES} and {OFFSETS} go together, only one is there")
    n, columns = arrays.stored("parameters").shape
    names, units = (arrays.attribute("parameters", key) for key in ("names", "units"))
    if not len(names) == len(units) == columns:
        arrays.refuse(f"{len(names)} names and {len(units)} units for {columns} parameters")
    for name, stored in arrays.all().items():
        rows = {OFFSETS: n + 1}.get(name, n)
        if name not in ("stimulus/waveform", TIMES, UNIT) and stored.shape[:1] != (rows,):
            arrays.refuse(f"{name} has shape {stored.shape}, expected {rows} along the first axis, as parameters has")
    if OFFSETS in arrays.all():
        last = int(arrays.read(OFFSETS, n)[-1])
        if last != len(arrays.stored(TIMES)):
            arrays.refuse(f"{OFFSETS} end at {last}, but there are {len(arrays.stored(TIMES))} spike times")
    if UNIT in arrays.all() and (TIMES not in arrays.all() or arrays.stored(UNIT).shape != arrays.stored(TIMES).shape):
        arrays.refuse(f"{UNIT} has shape {arrays.stored(UNIT).shape}, expected one for each of {TIMES}")


__all__ = ["check_structure"]
