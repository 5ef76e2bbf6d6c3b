"""A file's content depends on its configuration alone: not on workers, shards, kills, or what lies in the way."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray
from tqdm import tqdm

from neuroinf.datasets import workers
from neuroinf.datasets.generation import Simulation, generate
from neuroinf.datasets.layout import STATUS, datasets
from neuroinf.datasets.progress import Progress
from neuroinf.datasets.schema import Dataset
from neuroinf.datasets.shards import Shards
from neuroinf.datasets.streams import ROW, WAVEFORM, Streams
from neuroinf.errors import InputError
from neuroinf.priors import Parameter, Prior

Make = Callable[..., Simulation]


def contents(path: Path) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Every dataset's bytes."""
    with h5py.File(path) as file:
        return {name: (str(d.dtype), d.shape, d[...].tobytes()) for name, d in datasets(file).items()}


def test_streams_are_those_of_the_root_seed_and_the_index() -> None:
    key = np.random.SeedSequence(11).generate_state(2, np.uint64)
    streams, other = Streams(11, ROW), Streams(11, WAVEFORM)
    first = streams(5).random(7)
    streams(6).integers(10, dtype=np.uint32)  # leaves half a word behind
    assert np.array_equal(first, streams(5).random(7))
    assert np.array_equal(first, np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 5, ROW])).random(7))
    draws = np.array([s(i).random(50) for s in (streams, other) for i in range(40)])
    assert len(np.unique(draws)) == draws.size


@pytest.mark.parametrize(("shard_rows", "crew"), [(7, 1), (64, 1), (13, 2)])
def test_workers_and_shards_do_not_change_a_byte(
    simulation: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shard_rows: int, crew: int
) -> None:
    monkeypatch.setattr(workers, "WORTH_PROCESSES", 0.0)
    whole = generate(simulation(), tmp_path / "whole.h5", workers=1, shard_rows=1000)
    parts = generate(simulation(), tmp_path / "parts.h5", workers=crew, shard_rows=shard_rows)
    assert contents(whole) == contents(parts)
    assert not list(tmp_path.glob("*.shards"))


def test_rows_are_what_the_simulator_says(simulation: Make, toy: Any, tmp_path: Path) -> None:
    s = simulation(stimulus=toy.Pulses("rheobase"))
    file = Dataset(generate(s, tmp_path / "f.h5"))
    key = np.random.SeedSequence(3).generate_state(2, np.uint64)
    for row in (0, 17, 59):
        rng = np.random.Generator(np.random.Philox(key=key, counter=[0, 0, row, ROW]))
        seed, waveform = int(rng.integers(2**63)), int(rng.integers(16))
        leak, gain = s.prior.row(row, rng)
        wave = np.random.Generator(np.random.Philox(key=key, counter=[0, 0, waveform, WAVEFORM])).random(20)
        seen = ((1 + gain) * wave.astype(np.float32)).astype(np.float32)
        theta = np.array([[gain, leak]])
        response = s.simulator.simulate(theta, np.repeat(seen, 2)[None, None], 0.5, [seed])
        found = file.rows([row])
        assert np.array_equal(found.parameters, [[leak, gain]])
        assert np.array_equal(found.stimulus[0, 0], seen)
        assert np.array_equal(found.continuous["voltage"], response["voltage"][:, 3::4].astype(np.float32))
        assert found.spikes is not None
        assert np.array_equal(found.spikes[0], response["spikes"][0].astype(np.float32))
        assert np.array_equal(file.latent("final", [row]), response["latent/final"].astype(np.float32))


def test_rows_do_not_depend_on_how_many_there_are(simulation: Make, tmp_path: Path) -> None:
    few = Dataset(generate(simulation(n=9), tmp_path / "few.h5")).rows(range(9))
    many = Dataset(generate(simulation(n=90), tmp_path / "many.h5")).rows(range(9))
    for ours, theirs in zip(
        (few.parameters, few.stimulus, few.continuous["voltage"], few.status),
        (many.parameters, many.stimulus, many.continuous["voltage"], many.status),
        strict=True,
    ):
        assert np.array_equal(ours, theirs)


