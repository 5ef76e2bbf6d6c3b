"""Makes the tests' own recordings importable."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
# the plain loop over time that the benchmark races against
sys.path.insert(1, str(Path(__file__).resolve().parents[2] / "benchmarks" / "peers"))
