"""What is injected: waveforms drawn from a passed generator, in pA, in multiples of each neuron's rheobase, or unitless."""

from neuroinf.stimuli.cox_inputs import CoxInputs
from neuroinf.stimuli.frozen import Frozen
from neuroinf.stimuli.gaussian_inputs import GaussianInputs
from neuroinf.stimuli.given import Given
from neuroinf.stimuli.mixture import Mixture, Sum
from neuroinf.stimuli.modes import Modes
from neuroinf.stimuli.noise_windows import CurrentStep, NoiseWindows
from neuroinf.stimuli.ornstein_uhlenbeck import OrnsteinUhlenbeck
from neuroinf.stimuli.pink import Noise1, Noise2, PinkNoise
from neuroinf.stimuli.poisson_inputs import BernoulliInputs, PoissonInputs
from neuroinf.stimuli.protocol import Stimulus, Unit
from neuroinf.stimuli.ramp import Ramp
from neuroinf.stimuli.source_mixture import SourceMixture
from neuroinf.stimuli.squares import LongSquare, ShortSquare, TripleShortSquare
from neuroinf.stimuli.stack import Stack
from neuroinf.stimuli.steps import Constant, Steps
from neuroinf.stimuli.synaptic import AlphaInput, BiexponentialInput
from neuroinf.stimuli.weighted_trains import WeightedTrains

__all__ = [
    "AlphaInput",
    "BernoulliInputs",
    "BiexponentialInput",
    "Constant",
    "CoxInputs",
    "CurrentStep",
    "Frozen",
    "GaussianInputs",
    "Given",
    "LongSquare",
    "Mixture",
    "Modes",
    "Noise1",
    "Noise2",
    "NoiseWindows",
    "OrnsteinUhlenbeck",
    "PinkNoise",
    "PoissonInputs",
    "Ramp",
    "ShortSquare",
    "SourceMixture",
    "Stack",
    "Steps",
    "Stimulus",
    "Sum",
    "TripleShortSquare",
    "Unit",
    "WeightedTrains",
]
