"""Trials of a program that takes milliseconds: none lost, none twice, the same values whatever happens."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.study import Study

from neuroinf.errors import InputError
from neuroinf.sweeps.engine import run_sweep
from neuroinf.sweeps.storage import claim, open_study
from neuroinf.sweeps.sweep_file import Sweep

ROOT = Path(__file__).resolve().parents[2]
DRIVER = """
import sys
from pathlib import Path
from neuroinf.cli import run
from neuroinf.sweeps.engine import run_sweep
from neuroinf.sweeps.sweep_file import read_sweep
run(lambda a: run_sweep(read_sweep(Path(a[0])), Path(a[1]), int(a[2]), jobs=int(a[3])), sys.argv[1:])
"""


def values(study: Study) -> list[Any]:
    return [trial.user_attrs["values"] for trial in study.trials]


def states(study: Study) -> list[str]:
    return [trial.state.name for trial in study.trials]


def starts(folder: Path) -> list[int]:
    """How often each trial's program was started."""
    return [len(path.read_text().splitlines()) for path in sorted(folder.glob("trial-*/run/starts.txt"))]


@pytest.mark.parametrize("method", ["random", "grid"])
def test_values_depend_on_seed_and_number_alone(fake: Callable[..., Sweep], tmp_path: Path, method: str) -> None:
    """Whatever the number of jobs, and whether they were drawn in one call or in three."""
    sweep = fake({"lr": {"values": [0.1, 0.2]}} if method == "grid" else None, method=method)
    one = run_sweep(sweep, tmp_path / "one", 6, jobs=1)
    for count in (1, 4, 6):
        parts = run_sweep(sweep, tmp_path / "parts", count, jobs=2)
    assert values(one) == values(parts)
    assert states(one) == ["COMPLETE"] * 6 and starts(tmp_path / "parts") == [1] * 6
    if method == "grid":
        assert [tuple(v.values()) for v in values(one)] == [(a, b) for a in (0.1, 0.2) for b in (4, 8, 16)]
        assert len(run_sweep(sweep, tmp_path / "one", 20).trials) == 6  # a grid has an end
    else:
        assert values(run_sweep(sweep, tmp_path / "other", 2, seed=1)) != values(one)[:2]
        assert len({v["lr"] for v in values(one)}) == 6


def test_a_trial_is_told_its_values_and_its_score(fake: Callable[..., Sweep], tmp_path: Path) -> None:
    study = run_sweep(fake(), tmp_path / "sweep", 3, jobs=2)
    for trial in study.trials:
        given = trial.user_attrs["values"]
        place = tmp_path / "sweep" / f"trial-{trial.number:04d}"
        assert f"--lr={given['lr']} --width={given['width']}" in (place / "run" / "starts.txt").read_text()
        assert trial.intermediate_values == {e: pytest.approx(given["lr"] + 1 / e) for e in (1, 2, 3)}
        assert trial.value == pytest.approx(given["lr"] + 1 / 3)
    table = (tmp_path / "sweep" / "trials.csv").read_text().splitlines()
    assert table[0].startswith("trial,state,best val/loss,epochs,lr,width") and len(table) == 4


def start(folder: Path, count: int, jobs: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(folder.parent / "fake.yaml"), str(folder), str(count), str(jobs)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
        # in the background of a shell the tests themselves ignore SIGINT
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_for_epochs(folder: Path, trials: int) -> None:
    """Until so many trials have finished an epoch."""
    deadline = time.monotonic() + 60
    while len(list(folder.glob("trial-*/run/epochs.txt"))) < trials:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("number", "method"),
    [
        (signal.SIGINT, "random"),
        pytest.param(signal.SIGTERM, "random", marks=pytest.mark.slow),
        (signal.SIGKILL, "grid"),
    ],
)
def test_interrupted_and_continued(
    fake: Callable[..., Sweep], tmp_path: Path, number: signal.Signals, method: str
) -> None:
    """Two trials are under way: they are run on under their own numbers, in their own folders, with the values that they
    would have had without the interruption, one after the other."""
    listed = {"lr": {"values": [0.1, 0.2, 0.3, 0.4]}, "width": {"value": 4}} if method == "grid" else {}
    quick = run_sweep(fake(listed, method=method), tmp_path / "quick", 4)
    constant = "values" if method == "grid" else "value"
    times = {"pause": 0.8, "epochs": 4}
    sweep = fake(listed | {key: {constant: [x] if method == "grid" else x} for key, x in times.items()}, method=method)
    folder = tmp_path / "sweep"
    process = start(folder, 4, 2)
    wait_for_epochs(folder, 2)
    process.send_signal(number)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == (-9 if number == signal.SIGKILL else 130), said
    if number != signal.SIGKILL:
        assert "the same command continues" in said and "Traceback" not in said
    left = states(open_study(folder))
    assert left.count("RUNNING") == 2 and len(left) == 2
    before = values(open_study(folder))
    study = run_sweep(sweep, folder, 4, jobs=2)
    assert states(study) == ["COMPLETE"] * 4 and values(study)[:2] == before
    assert len({v["lr"] for v in values(study)}) == 4
    assert [v | times for v in values(quick)] == values(study)
    # all four epochs of each, none of them run twice
    assert all(sorted(trial.intermediate_values) == [1, 2, 3, 4] for trial in study.trials)
    assert all(n <= 2 for n in starts(folder))


