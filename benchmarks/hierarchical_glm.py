"""Teachers and students of the hierarchical neuron: are a tree's parameters and depth found from its voltage?

The self-test of Ujfalussy et al. (2018): 10 excitatory and 10 inhibitory inputs of 5 Hz in bins of 1 ms; teachers drawn
as `neuroinf.fits.hierarchical_start.draw` says (nSD = 1, voltage of mean -60 and sd 5 mV), students from 1L up to the
teacher or beyond. Seeds are explicit. About ten minutes on one core; `--quick` half a minute, to show that it runs.

    python benchmarks/hierarchical_glm.py --output hierarchical_glm.json
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroinf.fits.hierarchical_glm import Fit, Penalties, explained, fit, fit_ladder, predict
from neuroinf.fits.hierarchical_minimum import Optimizer
from neuroinf.fits.hierarchical_selection import select
from neuroinf.fits.hierarchical_start import draw, extend
from neuroinf.fits.hierarchical_threshold import fit_threshold
from neuroinf.simulators import HierarchicalGLM
from neuroinf.simulators.hierarchical_glm_tree import ARCHITECTURES, Sharing

FloatArray = NDArray[np.float64]
Table = dict[str, Any]

EXCITATORY, INHIBITORY, RATE, DT = 10, 10, 5.0, 1.0  # inputs, Hz, ms
NAMES = list(ARCHITECTURES)
TEST = 20000  # bins


def ladder(upto: str, synapses: Sharing = "individual") -> dict[str, HierarchicalGLM]:
    """All named architectures up to one, inputs at the leaves, nonlinear somata but 1L's."""
    names = NAMES[: NAMES.index(upto) + 1]
    return {name: HierarchicalGLM.named(name, EXCITATORY, INHIBITORY, synapses) for name in names}


def published_ladder() -> dict[str, HierarchicalGLM]:
    """The tree of the published program's self-test, inputs at inner subunits too and a linear soma, and its coarser
    versions."""
    inputs = [list(range(1, 11))], [list(range(11, 21))]
    two = [[], [1, 3, 4, 5, 6], [2, 7, 8, 9, 10]], [[11, 12, 13, 14, 15], [16, 18], [17, 19, 20]]
    three = (
        [[], [1], [2], [3, 4], [5, 6], [7, 8], [9, 10]],
        [[11, 12, 13, 14, 15], [16], [17], [18], [], [19], [20]],
    )
    somata = {"1L": inputs, "2N": two, "3N": three}
    return {name: HierarchicalGLM(ARCHITECTURES[name], *x, linear_soma=True) for name, x in somata.items()}


def spike_trains(steps: int, rng: np.random.Generator) -> FloatArray:
    """Independent inputs (N, T), 0 or 1 per bin."""
    return (rng.random((EXCITATORY + INHIBITORY, steps)) < RATE * DT / 1000).astype(np.float64)


class Teacher:
    """A random neuron with training, held-out and test recordings."""

    def __init__(self, simulator: HierarchicalGLM, steps: int, seed: Sequence[int]) -> None:
        self.rng, self.simulator = np.random.default_rng(seed), simulator
        self.inputs, self.held_out_inputs, self.test_inputs = (
            spike_trains(length, self.rng) for length in (steps, TEST, TEST)
        )
        self.theta = draw(self.simulator, self.inputs, DT, self.rng)
        self.voltage, self.held_out, self.test = (
            predict(self.simulator, self.theta, x, DT) for x in (self.inputs, self.held_out_inputs, self.test_inputs)
        )

    def errors(self, student: Fit) -> tuple[FloatArray, NDArray[np.bool_]]:
        """|log tau error| and whether the sign of the weight is right, of each synapse."""
        tau, w = self.simulator.columns["tau"], self.simulator.columns["w"]
        wrong = np.abs(np.log(student.theta[tau] / self.theta[tau]))
        return wrong, np.sign(student.theta[w]) == np.sign(self.theta[w])


