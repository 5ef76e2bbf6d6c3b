"""The one exception for what a user can get wrong: shown as a single line, exit code 2."""


class InputError(ValueError):
    """A configuration, file or argument is not what was expected.

    The message is one line: what was expected, what was found, where, and what to do.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


def expect(where: str, *conditions: tuple[str, object, bool, str]) -> None:
    """Refuse the first value that is not fine.

    Args:
        where: What stands before its name, such as ``model.``.
        conditions: Of each value its name, itself, whether it is fine, and what is wanted.

    Raises:
        InputError: where and name: expected what is wanted, found the value.
    """
    for name, value, fine, wanted in conditions:
        if not fine:
            raise InputError(f"{where}{name}: expected {wanted}, found {value}")
