"""From the YAML to the words of a trial's command: as W&B's agent writes them."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

from neuroinf.sweeps.command_line import command_line
from neuroinf.sweeps.sweep_file import Hyperband, Sweep

MACROS = ["args", "args_no_equals", "args_no_hyphens", "args_no_boolean_flags", "args_append_hydra", "args_json"]


@pytest.mark.parametrize("macro", MACROS)
def test_arguments_are_those_of_wandbs_own_agent(fake: Callable[..., Sweep], macro: str) -> None:
    sweep = fake(
        {"flag": {"values": [True, False]}, "off": {"value": False}},
        command=["${env}", "${interpreter}", "${program}", f"${{{macro}}}"],
    )
    values = {"lr": 3.0e-5, "width": 8, "flag": True, "off": False}
    words = command_line(sweep, values, Path("folder"))
    assert words[:3] == ["/usr/bin/env", sys.executable, sweep.program]
    assert words[3:] == create_sweep_command_args({"args": {k: {"value": v} for k, v in values.items()}})[macro]


def test_nested_keys_are_dotted_here_and_nested_there(fake: Callable[..., Sweep]) -> None:
    sweep = fake({"model": {"parameters": {"a": {"values": [1, 2]}, "deep": {"parameters": {"b": {"value": 3}}}}}})
    assert list(sweep.parameters) == ["lr", "width", "model.a", "model.deep.b"]
    words = command_line(sweep, {"lr": 0.1, "width": 4, "model.a": 2, "model.deep.b": 3}, Path("folder"))
    assert words[-1] == "--model={'a': 2, 'deep': {'b': 3}}"


def test_variables_of_the_environment(fake: Callable[..., Sweep], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE", "here")
    sweep = fake(command=["python", "${program}", "--at=${envvar:PLACE}", "${args}"])
    assert "--at=here" in command_line(sweep, {"lr": 0.1}, Path("folder"))


@pytest.mark.parametrize(
    ("given", "first"), [({"min_iter": 2}, 2), ({"max_iter": 27, "s": 2}, 3), ({"max_iter": 4, "s": 9}, 1)]
)
def test_ladders_of_hyperband(fake: Callable[..., Sweep], given: dict[str, int], first: int) -> None:
    """From the bottom, or from the top: 27 / 3 / 3 = 3."""
    assert fake(early_terminate={"type": "hyperband", **given}).hyperband == Hyperband(first, 3)
