"""Simulations to one HDF5 file, in shards: killed and run again, it becomes the same file."""

from __future__ import annotations

import json
from pathlib import Path

import h5py

from neuroinf.datasets.progress import Progress
from neuroinf.datasets.shards import Shards, refuse_other
from neuroinf.datasets.simulation import Simulation
from neuroinf.datasets.workers import simulate_shards
from neuroinf.errors import InputError
from neuroinf.simulators.protocol import OfPopulations
from neuroinf.specification import Plain, specify

# a shard is simulated in memory
SHARD_BYTES = 128 * 2**20


def generate(
    simulation: Simulation,
    path: Path | str,
    *,
    spec: Plain | None = None,
    workers: int = 2,
    shard_rows: int = 2048,
    progress: bool | None = None,
) -> Path:
    """Make the file of a simulation, or complete it, or find it complete.

    Shards are written into ``<path>.shards``, each aside, to disk and then renamed; when all are there, they are put
    together in the same way and deleted. A killed run loses at most the shards under way, and the file does not depend
    on kills, on the number of workers or on the size of shards.

    Args:
        simulation: What the file holds.
        path: The file.
        spec: The simulation's specification, where its parts do not keep their constructors' arguments
            (:func:`neuroinf.specification.specify`).
        workers: Processes.
        shard_rows: Rows of a shard, at most; fewer where they would take more than SHARD_BYTES.
        progress: None: a bar on a terminal. True: lines now and then elsewhere, too. False: nothing.

    Returns:
        The path.

    Raises:
        InputError: if the path holds something else, finished or not. It is left as it is.
        KeyboardInterrupt: with a message that says how to continue.
    """
    path = Path(path)
    if workers < 1 or shard_rows < 1:
        raise InputError(f"workers and shard_rows must be at least 1, found {workers} and {shard_rows}")
    shard_rows = min(shard_rows, max(1, SHARD_BYTES // max(1, simulation.row_bytes)))
    specification = json.loads(json.dumps(specify(simulation) if spec is None else spec))
    if path.exists():
        _refuse_other_file(path, specification)
        if (leftover := path.with_name(path.name + ".shards")).exists():
            Shards(path, specification, shard_rows).discard()
            assert not leftover.exists()
        return path
    if isinstance(simulation.simulator, OfPopulations):
        simulation.rows(0, 1, *simulation.bank())  # a ratio out of reach shows only now; nothing is written then
    shards = Shards(path, specification, shard_rows)
    with shards.lock():
        try:
            writing = _simulate(simulation, shards, workers, progress)
            stage = Progress("assemble", simulation.n, show=progress)
            root = {
                "simulator": specification["init_args"]["simulator"],
                "simulation": specification,
                "root_seed": simulation.seed,
                "seconds_writing": writing,
            }
            shards.assemble(simulation.observed_inputs, simulation.attributes(), root, stage.advance)
            stage.close()
        except KeyboardInterrupt:
            done = sum(shards.stop(start) - start for start in shards.starts() if shards.shard(start).exists())
            raise KeyboardInterrupt(
                f"interrupted: {done} of {simulation.n} rows are kept in {shards.folder}; the same command continues"
            ) from None
    return path


def _simulate(simulation: Simulation, shards: Shards, workers: int, progress: bool | None) -> float:
    """Make the missing shards; returns the seconds spent on writing them."""
    if not shards.bank.exists():
        shards.write_bank(*simulation.bank())
    missing = [start for start in shards.starts() if not shards.shard(start).exists()]
    done = simulation.n - sum(shards.stop(start) - start for start in missing)
    stage, writing = Progress("simulate", simulation.n, done, progress), 0.0
    try:
        for shard in simulate_shards(simulation, shards, missing, workers):
            stage.advance(shard.rows)
            writing += shard.writing
    finally:
        stage.close()
    return writing


def _refuse_other_file(path: Path, specification: Plain) -> None:
    hint = "name another output, or delete the file"
    try:
        with h5py.File(path) as file:
            theirs = json.loads(str(file.attrs["simulation"]))
    except (OSError, KeyError, ValueError) as error:
        raise InputError(
            f"{path} exists and is not a finished dataset of neuroinf ({error}); it is left as it is: {hint}"
        ) from error
    refuse_other(specification, theirs, str(path), hint)


__all__ = ["Simulation", "generate"]
