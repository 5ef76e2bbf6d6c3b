"""What is inferred: named parameters with units and ranges, their distribution, unconstrained space and back, grids."""

from neuroinf.priors.box import Prior
from neuroinf.priors.competing import CompetingPrior
from neuroinf.priors.empty import NoParameters
from neuroinf.priors.gaussian import GaussianPrior, SmoothFilterPrior
from neuroinf.priors.grid import GridParameter, GridPrior
from neuroinf.priors.ranges import Parameter

__all__ = [
    "CompetingPrior",
    "GaussianPrior",
    "GridParameter",
    "GridPrior",
    "NoParameters",
    "Parameter",
    "Prior",
    "SmoothFilterPrior",
]
