"""Training of networks of PRC neurons beside a plain loop over time in torch: milliseconds per epoch and network.

The task is configs/studies/prc_memorize.yaml's: 256 patterns of 100 inputs in 200 steps of 1 ms, one batch, 4 hidden neurons of a
kind and 2 readouts, Adam. An epoch is a whole training step: forward, loss, backward and optimizer. The peer
(peers/prc_networks.py) is how the published program goes about it, step by step under autograd, one network at a time; it is
spared the published program's bookkeeping, and its input currents are one matrix product for all steps. Ours trains
`--replicates` networks side by side. Both have the same patterns, labels and start. torch has one thread, with which
the peer is fastest: its operations are too small to share. Ours shares neurons among NUMBA_NUM_THREADS threads, all cores unless set;
with one, the ratio is also that of as many peers as there are cores.

Round after round each program does `--epochs` steps; a machine with other work to do is told by processor time, which is
taken beside the wall clock. Medians over rounds. The losses of the first network are compared: they are the same to rounding in
the first epoch; later a spike more or less, by rounding, sets the two trainings apart.

    python benchmarks/prc_networks.py --output prc_networks.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peers import prc_networks as peer
from torch.optim import Adam

from neuroinf.datasets.memorisation import RandomPatterns
from neuroinf.models.spiking_network import Layer, SpikingNetwork, scores

CASCADES = Path(__file__).resolve().parents[1] / "configs" / "cascades"
# kinds of networks and s of their first layer's weights
KINDS = {"one_compartment": 140.0, "no_bap": 15.0, "bap": 15.0, "parallel_no_bap": 1.0, "prc": 1.0}
BAR = 10.0
LR = 2.0e-3
Epoch = Callable[[], list[float]]


def programs(kind: str, replicates: int) -> dict[str, tuple[Epoch, int]]:
    """An epoch of each program, which returns losses, and how many networks it trains."""
    layers = [Layer(str(CASCADES / f"{kind}.yaml"), 4, KINDS[kind]), Layer(str(CASCADES / "readout.yaml"), 2, 7.0)]
    events, labels = RandomPatterns(replicates=replicates).draw()
    nets = SpikingNetwork(layers, 100, [torch.Generator().manual_seed(n) for n in range(replicates)])
    # copies, not views that both would train
    weights = [w.detach()[:, 0].permute(1, 2, 0).clone(memory_format=torch.contiguous_format) for w in nets.weights]
    weights = [w.requires_grad_() for w in weights]
    x, first = events.dense()[0].contiguous(), labels[0]
    ours, theirs = Adam(nets.parameters(), lr=LR), Adam(weights, lr=LR)

    def side_by_side() -> list[float]:
        ours.zero_grad()
        loss, _ = scores(nets(events), labels)
        loss.sum().backward()
        ours.step()
        return loss.tolist()

    def loop() -> list[float]:
        theirs.zero_grad()
        loss = peer.loss(peer.forward([kind, "readout"], weights, x), first)
        loss.backward()
        theirs.step()
        return [loss.item()]

    return {"neuroinf": (side_by_side, replicates), "torch loop": (loop, 1)}


def measure(kind: str, replicates: int, rounds: int, epochs: int) -> dict[str, Any]:
    """Medians over rounds of the time of an epoch and network, ms, and the largest difference of the losses."""
    found = programs(kind, replicates)
    wall: dict[str, list[float]] = {name: [] for name in found}
    cpu: dict[str, list[float]] = {name: [] for name in found}
    losses: dict[str, list[float]] = {name: [] for name in found}
    for r in range(rounds + 1):  # the first compiles
        for name, (epoch, networks) in found.items():
            before = time.perf_counter(), time.process_time()
            losses[name] += [epoch()[0] for _ in range(epochs)]
            after = time.perf_counter(), time.process_time()
            if r:
                wall[name].append(1e3 * (after[0] - before[0]) / epochs / networks)
                cpu[name].append(1e3 * (after[1] - before[1]) / epochs / networks)
    medians = {
        name: {"wall": statistics.median(wall[name]), "processor": statistics.median(cpu[name])} for name in found
    }
    ratio = {of: medians["torch loop"][of] / medians["neuroinf"][of] for of in ("wall", "processor")}
    apart = np.abs(np.subtract(*losses.values()))
    return {"ms": medians, "ratio": ratio, "loss apart": {"first": float(apart[0]), "last": float(apart[-1])}}


def main() -> None:
    """Measure every kind, print the table, and write JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--replicates", type=int, default=10, help="networks of ours side by side")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=2, help="of each program in a round")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    threads = int(os.environ.get("NUMBA_NUM_THREADS", os.cpu_count() or 1))
    torch.set_num_threads(1)
    print(
        f"ms per epoch and network, {threads} threads of ours, {arguments.replicates} networks side by side (peer: 1)"
    )
    print(
        f"{'network':<16}{'neuroinf':>10}{'loop':>10}{'ratio':>8}{'cpu':>10}{'cpu loop':>10}{'ratio':>8}{'loss apart':>12}"
    )
    table = {}
    for kind in arguments.kinds:
        table[kind] = row = measure(kind, arguments.replicates, arguments.rounds, arguments.epochs)
        ours, theirs, ratio, apart = *row["ms"].values(), row["ratio"], row["loss apart"]
        print(
            f"{kind:<16}{ours['wall']:>10.1f}{theirs['wall']:>10.1f}{ratio['wall']:>8.1f}"
            f"{ours['processor']:>10.1f}{theirs['processor']:>10.1f}{ratio['processor']:>8.1f}"
            f"{apart['first']:>10.0e}{apart['last']:>10.0e}"
        )
    least = min(row["ratio"]["wall"] for row in table.values())
    print(f"at least {BAR:g} times the loop's speed (wall clock): {'yes' if least >= BAR else 'NO'}, least {least:.1f}")
    if arguments.output:
        machine = {"threads": threads, "python": platform.python_version(), "torch": torch.__version__}
        arguments.output.write_text(json.dumps({"machine": machine, "bar": BAR, "kinds": table}, indent=1))


if __name__ == "__main__":
    main()
