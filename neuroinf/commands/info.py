"""`neuroinf info FILE`: what a dataset, checkpoint, recording or cascade holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuroinf.commands.arguments import Arguments
from neuroinf.errors import InputError

if TYPE_CHECKING:
    from neuroinf.inference import Estimator
    from neuroinf.models.selection import ModelSelection


def info(arguments: Sequence[str]) -> None:
    """Print what a file holds; of a checkpoint, without running anything that it names."""
    parser = Arguments("neuroinf info", "What a dataset, checkpoint, recording, population or cascade (YAML) holds.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--output", type=Path, help="also draw the cascade as a figure here (.png, .pdf, .svg)")
    parser.add_argument("--trust", action="append", default=[], metavar="PACKAGE", help="a package of your own classes")
    options = parser.parse_args(list(arguments))
    path: Path = options.file
    if not path.is_file():
        raise InputError(f"neuroinf info: no file at {path}")
    graph: dict[str, Any] | str | None = None
    if path.suffix in (".yaml", ".yml"):
        graph = str(path)
    elif path.suffix == ".ckpt":
        from neuroinf.checkpoints import checkpoint_kind

        if checkpoint_kind(path) == "selection":
            from neuroinf.selection import load_selection

            print(_selection(path, load_selection(path, options.trust)))
        elif checkpoint_kind(path) == "latents":
            from neuroinf.latents import load_latents

            print(load_latents(path).describe())
        else:
            from neuroinf.inference import load

            estimator = load(path, options.trust)
            print(_checkpoint(path, estimator))
            graph = _graph(estimator.provenance.get("simulation", {}))
    elif path.suffix in (".h5", ".hdf5") and _is_dataset(path):
        from neuroinf.datasets.schema import Dataset

        print(Dataset(path).describe())
        graph = _graph(Dataset(path).specification)
    else:
        print(_population(path) or _recordings(path))
    if graph is not None:
        _cascade(graph, options.output)
    elif options.output is not None:
        raise InputError(f"neuroinf info --output draws cascades, and {path} holds none; leave --output out")


def _graph(simulation: dict[str, Any]) -> dict[str, Any] | None:
    """The cascade's description, if one made the simulations."""
    made = simulation.get("init_args", {}).get("simulator", {})
    return made["init_args"]["graph"] if made.get("class_path", "").endswith(".Cascade") else None


def _cascade(graph: dict[str, Any] | str, output: Path | None) -> None:
    from neuroinf.destinations import check_file
    from neuroinf.simulators import Cascade
    from neuroinf.simulators.cascade_diagram import diagram
    from neuroinf.simulators.cascade_figure import draw

    description = Cascade(graph).description
    print(diagram(description))
    if output is not None:
        check_file(output, "the figure")
        draw(description, output)
        print(f"figure: {output}")


def _is_dataset(path: Path) -> bool:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return "parameters" in file
    except OSError as error:
        raise InputError(f"{path} cannot be opened as HDF5: it is damaged or no such file; make it again") from error


def _checkpoint(path: Path, estimator: Estimator) -> str:
    parts = [part for part in (estimator.encoder, estimator.density, estimator.activity) if part is not None]
    weights = sum(p.numel() for part in parts for p in part.parameters())
    lines = [
        f"{path}: amortized inference of {len(estimator.prior.names)} parameters, {weights:,} weights",
        f"  encoder   {type(estimator.encoder).__name__}, density {type(estimator.density).__name__}"
        + ("" if estimator.activity is None else f", {type(estimator.activity).__name__} of the populations' rates"),
        f"  observes  {', '.join(estimator.observation.channels)} every {estimator.observation.dt:g} ms",
        f"  trained   {len(estimator.history)} epochs, {estimator.training_seconds:.0f} s",
    ]
    made = estimator.provenance.get("simulation", {}).get("init_args", {})
    if made:
        simulator, stimulus = made["simulator"], made["stimulus"]
        arguments = ", ".join(f"{key} {value}" for key, value in simulator["init_args"].items() if key != "graph")
        lines.append(f"  simulator {simulator['class_path']}: {arguments}")
        lines.append(
            f"  data      {made['n']:,} simulations, {stimulus['class_path']}, noise {dict(estimator.observation.noise)}"
        )
    if estimator.history:
        last = min(estimator.history, key=lambda line: line["val/loss"])
        lines.append(f"  val/loss  {last['val/loss']:.4f} (the prior alone: {last['val/loss_prior']:.4f})")
    lines.append("  parameters")
    prior = estimator.prior.to_dict()["parameters"]
    for name, unit in zip(estimator.prior.names, estimator.prior.units, strict=True):
        lines.append(f"    {name:<18} {_range(prior[name])} {unit}")
    return "\n".join(lines)


def _selection(path: Path, model: ModelSelection) -> str:
    lines = [
        f"{path}: which of {len(model.names)} models made a recording: {', '.join(model.names)}",
        f"  encoder   {type(model.encoder).__name__}, temperature {float(model.temperature):.2f}",
        f"  observes  {', '.join(model.observation.channels)} every {model.observation.dt:g} ms, "
        f"noise {dict(model.observation.noise)}",
        f"  trained   {len(model.history)} epochs, {model.seconds:.0f} s",
    ]
    if model.history:
        last = min(model.history, key=lambda line: line["val/loss"])
        lines.append(f"  val/loss  {last['val/loss']:.4f} (even chances: {last['val/loss_prior']:.4f})")
        lines.append(f"  accuracy  {last['val/accuracy']:.3f} on validation (even chances: {1 / len(model.names):.3f})")
    lines.append(f"  test it   python evaluate.py {path}")
    lines.append("  parameters")
    prior = model.prior.to_dict()["parameters"]
    for name, unit in zip(model.prior.names, model.prior.units, strict=True):
        lines.append(f"    {name:<18} {_range(prior[name])} {unit}")
    return "\n".join(lines)


def _range(described: dict[str, Any]) -> str:
    values = ", ".join(f"{v:g}" for v in described["values"]) if "values" in described else None
    text = f"{described['low']:g} to {described['high']:g}" if values is None else values
    return f"{text}, log," if described["scale"] == "log" else text


def _population(path: Path) -> str | None:
    """What a file of a population holds; None if it is a file of something else."""
    if path.suffix not in (".npz", ".npy", ".nwb"):
        return None
    from neuroinf.recordings.arrays import load_npz
    from neuroinf.recordings.nwb_units import has_units
    from neuroinf.recordings.populations import read_population

    if path.suffix == ".npz" and not {"id", "activity"} & set(load_npz(path)):
        return None
    return None if path.suffix == ".nwb" and not has_units(path) else read_population(path).describe()


def _recordings(path: Path) -> str:
    from neuroinf.recordings import read

    lines = [f"{path}:"]
    for sweep in read(path):
        parts = [f"{sweep.duration / 1000:.3f} s at {sweep.dt:g} ms"]
        if sweep.voltage is not None:
            parts.append(f"voltage {sweep.voltage.min():.1f} to {sweep.voltage.max():.1f} mV")
        if sweep.stimulus is not None:
            parts.append(f"current {sweep.stimulus.min():.1f} to {sweep.stimulus.max():.1f} pA")
        lines.append(f"  {sweep.name}: " + ", ".join(parts))
    return "\n".join(lines)
