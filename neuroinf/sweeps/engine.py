"""The sweep's loop: trials are begun, watched, stopped and told to the database until there are enough."""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from optuna.study import Study
from optuna.trial import TrialState
from tqdm import tqdm

from neuroinf.errors import InputError
from neuroinf.sweeps.running_trial import RunningTrial
from neuroinf.sweeps.sampling import draw, pruner, sampler
from neuroinf.sweeps.storage import (
    ENDED,
    NO_START,
    REASON,
    VALUES,
    best,
    claim,
    create_study,
    handle,
    locked,
    trial_folder,
    unfinished,
    write_table,
)
from neuroinf.sweeps.sweep_file import Sweep

POLL = 0.1  # s between looks at the trials
IDLE = 2.0  # and if all that is left is in the hands of other processes


def run_sweep(sweep: Sweep, folder: Path, count: int, jobs: int = 1, seed: int = 0) -> Study:
    """Run trials until the sweep has `count` of them, continuing what has been begun.

    Several processes may do so on one folder at the same time. A trial that a killed process has left is run again in
    its own folder, under its own number and with its own values; train.py continues after its last finished epoch.

    Args:
        sweep: What to run.
        folder: Of the sweep: study.db, trials.csv and a folder for each trial.
        count: Trials in all, those of earlier calls included; of a grid at most its points.
        jobs: Trials at a time.
        seed: Of random values: that of trial n depends on it and on n alone, unless the search is Bayesian.

    Returns:
        Optuna's study.

    Raises:
        InputError: if the folder holds another sweep, the first trial fails, or it does not log the metric.
        KeyboardInterrupt: with a message that says how to continue.
    """
    study = create_study(folder, sweep, seed)
    study.sampler = sampler(sweep, seed, len(study.get_trials(deepcopy=False)))
    study.pruner = pruner(sweep)
    loop = _Loop(sweep, study, folder, wanted(sweep, count), jobs)
    with _terminated_as_interrupted():
        loop.run()
    return study


def wanted(sweep: Sweep, count: int) -> int:
    """How many trials there can be, of so many asked for."""
    limits = [count, sweep.run_cap or count, sweep.cells if sweep.method == "grid" else count]
    return min(limits)


