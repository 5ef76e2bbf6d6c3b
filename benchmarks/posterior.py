"""Posteriors by neuroinf and by sbi's NPE from the same simulations: how good, how fast, and in how much memory.

    python benchmarks/posterior.py [--quick] [--environment DIR] [--output posterior.json]

Both learn from the first N rows of one file of level-3 simulations (benchmarks/posterior.yaml), each in a process of
its own with the same number of threads, one after the other, and answer for the same test observations. Both are
trained again on N / 10 rows, for the memory. sbi is installed with pip into a temporary environment, or is found in
the one that is given.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
import venv
import warnings
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from neuroinf.datasets.datamodule import SimulationDataModule
from neuroinf.datasets.generation import generate
from neuroinf.datasets.schema import Dataset
from neuroinf.datasets.views import observe_rows
from neuroinf.evaluation.calibration import coverage
from neuroinf.evaluation.comparison import Condition
from neuroinf.evaluation.methods import Amortized
from neuroinf.evaluation.metrics import by_name, plain, r2
from neuroinf.experiment import experiment
from neuroinf.inference import load
from neuroinf.posterior import Posterior
from neuroinf.priors import Prior
from neuroinf.training import train

FloatArray = NDArray[np.float64]
CONFIG = Path(__file__).with_suffix(".yaml")
SCRIPT = Path(__file__).parent / "peers" / "sbi_npe.py"
PACKAGES = ("torch>=2.6,<2.14", "sbi")
OWN = "neuroinf"
FACTOR = 10  # by which N grows, for the memory
SAMPLES = 1000  # of each posterior
NOISE_SEED = 20_260_102
AT_ONCE = 500  # rows
TIMED = 50  # posteriors that are sampled one by one
# the bars: of sbi's training time, and of its growth in memory
TIME_BAR, MEMORY_BAR = 1 / 3, 1 / 10


@dataclass(frozen=True)
class Work:
    """What one training is given: `rows` rows of the files in `folder`, `threads` threads, more flags for train.py."""

    folder: Path
    rows: int
    threads: int
    flags: tuple[str, ...]

    @property
    def arguments(self) -> list[str]:
        """As for train.py. Logs are off, for sbi's are small."""
        own = {"data.path": self.folder / f"{self.rows}.h5", "data.simulation.n": self.rows, "runs": self.folder}
        quiet = ["--trainer.logger=false", "--trainer.enable_progress_bar=false"]
        return ["--config", str(CONFIG), *[f"--{k}={v}" for k, v in own.items()], *quiet, *self.flags]


def simulate(work: Work, few: int, test_rows: int) -> dict[str, Any]:
    """The files of rows, of its first ones, and of test rows; and as arrays what a network sees of them."""
    began = time.perf_counter()
    for rows in (few, work.rows):
        data = _data(Work(work.folder, rows, work.threads, work.flags))
        data.test_rows = test_rows
        data.prepare_data()  # row i depends on the seed and on i alone: the fewer are the first of the many
    generate(data.test_simulation(), work.folder / "test.h5")
    seconds = time.perf_counter() - began
    noise = np.random.default_rng(NOISE_SEED)
    for name, path in (("", Path(data.path)), ("test_", work.folder / "test.h5")):
        file, seen = Dataset(path), data.observation
        steps = round(data.simulation.duration / seen.dt)
        x = np.lib.format.open_memmap(work.folder / f"{name}x.npy", "w+", np.float32, (file.n, seen.width, steps))
        for start in range(0, file.n, AT_ONCE):
            rows = np.arange(start, min(start + AT_ONCE, file.n))
            x[rows] = seen.add_noise(observe_rows(file, rows, seen, data.simulation.duration), noise)
        x.flush()
        np.save(work.folder / f"{name}theta.npy", file.parameters)
        np.save(work.folder / f"{name}u.npy", np.asarray(data.prior.to_unit(file.parameters), np.float32))
    return {"seconds_simulating": seconds, "samples": steps, "channels": list(data.observation.channels)}


# the flags come from here, not from this script's own command line
warnings.filterwarnings("ignore", "LightningCLI's args parameter")
warnings.filterwarnings("ignore", "Checkpoint directory")


def _data(work: Work) -> SimulationDataModule:
    return experiment(work.arguments).datamodule


def peak_gigabytes() -> float:
    """Largest resident size of this process."""
    try:  # getrusage's also counts what the process that started this one held
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024e-9 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    except FileNotFoundError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1e-9 if sys.platform == "darwin" else 1024e-9)


