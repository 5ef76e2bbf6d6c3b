"""The folder of a sweep: its database, its trials' folders, and who is at work on which."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import RDBStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from neuroinf.destinations import check_folder
from neuroinf.errors import InputError
from neuroinf.specification import Plain, differences
from neuroinf.sweeps.sweep_file import Sweep

DATABASE = "study.db"
STUDY = "sweep"
SQLITE = b"SQLite format 3\0"
SPECIFICATION, VALUES, REASON, NO_START = "specification", "values", "reason", "no_start"
ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


def trial_folder(folder: Path, number: int) -> Path:
    """Where everything of a trial is."""
    return folder / f"trial-{number:04d}"


def check_sweep_folder(folder: Path) -> bool:
    """Whether a sweep has been begun there.

    Raises:
        InputError: if there is something else.
    """
    check_folder(folder, "the sweep's folder")
    database = folder / DATABASE
    if database.is_file():
        with database.open("rb") as file:
            if file.read(len(SQLITE)) != SQLITE:
                raise InputError(
                    f"{database}: expected the database of a sweep (SQLite), found another or damaged file"
                )
        return True
    # the lock and an unfinished database are what a sweep leaves that is killed in its first moment
    left = ("lock", f"{DATABASE}.part")
    if folder.is_dir() and any(not entry.name.startswith(left) for entry in folder.iterdir()):
        raise InputError(
            f"{folder}: expected a new folder or one of a sweep, found other files: name another (--output)"
        )
    return False


def open_study(folder: Path) -> Study:
    """The sweep of a folder.

    Raises:
        InputError: if its database cannot be read.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if not check_sweep_folder(folder):
        raise InputError(f"{folder}: expected the folder of a sweep, found no {DATABASE} in it")
    try:
        return optuna.load_study(study_name=STUDY, storage=_storage(folder / DATABASE))
    except Exception as error:  # Optuna and SQLAlchemy raise many types for a bad database
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{folder / DATABASE}: expected the database of a sweep, found another ({first})") from error


def _storage(database: Path) -> RDBStorage:
    # several processes write: each waits for the others
    return RDBStorage(f"sqlite:///{database}", engine_kwargs={"connect_args": {"timeout": 60}})


def create_study(folder: Path, sweep: Sweep, seed: int) -> Study:
    """The sweep of a folder, which is made if there is none.

    The database is made aside and renamed, so that a killed command leaves none that is half-written.

    Raises:
        InputError: if the folder holds another sweep.
    """
    wanted = described(sweep, seed)
    if not is_begun(folder, wanted):
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / "lock"):
            if not is_begun(folder, wanted):  # another process may have been quicker
                _clear(folder)
                aside = folder / f"{DATABASE}.part"
                aside.unlink(missing_ok=True)
                storage = _storage(aside)
                direction = "maximize" if sweep.maximize else "minimize"
                study = optuna.create_study(study_name=STUDY, storage=storage, direction=direction)
                study.set_user_attr(SPECIFICATION, wanted)
                storage.engine.dispose()
                aside.replace(folder / DATABASE)
    study = open_study(folder)
    check_same(study, wanted, folder)
    return study


def is_begun(folder: Path, wanted: Plain) -> bool:
    """Whether this sweep has been begun there. Another one whose first trial failed left nothing to keep, and does not count.

    Raises:
        InputError: if the folder holds another sweep, or something else.
    """
    if not check_sweep_folder(folder):
        return False
    study = open_study(folder)
    changed = bool(differences(wanted, study.user_attrs.get(SPECIFICATION, {})))
    if changed and NO_START in study.user_attrs and not study.get_trials(deepcopy=False, states=ENDED):
        return False
    check_same(study, wanted, folder)
    return True


def _clear(folder: Path) -> None:
    """Remove what a sweep left whose first trial failed.

    Raises:
        InputError: if a trial is still at work.
    """
    if not (folder / DATABASE).is_file():
        return
    locks = [claim(folder, trial.number) for trial in open_study(folder).get_trials(deepcopy=False)]
    try:
        if None in locks:
            raise InputError(
                f"{folder}: expected no trial at work, found trial {locks.index(None)}: end it, or name another folder (--output)"
            )
        for number in range(len(locks)):
            shutil.rmtree(trial_folder(folder, number))
        (folder / "trials.csv").unlink(missing_ok=True)
        (folder / DATABASE).unlink()  # last: killed before, the folder is still a sweep's
    finally:
        for lock in locks:
            if lock is not None:
                lock.close()


def described(sweep: Sweep, seed: int) -> Plain:
    """What a sweep in a folder must agree in to be continued, as JSON gives it back."""
    return json.loads(json.dumps({**sweep.specification, "seed": seed}, default=str))


def check_same(study: Study, wanted: Plain, folder: Path) -> None:
    """Refuse to mix two sweeps.

    Raises:
        InputError: if the folder's is another.
    """
    found = differences(wanted, study.user_attrs.get(SPECIFICATION, {}))
    if found:
        raise InputError(
            f"{folder}: expected this very sweep, found another one; it differs in {'; '.join(found[:3])} "
            f"(asked for / found): name another folder (--output)"
        )


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock; wait for it if another process does."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def claim(folder: Path, number: int) -> io.TextIOWrapper | None:
    """The lock of a trial, or None if a process is at work on it.

    The trial's own process inherits it: if the sweep is killed but not the trial, nobody begins it a second time.
    """
    place = trial_folder(folder, number)
    place.mkdir(parents=True, exist_ok=True)
    file = (place / "lock").open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def unfinished(study: Study) -> list[FrozenTrial]:
    """Trials that have been begun and not ended, by a process that lives or by one that was killed."""
    return study.get_trials(deepcopy=False, states=(TrialState.RUNNING, TrialState.WAITING))


def handle(study: Study, trial: FrozenTrial) -> Trial:
    """Of a trial that another process has begun: Optuna gives one only to the process that asked."""
    return Trial(study, trial._trial_id)


def write_table(folder: Path, study: Study, sweep: Sweep) -> None:
    """All trials as trials.csv, in one move."""
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(["trial", "state", f"best {sweep.metric}", "epochs", *sweep.parameters, "seconds", "reason"])
    for trial in study.get_trials(deepcopy=False):
        values: dict[str, Any] = trial.user_attrs.get(VALUES, {})
        score = best(trial, sweep.maximize)
        seconds = trial.user_attrs.get("seconds")
        cells = [values.get(key, "") for key in sweep.parameters]
        shown = ["" if x is None else f"{x:.6g}" for x in (score, seconds)]
        epochs = len(trial.intermediate_values)
        reason = trial.user_attrs.get(REASON, "")
        table.writerow([trial.number, trial.state.name.lower(), shown[0], epochs, *cells, shown[1], reason])
    aside = folder / f"trials.csv.part{os.getpid()}"
    aside.write_text(text.getvalue())
    aside.replace(folder / "trials.csv")


def best(trial: FrozenTrial, maximize: bool) -> float | None:
    """The best value over the trial's epochs, as the checkpoint that train.py keeps."""
    values = [value for value in trial.intermediate_values.values() if value == value and abs(value) != float("inf")]
    return (max if maximize else min)(values) if values else None


__all__ = [
    "ENDED",
    "best",
    "check_same",
    "claim",
    "create_study",
    "described",
    "handle",
    "is_begun",
    "locked",
    "open_study",
    "unfinished",
]
