"""GLM neurons with a hidden drive on recordings: held-out bits per spike of amortized, refined and per-neuron fits.

    python benchmarks/real_glm.py grasshopper [--checkpoint checkpoints/glm_grasshopper.ckpt] [--output FILE]
    python benchmarks/real_glm.py ca1 [--data ../shared/data] [--seed 0] [--least 50] [--units 0 10 ...] [--output FILE]

`grasshopper`: auditory receptors, sound level observed, the rest of what drives them hidden (needs `pip install nitime`). `ca1`:
each of 31 units from the others, 5 of which, drawn by the seed, are hidden from the fit and seen by an oracle. Both need
statsmodels or numpy alone, as the table's rows say. A bin is always predicted from the bins before it; parameters are
those of other blocks of time.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from neuroinf.errors import InputError


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sections = parser.add_subparsers(dest="section", required=True)
    grasshopper = sections.add_parser("grasshopper")
    grasshopper.add_argument(
        "--checkpoint", type=Path, help="of configs/glm_grasshopper.yaml; none: without the network"
    )
    ca1 = sections.add_parser("ca1")
    ca1.add_argument("--data", type=Path, default=Path("../shared/data"))
    ca1.add_argument("--seed", type=int, default=0, help="draws the hidden units")
    ca1.add_argument("--least", type=int, default=50, help="fewest held-out spikes of a target")
    ca1.add_argument("--units", type=int, nargs="*", help="targets; by default all that are not hidden")
    for section in (grasshopper, ca1):
        section.add_argument("--output", type=Path, help="JSON of all that is printed, and what the figures need")
    options = parser.parse_args(arguments)
    try:
        report = _measure(options)
    except InputError as error:
        raise SystemExit(f"error: {error}") from error
    if options.output is not None:
        options.output.write_text(json.dumps(report))


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    if options.section == "grasshopper":
        import real_glm_grasshopper

        return real_glm_grasshopper.run(options.checkpoint)
    import real_glm_ca1

    return real_glm_ca1.run(options.data, options.seed, options.least, options.units, options.output)


if __name__ == "__main__":
    main()