@pytest.mark.slow
def test_two_sweeps_in_one_folder_share_the_trials(fake: Callable[..., Sweep], tmp_path: Path) -> None:
    sweep = fake({"pause": {"value": 0.1}})
    folder = tmp_path / "sweep"
    both = [start(folder, 6, 1) for _ in range(2)]
    assert [process.wait(timeout=120) for process in both] == [0, 0], [p.stderr and p.stderr.read() for p in both]
    study = run_sweep(sweep, folder, 6)
    assert states(study) == ["COMPLETE"] * 6 and starts(folder) == [1] * 6


def test_hyperband_stops_all_but_the_best_and_keeps_their_epochs(fake: Callable[..., Sweep], tmp_path: Path) -> None:
    """Worse and worse trials, one after the other, each above the first at the first rung: they stop there."""
    sweep = fake(
        {"lr": {"values": [0.1, 0.2, 0.3]}, "width": {"value": 4}, "pause": {"value": 0.8}, "epochs": {"value": 6}},
        method="grid",
        early_terminate={"type": "hyperband", "min_iter": 2, "eta": 3},
    )
    study = run_sweep(sweep, tmp_path / "sweep", 3)
    assert states(study) == ["COMPLETE", "PRUNED", "PRUNED"]
    for trial in study.trials[1:]:
        # at most an epoch went by between the table's and the program's end
        assert 2 <= len(trial.intermediate_values) <= 4
        assert (tmp_path / "sweep" / f"trial-{trial.number:04d}" / "run" / "metrics.csv").is_file()
    assert len(study.trials[0].intermediate_values) == 6


def test_no_trial_is_begun_beyond_the_target(fake: Callable[..., Sweep], tmp_path: Path) -> None:
    sweep = fake(metric={"name": "val/loss", "goal": "minimize", "target": 10.0})
    assert len(run_sweep(sweep, tmp_path / "sweep", 5).trials) == 1


@pytest.mark.slow
def test_bayes_prefers_what_was_good(fake: Callable[..., Sweep], tmp_path: Path) -> None:
    """Of 25 trials the ten random ones have a mean log lr in the middle of the range; the later ones must lie lower."""
    sweep = fake(method="bayes", parameters={"epochs": {"value": 1}, "lr": {"min": 0.0, "max": 1.0}})
    study = run_sweep(sweep, tmp_path / "sweep", 25, jobs=2)
    rates = [v["lr"] for v in values(study)]
    assert sum(rates[-10:]) / 10 < 0.3 and states(study) == ["COMPLETE"] * 25


def test_a_metric_that_is_never_logged(fake: Callable[..., Sweep], tmp_path: Path) -> None:
    sweep = fake(metric={"name": "loss"})
    with pytest.raises(InputError, match=r"loss is never logged; trial 0 logged train/loss, val/loss"):
        run_sweep(sweep, tmp_path / "sweep", 4)
    assert starts(tmp_path / "sweep") == [1]


@pytest.mark.parametrize("wrong", [{"metric": {"name": "loss"}}, {"parameters": {"fail": {"value": "exit"}}}])
def test_folder_of_a_sweep_whose_first_trial_failed_is_free(
    fake: Callable[..., Sweep], tmp_path: Path, wrong: dict[str, Any]
) -> None:
    """The corrected file is run with the same command; nothing of the failed trial stays. A sweep with results is kept."""
    with pytest.raises(InputError):
        run_sweep(fake(**wrong), tmp_path / "sweep", 2)
    with claim_of_first(tmp_path / "sweep"), pytest.raises(InputError, match="found trial 0: end it"):
        run_sweep(fake(), tmp_path / "sweep", 2)
    study = run_sweep(fake(), tmp_path / "sweep", 2)
    assert states(study) == ["COMPLETE"] * 2 and starts(tmp_path / "sweep") == [1, 1]
    with pytest.raises(InputError, match="found another one"):
        run_sweep(fake(**wrong), tmp_path / "sweep", 2)


def claim_of_first(folder: Path) -> Any:
    """As a process that is at work on the first trial."""
    lock = claim(folder, 0)
    assert lock is not None
    return lock


def test_the_first_failure_ends_the_sweep_and_later_ones_do_not(fake: Callable[..., Sweep], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the first trial ended with exit code 1: error: the data are gone"):
        run_sweep(fake({"fail": {"value": "exit"}}), tmp_path / "first", 4)
    ways = {"fail": {"values": ["no", "exit", "nan"]}, "lr": {"values": [0.1]}, "width": {"values": [4]}}
    study = run_sweep(fake(ways, method="grid"), tmp_path / "later", 3)
    assert states(study) == ["COMPLETE", "FAIL", "FAIL"]
    reasons = [trial.user_attrs.get("reason", "") for trial in study.trials]
    assert "the data are gone" in reasons[1] and reasons[2].startswith("diverged")


def test_another_sweep_in_the_folder_is_refused(fake: Callable[..., Sweep], tmp_path: Path) -> None:
    run_sweep(fake(), tmp_path / "sweep", 1)
    with pytest.raises(InputError, match=r"found another one; it differs in .*width"):
        run_sweep(fake({"width": {"values": [4]}}), tmp_path / "sweep", 1)
    with pytest.raises(InputError, match="seed: 1 / 0"):
        run_sweep(fake(), tmp_path / "sweep", 1, seed=1)
