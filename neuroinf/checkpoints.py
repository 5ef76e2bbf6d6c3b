"""Opening what train.py wrote: tensors and plain values, and nothing that could run code."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from neuroinf.errors import InputError

# what a checkpoint says of itself
CONTENT = ("prior", "observation", "encoder", "density", "history", "training_seconds", "provenance")
# what networks answer, and what opens them
KINDS = {
    "amortized": ("the parameters of a recorded neuron", "neuroinf.load"),
    "selection": ("which of several models made a recording", "neuroinf.selection.load_selection"),
    "latents": ("the latents of a population", "neuroinf.latents.load_latents"),
}


def checkpoint_kind(path: Path) -> str:
    """What the network of a checkpoint answers: a key of KINDS.

    Raises:
        InputError: as :func:`read_checkpoint`.
    """
    return _kind(read_checkpoint(path))


def reads_populations(path: Path) -> bool:
    """Whether the network of a checkpoint reads the spikes of neurons of several populations.

    Raises:
        InputError: as :func:`read_checkpoint`.
    """
    encoder = read_checkpoint(path)["neuroinf"]["encoder"]
    return isinstance(encoder, dict) and str(encoder.get("class_path", "")).endswith(".PopulationEncoder")


def read_checkpoint(path: Path, kind: str | None = None) -> dict[str, Any]:
    """The plain content of a checkpoint that train.py wrote; no code in it is run, and none that it names imported.

    Args:
        path: The file.
        kind: What its network has to answer, a key of KINDS; None: any.

    Raises:
        InputError: if it is missing, damaged, of another program or kind, or holds anything but tensors and plain values.
    """
    if not path.is_file():
        raise InputError(f"no checkpoint at {path}: expected a file written by train.py")
    try:
        if zipfile.is_zipfile(path):  # torch does not look at the checksums that it writes
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()
            if damaged is not None:
                raise InputError(
                    f"{path} is damaged: the checksum of {damaged} is not that of its content; expected it as written"
                )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old pickle protocols: what cannot be read is told below
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except InputError:
        raise
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path} is not opened: it holds objects other than tensors and plain values, which could run code; "
            f"expected a checkpoint written by train.py"
        ) from error
    except Exception as error:  # torch and zipfile raise many types on damaged files
        raise InputError(
            f"{path} cannot be read as a checkpoint ({type(error).__name__}): it is damaged or no checkpoint; expected one "
            f"written by train.py"
        ) from error
    content = checkpoint.get("neuroinf") if isinstance(checkpoint, dict) else None
    if not isinstance(content, dict) or content.get("format") != 1:
        raise InputError(f"{path} is a checkpoint of another program or version: expected one written by this train.py")
    missing = [key for key in CONTENT if key not in content] + ([] if "state_dict" in checkpoint else ["state_dict"])
    if missing:
        raise InputError(
            f"{path}: expected a checkpoint with {', '.join(missing)}, found none: it is incomplete; train again"
        )
    found = _kind(checkpoint)
    if found not in KINDS or found != (kind or found):
        expected = f"one that says {KINDS[kind][0]}" if kind else f"one of {', '.join(KINDS)}"
        says, opener = KINDS.get(found, (f"something else ({found})", "a newer version of neuroinf"))
        raise InputError(f"{path}: expected {expected}, found a network that says {says}: open it with {opener}")
    return checkpoint


def _kind(checkpoint: dict[str, Any]) -> str:
    return str(checkpoint["neuroinf"].get("model", "amortized"))
