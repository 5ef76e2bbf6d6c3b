"""The prior of a simulator all of whose constants are fixed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from neuroinf.priors.box import Prior


class NoParameters(Prior):
    """No parameter at all: what varies from row to row is a simulator's own noise."""

    kind: ClassVar[str] = "none"

    def __init__(self) -> None:
        self.parameters = {}
        self.names, self.units = (), ()
        self.low, self.high, self.is_log = np.zeros(0), np.zeros(0), np.zeros(0, bool)

    @classmethod
    def _read(cls, d: Mapping[str, Any]) -> Prior:
        return cls()
