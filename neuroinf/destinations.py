"""Where results go: looked at before anything is computed, so that a slip does not cost a training."""

from __future__ import annotations

from pathlib import Path

from neuroinf.errors import InputError


def check_folder(path: Path, where: str) -> None:
    """See that a path is a folder, or can become one.

    Raises:
        InputError: if a file is in the way.
    """
    for part in (path, *path.parents):
        if part.exists():
            if not part.is_dir():
                raise InputError(f"{where}: expected a folder at {path}, found the file {part}: name another folder")
            return


def check_file(path: Path, where: str) -> None:
    """See that a path can be written as a file.

    Raises:
        InputError: if it is a folder, or a file is in the way of its folder.
    """
    if path.is_dir():
        raise InputError(f"{where}: expected the name of a file to write, found the folder {path}: add a file name")
    check_folder(path.parent, where)
