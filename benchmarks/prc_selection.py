"""Which cascade made a response: accuracy, confusions and calibration of the released networks, beside their bars.

    python benchmarks/prc_selection.py [checkpoints/prc_selection.ckpt [checkpoints/prc_selection_recurrent.ckpt]]

1. The four training neurons' graphs, on new simulations; beside the network, Laplace's evidence alone, which its encoder makes.
2. The recurrent neuron with and without its back-propagating spike, on new simulations and on traces of another program
   (../shared/reference/prc), which all are of the neuron with it; a sweep without a somatic spike cannot tell.
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from neuroinf.construction import simulation_from_spec
from neuroinf.datasets.generation import generate
from neuroinf.evaluation.selection import Selection
from neuroinf.evaluation.selection_scores import SelectionRows, features_of, scores, selection_rows
from neuroinf.models.selection import ModelSelection
from neuroinf.networks.forced_fits import ForcedFits
from neuroinf.selection import load_selection
from neuroinf.simulators import Cascade
from neuroinf.stimuli import AlphaInput

REFERENCE = Path("../shared/reference/prc")
FIGURES = Path("docs/figures")
ACCURACY, CALIBRATION, EVEN = 0.8, 0.05, 0.1
# parameters of the reference sweeps in the names of the graph
NAMES = {"loc": "loc", "gain": "gain", "sensit": "width", "pulse_height": "spike_height", "soma_thresh": "threshold"}


def held_out(model: ModelSelection) -> SelectionRows:
    """New rows of the model's own simulations."""
    with tempfile.TemporaryDirectory() as folder:
        simulation = simulation_from_spec(model.provenance["test_simulation"])
        return selection_rows(model, generate(simulation, Path(folder) / "test.h5", workers=1, progress=False))


def against(what: str, found: float, bar: float, above: bool) -> bool:
    met = found >= bar if above else found <= bar
    print(f"{what}: {found:.3f} (bar {'>=' if above else '<='} {bar:g}) {'met' if met else 'MISSED'}")
    return met


def timed(model: ModelSelection, rows: SelectionRows) -> tuple[Selection, torch.Tensor]:
    """The network's scores, and its encoder's features of the rows."""
    began, number = time.perf_counter(), len(rows.made)
    features = features_of(model, rows.x)
    found = scores(model, features, rows.made)
    seconds = time.perf_counter() - began
    print(f"{number} rows, {1e3 * seconds / number:.1f} ms a row, temperature {float(model.temperature):.2f}")
    return found, features


def training_neurons(path: Path) -> bool:
    """The four graphs."""
    model = load_selection(path)
    print(f"{path}: {', '.join(model.names)}; trained in {model.seconds:.0f} s")
    rows = held_out(model)
    found, features = timed(model, rows)
    print(found.table())
    met = against("accuracy", found.accuracy, ACCURACY, True)
    met &= against("expected calibration error", found.reliability.error, CALIBRATION, False)
    print(f"cross-entropy {found.loss:.3f} nats, of even chances {np.log(len(model.names)):.3f}")
    if isinstance(model.encoder, ForcedFits):
        evidence = features[:, len(model.names) : 2 * len(model.names)].double().numpy()
        alone = np.exp(evidence - np.logaddexp.reduce(evidence, axis=1, keepdims=True))
        plain = Selection(model.names, alone, rows.made)
        print(
            f"evidence alone: accuracy {plain.accuracy:.3f}, cross-entropy {plain.loss:.3f}, error {plain.reliability.error:.3f}"
        )
    number = np.nansum(rows.x[:, 1], axis=1)
    for low, high in ((0, 0), (1, 9), (10, 99), (100, 10_000)):
        some = (number >= low) & (number <= high)
        if some.any():
            part = Selection(model.names, found.probabilities[some], rows.made[some])
            print(
                f"  {low} to {high} spikes: {some.sum()} rows, accuracy {part.accuracy:.3f}, error {part.reliability.error:.3f}"
            )
    found.figure("training neurons").savefig(FIGURES / "prc_selection.png", metadata={"Software": None})
    return met


