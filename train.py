"""Train a network on simulations: `python train.py --config configs/glif.yaml [--model.lr=0.003 ...]`."""

from neuroinf.cli import train_command

if __name__ == "__main__":
    train_command()
