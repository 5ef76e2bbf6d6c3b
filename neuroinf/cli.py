"""The command line: `neuroinf simulate | infer | fit | sweep | info`, and what train.py and evaluate.py call."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import NoReturn

from neuroinf.errors import InputError

Command = Callable[[Sequence[str]], None]


def run(command: Command, arguments: Sequence[str]) -> NoReturn:
    """Carry out a command; a user's error is one line on stderr and exit code 2, an interruption exit code 130."""
    warnings.filterwarnings("ignore", category=UserWarning, module=r"lightning\..*")
    warnings.filterwarnings("ignore", category=FutureWarning)
    try:
        command(arguments)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        sys.exit(0)
    except OSError as error:
        if error.filename is None:
            raise
        print(f"error: {error.filename}: expected to read or write it, found: {error.strerror}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt as interruption:
        print(str(interruption) or "interrupted: the same command continues where it stopped", file=sys.stderr)
        sys.exit(130)
    sys.exit(0)


def train_command() -> NoReturn:
    """`python train.py`."""

    def command(arguments: Sequence[str]) -> None:
        from neuroinf.dimension_study import is_dimension_study, study_dimensions
        from neuroinf.network_study import is_network_study, train_networks
        from neuroinf.population_study import is_population_study, train_latents
        from neuroinf.selection import is_selection, train_selection
        from neuroinf.training import train

        if is_dimension_study(arguments):
            print(f"table: {study_dimensions(arguments)}")
            return
        kinds = (
            (is_network_study, train_networks),
            (is_population_study, train_latents),
            (is_selection, train_selection),
        )
        chosen = next((train_kind for is_kind, train_kind in kinds if is_kind(arguments)), train)
        checkpoint = chosen(arguments)
        if os.environ.get("LOCAL_RANK", "0") == "0":  # one process of several speaks
            print(f"checkpoint: {checkpoint}")

    run(command, sys.argv[1:])


def evaluate_command() -> NoReturn:
    """`python evaluate.py`."""

    def command(arguments: Sequence[str]) -> None:
        from neuroinf.commands.evaluate import evaluate_from_command_line

        evaluate_from_command_line(arguments)

    run(command, sys.argv[1:])


def _simulate(arguments: Sequence[str]) -> None:
    from neuroinf.commands.simulate import simulate

    simulate(arguments)


def _infer(arguments: Sequence[str]) -> None:
    from neuroinf.commands.infer import infer

    infer(arguments)


def _fit(arguments: Sequence[str]) -> None:
    from neuroinf.commands.fit import fit

    fit(arguments)


def _sweep(arguments: Sequence[str]) -> None:
    from neuroinf.commands.sweep import sweep

    sweep(arguments)


def _info(arguments: Sequence[str]) -> None:
    from neuroinf.commands.info import info

    info(arguments)


# imported on use: `neuroinf info` need not wait for torch
COMMANDS: dict[str, tuple[Command, str]] = {
    "simulate": (_simulate, "simulate a dataset: --config FILE [--output FILE]"),
    "infer": (_infer, "parameters of recorded neurons: CHECKPOINT RECORDING... [--output FOLDER] [--json]"),
    "fit": (_fit, "the fit made for one neuron alone, without a network: RECORDING --model glif"),
    "sweep": (_sweep, "many trainings with other values: FILE --count N, or report FOLDER"),
    "info": (_info, "what a dataset, checkpoint or recording holds: FILE"),
}


def main() -> NoReturn:
    """The `neuroinf` command."""
    arguments = sys.argv[1:]
    usage = "usage: neuroinf COMMAND ...\n" + "\n".join(f"  {name:<10}{text}" for name, (_, text) in COMMANDS.items())
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage)
        sys.exit(0 if arguments else 2)
    if arguments[0] == "--version":
        from neuroinf import __version__

        print(__version__)
        sys.exit(0)
    if arguments[0] not in COMMANDS:
        print(
            f"error: no command {arguments[0]!r}: expected one of {', '.join(COMMANDS)}; see neuroinf --help",
            file=sys.stderr,
        )
        sys.exit(2)
    run(COMMANDS[arguments[0]][0], arguments[1:])
