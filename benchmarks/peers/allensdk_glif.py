"""Runs in AllenSDK's own environment: one timed pass of ``GlifNeuron.run`` for every line read from stdin.

Usage: python allensdk_glif.py CONFIG.json CURRENT.npy
CURRENT is (n, T) in pA, at the configuration's dt; its first row is used.
"""

import json
import sys
import time
import types

import numpy as np

# GlifNeuron imports json_utilities for reading files only; the real one, and the package it lies in, need half of
# AllenSDK's dependencies.
core, json_utilities = types.ModuleType("allensdk.core"), types.ModuleType("allensdk.core.json_utilities")
core.json_utilities = json_utilities
sys.modules["allensdk.core"], sys.modules["allensdk.core.json_utilities"] = core, json_utilities

from allensdk.model.glif.glif_neuron import GlifNeuron  # noqa: E402


def main(config_path: str, current_path: str) -> None:
    """Answer each line with {"seconds", "steps", "spikes"} of one pass."""
    with open(config_path) as file:
        config = json.load(file)
    current = 1e-12 * np.load(current_path)[0]
    neuron = GlifNeuron.from_dict(config)
    neuron.run(current[:100])
    for _ in sys.stdin:
        start = time.process_time()
        response = neuron.run(current)
        seconds = time.process_time() - start
        print(
            json.dumps({"seconds": seconds, "steps": len(current), "spikes": len(response["spike_time_steps"])}),
            flush=True,
        )


main(*sys.argv[1:])
