"""Published GLIF configurations (``neuron_config.json`` of the Allen Cell Types Database) in this program's units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from neuroinf.errors import InputError

if TYPE_CHECKING:
    from neuroinf.simulators.glif import GLIF, FloatArray

RULES = (
    "voltage_reset_method",
    "threshold_reset_method",
    "threshold_dynamics_method",
    "AScurrent_dynamics_method",
    "AScurrent_reset_method",
)
LEVELS = {
    ("zero", "inf", "inf", "none", "none"): 1,
    ("v_before", "three_components", "spike_component", "none", "none"): 2,
    ("zero", "inf", "inf", "exp", "sum"): 3,
    ("v_before", "three_components", "spike_component", "exp", "sum"): 4,
    ("v_before", "three_components", "three_components_exact", "exp", "sum"): 5,
}


def read_allen(kind: type[GLIF], config: Mapping[str, Any], record: Sequence[str]) -> tuple[GLIF, FloatArray]:
    """See :meth:`GLIF.from_allen`."""
    try:
        rules = tuple(config[rule]["name"] for rule in RULES)
        if rules not in LEVELS:
            found = ", ".join(f"{rule} {name}" for rule, name in zip(RULES, rules, strict=True))
            raise InputError(
                f"GLIF configuration: expected the rules of one of the five published levels, found {found}"
            )
        dynamics = config["voltage_dynamics_method"]["name"]
        if dynamics != "linear_forward_euler":
            raise InputError(
                f"GLIF configuration: expected voltage_dynamics_method linear_forward_euler, found {dynamics}"
            )
        simulator = kind(level=LEVELS[rules], frame="rest", record=record)
        values = _values(config, simulator)
        simulator.init_voltage = 1e3 * config["init_voltage"]
        simulator.init_threshold = 1e3 * config["init_threshold"]
        first, second = config["init_AScurrents"]
        simulator.init_AScurrents = (1e12 * first, 1e12 * second)
        simulator.El_reference = 1e3 * config["El_reference"]
    except KeyError as missing:
        raise InputError(
            f"GLIF configuration: expected a published neuron_config.json, which has {missing}; not found"
        ) from None
    except InputError:
        raise
    except (TypeError, ValueError, IndexError) as problem:
        raise InputError(
            f"GLIF configuration: expected a published neuron_config.json of one neuron: {problem}"
        ) from None
    theta = np.array([[values[name] for name in simulator.parameters]], dtype=np.float64)
    simulator.complete(theta)
    return simulator, theta


def _values(config: Mapping[str, Any], simulator: GLIF) -> dict[str, float]:
    """Parameters in this program's units, the configuration's coefficients multiplied in."""
    factor = config["coeffs"]
    values = {
        "C": 1e12 * config["C"] * factor["C"],
        "R_input": 1e-9 * config["R_input"] / factor["G"],
        "El": 1e3 * config["El"],
        "th_inf": 1e3 * config["th_inf"] * factor["th_inf"],
        "spike_cut_length": 1e3 * config["dt"] * config["spike_cut_length"],
    }
    if simulator.after_spike:
        keep = config["AScurrent_reset_method"]["params"]["r"]
        if list(keep) != [1.0, 1.0]:
            raise InputError(
                f"GLIF configuration: expected AScurrent_reset_method r = [1, 1] as published, found {keep}"
            )
        for j in (0, 1):
            values[f"asc_amp_{j + 1}"] = 1e12 * config["asc_amp_array"][j] * factor["asc_amp_array"][j]
            values[f"asc_tau_{j + 1}"] = 1e3 * config["asc_tau_array"][j]
    if simulator.reset_rules:
        reset, threshold = config["voltage_reset_method"]["params"], config["threshold_reset_method"]["params"]
        values |= {"reset_a": reset["a"], "reset_b": 1e3 * reset["b"]}
        values |= {"a_spike": 1e3 * threshold["a_spike"], "b_spike": 1e-3 * threshold["b_spike"]}
    if simulator.voltage_threshold:
        moving = config["threshold_dynamics_method"]["params"]
        values["a_voltage"] = 1e-3 * moving["a_voltage"] * factor["a"]
        values["b_voltage"] = 1e-3 * moving["b_voltage"] * factor["b"]
    return values
