"""The one exception for what a user can get wrong: shown as a single line, exit code 2."""


class InputError(ValueError):
    """A configuration, file or argument is not what was expected.

    The message is one line: what was expected, what was found, where, and what to do.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))
