"""Time, memory and disk of many GLIF simulations, and that memory does not grow with their number.

    python benchmarks/generation.py [--rows N] [--factor 10] [--workers 2] [--output generation.json] [--folder DIR]

N level-3 simulations of 1 s at 0.1 ms, pink noise about rheobase, voltage stored at 1 ms and exact spike times: in one
process, in several, and N / factor of them in several. Memory: what the process and its children hold resident, summed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import h5py

from neuroinf.datasets import workers as crew
from neuroinf.datasets.generation import Simulation, generate
from neuroinf.priors import Parameter, Prior
from neuroinf.simulators import GLIF
from neuroinf.stimuli import PinkNoise

MEMORY_BAR = 1.5  # GB


def simulation(n: int) -> Simulation:
    """n neurons within the published population, level 3."""
    return Simulation(
        simulator=GLIF(3, "absolute", fixed={"spike_cut_length": 3.8, "asc_tau_1": 100.0, "asc_tau_2": 10.0}),
        prior=Prior(
            {
                "C": Parameter("pF", 38.7, 202.7, "log"),
                "R_input": Parameter("GOhm", 0.068, 0.758, "log"),
                "El": Parameter("mV", -84.0, -60.0),
                "th_inf": Parameter("mV", 16.0, 41.2, "log"),
                "asc_amp_1": Parameter("pA", -75.0, 0.0),
                "asc_amp_2": Parameter("pA", -470.0, 20.0),
            }
        ),
        stimulus=PinkNoise(duration=1000.0),
        n=n,
        dt=0.1,
        record_dt=1.0,
    )


def resident(process: int) -> float:
    """GB resident of a process and all its descendants; pages that they share are counted in each."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e9 + sum(resident(int(child)) for child in children)


def _generate(n: int, path: Path, workers: int) -> None:
    crew.WORTH_PROCESSES = 0.0  # the number of processes is ours to choose here
    generate(simulation(n), path, workers=workers, progress=True)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(n: int, workers: int, folder: Path) -> dict[str, Any]:
    """Generate a file of n rows, watched from outside."""
    path = folder / f"glif_{n}.h5"
    generate(simulation(64), folder / f"warm_{n}.h5", workers=1)  # compiled before the clock starts
    process = multiprocessing.get_context("spawn").Process(target=_generate, args=(n, path, workers))
    began, cpu, peak = time.perf_counter(), _cpu(), 0.0
    process.start()
    while process.is_alive():
        peak = max(peak, resident(process.pid or 0))
        process.join(0.02)
    seconds = time.perf_counter() - began
    if process.exitcode != 0:
        raise SystemExit(f"generating {n} rows failed")
    with h5py.File(path) as file:
        # shards are written by all processes at once, and put together by one
        writing = float(file.attrs["seconds_writing"])  # type: ignore[arg-type]
        inside = float(file.attrs["seconds"])  # type: ignore[arg-type]
        spikes = int(file["response/spikes/times"].shape[0])  # type: ignore[union-attr]
    size = path.stat().st_size
    path.unlink()
    return {
        "rows": n,
        "workers": workers,
        "seconds": seconds,
        "cpu_seconds": _cpu() - cpu,
        "seconds_without_start": inside,
        "seconds_writing": writing,
        "fraction_writing": writing / seconds,
        "microseconds_per_row": 1e6 * seconds / n,
        "megabytes": size / 1e6,
        "peak_gigabytes": peak,
        "spikes": spikes,
        "load": os.getloadavg()[0],
    }


def main() -> None:
    """Print the table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--factor", type=int, default=10)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--output", type=Path, default=None)
    parser.add_argument("--folder", type=Path, default=None, help="where the files are made, and deleted again")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        n, workers = arguments.rows, arguments.workers
        runs = [(n, 1), (n // arguments.factor, workers), (n, workers)]
        results = [measure(rows, processes, Path(folder)) for rows, processes in runs]
    print(f"{'rows':>9} {'workers':>8} {'s':>7} {'cpu s':>7} {'writing':>8} {'MB':>8} {'peak GB':>8} {'load':>6}")
    for r in results:
        print(
            f"{r['rows']:9,} {r['workers']:8} {r['seconds']:7.1f} {r['cpu_seconds']:7.1f} {r['fraction_writing']:8.1%} "
            f"{r['megabytes']:8.1f} {r['peak_gigabytes']:8.2f} {r['load']:6.1f}"
        )
    _, few, many = results
    print(f"memory at {arguments.factor} times the rows: {many['peak_gigabytes'] / few['peak_gigabytes']:.2f} times")
    print(f"at most {MEMORY_BAR} GB: {'yes' if many['peak_gigabytes'] <= MEMORY_BAR else 'NO'}")
    if arguments.output:
        arguments.output.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
