"""The examples of docs/trust.md run, one after the other, and find what the page says."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "trust.md"


@pytest.mark.slow
def test_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With 300 neurons instead of 1,000. 4 mV is rejected; half a standard deviation is told with accuracy 0.64."""
    (tmp_path / "checkpoints").symlink_to(ROOT / "checkpoints")
    monkeypatch.chdir(tmp_path)
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)).replace("1000, ()", "300, ()")
    said: dict[str, Any] = {}
    exec(compile(code, str(PAGE), "exec"), said)
    assert said["ranks"].shape == said["learnt"].shape == said["off"].shape == said["truth"].shape
    assert (said["p_binned"] < 1e-4).any() and said["p"] < 1e-4
    assert np.all((said["inside"] >= 0) & (said["inside"] <= 1))
    # Phi(0.5 sqrt(2) / 2) = 0.638; binomial bound of 1e-4 for 2,000, and 0.03 for what is not learnt
    assert 0.638 - 0.042 - 0.03 < said["accuracy"] < 0.638 + 0.042


def test_figures_are_there() -> None:
    for path in re.findall(r"\]\((figures/[^)]+)\)", PAGE.read_text()):
        assert (PAGE.parent / path).is_file(), path
