"""Makes what the tests of inputs share importable by its module's name."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
