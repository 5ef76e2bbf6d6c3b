"""Seconds per neuron-step of the GLIF simulator, level 5, voltage recorded, one core, beside its peers and its floor.

The floor is the time of filling the output array once. The peers (AllenSDK's pure-Python ``GlifNeuron``, NEST's
``glif_psc``) run in environments of their own, which ``--peers`` creates. Every program is run once per round, round
after round, and its processor time taken, so that a busy machine is the same for all; the medians are compared.

    python benchmarks/simulation.py --peers --output simulation.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from neuroinf.simulators import GLIF

# The published level-5 model of specimen 483101699 (Teeter et al. 2018; Allen Cell Types Database), SI units.
SPIKE = {"a_spike": 0.002684257062614408, "b_spike": 205.63058743663166}
CONFIG: dict[str, Any] = {
    "type": "GLIF",
    "dt": 5e-05,
    "dt_multiplier": 10,
    "El": 0.0,
    "El_reference": -0.07841676839192706,
    "C": 1.0949424420741503e-10,
    "R_input": 225012799.8320706,
    "th_inf": 0.03418635859613008,
    "th_adapt": None,
    "coeffs": {"a": 1, "b": 1, "C": 1, "G": 1, "th_inf": 0.8508208202589207, "asc_amp_array": [1.0, 1.0]},
    "spike_cut_length": 55,
    "asc_tau_array": [0.1, 0.01],
    "asc_amp_array": [-4.6588692992501775e-11, -1.5356269164220922e-10],
    "init_voltage": 0.0,
    "init_threshold": 0.03418635859613008,
    "init_AScurrents": [0.0, 0.0],
    "extrapolation_method_name": "endpoints",
    "voltage_dynamics_method": {"name": "linear_forward_euler", "params": {}},
    "voltage_reset_method": {"name": "v_before", "params": {"a": 0.7896671, "b": 8.944e-05}},
    "threshold_reset_method": {"name": "three_components", "params": SPIKE},
    "threshold_dynamics_method": {
        "name": "three_components_exact",
        "params": {**SPIKE, "a_voltage": 12.867807199760634, "b_voltage": 46.96113566059407},
    },
    "AScurrent_dynamics_method": {"name": "exp", "params": {}},
    "AScurrent_reset_method": {"name": "sum", "params": {"r": [1.0, 1.0]}},
}
PEER_SCRIPTS = Path(__file__).parent / "peers"


@dataclass(frozen=True)
class Bar:
    """How many times faster than a peer the simulator has to be."""

    peer: str
    factor: float


BARS = (Bar("AllenSDK GlifNeuron", 1500.0), Bar("NEST glif_psc, voltage recorded", 10.0))


class Peer:
    """A program in another environment, which runs one pass whenever it is asked to."""

    def __init__(self, python: Path, script: str, *arguments: str) -> None:
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - lives as long as the process
        command = [str(python), str(PEER_SCRIPTS / script), *arguments]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True, bufsize=1
        )

    def __call__(self) -> dict[str, float]:
        """One pass: its seconds, neuron-steps and spikes.

        Raises:
            RuntimeError: if the program ended; with its last words.
        """
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            self.process.stdin.write("run\n")
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            self.log.seek(0)
            raise RuntimeError((self.log.read().strip().splitlines() or ["it ended without a word"])[-1])
        return json.loads(answer)

    def close(self) -> None:
        """End the program."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def environment(folder: Path, *installs: list[str]) -> Path:
    """The Python of a virtual environment with these ``pip install`` arguments, made if it is not there yet.

    Raises:
        RuntimeError: if something cannot be installed; with pip's last words.
    """
    python = folder / "bin" / "python"
    complete = folder / "complete"
    if complete.exists():
        return python
    print(f"setting up {folder} ...", file=sys.stderr)
    venv.create(folder, with_pip=True, clear=True)
    for install in installs:
        done = subprocess.run(
            [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *install],
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise RuntimeError((done.stderr.strip().splitlines() or ["pip failed"])[-1])
    complete.touch()
    return python


def peers(folder: Path, config: Path, current: Path) -> tuple[dict[str, Peer], dict[str, str]]:
    """The peers that could be set up, warmed, and why the others could not."""
    files = (str(config), str(current))
    makers: dict[str, Callable[[], Peer]] = {
        "AllenSDK GlifNeuron": lambda: Peer(
            # Without its dependencies, which pin old versions: the GLIF simulator needs these two alone.
            environment(folder / "allensdk", ["numpy", "simplejson"], ["--no-deps", "allensdk"]),
            "allensdk_glif.py",
            *files,
        ),
        "NEST glif_psc, voltage recorded": lambda: Peer(
            environment(folder / "nest", ["nest-simulator"]), "nest_glif.py", *files, "voltage"
        ),
        "NEST glif_psc, nothing recorded": lambda: Peer(
            environment(folder / "nest", ["nest-simulator"]), "nest_glif.py", *files, "nothing"
        ),
    }
    running: dict[str, Peer] = {}
    missing: dict[str, str] = {}
    for name, make in makers.items():
        try:
            peer = make()
            peer()
            running[name] = peer
        except (RuntimeError, OSError, subprocess.SubprocessError) as problem:
            missing[name] = str(problem)
    return running, missing


def pink_currents(n: int, steps: int, dt: float, mean: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Pink noise of 1 to 100 Hz around a mean current, coefficient of variation 0.2, (n, steps), pA."""
    frequency = np.fft.rfftfreq(steps, 1e-3 * dt)
    band = (frequency >= 1) & (frequency <= 100)
    amplitude = np.where(band, 1 / np.sqrt(np.maximum(frequency, 1.0)), 0.0)
    noise = np.fft.irfft(amplitude * np.exp(2j * np.pi * rng.random((n, len(frequency)))), steps)
    return mean * (1 + 0.2 * noise / noise.std(axis=1, keepdims=True))


def own_passes(theta: NDArray[np.float64], currents: NDArray[np.float64], dt: float) -> dict[str, Callable[[], Any]]:
    """One call of the simulator, and of its floor, for each output precision: the work to be timed."""
    simulator = GLIF(level=5)
    passes: dict[str, Callable[[], Any]] = {}
    for dtype, suffix in ((np.float64, ""), (np.float32, ", float32")):
        stimulus = currents.astype(dtype)[:, None]

        def simulate(stimulus: NDArray[Any] = stimulus) -> dict[str, float]:
            start = time.process_time()
            response = simulator.simulate(theta, stimulus, dt)
            seconds = time.process_time() - start
            return {"seconds": seconds, "steps": stimulus.size, "spikes": sum(map(len, response["spikes"]))}

        def fill(stimulus: NDArray[Any] = stimulus) -> dict[str, float]:
            start = time.process_time()
            np.empty(stimulus.shape, stimulus.dtype).fill(1.0)
            return {"seconds": time.process_time() - start, "steps": stimulus.size}

        passes[f"neuroinf GLIF{suffix}"] = simulate
        passes[f"floor: filling the array once{suffix}"] = fill
    return passes


def measure(passes: dict[str, Callable[[], Any]], rounds: int) -> dict[str, dict[str, float]]:
    """Every program once per round; median and least nanoseconds per neuron-step, and spikes per 1000 neuron-steps."""
    for once in passes.values():
        once()
    results: dict[str, list[dict[str, float]]] = {name: [] for name in passes}
    for _ in range(rounds):
        for name, once in passes.items():
            results[name].append(once())
    summary = {}
    for name, answers in results.items():
        each = [1e9 * answer["seconds"] / answer["steps"] for answer in answers]
        summary[name] = {"median": statistics.median(each), "least": min(each), "steps": answers[0]["steps"]}
        if "spikes" in answers[0]:
            summary[name]["spikes_per_1000_steps"] = 1e3 * answers[0]["spikes"] / answers[0]["steps"]
    return summary


def report(summary: dict[str, dict[str, float]], missing: dict[str, str]) -> list[dict[str, Any]]:
    """Print the table and the bars; returns the bars with their verdicts."""
    own = summary["neuroinf GLIF"]["median"]
    print(f"{'ns per neuron-step, level 5, one core':42s} {'median':>10s} {'least':>10s} {'/ neuroinf':>10s}")
    for name, row in sorted(summary.items(), key=lambda item: item[1]["median"]):
        print(f"{name:42s} {row['median']:10.2f} {row['least']:10.2f} {row['median'] / own:10.2f}")
    for name, reason in missing.items():
        print(f"{name:42s} skipped: {reason}")
    verdicts = []
    for bar in BARS:
        if bar.peer in summary:
            ratio = summary[bar.peer]["median"] / own
            verdicts.append({"peer": bar.peer, "bar": bar.factor, "ratio": ratio, "holds": ratio >= bar.factor})
            word = "holds" if ratio >= bar.factor else "FAILS"
            print(f"at least {bar.factor:g} times {bar.peer}: {ratio:.1f}, {word}")
    return verdicts


def main() -> None:
    """Measure, print, and write the JSON that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--neurons", type=int, default=1000)
    parser.add_argument("--duration", type=float, default=200.0, help="ms of each neuron; its step is 0.05 ms")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--peers", action="store_true", help="set up and run AllenSDK and NEST too")
    parser.add_argument("--peers-folder", type=Path, default=Path(tempfile.gettempdir()) / "neuroinf-peers")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args()

    numba.config.NUMBA_NUM_THREADS = 1
    _, theta = GLIF.from_allen(CONFIG)
    theta = np.repeat(theta, arguments.neurons, axis=0)
    dt = 1e3 * CONFIG["dt"]
    mean = 1.5 * float(GLIF(level=5).rheobase(theta[:1])[0])
    currents = pink_currents(arguments.neurons, round(arguments.duration / dt), dt, mean, np.random.default_rng(0))
    passes = own_passes(theta, currents, dt)
    running: dict[str, Peer] = {}
    missing: dict[str, str] = {name: "run with --peers" for name in ("AllenSDK GlifNeuron", "NEST glif_psc")}
    with tempfile.TemporaryDirectory() as folder:
        if arguments.peers:
            config_file, current_file = Path(folder) / "config.json", Path(folder) / "current.npy"
            config_file.write_text(json.dumps(CONFIG))
            np.save(current_file, currents)
            running, missing = peers(arguments.peers_folder, config_file, current_file)
        if hasattr(os, "sched_setaffinity"):  # Linux: all programs on the same single core
            core = max(os.sched_getaffinity(0))
            for process in (0, *(peer.process.pid for peer in running.values())):
                os.sched_setaffinity(process, {core})
        try:
            summary = measure({**passes, **running}, arguments.rounds)
        finally:
            for peer in running.values():
                peer.close()
    verdicts = report(summary, missing)
    if arguments.output:
        machine = {"processor": platform.processor() or platform.machine(), "system": platform.platform()}
        versions = {"python": platform.python_version(), "numpy": np.__version__, "numba": numba.__version__}
        content = {"unit": "ns per neuron-step", "results": summary, "bars": verdicts, "skipped": missing}
        arguments.output.write_text(json.dumps({**content, "machine": machine, "versions": versions}, indent=2) + "\n")


if __name__ == "__main__":
    main()
