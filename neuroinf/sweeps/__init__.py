"""Many trainings of one experiment with other values: W&B's sweep files without W&B, and what a finished sweep says."""
