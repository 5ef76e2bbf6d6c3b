"""What a configuration library says of a bad configuration, on one line."""

from __future__ import annotations

import re

from neuroinf.errors import InputError

LONGEST = 500


def one_line(error: BaseException) -> InputError:
    """The error that a user sees: our own if one of ours is behind it, else the library's first words."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, InputError):
            return cause
        cause = cause.__cause__ or cause.__context__
    text = re.sub(r"\s+", " ", str(error)).strip()
    return InputError(text if len(text) <= LONGEST else text[: LONGEST - 3] + "...")
