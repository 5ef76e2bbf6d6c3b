"""`neuroinf infer` for networks that read a model's own channels."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from neuroinf.commands.infer_bins import write_answer
from neuroinf.errors import InputError
from neuroinf.inference import Estimator
from neuroinf.posterior import Posterior
from neuroinf.recordings.channels import read_channels


def infer_channels(estimator: Estimator, paths: Sequence[Path], output: Path | None, as_json: bool) -> None:
    """Read each file, the sweeps of one neuron, infer its parameters and say what came out.

    With `output` each neuron leaves a JSON file and its posterior as a figure.

    Raises:
        InputError: on a bad recording, or two files of one name; nothing is written or said then.
    """
    stems = [path.stem for path in paths]
    if output is not None and len(set(stems)) < len(stems):
        raise InputError(
            "neuroinf infer: two recordings have one name and would be written over each other: rename one"
        )
    results: list[dict[str, Any]] = []
    answers: list[Posterior] = []
    for path, (arrays, dt) in zip(paths, [read_channels(path) for path in paths], strict=True):
        begin = time.perf_counter()
        posterior = estimator.infer_channels(arrays, dt, path.name)
        _ = posterior.mean  # computed when first asked for: part of the time
        seconds = time.perf_counter() - begin
        answers.append(posterior)
        results.append({"recording": path.name, "seconds": seconds, **posterior.to_dict()})
    for path, result, posterior in zip(paths, results, answers, strict=True):
        if not as_json:
            print(f"{path.name}: inferred in {1000 * result['seconds']:.0f} ms")
            print(posterior.table())
            sys.stdout.flush()
        for warning in posterior.warnings:
            print(f"warning: {path.name}: {warning}", file=sys.stderr)
        if output is not None:
            write_answer(output, path.stem, result, posterior, None)
    if as_json:
        print(json.dumps(results, indent=2, allow_nan=False))