def recovery(
    models: dict[str, HierarchicalGLM],
    steps: int,
    seeds: Sequence[int],
    released: bool,
    noise: float = 0.0,
    penalties: Penalties | None = None,
) -> Table:
    """3N teachers, students of all the models; noise on the training voltage, mV, none on the test voltage."""
    r2: dict[str, list[float]] = {name: [] for name in models}
    signal: dict[str, list[float]] = {name: [] for name in models}
    tau: list[FloatArray] = []
    signs: list[NDArray[np.bool_]] = []
    begin = time.perf_counter()
    for seed in seeds:
        teacher = Teacher(models["3N"], steps, [1, seed])
        noisy = teacher.voltage + noise * teacher.rng.standard_normal(steps)
        students = [*models.values()]
        fits = fit_ladder(noisy, teacher.inputs, students, DT, teacher.rng, penalties=penalties, released=released)
        for name, student in zip(r2, fits, strict=True):
            scores = explained(teacher.test, student.voltage(teacher.test_inputs, DT))
            r2[name].append(scores[0])
            signal[name].append(scores[1])
        wrong, right = teacher.errors(fits[-1])
        tau.append(wrong)
        signs.append(right)
    seconds = (time.perf_counter() - begin) / len(seeds)
    all_tau, all_signs = np.concatenate(tau), np.concatenate(signs)
    return {
        "teachers": len(seeds),
        "seconds_per_teacher": seconds,
        "test_r2_median": {name: float(np.median(x)) for name, x in r2.items()},
        "test_r2_least": {name: float(np.min(x)) for name, x in r2.items()},
        "signal_explained_median": {name: float(np.median(x)) for name, x in signal.items()},
        "teacher_architecture_at_0.99": float(np.mean(np.array(r2["3N"]) >= 0.99)),
        "teacher_architecture_above_0.9999": float(np.mean(np.array(r2["3N"]) > 0.9999)),
        "1L_below_3N": float(np.mean(np.array(r2["1L"]) < np.array(r2["3N"]))),
        "log_tau_error_median": float(np.median(all_tau)),
        "log_tau_error_at_most_0.1": float(np.mean(all_tau <= 0.1)),
        "sign_correct": float(np.mean(all_signs)),
        "both": float(np.mean((all_tau <= 0.1) & all_signs)),
        "both_worst_teacher": float(min(np.mean((t <= 0.1) & s) for t, s in zip(tau, signs, strict=True))),
    }


def selection(steps: int, seeds: Sequence[int], noise: float, released: bool) -> Table:
    """Teachers of every depth; all five students; which one does held-out voltage favour?"""
    models = ladder("4N")
    best = np.zeros((len(NAMES), len(NAMES)), int)
    chosen = np.zeros_like(best)
    begin = time.perf_counter()
    for depth, simulator in enumerate(models.values()):
        for seed in seeds:
            teacher = Teacher(simulator, steps, [2, depth, seed])
            rng = teacher.rng
            noisy, held_out = (v + noise * rng.standard_normal(len(v)) for v in (teacher.voltage, teacher.held_out))
            fits = fit_ladder(noisy, teacher.inputs, [*models.values()], DT, rng, released=released)
            picked = select(held_out, [f.voltage(teacher.held_out_inputs, DT) for f in fits], DT)
            best[depth, picked.best] += 1
            chosen[depth, picked.chosen] += 1
    total = best.sum()
    return {
        "teachers": int(total),
        "noise_mv": noise,
        "seconds_per_teacher": (time.perf_counter() - begin) / float(total),
        "smallest_error_right": float(np.trace(best) / total),
        "one_standard_error_right": float(np.trace(chosen) / total),
        "smallest_error_by_depth": (best.diagonal() / len(seeds)).tolist(),
        "one_standard_error_by_depth": (chosen.diagonal() / len(seeds)).tolist(),
        "smallest_error_confusion": best.tolist(),
        "one_standard_error_confusion": chosen.tolist(),
    }