class _Loop:
    def __init__(self, sweep: Sweep, study: Study, folder: Path, count: int, jobs: int) -> None:
        self.sweep, self.study, self.folder, self.count, self.jobs = sweep, study, folder, count, jobs
        self.threads = max(1, (os.cpu_count() or 1) // jobs)
        self.running: list[RunningTrial] = []
        self.bar: tqdm[Any] | None = None

    def run(self) -> None:
        ended = self._ended()
        self.bar = tqdm(total=max(self.count, ended), initial=ended, desc="sweep", unit="trial", file=sys.stderr)
        try:
            while True:
                while len(self.running) < self.jobs and self._begin():
                    pass
                if not self.running and not self._awaited():
                    return
                time.sleep(POLL if self.running else IDLE)
                for trial in list(self.running):
                    code = trial.poll()
                    if code is not None:
                        trial.poll()  # what it logged between the last look and its end
                        self._end(trial, code)
        except KeyboardInterrupt:
            self._interrupt()
            raise KeyboardInterrupt(
                f"interrupted: the same command continues the sweep in {self.folder} ({self._ended()} of {self.count} trials)"
            ) from None
        except BaseException:
            self._interrupt()
            raise
        finally:
            self.bar.close()
            write_table(self.folder, self.study, self.sweep)

    def _ended(self) -> int:
        return len(self.study.get_trials(deepcopy=False, states=ENDED))

    def _awaited(self) -> bool:
        """Whether a trial is in the hands of another process: it may die, and then the trial is ours."""
        return bool(unfinished(self.study))

    def _begin(self) -> bool:
        """Take a trial that nobody works on, or begin a new one; False if there is none."""
        with locked(self.folder / "lock"):
            ours = {trial.trial.number for trial in self.running}
            for left in unfinished(self.study):
                lock = None if left.number in ours else claim(self.folder, left.number)
                if lock is not None:
                    trial = handle(self.study, left)
                    break
            else:
                if len(self.study.get_trials(deepcopy=False)) >= self.count or self._reached():
                    return False
                trial = self.study.ask()
                lock = claim(self.folder, trial.number)
                assert lock is not None, "a new trial's folder is locked"
            values = draw(self.sweep, trial)
            trial.set_user_attr(VALUES, values)
        place = trial_folder(self.folder, trial.number)
        self.running.append(RunningTrial(self.sweep, trial, values, place, lock, self.threads))
        return True

    def _reached(self) -> bool:
        """Whether a trial has come to the target."""
        target = self.sweep.target
        if target is None:
            return False
        found = [best(trial, self.sweep.maximize) for trial in self.study.get_trials(deepcopy=False, states=ENDED)]
        return any(x is not None and (x >= target if self.sweep.maximize else x <= target) for x in found)

    def _end(self, ended: RunningTrial, code: int) -> None:
        """Tell the database how a trial ended."""
        number = ended.trial.number
        stored = self.study.get_trials(deepcopy=False)[number]
        score = best(stored, self.sweep.maximize)
        logged = list(stored.intermediate_values.values())
        first = not self._ended()
        self.running.remove(ended)
        ended.close()
        if code != 0 and not ended.pruned and first:  # nothing is told: once its cause is gone, it is run again
            self.study.set_user_attr(NO_START, True)
            raise InputError(
                f"the first trial ended with exit code {code}: {ended.last_line()} (see {ended.folder / 'log.txt'})"
            )
        if code == 0 and not logged:
            problem = f"metric.name: {self.sweep.metric} is never logged; trial {number} logged "
            problem += ", ".join(ended.names) or f"nothing (no metrics.csv in {ended.folder})"
            if first:
                self.study.set_user_attr(NO_START, True)
                raise InputError(problem)
            self._tell(ended, TrialState.FAIL, None, problem)
        elif ended.pruned and code != 0 and score is not None:
            self._tell(ended, TrialState.PRUNED, score, f"stopped after epoch {max(stored.intermediate_values)}")
        elif code != 0:
            self._tell(ended, TrialState.FAIL, None, f"exit code {code}: {ended.last_line()}")
        elif score is None or not math.isfinite(logged[-1]):
            self._tell(ended, TrialState.FAIL, None, f"diverged: {self.sweep.metric} is {logged[-1]}")
        else:
            self._tell(ended, TrialState.COMPLETE, score, "")

    def _tell(self, ended: RunningTrial, state: TrialState, score: float | None, reason: str) -> None:
        ended.trial.set_user_attr("seconds", time.perf_counter() - ended.started)
        if reason:
            ended.trial.set_user_attr(REASON, reason)
        self.study.tell(ended.trial.number, score if state == TrialState.COMPLETE else None, state=state)
        write_table(self.folder, self.study, self.sweep)
        assert self.bar is not None
        shown = " ".join(f"{key}={_short(ended.values[key])}" for key in self.sweep.swept)
        how = reason or f"{self.sweep.metric} {_short(score)}"
        self.bar.clear()
        tqdm.write(f"trial {ended.trial.number}: {how}  {shown}", file=sys.stderr)
        complete = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if complete:
            self.bar.set_postfix_str(f"best {self.sweep.metric} {_short(self.study.best_value)}", refresh=False)
        self.bar.update(self._ended() - self.bar.n)

    def _interrupt(self) -> None:
        """Stop all trials; they stay unfinished in the database."""
        for trial in self.running:
            trial.interrupt()
        while any(trial.poll() is None for trial in self.running):
            time.sleep(POLL)
        for trial in self.running:
            trial.close()


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """A cluster's SIGTERM ends a sweep as Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # only the main thread may ask
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


__all__ = ["run_sweep", "wanted"]
