"""Names and durations as a sentence or a table has them."""

from __future__ import annotations

from collections.abc import Iterable


def listed(names: Iterable[str]) -> str:
    """Names as in a sentence: "a, b and c"."""
    items = list(names)
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else "none"


def duration(seconds: float | None) -> str:
    """A duration in the unit that suits it: us, ms, s, min or h; a dash if there is none."""
    if seconds is None:
        return "-"
    for size, unit in ((3600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms")):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} us" if seconds > 0 else "0 s"
