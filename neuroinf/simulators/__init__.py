"""Simulators: parameters and a stimulus in, a response out; one model family per file."""

from neuroinf.simulators.cascade import Cascade
from neuroinf.simulators.chaotic_flows import Lorenz, Roessler
from neuroinf.simulators.choice import Choice
from neuroinf.simulators.circuit import Circuit
from neuroinf.simulators.dynamics import Dynamics, LinearDynamics
from neuroinf.simulators.glif import GLIF
from neuroinf.simulators.glm import GLM
from neuroinf.simulators.hierarchical_glm import HierarchicalGLM
from neuroinf.simulators.low_rank_rnn import LowRankRNN
from neuroinf.simulators.lstm_glif import LSTMGLIF
from neuroinf.simulators.mesoscopic import MesoscopicNetwork
from neuroinf.simulators.microscopic import MicroscopicNetwork
from neuroinf.simulators.population_observation import (
    CalciumObservation,
    GaussianObservation,
    PoissonObservation,
    PopulationObservation,
)
from neuroinf.simulators.populations import Population
from neuroinf.simulators.protocol import HasRheobase, Response, Simulator

__all__ = [
    "GLIF",
    "GLM",
    "LSTMGLIF",
    "CalciumObservation",
    "Cascade",
    "Choice",
    "Circuit",
    "Dynamics",
    "GaussianObservation",
    "HasRheobase",
    "HierarchicalGLM",
    "LinearDynamics",
    "Lorenz",
    "LowRankRNN",
    "MesoscopicNetwork",
    "MicroscopicNetwork",
    "PoissonObservation",
    "Population",
    "PopulationObservation",
    "Response",
    "Roessler",
    "Simulator",
]
