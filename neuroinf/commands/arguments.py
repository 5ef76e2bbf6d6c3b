"""An argument parser whose complaints are one line like all others."""

from __future__ import annotations

import argparse
from typing import NoReturn

from neuroinf.errors import InputError


class Arguments(argparse.ArgumentParser):
    """argparse, raising InputError instead of printing its usage and leaving."""

    def __init__(self, command: str, description: str) -> None:
        super().__init__(prog=command, description=description, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Name the command, the complaint and where help is."""
        raise InputError(f"{self.prog}: {message}; see {self.prog} --help")
