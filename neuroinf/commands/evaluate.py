"""`python evaluate.py CHECKPOINT`: the comparison, on the command line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from neuroinf.commands.arguments import Arguments
from neuroinf.errors import InputError


def evaluate_from_command_line(arguments: Sequence[str]) -> None:
    """Evaluate a checkpoint, print the table and the report's path."""
    parser = Arguments("evaluate.py", "Put a checkpoint beside per-neuron fits, or count its confusions.")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument(
        "--data", type=Path, help="a dataset to test on; by default the configured test set is simulated"
    )
    parser.add_argument("--output", type=Path, help="folder, by default reports/<checkpoint>")
    parser.add_argument(
        "--neurons", type=int, help="test at most so many neurons; of populations, so many windows (20)"
    )
    parser.add_argument("--fits", type=int, help="fit at most so many one by one (200); of populations, all windows")
    for name, what in (
        ("networks", "the windows are of so many networks (4)"),
        ("restarts", "of each fit (5)"),
        ("draws", "draws of the prior, for calibration (200)"),
    ):
        parser.add_argument(f"--{name}", type=int, help=f"of populations: {what}")
    parser.add_argument("--noise", type=float, nargs="+", help="noise levels; the first is reported in metrics.json")
    parser.add_argument(
        "--without",
        nargs="+",
        default=[],
        metavar="METHOD",
        help="leave out fits, such as gradient_descent, the slowest",
    )
    parser.add_argument("--trust", action="append", default=[], metavar="PACKAGE", help="a package of your own classes")
    parser.add_argument(
        "--dimensions",
        type=int,
        nargs="+",
        default=[],
        help="of a population's latents: also fit these numbers of latents, and find which each score chooses",
    )
    options = parser.parse_args(list(arguments))
    if options.neurons is not None and options.neurons < 1:
        raise InputError(f"evaluate.py: --neurons must be at least 1, found {options.neurons}")
    if options.fits is not None and options.fits < 0:
        raise InputError(f"evaluate.py: --fits must not be negative, found {options.fits}")
    if not all(0 <= level < math.inf for level in options.noise or ()):
        raise InputError(f"evaluate.py: --noise must be standard deviations, 0 or larger, found {options.noise}")
    from neuroinf.checkpoints import checkpoint_kind, reads_populations

    output = options.output or Path("reports") / options.checkpoint.stem
    kind = checkpoint_kind(options.checkpoint)
    if options.dimensions and kind != "latents":
        raise InputError(
            f"evaluate.py: --dimensions is of a population's latents, and {options.checkpoint} infers none; leave it out"
        )
    circuits = kind != "latents" and reads_populations(options.checkpoint)
    unasked = ("noise", "without") if circuits else ("networks", "restarts", "draws")
    if given := [name for name in unasked if getattr(options, name)]:
        what = "reads the spikes of populations" if circuits else "does not read the spikes of populations"
        raise InputError(f"evaluate.py: {options.checkpoint} {what}: expected no --{given[0]}; leave it out")
    if kind == "latents":
        given = [name for name in ("neurons", "fits", "noise", "without") if getattr(options, name)]
        if given:
            raise InputError(
                f"evaluate.py: {options.checkpoint} infers a population's latents: expected neither neurons to choose nor fits, "
                f"found --{given[0]}; leave it out"
            )
        from neuroinf.evaluation.latent_report import evaluate_latents

        evaluate_latents(options.checkpoint, options.data, output, options.dimensions, options.trust)
        report = output / "latents.png"
    elif circuits:
        from neuroinf.evaluation.mesoscopic_evaluation import evaluate_networks, planned

        plan = planned(
            windows=options.neurons,
            fits=options.fits,
            networks=options.networks,
            restarts=options.restarts,
            draws=options.draws,
        )
        evaluate_networks(options.checkpoint, options.data, output, plan=plan, trust=options.trust)
        report = output / "report.html"
    elif kind == "selection":
        given = [name for name in ("fits", "noise", "without") if getattr(options, name)]
        if given:
            raise InputError(
                f"evaluate.py: {options.checkpoint} says which model made a recording: expected no fits beside it, found "
                f"--{given[0]}; leave it out"
            )
        from neuroinf.evaluation.selection_scores import evaluate_selection

        evaluate_selection(options.checkpoint, options.data, output, neurons=options.neurons, trust=options.trust)
        report = output / "selection.png"
    else:
        from neuroinf.evaluation.evaluate import evaluate

        evaluate(
            options.checkpoint,
            options.data,
            output,
            neurons=options.neurons,
            fits=200 if options.fits is None else options.fits,
            noise=options.noise,
            without=options.without,
            trust=options.trust,
        )
        report = output / "report.html"
    print((output / "table.txt").read_text(), end="")
    print(f"report: {report}")
