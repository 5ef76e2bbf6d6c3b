"""A progress bar that names the stage; a line now and then where there is no terminal."""

from __future__ import annotations

import sys
import time

from tqdm import tqdm

LINE_EVERY = 15.0  # seconds


class Progress:
    """Counts rows of a stage.

    Args:
        stage: What is being done.
        total: Rows in all.
        done: Rows that an earlier run left.
        show: None: a bar if stderr is a terminal, else nothing. True: lines where there is no terminal. False: nothing.
    """

    def __init__(self, stage: str, total: int, done: int = 0, show: bool | None = None) -> None:
        terminal = sys.stderr.isatty()
        self._stage, self._total, self._begun, self._done = stage, total, done, done
        self._lines = bool(show) and not terminal
        self._start = self._last = time.monotonic()
        self._bar = tqdm(total=total, initial=done, desc=stage, unit=" rows", disable=not terminal or show is False)

    def advance(self, rows: int) -> None:
        """Count rows."""
        self._done += rows
        self._bar.update(rows)
        now = time.monotonic()
        if self._lines and (now - self._last > LINE_EVERY or self._done == self._total):
            self._last = now
            left = (now - self._start) / (self._done - self._begun) * (self._total - self._done)
            print(
                f"{self._stage}: {self._done:,} of {self._total:,} rows, {left:.0f} s left", file=sys.stderr, flush=True
            )

    def close(self) -> None:
        """Leave the bar as it stands."""
        self._bar.close()
