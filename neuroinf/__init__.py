"""neuroinf: read a neuron's parameters off a recording, with honest uncertainty, beside the fit made for it alone."""

__version__ = "0.1.0"
