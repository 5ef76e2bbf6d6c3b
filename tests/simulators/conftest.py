"""Makes the neurons that several tests simulate importable by their module's name."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
