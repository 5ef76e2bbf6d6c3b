"""Simulating shards in processes of their own, each on one core."""

from __future__ import annotations

import pickle
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from neuroinf.datasets.shards import Shards
from neuroinf.datasets.simulation import Simulation
from neuroinf.errors import InputError

# seconds of work in one process above which others are worth starting: each imports torch and numba first
WORTH_PROCESSES = 10.0


@dataclass(frozen=True)
class Done:
    """A finished shard: its number of rows, and the seconds of the whole run that simulating and writing took."""

    rows: int
    simulating: float
    writing: float


def simulate_shard(simulation: Simulation, shards: Shards, bank: tuple[Any, Any], start: int, share: int) -> Done:
    """Simulate and write one shard; `share` is the number of processes at work, among whom its time is divided."""
    began = time.perf_counter()
    arrays = simulation.rows(start, shards.stop(start), *bank).datasets()
    simulating = time.perf_counter() - began
    writing = shards.write(start, arrays, simulating / share)
    return Done(shards.stop(start) - start, simulating / share, writing / share)


def simulate_shards(simulation: Simulation, shards: Shards, starts: Sequence[int], workers: int) -> Iterator[Done]:
    """Simulate and write shards, in this process or in several, and tell of each when it is on disk.

    Processes rather than threads: everything around the kernel is Python, and a user's simulator may be Python
    altogether. A few rows are timed first: work that is done before processes would have started stays here, where the
    simulator has its own threads. None of this can change what a shard holds.

    Raises:
        InputError: if the simulation cannot be sent to a process, or fails there.
    """
    workers = min(workers, len(starts))
    bank = shards.read_bank()
    if workers <= 1 or not _worth_processes(simulation, bank, sum(shards.stop(start) - start for start in starts)):
        for start in starts:
            yield simulate_shard(simulation, shards, bank, start, 1)
        return
    job = _pickled(simulation, shards, workers)
    # spawn: a process forked after numba or torch have started threads may hang
    context = get_context("spawn")
    crew = []
    try:
        for _ in range(workers):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs,), daemon=True)
            process.start()
            theirs.close()
            ours.send_bytes(job)
            crew.append((process, ours))
        yield from _share_out([connection for _, connection in crew], list(reversed(starts)))
    finally:
        for process, _ in crew:
            process.kill()
        for process, connection in crew:
            process.join()
            connection.close()


def _worth_processes(simulation: Simulation, bank: tuple[Any, Any], rows: int) -> bool:
    sample = min(simulation.n, 16)
    simulation.rows(0, 1, *bank)  # compiles, or loads what was compiled
    began = time.perf_counter()
    simulation.rows(0, sample, *bank)
    return (time.perf_counter() - began) / sample * rows > WORTH_PROCESSES


def _share_out(idle: list[Connection], pending: list[int]) -> Iterator[Done]:
    """Give each idle worker the next shard until none is left."""
    busy: list[Connection] = []
    while pending or busy:
        while idle and pending:
            connection = idle.pop()
            connection.send(pending.pop())
            busy.append(connection)
        for connection in wait(busy):
            assert isinstance(connection, Connection)
            try:
                answer = connection.recv()
            except EOFError as error:
                raise InputError(
                    "a simulating process ended without an answer: it was killed (out of memory?), or this is a script "
                    "that calls generate outside `if __name__ == '__main__':`; finished shards are kept, use workers=1 "
                    "to simulate in one process"
                ) from error
            if isinstance(answer, Exception):
                raise answer
            yield answer
            busy.remove(connection)
            idle.append(connection)


def _work(connection: Connection) -> None:
    """A worker's life: read the job, answer each shard's start with Done or an exception, end with the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    try:
        # from the parent's own pipe, never from a file
        simulation, shards, workers = pickle.loads(connection.recv_bytes())
        _one_thread()
        bank = shards.read_bank()
        while True:
            connection.send(simulate_shard(simulation, shards, bank, connection.recv(), workers))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent is gone
    except InputError as error:
        connection.send(error)
    except Exception as error:
        name = f"{type(error).__name__}: {error}"
        traceback.print_exc(file=sys.stderr)
        connection.send(InputError(f"simulating failed in a process with {name}"))


def _one_thread() -> None:
    """There is a process for each core: libraries that are loaded shall not start a thread for each as well."""
    if "numba" in sys.modules:
        sys.modules["numba"].config.NUMBA_NUM_THREADS = 1
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def _pickled(simulation: Simulation, shards: Shards, workers: int) -> bytes:
    main = sys.modules["__main__"]
    try:
        job = pickle.dumps((simulation, shards, workers))
    except Exception as error:
        raise InputError(f"the simulation cannot be sent to processes ({error}): give workers=1") from error
    if b"__main__" in job and not Path(getattr(main, "__file__", None) or "").is_file():
        raise InputError(
            "the simulation uses a class defined in a notebook or prompt, which other processes cannot import: "
            "move it to a module, or give workers=1"
        )
    return job
