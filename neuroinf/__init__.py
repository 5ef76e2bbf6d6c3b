"""neuroinf: read a neuron's parameters off a recording, with honest uncertainty, beside the fit made for it alone."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neuroinf.inference import Estimator, load
    from neuroinf.posterior import Posterior
    from neuroinf.recordings import Recording, read

__version__ = "0.1.0"
__all__ = ["Estimator", "Posterior", "Recording", "__version__", "load", "read"]

_ROOMS = {
    "Estimator": "neuroinf.inference",
    "load": "neuroinf.inference",
    "Posterior": "neuroinf.posterior",
    "Recording": "neuroinf.recordings",
    "read": "neuroinf.recordings",
}


def __getattr__(name: str) -> Any:
    # on use: a command that needs no network shall not wait for torch
    if name in _ROOMS:
        from importlib import import_module

        return getattr(import_module(_ROOMS[name]), name)
    raise AttributeError(f"module 'neuroinf' has no attribute {name!r}")
