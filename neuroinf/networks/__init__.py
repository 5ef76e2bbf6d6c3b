"""Networks, nothing else: encoders from recordings to features, densities from features to parameters."""

from neuroinf.networks.activity_network import ActivityNetwork
from neuroinf.networks.anchored import AnchoredFlow
from neuroinf.networks.densities import Density, Gaussian, Point
from neuroinf.networks.encoders import BiLSTM, ConvBiLSTM, Encoder
from neuroinf.networks.flow import Flow
from neuroinf.networks.glm_encoder import GLMEncoder
from neuroinf.networks.mixture import Mixture
from neuroinf.networks.pooling import SweepPooling
from neuroinf.networks.population_encoder import PopulationEncoder
from neuroinf.networks.traces import TraceEncoder

__all__ = [
    "ActivityNetwork",
    "AnchoredFlow",
    "BiLSTM",
    "ConvBiLSTM",
    "Density",
    "Encoder",
    "Flow",
    "GLMEncoder",
    "Gaussian",
    "Mixture",
    "Point",
    "PopulationEncoder",
    "SweepPooling",
    "TraceEncoder",
]