def run_own(work: Work, evaluate: bool) -> None:
    """In a process of its own: train as train.py does and, if asked to, answer for the test observations."""
    torch.set_num_threads(work.threads)
    began, cpu = time.perf_counter(), time.process_time()
    checkpoint = train(work.arguments)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    result: dict[str, Any] = {"seconds": seconds, "cpu_seconds": cpu, "peak_gigabytes": peak_gigabytes()}
    estimator = load(checkpoint)
    result |= {"epochs": len(estimator.history), "validation_loss": [line["val/loss"] for line in estimator.history]}
    result["versions"] = {OWN: version("neuroinf"), "torch": torch.__version__}
    if evaluate:
        x, theta = np.load(work.folder / "test_x.npy"), np.load(work.folder / "test_theta.npy")
        estimates = Amortized(estimator, theta, SAMPLES)(x, Condition("test", {}))
        assert estimates.samples is not None and estimates.log_prob is not None
        np.save(work.folder / "own_theta.npy", estimates.samples)
        np.save(work.folder / "own_log_prob.npy", estimates.log_prob)
        began = time.perf_counter()
        for row in x[:TIMED]:  # as sbi does it: embedding and samples, nothing else
            Posterior(estimator.prior, estimator.density, estimator.features(row[None])).sample(SAMPLES)
        result["seconds_per_1000_samples"] = (time.perf_counter() - began) / min(TIMED, len(x))
        began = time.perf_counter()
        for row in x[:TIMED]:
            estimator.posterior(row[None]).sample(SAMPLES)
        result["seconds_per_1000_samples_and_warnings"] = (time.perf_counter() - began) / min(TIMED, len(x))
        parts = (estimator.encoder, estimator.density)
        result["parameters"] = sum(p.numel() for part in parts for p in part.parameters())
    (work.folder / "own.json").write_text(json.dumps(result))


def own(work: Work, evaluate: bool) -> dict[str, Any]:
    """Run neuroinf in a process of its own."""
    process = multiprocessing.get_context("spawn").Process(target=run_own, args=(work, evaluate))
    process.start()
    process.join()
    if process.exitcode != 0:
        raise SystemExit(f"neuroinf failed on {work.rows} rows")
    return json.loads((work.folder / "own.json").read_text())


def peer(python: Path, flow: str, work: Work, evaluate: bool) -> dict[str, Any]:
    """Run sbi in its environment."""
    task = "evaluate" if evaluate else "train"
    command = [str(python), str(SCRIPT), str(work.folder), flow, str(work.rows), str(work.threads), task]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"sbi failed on {work.rows} rows: {(done.stderr.strip().splitlines() or ['no word'])[-1]}")
    return json.loads((work.folder / "sbi.json").read_text())


def environment(folder: Path) -> Path:
    """The Python of a new virtual environment with sbi in it."""
    print(f"installing sbi into {folder} ...", file=sys.stderr)
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES]
    done = subprocess.run(install, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"sbi cannot be installed: {(done.stderr.strip().splitlines() or ['pip failed'])[-1]}")
    return python


def scores(prior: Prior, truth: FloatArray, samples: FloatArray, log_prob: FloatArray) -> dict[str, Any]:
    """Of samples (n, S, P) and log densities of the truth (n,), natural units; R2 on the prior's own scale."""
    mean = prior.from_unit(np.asarray(prior.to_unit(samples)).mean(1).clip(0, 1))
    found, covered = r2(truth, mean, prior), coverage(truth, samples, 0.9)
    return {
        "log_prob": float(log_prob.mean()),
        "log_prob_standard_error": float(log_prob.std(ddof=1) / math.sqrt(len(log_prob))),
        "log_prob_median": float(np.median(log_prob)),
        "r2": by_name(prior, found),
        "r2_mean": float(found.mean()),
        "coverage_90": by_name(prior, covered),
        "coverage_90_mean": float(covered.mean()),
    }


def own_scores(prior: Prior, folder: Path) -> dict[str, Any]:
    """Of neuroinf's answers."""
    return scores(prior, *[np.load(folder / f"{name}.npy") for name in ("test_theta", "own_theta", "own_log_prob")])


def peer_scores(prior: Prior, folder: Path) -> dict[str, Any]:
    """Of sbi's answers, from [0, 1] to natural units: the prior is uniform in u, so du/dtheta is its density."""
    truth, u = np.load(folder / "test_theta.npy"), np.load(folder / "sbi_u.npy").astype(np.float64)
    samples = np.asarray(prior.from_unit(u.clip(0, 1)))
    raw, corrected = np.load(folder / "sbi_log_prob.npy") + prior.log_prob(torch.from_numpy(truth)).numpy()
    return scores(prior, truth, samples, corrected) | {"log_prob_without_leakage_correction": float(raw.mean())}


