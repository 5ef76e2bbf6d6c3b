"""`neuroinf sweep FILE`: many trainings with other values; `neuroinf sweep report`: which values mattered."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from neuroinf.commands.arguments import Arguments
from neuroinf.errors import InputError


def sweep(arguments: Sequence[str]) -> None:
    """Run a sweep, or report on one.

    Raises:
        InputError: on a bad file, folder or argument, a key without effect, or a metric that is not logged.
    """
    if arguments and arguments[0] == "report":
        _report(arguments[1:])
        return
    parser = Arguments(
        "neuroinf sweep",
        "Run the trials of a W&B sweep file here; run again, it continues. neuroinf sweep report FOLDER: what it found.",
    )
    parser.add_argument("file", type=Path, help="the sweep, such as configs/sweeps/glif.yaml")
    parser.add_argument("--count", type=int, required=True, help="trials in all, those of earlier calls included")
    parser.add_argument("--jobs", type=int, default=1, help="trials at a time (1)")
    parser.add_argument("--output", type=Path, help="the sweep's folder, by default runs/sweeps/<file>")
    parser.add_argument("--seed", type=int, default=0, help="of the values (0)")
    options = parser.parse_args(list(arguments))
    for name, least in (("count", 1), ("jobs", 1), ("seed", 0)):
        if getattr(options, name) < least:
            raise InputError(f"neuroinf sweep: --{name} must be at least {least}, found {getattr(options, name)}")
    from neuroinf.sweeps.checks import check_sweep
    from neuroinf.sweeps.engine import run_sweep
    from neuroinf.sweeps.storage import described, is_begun
    from neuroinf.sweeps.sweep_file import read_sweep

    read = read_sweep(options.file)
    folder: Path = options.output or Path("runs") / "sweeps" / options.file.stem
    if not is_begun(folder, described(read, options.seed)):
        try:
            check_sweep(read, options.seed)
        except InputError as error:
            text = str(error)
            raise InputError(text if text.startswith(str(options.file)) else f"{options.file}: {text}") from error
    study = run_sweep(read, folder, options.count, options.jobs, options.seed)
    if any(trial.state.name == "COMPLETE" for trial in study.get_trials(deepcopy=False)):
        found = study.best_trial
        print(f"best {read.metric}: {study.best_value:.6g} in trial {found.number} of {len(study.trials)}")
        for key in read.swept:
            print(f"  {key}: {found.user_attrs['values'][key]}")
    print(f"sweep: {folder} (trials.csv; neuroinf sweep report {folder})")


def _report(arguments: Sequence[str]) -> None:
    parser = Arguments("neuroinf sweep report", "Which swept keys drive the metric, and which have no effect.")
    parser.add_argument("source", type=Path, help="a sweep's folder, or a JSON list of runs")
    parser.add_argument("--metric", help="by default the sweep's own, or valid_loss")
    parser.add_argument("--output", type=Path, help="folder, by default <folder>/report or reports/<file>")
    parser.add_argument("--seed", type=int, default=0, help="of the permutations (0)")
    options = parser.parse_args(list(arguments))
    from neuroinf.sweeps.report import report

    source: Path = options.source
    output: Path = options.output or (source / "report" if source.is_dir() else Path("reports") / source.stem)
    print(report(source, options.metric, output, options.seed))
    print(f"report: {output / 'report.md'}")
