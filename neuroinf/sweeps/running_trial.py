"""One trial's process: started, watched through the tables it writes, stopped gently."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from optuna.trial import Trial

from neuroinf.sweeps.command_line import command_line
from neuroinf.sweeps.logged_metrics import read_logged
from neuroinf.sweeps.sweep_file import Sweep

# a training ends with its batch, an orphaned grandchild never: then it is killed
PATIENCE = 30.0


class RunningTrial:
    """A process in a session of its own, so that Ctrl-C reaches it through the sweep alone.

    Args:
        sweep: Whose trial.
        trial: Optuna's handle.
        values: Of the keys.
        folder: The trial's own.
        lock: Of the folder; the process inherits it.
        threads: That its kernels may use.
    """

    def __init__(
        self, sweep: Sweep, trial: Trial, values: dict[str, Any], folder: Path, lock: io.TextIOWrapper, threads: int
    ) -> None:
        self.sweep, self.trial, self.values, self.folder, self._lock = sweep, trial, values, folder, lock
        self.pruned = False
        self._stopped: float | None = None
        self._reported = set(trial.study.trials[trial.number].intermediate_values)
        self.started = time.perf_counter()
        (folder / "values.json").write_text(json.dumps(values, indent=1))
        self._log = (folder / "log.txt").open("a")
        self._process = subprocess.Popen(
            command_line(sweep, values, folder),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=(lock.fileno(),),
            env=environment(folder, threads),
            preexec_fn=_interruptible,
        )

    @property
    def names(self) -> list[str]:
        """Of the metrics that have been logged."""
        return read_logged(self.folder, self.sweep.metric).names

    def poll(self) -> int | None:
        """Report new epochs, and stop the trial if it is not among the best; the exit code once it has ended."""
        code = self._process.poll()
        self._report()
        if code is None and self._stopped is not None and time.monotonic() > self._stopped + PATIENCE:
            self._send(signal.SIGKILL)
        return code

    def _report(self) -> None:
        for epoch, value in sorted(read_logged(self.folder, self.sweep.metric).values.items()):
            if epoch in self._reported:
                continue
            self._reported.add(epoch)
            self.trial.report(value, epoch)
            # a trial is judged on the rungs only, and one that is past the end has nothing to gain
            if not self.pruned and self._process.returncode is None and self.trial.should_prune():
                self.pruned = True
                self.interrupt()

    def interrupt(self) -> None:
        """As Ctrl-C: the trial keeps its finished epochs."""
        if self._stopped is None:
            self._stopped = time.monotonic()
            self._send(signal.SIGINT)

    def _send(self, number: signal.Signals) -> None:
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return  # it has ended by itself

    def close(self) -> None:
        """Wait for the process, and let go of the folder."""
        self._process.wait()
        self._log.close()
        self._lock.close()

    def last_line(self) -> str:
        """What the trial said last: why it failed."""
        lines = (self.folder / "log.txt").read_text(errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else "it said nothing"


def environment(folder: Path, threads: int) -> dict[str, str]:
    """No account, no prompt, files in the trial's folder, and the cores shared among trials."""
    found = dict(os.environ)
    # as W&B's agent would set them, they would make the run look for its server
    for name in ("WANDB_SWEEP_ID", "WANDB_SWEEP_PARAM_PATH", "WANDB_RUN_ID"):
        found.pop(name, None)
    if found.get("WANDB_MODE") != "disabled":
        found["WANDB_MODE"] = "offline"
    found |= {"WANDB_DIR": str(folder), "WANDB_SILENT": "true", "NEUROINF_TRIAL": str(folder)}
    for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
        found.setdefault(name, str(threads))
    return found


__all__ = ["RunningTrial", "environment"]


def _interruptible() -> None:
    """A sweep in the background of a shell ignores SIGINT, and what it starts would too: trials are stopped by it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
