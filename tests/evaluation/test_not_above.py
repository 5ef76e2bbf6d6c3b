"""How many neurons a method misses by no more than another: counted by hand."""

import math

import numpy as np

from neuroinf.evaluation.metrics import not_above
from neuroinf.priors import Parameter, Prior

PRIOR = Prior({"a": Parameter("1", 0.0, 10.0), "b": Parameter("1", 1.0, 100.0, "log")})
TRUTH = np.array([[5.0, 10.0]] * 4)


def test_it_counts_on_the_priors_scale_where_both_answered() -> None:
    ours = np.array([[5.0, 10.0], [6.0, 10.0], [5.0, 20.0], [np.nan, np.nan]])
    theirs = np.array([[5.0, 10.0], [5.5, 10.0], [6.0, 10.0], [5.0, 10.0]])
    # equal counts; 0.1 against 0.05 does not; log10(2) / 2 = 0.15 against 0.1 does not, though 10 against 1 in units
    assert not_above(TRUTH, ours, theirs, PRIOR) == 1 / 3
    assert not_above(TRUTH, theirs, ours, PRIOR) == 1.0
    assert math.isnan(not_above(TRUTH[3:], ours[3:], theirs[3:], PRIOR))
