"""Commands as a user gives them, and what they leave behind."""

import hashlib
import sys
import warnings
from pathlib import Path

import pytest

from neuroinf import cli

ROOT = Path(__file__).resolve().parents[2]
# of a message
LONGEST = 700


def content(folder: Path) -> dict[str, tuple[int, str]]:
    """Everything in a folder, with its time of change and what it holds."""
    found = {}
    for path in sorted(folder.rglob("*")):
        held = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        found[str(path.relative_to(folder))] = (path.stat().st_mtime_ns, held)
    return found


def in_this_process(command: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code and stderr of a command line."""
    entries = {"neuroinf": cli.main, "train.py": cli.train_command, "evaluate.py": cli.evaluate_command}
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("default")
        warnings.simplefilter("ignore", DeprecationWarning)  # as Python itself does outside of tests
        patch.setattr(sys, "argv", command)
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            entries[command[0]]()
    assert not warned, [str(warning.message) for warning in warned]
    return int(left.value.code or 0), capsys.readouterr().err


def refused(command: list[str], words: tuple[str, ...], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line on stderr, with these words in it, exit code 2, and nothing written into the folder."""
    before = content(folder)
    code, said = in_this_process(command, capsys)
    assert content(folder) == before
    assert code == 2, said
    assert said.startswith("error: ") and said.count("\n") == 1, said
    missing = [word for word in words if word not in said]
    assert not missing, f"{said} lacks {missing}"
    assert len(said) < LONGEST and "Traceback" not in said