def optimizers(steps: int, seeds: Sequence[int]) -> Table:
    """Unexplained test variance and seconds of Levenberg-Marquardt and L-BFGS, from the same start, no penalties."""
    cases: list[tuple[Optimizer, int]] = [("levenberg-marquardt", 100), ("l-bfgs", 100), ("l-bfgs", 1000)]
    rows: dict[str, list[tuple[float, float]]] = {f"{name} {most}": [] for name, most in cases}
    for seed in seeds:
        teacher = Teacher(ladder("3N")["3N"], steps, [1, seed])
        fits = fit_ladder(teacher.voltage, teacher.inputs, [*ladder("2N").values()], DT, teacher.rng)
        start = extend(fits[-1].simulator, fits[-1].theta, teacher.simulator, teacher.inputs, DT, 1.0)
        for name, most in cases:
            found = fit(
                teacher.voltage, teacher.inputs, teacher.simulator, DT, [start], optimizer=name, evaluations=most
            )
            r2, _ = explained(teacher.test, found.voltage(teacher.test_inputs, DT))
            rows[f"{name} {most}"].append((1 - r2, found.seconds))
    return {
        key: dict(zip(("unexplained_median", "seconds_median"), np.median(x, axis=0).tolist(), strict=True))
        for key, x in rows.items()
    }


def spiking(steps: int, seeds: Sequence[int]) -> Table:
    """1N neurons that spike: voltage given the spikes, and held-out log-likelihood against the teacher's own."""
    rows: list[tuple[float, ...]] = []
    for seed in seeds:
        rng = np.random.default_rng([3, seed])
        simulator = HierarchicalGLM.named("1N", EXCITATORY, INHIBITORY, spiking=True)
        x, test_inputs = spike_trains(steps, rng), spike_trains(TEST, rng)
        theta = draw(simulator, x, DT, rng)
        part = simulator.columns
        theta[part["after_spike"]] = np.linspace(-2.0, 0.0, 8)
        theta[part["soft"]] = 0.4, -60.0
        theta[part["threshold"]] = np.linspace(8.0, 0.0, 8)
        recorded = [simulator.simulate(theta[None], y[None], DT, [100 + k]) for k, y in enumerate((x, test_inputs))]
        trains = [
            np.isin(np.arange(y.shape[1]), r["spikes"][0]) for y, r in zip((x, test_inputs), recorded, strict=True)
        ]
        voltage = np.where(trains[0], np.nan, np.asarray(recorded[0]["voltage"])[0])
        models = [HierarchicalGLM.named(name, EXCITATORY, INHIBITORY, spiking=True) for name in ("1L", "1N")]
        last = fit_ladder(voltage, x, models, DT, rng, trains[0], released=True)[-1]
        fitted = fit_threshold(simulator, last.theta, last.voltage(x, DT, trains[0]), trains[0], DT)
        constant = trains[1].mean()
        predicted = predict(simulator, fitted, test_inputs, DT, trains[1])
        likelihood = [log_likelihood(simulator, t, test_inputs, trains[1]) for t in (theta, fitted)]
        flat = float(trains[1].sum() * np.log(constant) + (~trains[1]).sum() * np.log1p(-constant))
        bits = [(value - flat) / np.log(2) / trains[1].sum() for value in likelihood]
        r2, _ = explained(np.asarray(recorded[1]["voltage"])[0], predicted)
        rate = 1000 * constant / DT
        rows.append((rate, r2, fitted[part["soft"]][0], fitted[part["soft"]][1], bits[0], bits[1]))
    names = ("rate_hz", "test_r2", "beta (0.4)", "v_th (-60)", "bits_per_spike_teacher", "bits_per_spike_student")
    return dict(zip(names, np.median(rows, axis=0).tolist(), strict=True))


