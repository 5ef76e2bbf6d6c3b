"""Networks, nothing else: encoders from recordings to features, densities from features to parameters."""

from neuroinf.networks.densities import Density, Gaussian, Point
from neuroinf.networks.encoders import BiLSTM, ConvBiLSTM, Encoder

__all__ = ["BiLSTM", "ConvBiLSTM", "Density", "Encoder", "Gaussian", "Point"]
