"""Training of networks of PRC neurons beside a plain loop over time in torch: milliseconds per epoch and network.

The task is configs/studies/prc_memorize.yaml's: 256 patterns of 100 inputs in 200 steps of 1 ms, one batch, 4 hidden neurons of a
kind and 2 readouts, Adam. An epoch is a whole training step: forward, loss, backward and optimizer. The peer
(peers/prc_networks.py) is how the published program goes about it, step by step under autograd, one network at a time; it is
spared the published program's bookkeeping, and its input currents are one matrix product for all steps. Ours trains
`--replicates` networks side by side, once in one thread and once in NUMBA_NUM_THREADS, all cores unless set. All have the same
patterns, labels and start. torch has one thread, with which the peer is fastest: its operations are too small to share.

Round after round each program does `--epochs` steps, and one before them that is not timed: it takes back the memory that
another program has returned to the system, as no later epoch of a training does. Medians over rounds. A machine with other work
to do is told by processor time, which is taken beside the wall clock of the programs in one thread; its ratio is also that of as
many peers as there are cores. The losses of the first network are compared: they are the same to rounding in the first epoch;
later a spike more or less, by rounding, sets the two trainings apart.

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

import numba
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


def side_by_side(kind: str, replicates: int, threads: int) -> Epoch:
    """An epoch of our networks, which returns their losses."""
    events, labels = RandomPatterns(replicates=replicates).draw()
    nets = networks(kind, replicates)
    optimizer = Adam(nets.parameters(), lr=LR)

    def epoch() -> list[float]:
        numba.config.NUMBA_NUM_THREADS = threads  # pyright: ignore[reportPrivateImportUsage, reportAttributeAccessIssue]
        optimizer.zero_grad()
        loss, _ = scores(nets(events), labels)
        loss.sum().backward()
        optimizer.step()
        return loss.tolist()

    return epoch


def loop(kind: str, replicates: int) -> Epoch:
    """An epoch of the peer with the first of the networks, which returns its loss."""
    events, labels = RandomPatterns(replicates=replicates).draw()
    weights = [w.detach()[:, 0].permute(1, 2, 0).contiguous() for w in networks(kind, replicates).weights]
    weights = [w.requires_grad_() for w in weights]
    x, first = events.dense()[0].contiguous(), labels[0]
    optimizer = Adam(weights, lr=LR)

    def epoch() -> list[float]:
        optimizer.zero_grad()
        loss = peer.loss(peer.forward([kind, "readout"], weights, x), first)
        loss.backward()
        optimizer.step()
        return [loss.item()]

    return epoch


def networks(kind: str, replicates: int) -> SpikingNetwork:
    """Networks of a kind, always with the same weights."""
    layers = [Layer(str(CASCADES / f"{kind}.yaml"), 4, KINDS[kind]), Layer(str(CASCADES / "readout.yaml"), 2, 7.0)]
    return SpikingNetwork(layers, 100, [torch.Generator().manual_seed(n) for n in range(replicates)])


def measure(kind: str, replicates: int, threads: int, rounds: int, epochs: int) -> dict[str, Any]:
    """Medians over rounds of the time of an epoch and network, ms, and the largest difference of the losses."""
    found = {
        "loop": (loop(kind, replicates), 1),
        "one": (side_by_side(kind, replicates, 1), replicates),
        "all": (side_by_side(kind, replicates, threads), replicates),
    }
    wall: dict[str, list[float]] = {name: [] for name in found}
    cpu: dict[str, list[float]] = {name: [] for name in found}
    losses: dict[str, list[float]] = {name: [] for name in found}
    for r in range(rounds + 1):  # the first compiles
        for name, (epoch, nets) in found.items():
            losses[name].append(epoch()[0])
            before = time.perf_counter(), time.process_time()
            losses[name] += [epoch()[0] for _ in range(epochs)]
            after = time.perf_counter(), time.process_time()
            if r:
                wall[name].append(1e3 * (after[0] - before[0]) / epochs / nets)
                cpu[name].append(1e3 * (after[1] - before[1]) / epochs / nets)
    ms = {name: statistics.median(times) for name, times in wall.items()}
    processor = {name: statistics.median(times) for name, times in cpu.items()}
    ratio = {name: ms["loop"] / ms[name] for name in ("one", "all")} | {"cpu": processor["loop"] / processor["one"]}
    apart = np.abs(np.subtract(losses["loop"], losses["all"]))
    return {"ms": ms, "ms cpu": processor, "ratio": ratio, "loss apart": [float(apart[0]), float(apart[-1])]}


def main() -> None:
    """Measure every kind, print the table, and write JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--replicates", type=int, default=10, help="networks of ours side by side")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--epochs", type=int, default=3, help="of each program in a round, timed")
    parser.add_argument("--torch-threads", type=int, default=1, help="of the peer, and of torch in ours")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    threads = int(os.environ.get("NUMBA_NUM_THREADS", os.cpu_count() or 1))
    torch.set_num_threads(arguments.torch_threads)
    print(f"ms per epoch and network; ours {arguments.replicates} networks side by side, in 1 thread and in {threads}")
    print(
        f"{'network':<16}{'loop':>9}{'ours, 1':>9}{'ratio':>7}{'cpu ratio':>11}"
        f"{f'ours, {threads}':>9}{'ratio':>7}{'loss apart: first, last epoch':>32}"
    )
    table = {}
    for kind in arguments.kinds:
        table[kind] = row = measure(kind, arguments.replicates, threads, arguments.rounds, arguments.epochs)
        ms, ratio, apart = row["ms"], row["ratio"], row["loss apart"]
        print(
            f"{kind:<16}{ms['loop']:>9.1f}{ms['one']:>9.2f}{ratio['one']:>7.1f}{ratio['cpu']:>11.1f}"
            f"{ms['all']:>9.2f}{ratio['all']:>7.1f}{apart[0]:>22.0e}{apart[1]:>10.0e}",
            flush=True,
        )
    for name, words in {"all": f"{threads} threads", "one": "1 thread", "cpu": "1 thread, processor time"}.items():
        least = min(row["ratio"][name] for row in table.values())
        print(f"at least {BAR:g} times the loop's speed, {words}: {'yes' if least >= BAR else 'NO'}, least {least:.1f}")
    if arguments.output:
        machine = {"threads": threads, "python": platform.python_version(), "torch": torch.__version__}
        arguments.output.write_text(json.dumps({"machine": machine, "bar": BAR, "kinds": table}, indent=1))


if __name__ == "__main__":
    main()
