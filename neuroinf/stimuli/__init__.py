"""What is injected: waveforms drawn from a passed generator, in pA or in multiples of each neuron's rheobase."""

from neuroinf.stimuli.mixture import Mixture, Sum
from neuroinf.stimuli.ornstein_uhlenbeck import OrnsteinUhlenbeck
from neuroinf.stimuli.pink import Noise1, Noise2, PinkNoise
from neuroinf.stimuli.protocol import Stimulus, Unit
from neuroinf.stimuli.ramp import Ramp
from neuroinf.stimuli.squares import LongSquare, ShortSquare, TripleShortSquare

__all__ = [
    "LongSquare",
    "Mixture",
    "Noise1",
    "Noise2",
    "OrnsteinUhlenbeck",
    "PinkNoise",
    "Ramp",
    "ShortSquare",
    "Stimulus",
    "Sum",
    "TripleShortSquare",
    "Unit",
]