def test_failed_rows_are_kept_and_named(simulation: Make, tmp_path: Path) -> None:
    file = Dataset(generate(simulation(n=300), tmp_path / "f.h5"))
    gain, status = file.parameters[:, file.names.index("gain")], np.array(STATUS)[file.status]
    spikes = file.rows(range(300)).spikes
    assert spikes is not None
    assert set(status) == set(STATUS) - {"saturated"}  # which only networks can be
    assert (status[gain < 0.1] == "non_finite").all()
    assert (status[(gain >= 0.1) & (gain < 0.2)] == "silent").all()
    assert (status[(gain >= 0.2) & (gain < 0.3)] == "terminated").all()
    silent = np.array([len(times) == 0 for times in spikes])
    assert np.array_equal(status[gain >= 0.3] == "silent", silent[gain >= 0.3])


def test_provenance(simulation: Make, tmp_path: Path) -> None:
    path = generate(simulation(), tmp_path / "f.h5")
    with h5py.File(path) as file:
        assert file.attrs["schema_version"] == 1 and file.attrs["root_seed"] == 3
        assert json.loads(str(file.attrs["simulator"])) == {
            "class_path": "toy_neurons.Toy",
            "init_args": {"delay": 0.0, "fail": ""},
        }
        assert list(file["parameters"].attrs["names"]) == ["leak", "gain"]  # type: ignore[arg-type]
        assert file["response/voltage"].attrs["dt"] == 2.0 and file["stimulus/waveform"].attrs["dt"] == 1.0
        assert all(d.fletcher32 for d in datasets(file).values())


# -- kills -----------------------------------------------------------------------------------------------------------


