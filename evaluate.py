"""Put a checkpoint beside per-neuron fits: `python evaluate.py CHECKPOINT [--data FILE] [--output FOLDER]`."""

from neuroinf.cli import evaluate_command

if __name__ == "__main__":
    evaluate_command()