def log_likelihood(
    simulator: HierarchicalGLM, theta: FloatArray, inputs: FloatArray, train: NDArray[np.bool_]
) -> float:
    """Of a spike train, given the inputs and the train's own past."""
    import torch

    from neuroinf.simulators.hierarchical_glm_twin import HierarchicalGLMTwin

    twin = HierarchicalGLMTwin(simulator)
    voltage = torch.from_numpy(predict(simulator, theta, inputs, DT, train))[None]
    history = torch.from_numpy(twin.history(train, DT)[1])[None]
    spikes = torch.from_numpy(train.astype(np.float64))[None]
    return float(twin.spike_log_likelihood(torch.from_numpy(theta)[None], voltage, spikes, DT, history))


def speed(steps: int, rows: int) -> Table:
    """Input-samples per second of the kernel on this thread, best of five passes."""
    x = np.stack([spike_trains(steps, np.random.default_rng([4, i])) for i in range(rows)]).astype(np.float32)
    found: Table = {}
    for name in ("1L", "3N"):
        simulator = HierarchicalGLM.named(name, EXCITATORY, INHIBITORY)
        theta = np.repeat(draw(simulator, x[0], DT, np.random.default_rng(5))[None], rows, axis=0)
        taken = []
        for _ in range(6):
            begin = time.process_time()
            simulator.simulate(theta, x, DT)
            taken.append(time.process_time() - begin)
        found[name] = x.size / min(taken[1:])
    return found


def parts(quick: bool) -> dict[str, Callable[[], Table]]:
    """The tables by name."""
    n, many, depths = (2, 1, 1) if quick else (20, 6, 6)
    long, middle = (5000, 5000) if quick else (48000, 20000)
    own, shared, published = ladder("3N"), ladder("3N", "shared"), published_ladder()
    return {
        "kernel, input-samples per second": lambda: speed(5000, 5 if quick else 50),
        "3N teachers, 5 s, individual synapses, penalties": lambda: recovery(own, 5000, range(n), False),
        "3N teachers, 5 s, individual synapses, released": lambda: recovery(own, 5000, range(n), True),
        "3N teachers, 5 s, individual synapses, never penalties": lambda: recovery(
            own, 5000, range(n), False, penalties=Penalties(0.0, 0.0)
        ),
        "3N teachers, 5 s, shared synapses": lambda: recovery(shared, 5000, range(n), False),
        "3N teachers, 5 s, published tree, released": lambda: recovery(published, 5000, range(n), True),
        "3N teachers, 48 s, individual synapses, penalties": lambda: recovery(own, long, range(many), False),
        "3N teachers, 48 s, individual synapses, released": lambda: recovery(own, long, range(many), True),
        "3N teachers, 48 s, 0.5 mV noise, penalties": lambda: recovery(own, long, range(many), False, 0.5),
        "3N teachers, 48 s, 0.5 mV noise, released": lambda: recovery(own, long, range(many), True, 0.5),
        "3N teachers, 48 s, shared synapses": lambda: recovery(shared, long, range(many), False),
        "depth, 20 s, no noise, released": lambda: selection(middle, range(depths), 0.0, True),
        "depth, 20 s, 0.5 mV noise, penalties": lambda: selection(middle, range(depths), 0.5, False),
        "optimizers, 5 s": lambda: optimizers(5000, range(1 if quick else 10)),
        "spiking 1N teachers, 48 s": lambda: spiking(long, range(many)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few teachers and short recordings")
    parser.add_argument("--only", default="", help="only the tables whose name contains this")
    parser.add_argument("--output", type=Path, help="JSON file for the results")
    arguments = parser.parse_args()
    results: dict[str, Table] = {}
    for name, table in parts(arguments.quick).items():
        if arguments.only not in name:
            continue
        results[name] = table()
        print(f"\n{name}")
        for key, value in results[name].items():
            print(f"  {key:32s} {_shown(value)}", flush=True)
    if arguments.output:
        arguments.output.write_text(json.dumps(results, indent=2) + "\n")


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_shown(item)}" for key, item in value.items())
    return f"{value:.6g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
