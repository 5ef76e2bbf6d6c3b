"""Runs in NEST's own environment: a timed ``Simulate`` of n level-5 ``glif_psc`` neurons for each line read from stdin.

One of the two after-spike currents serves as a constant input (it starts at that value, hardly decays and is not
changed by spikes). That spares NEST the cost of delivering a stimulus, which its neurons get from other devices only.

Usage: python nest_glif.py CONFIG.json CURRENT.npy (voltage|nothing)
CURRENT (n, T) in pA gives n, T and the mean current.
"""

import contextlib
import json
import os
import sys
import time

import numpy as np


@contextlib.contextmanager
def stdout_to_stderr():
    """NEST prints its banner and progress from C++ to stdout, which here carries the answers."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def parameters(config, mean_current):
    """The published configuration in NEST's terms: pF, nS, mV, pA, 1/ms."""
    threshold = config["threshold_dynamics_method"]["params"]
    reset = config["voltage_reset_method"]["params"]
    rest = 1e3 * config["El_reference"]
    return {
        "C_m": 1e12 * config["C"],
        "g": 1e9 / config["R_input"],
        "E_L": rest,
        "V_m": rest,
        "V_th": rest + 1e3 * config["th_inf"] * config["coeffs"]["th_inf"],
        "V_reset": rest,
        "t_ref": 1e3 * config["dt"] * config["spike_cut_length"],
        "ASCurrents": [mean_current, 0.0],
        "asc_amps": [0.0, 1e12 * config["asc_amp_array"][1]],
        "asc_decay": [1e-6, 1e-3 / config["asc_tau_array"][1]],
        "asc_r": [1.0, 1.0],
        "th_spike_add": 1e3 * threshold["a_spike"],
        "th_spike_decay": 1e-3 * threshold["b_spike"],
        "th_voltage_index": 1e-3 * threshold["a_voltage"],
        "th_voltage_decay": 1e-3 * threshold["b_voltage"],
        "voltage_reset_fraction": reset["a"],
        "voltage_reset_add": 1e3 * reset["b"],
        "spike_dependent_threshold": True,
        "after_spike_currents": True,
        "adapting_threshold": True,
    }


def main(config_path, current_path, record):
    """Answer each line with {"seconds", "steps", "spikes"} of one pass; steps are neuron-steps."""
    with open(config_path) as file:
        config = json.load(file)
    current = np.load(current_path, mmap_mode="r")
    n, steps = current.shape
    with stdout_to_stderr():
        import nest

        nest.set_verbosity("M_ERROR")
        nest.local_num_threads = 1
        dt = 1e3 * config["dt"]
        nest.resolution = dt
        neurons = nest.Create("glif_psc", n, params=parameters(config, float(current[0].mean())))
        spikes = nest.Create("spike_recorder")
        nest.Connect(neurons, spikes)
        recorders = [spikes]
        if record == "voltage":
            voltage = nest.Create("multimeter", params={"record_from": ["V_m"], "interval": dt})
            nest.Connect(voltage, neurons)
            recorders.append(voltage)
        nest.Simulate(10.0)
    for _ in sys.stdin:
        for recorder in recorders:
            recorder.n_events = 0
        with stdout_to_stderr():
            start = time.process_time()
            nest.Simulate(steps * dt)
            seconds = time.process_time() - start
        answer = {"seconds": seconds, "steps": n * steps, "spikes": spikes.n_events}
        if record == "voltage":
            answer["samples"] = voltage.n_events
        print(json.dumps(answer), flush=True)


main(*sys.argv[1:])
