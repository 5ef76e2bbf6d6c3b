"""What is scored beside the parameters: responses, hidden activity, weights under correlated inputs, as the family has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from matplotlib.figure import Figure

from neuroinf.evaluation import channel_figure, response_figure
from neuroinf.evaluation.comparison import Condition
from neuroinf.evaluation.estimates import Estimates
from neuroinf.evaluation.held_out import HeldOut
from neuroinf.evaluation.predicted_channels import predicted_channels
from neuroinf.evaluation.predicted_responses import predicted_responses
from neuroinf.simulators import GLM, Cascade

# fewest neurons whose responses are looked at, however few are fitted
FEWEST = 100


@dataclass(frozen=True)
class Findings:
    """What a family adds to the report.

    Args:
        entries: Of metrics.json; "predictive" is always there.
        figures: Name, caption and figure of each.
    """

    entries: dict[str, Any]
    figures: list[tuple[str, str, Figure]] = field(default_factory=list)


def findings(test: HeldOut, condition: Condition, answers: Sequence[Estimates], most: int) -> Findings:
    """Of the family that the test neurons are of.

    Args:
        test: Test neurons and their simulator.
        condition: How they were observed.
        answers: Every method's, signs included.
        most: Look at about so many neurons, the first ones.
    """
    most = max(most, FEWEST)
    if isinstance(test.simulation.simulator, GLM):
        from neuroinf.evaluation.glm_findings import glm_findings

        entries, figures = glm_findings(test, condition, answers, most)
        return Findings(entries, figures)
    columns = [test.simulation.prior.names.index(name) for name in test.simulation.simulator.parameters]
    if isinstance(test.simulation.simulator, Cascade):
        predicted, shown = predicted_channels(test, answers, columns, most)
        caption = "The response without noise, that of the inferred model, and the band of posterior samples."
        figures = [("overlays", caption, channel_figure.channel_overlays(shown))] if shown else []
        return Findings({"predictive": predicted}, figures)
    predicted, overlays = predicted_responses(test, answers, columns, most)
    if not overlays:
        return Findings({"predictive": predicted})
    caption = "Observed response, that of the inferred model, and those of posterior samples."
    return Findings({"predictive": predicted}, [("overlays", caption, response_figure.overlays(overlays))])
