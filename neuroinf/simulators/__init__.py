"""Simulators: parameters and a stimulus in, a response out; one model family per file."""

from neuroinf.simulators.cascade import Cascade
from neuroinf.simulators.choice import Choice
from neuroinf.simulators.glif import GLIF
from neuroinf.simulators.glm import GLM
from neuroinf.simulators.hierarchical_glm import HierarchicalGLM
from neuroinf.simulators.lstm_glif import LSTMGLIF
from neuroinf.simulators.protocol import HasRheobase, Response, Simulator

__all__ = ["GLIF", "GLM", "LSTMGLIF", "Cascade", "Choice", "HasRheobase", "HierarchicalGLM", "Response", "Simulator"]