def verdicts(results: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Of the bars, against every flow of sbi."""
    ours, found = results[OWN], []
    for name, theirs in results.items():
        if name != OWN:
            for what, value, bar, holds in (
                ("log_prob, difference", ours["log_prob"] - theirs["log_prob"], 0.0, np.greater),
                ("training seconds, ratio", ours["seconds"] / theirs["seconds"], TIME_BAR, np.less_equal),
                ("memory growth, ratio", ours["growth"] / theirs["growth"], MEMORY_BAR, np.less_equal),
            ):
                found.append({"peer": name, "bar": what, "value": value, "at": bar, "holds": bool(holds(value, bar))})
    return found


def report(results: dict[str, dict[str, Any]], bars: list[dict[str, Any]], rows: int) -> None:
    """Print the table and the verdicts."""
    names = list(results)
    print(f"{f'{rows:,} simulations':34s}" + "".join(f"{name:>16s}" for name in names))
    lines = [
        ("held-out log-prob (nats)", "log_prob", ".2f"),
        ("  its standard error", "log_prob_standard_error", ".2f"),
        ("  median", "log_prob_median", ".2f"),
        ("  without leakage correction", "log_prob_without_leakage_correction", ".2f"),
        ("mass within the prior", "mass_within_prior", ".3f"),
        ("R2 of the posterior mean", "r2_mean", ".3f"),
        ("90 % coverage", "coverage_90_mean", ".3f"),
        ("training (s)", "seconds", ".1f"),
        ("  processor time (s)", "cpu_seconds", ".1f"),
        ("  epochs", "epochs", "d"),
        ("peak memory (GB)", "peak_gigabytes", ".3f"),
        (f"  at {rows // FACTOR:,} simulations", "peak_gigabytes_few", ".3f"),
        ("  growth", "growth", ".3f"),
        ("1,000 posterior samples (s)", "seconds_per_1000_samples", ".4f"),
        ("  with all warnings", "seconds_per_1000_samples_and_warnings", ".4f"),
        ("weights", "parameters", ",d"),
    ]
    for title, key, form in lines:
        cells = [format(results[name][key], form) if key in results[name] else "-" for name in names]
        print(f"{title:34s}" + "".join(f"{cell:>16s}" for cell in cells))
    for key, title in (("r2", "R2"), ("coverage_90", "coverage")):
        for parameter in results[OWN][key]:
            cells = [format(results[name][key][parameter], ".3f") for name in names]
            print(f"{f'  {title} {parameter}':34s}" + "".join(f"{cell:>16s}" for cell in cells))
    for bar in bars:
        word = "holds" if bar["holds"] else "FAILS"
        print(f"{bar['peer']}: {bar['bar']} {bar['value']:.3f} (bar {bar['at']:.3f}): {word}")


def main() -> None:
    """Simulate, train both, compare, print, and write the JSON that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--test-rows", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--flows", nargs="+", default=["maf"], help="sbi's; maf is its default, nsf its spline flow")
    parser.add_argument("--quick", action="store_true", help="1,000 rows and 100 test rows: does it run?")
    parser.add_argument("--environment", type=Path, help="one that has sbi; by default a temporary one is made")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    parser.add_argument("flags", nargs="*", help="more for train.py, after --")
    arguments = parser.parse_args()
    rows, test_rows = (1000, 100) if arguments.quick else (arguments.rows, arguments.test_rows)
    os.environ |= {"OMP_NUM_THREADS": str(arguments.threads), "MKL_NUM_THREADS": str(arguments.threads)}
    results: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python = arguments.environment / "bin" / "python" if arguments.environment else environment(folder / "sbi")
        many = Work(folder, rows, arguments.threads, tuple(arguments.flags))
        few = Work(folder, rows // FACTOR, arguments.threads, tuple(arguments.flags))
        data = simulate(many, few.rows, test_rows)
        prior = _data(many).prior
        for label in (OWN, *arguments.flows):
            runs = []
            for work in (few, many):
                print(f"{label if label == OWN else f'sbi {label}'}: {work.rows:,} rows ...", file=sys.stderr)
                last = work is many
                runs.append(own(work, last) if label == OWN else peer(python, label, work, last))
            smaller, larger = runs
            answers = own_scores(prior, folder) if label == OWN else peer_scores(prior, folder)
            peaks = {"peak_gigabytes_few": smaller["peak_gigabytes"], "seconds_few": smaller["seconds"]}
            growth = {"growth": larger["peak_gigabytes"] - smaller["peak_gigabytes"]}
            results[label if label == OWN else f"sbi {label}"] = {**larger, **peaks, **growth, **answers}
    bars = [] if arguments.quick else verdicts(results)  # they are for the full size
    report(results, bars, rows)
    if arguments.output:
        machine = {"processor": platform.processor() or platform.machine(), "system": platform.platform()}
        setting = {"rows": rows, "test_rows": test_rows, "threads": arguments.threads, **data}
        content = {"setting": setting, "results": results, "bars": bars, "machine": machine, "load": os.getloadavg()}
        arguments.output.write_text(json.dumps(plain(content), indent=2) + "\n")


if __name__ == "__main__":
    main()