def _run(simulation: Simulation, path: Path, die: str = "") -> None:
    # a lock of the progress bars that a killed process took with it would be missing in all others
    tqdm.set_lock(threading.RLock())

    def now(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    if die == "in assembly":
        Shards.assemble = _with_advance(Shards.assemble, now)
    elif die == "before the shards are deleted":
        Shards.discard = now  # type: ignore[method-assign]
    generate(simulation, path, workers=1, shard_rows=10)


def _with_advance(assemble: Callable[..., None], advance: Callable[..., None]) -> Callable[..., None]:
    return lambda self, inputs, attributes, root, _: assemble(self, inputs, attributes, root, advance)


def _killed_after(simulation: Simulation, path: Path, seconds: float) -> bool:
    process = get_context("fork").Process(target=_run, args=(simulation, path))
    process.start()
    process.join(seconds)
    process.kill()
    process.join()
    return process.exitcode == -signal.SIGKILL


@pytest.mark.parametrize("kills", [3, 20])
def test_killed_at_random_moments_it_becomes_the_same_file(simulation: Make, tmp_path: Path, kills: int) -> None:
    s = simulation(delay=1e-3, n=100 * kills)
    whole = generate(s, tmp_path / "whole.h5", workers=1)
    path, rng, done = tmp_path / "killed.h5", np.random.default_rng(kills), 0
    for _ in range(kills):
        # a shard takes about 20 ms; a run is killed before, in and after its first few
        assert _killed_after(s, path, rng.uniform(0.01, 0.12)), "finished before it was killed: make the work longer"
        assert not path.exists()
        finished = len(list(tmp_path.glob("killed.h5.shards/rows_*.h5")))
        assert finished >= done, "a finished shard was lost"
        done = finished
    generate(s, path, workers=1, shard_rows=10)
    assert contents(path) == contents(whole)
    assert not path.with_name("killed.h5.shards").exists()


@pytest.mark.parametrize("when", ["in assembly", "before the shards are deleted"])
def test_killed_at_the_end_it_becomes_the_same_file(simulation: Make, tmp_path: Path, when: str) -> None:
    whole, path = generate(simulation(), tmp_path / "whole.h5"), tmp_path / "killed.h5"
    process = get_context("fork").Process(target=_run, args=(simulation(), path, when))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert len(list(tmp_path.glob("killed.h5.shards/rows_*.h5"))) == 6
    assert path.exists() == (when != "in assembly")
    generate(simulation(), path)
    assert contents(path) == contents(whole)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["killed.h5", "whole.h5"]


def test_interrupted_it_says_how_to_continue(simulation: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    whole, path = generate(simulation(), tmp_path / "whole.h5"), tmp_path / "f.h5"
    with monkeypatch.context() as patch:
        patch.setattr(Progress, "advance", interrupt)
        with pytest.raises(KeyboardInterrupt, match=r"20 of 60 rows are kept in .*the same command continues"):
            generate(simulation(), path, workers=1, shard_rows=20)
    assert contents(generate(simulation(), path)) == contents(whole)


@pytest.mark.slow
def test_processes_end_with_the_one_that_started_them(simulation: Make, tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import toy_neurons\n"
        "from neuroinf.datasets import workers\n"
        "from neuroinf.datasets.generation import Simulation, generate\n"
        "from neuroinf.priors import Parameter, Prior\n"
        "if __name__ == '__main__':\n"
        "    workers.WORTH_PROCESSES = 0.0\n"
        "    prior = Prior({'leak': Parameter('1/ms', 0.05, 0.5, 'log'), 'gain': Parameter('1', 0.0, 1.0)})\n"
        "    s = Simulation(toy_neurons.Toy(2e-3), prior, toy_neurons.Pulses(), 3000, 0.5, 2.0, 3, 16)\n"
        "    generate(s, sys.argv[1], workers=2, shard_rows=50)\n"
    )
    path = tmp_path / "f.h5"
    process = subprocess.Popen([sys.executable, str(script), str(path)])
    folder = tmp_path / "f.h5.shards"
    until = time.monotonic() + 60
    while len(list(folder.glob("rows_*.h5"))) < 4 and time.monotonic() < until:
        time.sleep(0.05)
    process.kill()
    process.wait()
    time.sleep(1.0)  # longer than a shard takes
    left = len(list(folder.glob("rows_*.h5")))
    time.sleep(1.0)
    assert 4 <= left == len(list(folder.glob("rows_*.h5"))), "a process works on after its parent's death"
    s = simulation(delay=2e-3, n=3000)
    whole = generate(simulation(delay=2e-3, n=3000), tmp_path / "whole.h5", workers=2)
    assert contents(generate(s, path, workers=2)) == contents(whole)


# -- what lies in the way --------------------------------------------------------------------------------------------


def test_another_configuration_overwrites_nothing(simulation: Make, toy: Any, tmp_path: Path) -> None:
    path = generate(simulation(), tmp_path / "f.h5")
    before = path.read_bytes()
    for changed, key in (
        (simulation(n=61), r"n \(asked for / there\) 61 / 60"),
        (simulation(seed=4), "seed"),
        (simulation(delay=1e-9), "simulator.init_args.delay"),
        (simulation(stimulus=toy.Pulses(duration=40.0)), "stimulus.init_args.duration"),
        (
            simulation(prior=Prior({"leak": Parameter("1/ms", 0.1, 0.5), "gain": Parameter("1", 0, 1)})),
            r"prior.*leak.*low",
        ),
    ):
        with pytest.raises(InputError, match=key):
            generate(changed, path)
        assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
    assert generate(simulation(), path) == path and path.read_bytes() == before


def test_another_configuration_leaves_an_unfinished_file_alone(
    simulation: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    path = tmp_path / "f.h5"
    with monkeypatch.context() as patch:
        patch.setattr(Shards, "assemble", stop)
        with pytest.raises(KeyboardInterrupt):
            generate(simulation(), path, workers=1, shard_rows=20)
    before = {p.name: p.read_bytes() for p in (tmp_path / "f.h5.shards").iterdir()}
    with pytest.raises(InputError, match="dt"):
        generate(simulation(dt=0.25), path)
    assert before == {p.name: p.read_bytes() for p in (tmp_path / "f.h5.shards").iterdir()}
    assert not path.exists()


def test_what_is_no_dataset_is_not_overwritten(simulation: Make, tmp_path: Path) -> None:
    path = tmp_path / "thesis.h5"
    path.write_text("chapter 1")
    with pytest.raises(InputError, match="left as it is"):
        generate(simulation(), path)
    assert path.read_text() == "chapter 1" and list(tmp_path.iterdir()) == [path]


def test_one_run_at_a_time(simulation: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def meanwhile(*_: object) -> float:
        with pytest.raises(InputError, match="another run"):
            generate(simulation(), tmp_path / "f.h5")
        raise KeyboardInterrupt

    monkeypatch.setattr("neuroinf.datasets.generation._simulate", meanwhile)
    with pytest.raises(KeyboardInterrupt):
        generate(simulation(), tmp_path / "f.h5")


# -- what may be wrong -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fail", "message"),
    [("raise", "the membrane tore"), pytest.param("exit", "without an answer", marks=pytest.mark.slow)],
)
def test_failures_in_processes_are_told(
    simulation: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fail: str, message: str
) -> None:
    monkeypatch.setattr(workers, "_worth_processes", lambda *_: True)
    with pytest.raises(InputError, match=message):
        generate(simulation(fail=fail), tmp_path / "f.h5", workers=2, shard_rows=30)


def test_parts_must_fit(simulation: Make, toy: Any) -> None:
    gain, leak = Parameter("1", 0, 1), Parameter("1/ms", 0.1, 0.5)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"n": 0}, "simulation.n must be at least 1"),
        ({"seed": -1}, "simulation.seed"),
        ({"dt": 0.0}, "simulation.dt must be a positive"),
        ({"dt": float("nan")}, "simulation.dt must be a positive"),
        ({"record_dt": 0.7}, "record_dt must be a whole multiple"),
        ({"dt": 0.3, "record_dt": 3.0}, "stimulus' dt must be a whole multiple"),
        ({"stimulus": toy.Pulses(duration=21.0)}, "duration must be a whole multiple of simulation.record_dt"),
        ({"prior": Prior({"gain": gain})}, r"missing \['leak'\]"),
        ({"prior": Prior({"gain": gain, "leak": leak, "C": gain})}, r"unknown \['C'\]"),
        (
            {"prior": Prior({"gain": gain, "leak": Parameter("1/s", 0.1, 0.5)})},
            "takes leak in 1/ms, the prior gives it in 1/s",
        ),
        ({"stimulus": toy.Pulses("nA")}, "takes a stimulus in pA, this one is in nA"),
    ]
    for changes, message in cases:
        with pytest.raises(InputError, match=message):
            simulation(**changes)


def test_a_simulator_that_breaks_its_word_is_told(simulation: Make, toy: Any, tmp_path: Path) -> None:
    class Lame(toy.Toy):
        def simulate(self, theta: NDArray[Any], stimulus: NDArray[Any], dt: float, seed: Any = 0) -> dict[str, Any]:
            return self.answer(super().simulate(theta, stimulus, dt, seed))

        def answer(self, response: dict[str, Any]) -> dict[str, Any]:
            return response

    answers: list[tuple[Callable[[dict[str, Any]], dict[str, Any]], str]] = [
        (lambda r: {**r, "voltage": r["voltage"][:, :-1]}, r"'voltage' of shape \(60, 39\)"),
        (lambda r: {"spikes": r["spikes"]}, r"announces the channels \['voltage'\] but"),
        (lambda r: {**r, "mood": r["voltage"]}, "returned 'mood'"),
        (lambda r: {**r, "spikes": r["spikes"][1:]}, "spikes of 59 rows for 60"),
    ]
    for i, (answer, message) in enumerate(answers):
        lame = Lame()
        lame.answer = answer  # type: ignore[method-assign]
        with pytest.raises(InputError, match=message):
            generate(simulation(simulator=lame), tmp_path / f"{i}.h5")
