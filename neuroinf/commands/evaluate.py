"""`python evaluate.py CHECKPOINT`: the comparison, on the command line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from neuroinf.commands.arguments import Arguments
from neuroinf.errors import InputError


def evaluate_from_command_line(arguments: Sequence[str]) -> None:
    """Evaluate a checkpoint, print the table and the report's path."""
    parser = Arguments("evaluate.py", "Put a checkpoint beside per-neuron fits; writes metrics.json and report.html.")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument(
        "--data", type=Path, help="a dataset to test on; by default the configured test set is simulated"
    )
    parser.add_argument("--output", type=Path, help="folder, by default reports/<checkpoint>")
    parser.add_argument("--neurons", type=int, help="test at most so many neurons")
    parser.add_argument("--fits", type=int, default=200, help="fit at most so many one by one (200)")
    parser.add_argument("--noise", type=float, nargs="+", help="noise levels; the first is reported in metrics.json")
    parser.add_argument(
        "--without",
        nargs="+",
        default=[],
        metavar="METHOD",
        help="leave out fits, such as gradient_descent, the slowest",
    )
    parser.add_argument("--trust", action="append", default=[], metavar="PACKAGE", help="a package of your own classes")
    options = parser.parse_args(list(arguments))
    if options.neurons is not None and options.neurons < 1:
        raise InputError(f"evaluate.py: --neurons must be at least 1, found {options.neurons}")
    if options.fits < 0:
        raise InputError(f"evaluate.py: --fits must not be negative, found {options.fits}")
    if not all(0 <= level < math.inf for level in options.noise or ()):
        raise InputError(f"evaluate.py: --noise must be standard deviations, 0 or larger, found {options.noise}")
    from neuroinf.evaluation.evaluate import evaluate

    output = options.output or Path("reports") / options.checkpoint.stem
    evaluate(
        options.checkpoint,
        options.data,
        output,
        neurons=options.neurons,
        fits=options.fits,
        noise=options.noise,
        without=options.without,
        trust=options.trust,
    )
    print((output / "table.txt").read_text(), end="")
    print(f"report: {output / 'report.html'}")