def recurrent(path: Path) -> bool:
    """The recurrent neuron with and without its back-propagating spike."""
    model = load_selection(path)
    new = held_out(model)
    found, _ = timed(model, new)
    print(found.table())
    parts = {
        label: Selection(model.names, found.probabilities[rows], new.made[rows])
        for label, rows in (("with", new.spiked), ("without", ~new.spiked))
    }
    for label, part in parts.items():
        number = len(part.made)
        print(
            f"  {label} a somatic spike: {number} rows, accuracy {part.accuracy:.3f}, error {part.reliability.error:.3f}"
        )
    met = against("accuracy with a spike", parts["with"].accuracy, ACCURACY, True)
    off = float(np.abs(parts["without"].probabilities - 0.5).mean())
    met &= against("mean distance from even chances without a spike", off, EVEN, False)
    met &= against("expected calibration error", found.reliability.error, CALIBRATION, False)
    if not REFERENCE.is_dir():
        print(f"{REFERENCE} is not at hand: the other program's traces are left out")
        return met
    for name in sorted(REFERENCE.glob("*.npz")):
        with np.load(name) as stored:
            for sweep in range(3):
                given = {k.removeprefix(f"sweep{sweep}_"): stored[k] for k in stored if k.startswith(f"sweep{sweep}_")}
                met &= reference(model, name.stem, sweep, given)
    return met


def reference(model: ModelSelection, name: str, sweep: int, given: dict[str, Any]) -> bool:
    """Another program's sweep, and our simulation of the same neuron without the back-propagating spike."""
    time_ms = 0.2 * np.arange(250) + 0.19
    current = AlphaInput(50.0, 0.01, float(given["peak"])).sample(np.random.default_rng(0))
    seen = current.reshape(250, 20).mean(1)
    fixed = {ours: float(given[theirs]) for theirs, ours in NAMES.items()}
    fixed |= {"soma_tau": 30.0} if "dataset1" in name else {}
    variant = Cascade("configs/cascades/recurrent_no_bap.yaml", parameters=[], fixed=fixed)
    open_loop = variant.simulate(np.zeros((1, 0)), current[None], 0.01)
    traces = {
        "bap": [np.interp(time_ms, given["time"], np.asarray(given[key], float)) for key in ("Vs", "Vd")],
        "no_bap": [np.asarray(open_loop[key])[0, 19::20] for key in ("soma", "dendrite")],
    }
    spiked, rng, met = bool((np.asarray(given["Vs_nl"]) > 0).any()), np.random.default_rng(11), True
    for truth, trace in traces.items():
        x = model.observation.add_noise(np.stack([*trace, seen]).astype(np.float32), rng)[None]
        p = float(model.probabilities(torch.from_numpy(x))[0, model.names.index(truth)])
        right = p > 0.5 if spiked else abs(p - 0.5) <= 3 * EVEN
        met &= right
        kind = "spike" if spiked else "no spike, the two are the same"
        print(f"  {name} sweep {sweep}, made by {truth} ({kind}): its probability {p:.3f} {'' if right else 'MISSED'}")
    return met


if __name__ == "__main__":
    torch.set_num_threads(1)
    named = [Path(each) for each in sys.argv[1:]]
    defaults = [Path("checkpoints/prc_selection.ckpt"), Path("checkpoints/prc_selection_recurrent.ckpt")]
    first, second = [*named, *defaults[len(named) :]][:2]
    outcome = []
    for path, judge in ((first, training_neurons), (second, recurrent)):
        if not path.is_file():
            print(f"no checkpoint at {path}: left out, which counts as missed")
        outcome.append(path.is_file() and judge(path))
    sys.exit(0 if all(outcome) else 1)
