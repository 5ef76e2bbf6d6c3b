"""Every configuration that comes with the program makes what it describes; every swept key changes the run."""

import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml

from neuroinf.commands.simulate import is_population, read_data, read_population
from neuroinf.dimension_study import is_dimension_study
from neuroinf.experiment import LOGGED, experiment
from neuroinf.network_study import is_network_study
from neuroinf.population_study import is_population_study, population_study
from neuroinf.selection import is_selection, selection
from neuroinf.sweeps.resolution import resolve

ROOT = Path(__file__).resolve().parents[1]
STUDIES = [
    path
    for path in ROOT.glob("configs/studies/*.yaml")
    if not is_network_study([f"--config={path}"]) and not is_dimension_study(["--config", str(path)])
]
SELECTIONS = sorted(path for path in ROOT.glob("configs/*.yaml") if is_selection(["--config", str(path)]))
POPULATIONS = sorted(path for path in ROOT.glob("configs/*.yaml") if is_population(["--config", str(path)]))
LATENTS = [path for path in POPULATIONS if is_population_study(["--config", str(path)])]
# of some networks only how they are simulated is configured
DATA_ALONE = [path for path in POPULATIONS if "model" not in yaml.safe_load(path.read_text())]
CONFIGS = sorted({*ROOT.glob("configs/*.yaml"), *STUDIES} - {*SELECTIONS, *LATENTS, *DATA_ALONE})
EXAMPLES = sorted(ROOT.glob("docs/examples/*.yaml"))
SWEEPS = sorted(ROOT.glob("configs/sweeps/*.yaml"))


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to stand in, in which nothing may be written: a link to the configurations, which name one another."""
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setattr(sys, "argv", ["train.py"])  # Lightning warns if a process has arguments of its own
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "examples"))
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("path", [*CONFIGS, *EXAMPLES], ids=name)
def test_configuration_makes_data_model_and_trainer(path: Path, elsewhere: Path) -> None:
    cli = experiment(["--config", str(path)])
    assert cli.model.prior is cli.datamodule.prior and cli.model.observation is cli.datamodule.observation
    assert cli.trainer.max_epochs and cli.config.name != "run"
    tests, training = cli.datamodule.test_simulation(), cli.datamodule.simulation
    assert tests.seed != training.seed
    assert [path.name for path in elsewhere.iterdir()] == ["configs"]


@pytest.mark.parametrize("path", SELECTIONS, ids=name)
def test_configuration_of_a_selection(path: Path, elsewhere: Path) -> None:
    cli = selection(["--config", str(path)])
    assert cli.model.simulator is cli.datamodule.simulation.simulator
    assert cli.trainer.max_epochs and cli.config.name != "run"
    assert [entry.name for entry in elsewhere.iterdir()] == ["configs"]


@pytest.mark.parametrize("path", [*CONFIGS, *EXAMPLES], ids=name)
def test_configuration_is_read_by_the_commands_that_need_its_data_alone(path: Path, elsewhere: Path) -> None:
    """`neuroinf simulate` and `fit` pass over all that belongs to the training, whatever it is called."""
    data, output = read_data(["--config", str(path)])
    written = yaml.safe_load(path.read_text())["data"]
    assert data.path == written["path"] and output is None
    assert data.simulation.n == written["simulation"]["n"]
    assert [entry.name for entry in elsewhere.iterdir()] == ["configs"]


@pytest.mark.parametrize("path", POPULATIONS, ids=name)
def test_configuration_of_a_population_says_how_it_is_simulated(path: Path, elsewhere: Path) -> None:
    data, output = read_population(["--config", str(path)])
    written = yaml.safe_load(path.read_text())
    assert data.path == written["data"]["path"] and output is None and written["name"] == path.stem
    assert data.simulation.n == written["data"]["simulation"]["n"]
    assert [entry.name for entry in elsewhere.iterdir()] == ["configs"]


@pytest.mark.parametrize("path", LATENTS, ids=name)
def test_configuration_of_a_population_makes_data_model_and_trainer(path: Path, elsewhere: Path) -> None:
    cli = population_study(["--config", str(path)])
    network = cli.model.network
    read = [network.neurons] if cli.model.architecture == "bilstm" else [r.neurons for r in network.readouts]
    assert read == cli.datamodule.neurons and cli.trainer.max_epochs
    assert [entry.name for entry in elsewhere.iterdir()] == ["configs"]


def test_names_and_files_of_configurations_differ() -> None:
    """Else one would refuse the other's dataset, or continue its run."""
    loaded = [yaml.safe_load(path.read_text()) for path in {*CONFIGS, *SELECTIONS, *POPULATIONS, *EXAMPLES}]
    for values in ([config["name"] for config in loaded], [config["data"]["path"] for config in loaded]):
        assert len(set(values)) == len(values)


def tried(parameter: dict[str, Any]) -> list[Any]:
    """Values that the sweep may choose: all that are listed, or both ends of a range."""
    if "values" in parameter:
        return list(parameter["values"])
    if "value" in parameter:
        return [parameter["value"]]
    return [parameter["min"], parameter["max"]]


@pytest.mark.parametrize("path", SWEEPS, ids=name)
def test_every_swept_key_changes_the_run(path: Path) -> None:
    """As `wandb agent` starts it: --key=value in the place of ${args}, after the configuration, so that it wins."""
    sweep = yaml.safe_load(path.read_text())
    assert (ROOT / sweep["program"]).is_file() and sweep["metric"]["name"] in LOGGED
    command = sweep["command"]
    base = command[command.index("--config") + 1]
    assert command.index("--config") < command.index("${args}") and (ROOT / base).is_file()
    for key, parameter in sweep["parameters"].items():
        runs = {}
        for value in tried(parameter):
            cli = resolve([f"--config={ROOT / base}", f"--{key}={value}"])
            assert cli.config[key] == pytest.approx(value) if isinstance(value, float) else cli.config[key] == value
            runs[cli.folder] = value
        assert len(runs) == len(tried(parameter)), f"{key} does not change the run: {runs}"


@pytest.mark.parametrize(("path", "key"), list(product(SWEEPS, ("model.larning_rate", "model.lr.x"))))
def test_a_misspelt_swept_key_is_an_error(path: Path, key: str) -> None:
    base = yaml.safe_load(path.read_text())["command"][-2]
    with pytest.raises(ValueError, match=key.split(".")[1]):
        resolve([f"--config={ROOT / base}", f"--{key}=0.1"])


@pytest.mark.parametrize("path", SWEEPS, ids=name)
def test_sweep_fulfils_the_schema_of_wandb(path: Path) -> None:
    schema = pytest.importorskip(
        "sweeps.config.cfg", reason="W&B's own schema is in the package sweeps, which the program itself does not need"
    )
    assert schema.schema_violations_from_proposed_config(yaml.safe_load(path.read_text())) == []
