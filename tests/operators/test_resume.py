"""A resumed run is the same run: other operators, methods, networks and data are refused, and the
same ones are not. Killed at any moment, a run can be resumed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from schmidt import identity, storage
from schmidt.operators import (
    Ansatz,
    Data,
    Dependence,
    DisjointMLP,
    FiniteDifferences,
    IndexTable,
    Kernel,
    Lebesgue,
    Matrix,
    NestedLowRank,
    NeuralEF,
    Radial,
    Schrodinger,
    SpIN,
    Training,
    fit,
)
from schmidt.operators.checkpoint import read
from schmidt.operators.networks import Factor
from schmidt.storage import DamagedFileError, FolderInUseError, exclusive
from support.small import oscillator, small_network

REFUSED = "holds another run"


def square(x):
    return x.pow(2).sum(1)


def well(potential=square, shift=8.0, scale=0.7, **settings):
    return Schrodinger(potential, Lebesgue(Radial(2, scale=scale, outer=6.0)), **settings) + shift


def trained(directory, form=None, network=None, left=None, resume=False, **arguments):
    training = {"steps": 4, "batch": 64, "log_every": 2} | arguments.pop("training", {})
    return fit(
        form or well(),
        network or small_network(),
        left,
        training=Training(**training),
        checkpoint=directory,
        resume=resume,
        **arguments,
    )


def mlp(hidden=(16,), activation="tanh", modes=3, decay=0.5):
    torch.manual_seed(0)
    trunk = DisjointMLP(2, modes, hidden, activation=activation)
    return Ansatz(trunk, Factor(lambda x: (-decay * x.pow(2).sum(1, keepdim=True)).exp()))


OTHERS = {
    "potential": {"form": well(lambda x: x.pow(4).sum(1))},
    "potential, slightly": {"form": well(lambda x: 1.0001 * x.pow(2).sum(1))},
    "shift": {"form": well(shift=8.1)},
    "kinetic": {"form": well(kinetic=0.5)},
    "scale": {"form": 2 * well()},
    "twice negated": {"form": (-1) * (-1 * well(shift=9.0))},
    "measure": {"form": well(scale=0.8)},
    "form": {"form": well(form="strong")},
    "masks": {"method": "none"},
    "masks of an object": {"method": NestedLowRank.joint(3, weights=[1.0, 0.5, 0.1])},
    "method": {"method": "gha"},
    "derivatives": {"derivatives": FiniteDifferences(0.1)},
    "shape": {"network": mlp(hidden=(24,))},
    "modes": {"network": mlp(modes=4)},
    "activation": {"network": mlp(activation="softplus")},
    "envelope": {"network": mlp(decay=0.6)},
    "precision": {"network": mlp().double()},
    "learning rate": {"training": {"lr": 1e-3}},
    "clip": {"training": {"clip": 1.0}},
    "batch": {"training": {"batch": 128}},
    "seed": {"training": {"seed": 1}},
    "optimizer": {"training": {"optimizer": "adam"}},
    "decay of weights": {
        "training": {"optimizer": lambda p, lr: torch.optim.AdamW(p, lr=lr, weight_decay=0.1)}
    },
    "settings": {"settings": {"mine": 2}},
}
"""Everything that makes a run another one."""


@pytest.mark.parametrize("what", OTHERS)
def test_another_run_is_refused(tmp_path, what):
    other = dict(OTHERS[what])
    network = mlp() if "network" in other else None
    trained(tmp_path, network=network)
    network = other.pop("network", None)
    before = {p.name: p.read_bytes() for p in tmp_path.glob("checkpoint*")}
    with pytest.raises(ValueError, match=REFUSED) as refusal:
        trained(tmp_path, network=network, resume=True, **other)
    assert "delete" not in str(refusal.value)
    assert {p.name: p.read_bytes() for p in tmp_path.glob("checkpoint*")} == before


def test_other_masks_under_one_class_are_found_by_the_gradient(tmp_path):
    """Class and settings of these two are the same."""
    trained(tmp_path, method=NestedLowRank.none(3))
    with pytest.raises(ValueError, match="gradient on a fixed batch is another"):
        trained(tmp_path, method=NestedLowRank.sequential(3), resume=True)


def test_other_settings_of_a_method_are_named(tmp_path):
    trained(tmp_path, network=mlp(), method=SpIN(3, decay=0.9))
    with pytest.raises(ValueError, match=r"method.decay: 0.9 then, 0.99 now"):
        trained(tmp_path, network=mlp(), method=SpIN(3), resume=True)
    other = tmp_path / "other"
    trained(other, method=NeuralEF(penalty="overlap"))
    with pytest.raises(ValueError, match="overlap"):
        trained(other, method=NeuralEF(penalty="deflation"), resume=True)


def rows(seed, n=40):
    return np.random.default_rng(seed).standard_normal((n, 2))


def pairs(seed=0, changed=False):
    x = rows(seed).astype(np.float32)
    y = (x + rows(seed + 100)).astype(np.float32)
    if changed:
        y[7, 1] += 1e-2
    return x, y


DATA = {
    "pairs": (lambda **k: Dependence(pairs(**k)), True),
    "points": (
        lambda seed=0, changed=False: Kernel(
            lambda y, x: (y @ x.T).square(), Data(pairs(seed, changed)[1]), symmetric=True
        ),
        False,
    ),
}


def plain(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2))


@pytest.mark.parametrize("kind", DATA)
@pytest.mark.parametrize("other", [{"seed": 1}, {"changed": True}])
def test_other_data_are_refused_and_the_same_are_not(tmp_path, kind, other):
    make, svd = DATA[kind]

    def run(form, **arguments):
        left = plain(1) if svd else None
        return trained(tmp_path, form, plain(), left, **arguments)

    run(make())
    assert run(make(), resume=True).steps == 4
    with pytest.raises(ValueError, match=REFUSED):
        run(make(**other), resume=True)


def test_one_entry_of_a_matrix_is_another_matrix(tmp_path):
    a = np.random.default_rng(0).standard_normal((2000, 30))
    networks = IndexTable(30, 2), IndexTable(2000, 2)
    trained(tmp_path, Matrix(a), *networks)
    a[1777, 3] *= 1.01
    with pytest.raises(ValueError, match=r"a: other numbers than then"):
        trained(tmp_path, Matrix(a), *networks, resume=True)


def test_the_same_run_is_not_refused(tmp_path):
    """Whatever name the operator has, whatever lists and arrays its settings hold."""
    first = {"shape": (3, 4), "grid": np.arange(3.0), "nested": {"t": torch.ones(2)}, "n": 3}
    again = {
        "shape": [3, 4],
        "grid": [0.0, 1.0, 2.0],
        "nested": {"t": np.ones(2)},
        "n": np.int64(3),
    }
    trained(tmp_path, settings=first)

    def renamed(x):
        return (x * x).sum(1)

    resumed = trained(tmp_path, well(renamed), resume=True, settings=again)
    assert resumed.steps == 4
    longer = trained(tmp_path, resume=True, settings=again, training={"steps": 6, "log_every": 3})
    assert longer.steps == 6
    with pytest.raises(ValueError, match="has done 6 steps, more than steps=5"):
        trained(tmp_path, resume=True, settings=again, training={"steps": 5})


SCRIPT = """
import sys, torch
sys.path.insert(0, {tests!r})
from support.small import oscillator, small_network
from schmidt.operators import Training, fit
training = Training(steps={steps}, batch=64, log_every=2, checkpoint_every={every})
arguments = dict(training=training, checkpoint={folder!r}, resume={resume})
found = fit(oscillator(), small_network(), **arguments)
print(found.steps, found.interrupted, flush=True)
"""


def started(folder, steps=4, every=1000, resume=False):
    tests = str(Path(__file__).parent.parent)
    text = SCRIPT.format(tests=tests, folder=str(folder), steps=steps, every=every, resume=resume)
    return subprocess.Popen(
        [sys.executable, "-c", text],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # as batch systems and background jobs have it: Ctrl-C ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )


def wait_for_start(folder):
    for _ in range(1200):
        if (Path(folder) / "checkpoint.json").exists():
            return
        time.sleep(0.05)
    raise AssertionError("no checkpoint 0 within a minute")


def test_a_terminated_run_keeps_everything_and_goes_on_in_a_new_process(tmp_path):
    process = started(tmp_path, steps=200_000)
    wait_for_start(tmp_path)
    with pytest.raises(FolderInUseError, match="another run is writing"):
        trained(tmp_path, oscillator(), resume=True, training={"steps": 200_000})
    time.sleep(0.5)
    process.terminate()
    out, err = process.communicate(timeout=60)
    steps, interrupted = out.split()
    assert (process.returncode, interrupted) == (0, "True"), err
    done = read(tmp_path).progress.step
    assert done == int(steps) > 0
    again = started(tmp_path, steps=done + 3, resume=True)
    out, err = again.communicate(timeout=60)
    assert out.split() == [str(done + 3), "False"], err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signals_end_a_run_after_its_step(tmp_path, number):
    previous = signal.signal(number, signal.default_int_handler)
    try:
        cut = trained(
            tmp_path,
            training={"steps": 50},
            monitor=lambda right, left: os.kill(os.getpid(), number) or {},
            monitor_every=7,
        )
    finally:
        signal.signal(number, previous)
    assert (cut.interrupted, cut.steps) == (True, 7)
    assert read(tmp_path).progress.step == 7


def test_a_killed_run_releases_its_folder_and_goes_on(tmp_path):
    process = started(tmp_path, steps=200_000, every=20)
    wait_for_start(tmp_path)
    time.sleep(0.5)
    process.kill()
    process.communicate()
    done = read(tmp_path).progress.step
    resumed = trained(
        tmp_path, oscillator(), resume=True, training={"steps": done + 2, "checkpoint_every": 20}
    )
    assert resumed.steps == done + 2


def test_every_moment_of_a_killed_run_can_be_resumed(tmp_path, monkeypatch):
    """The folder after each single change to it, and after each half-written file."""
    folder, moments = tmp_path / "run", tmp_path / "moments"
    count = 0

    def keep(half=None):
        nonlocal count
        there = moments / str(count)
        shutil.copytree(folder, there, ignore=shutil.ignore_patterns(storage.LOCK))
        if half is not None:
            (there / f".half{storage.PART}").write_bytes(half)
        count += 1

    replace, unlink = os.replace, Path.unlink

    def replaced(source, target):
        keep(Path(source).read_bytes()[: Path(source).stat().st_size // 2])
        replace(source, target)
        keep()

    def unlinked(path, *arguments, **named):
        unlink(path, *arguments, **named)
        if folder in path.parents:
            keep()

    monkeypatch.setattr(os, "replace", replaced)
    monkeypatch.setattr(Path, "unlink", unlinked)
    training = {"steps": 9, "checkpoint_every": 3}
    whole = trained(folder, training=training)
    monkeypatch.undo()
    assert count > 12
    for number in range(count):
        moment = moments / str(number)
        if not (moment / "checkpoint.json").exists():
            continue
        resumed = trained(moment, network=small_network(seed=4), resume=True, training=training)
        for a, b in zip(whole.right.parameters(), resumed.right.parameters(), strict=True):
            assert torch.equal(a, b)
        left = {p.name for p in moment.iterdir()} - {storage.LOCK}
        assert len(left) == 2, left  # the json and its tensors: orphans are gone


def test_every_flipped_byte_is_noticed(tmp_path):
    trained(tmp_path)
    rng, whole, noticed = np.random.default_rng(0), read(tmp_path), 0
    for path in tmp_path.glob("checkpoint*"):
        data = path.read_bytes()
        for place in rng.choice(len(data), 40, replace=False):
            broken = bytearray(data)
            broken[place] ^= 1 << int(rng.integers(7))
            path.write_bytes(bytes(broken))
            try:
                found = read(tmp_path)
            except DamagedFileError as damage:
                noticed += "delete" not in str(damage)
            else:  # 1e-05 and 1E-05 are one number
                assert (found.progress, found.evidence) == (whole.progress, whole.evidence)
                assert all(torch.equal(v, whole.tensors[k]) for k, v in found.tensors.items())
            path.write_bytes(data)
    assert noticed > 70


def test_tensors_of_another_moment_or_missing_ones_are_noticed(tmp_path):
    trained(tmp_path / "a")
    trained(tmp_path / "b")
    (a,) = (tmp_path / "a").glob("*.safetensors")
    (b,) = (tmp_path / "b").glob("*.safetensors")
    shutil.copy(b, a)
    with pytest.raises(DamagedFileError, match="is not the file to which"):
        read(tmp_path / "a")
    a.unlink()
    with pytest.raises(DamagedFileError, match="is missing"):
        read(tmp_path / "a")


class Blurred(nn.Module):
    """A table with dropout: its randomness is torch's own."""

    def __init__(self):
        super().__init__()
        self.table = IndexTable(20, 2)

    def forward(self, x):
        return torch.nn.functional.dropout(self.table(x), 0.3, self.training)


def test_torchs_own_randomness_goes_on_where_it_was(tmp_path):
    a = np.diag(np.arange(20.0, 0.0, -1.0))

    def run(folder, **arguments):
        torch.manual_seed(3)
        return trained(
            folder, Matrix(a), Blurred(), training={"steps": 8, "checkpoint_every": 3}, **arguments
        )

    class Stop(Exception):
        pass

    def stop(right, left):
        raise Stop

    whole = run(tmp_path / "whole")
    with pytest.raises(Stop):
        run(tmp_path / "cut", monitor=stop, monitor_every=5)
    torch.rand(17)
    resumed = run(tmp_path / "cut", resume=True)
    for a, b in zip(whole.right.parameters(), resumed.right.parameters(), strict=True):
        assert torch.equal(a, b)
    without = fit(
        Matrix(np.diag(np.arange(20.0, 0.0, -1.0))),
        seeded_blurred(),
        training=Training(steps=8, batch=64, log_every=2),
    )
    for a, b in zip(whole.right.parameters(), without.right.parameters(), strict=True):
        assert torch.equal(a, b), "writing checkpoints must not use up randomness"


def seeded_blurred():
    torch.manual_seed(3)
    return Blurred()


def test_checkpoints_come_by_time_and_by_steps(tmp_path, monkeypatch):
    ticks = iter(range(10**6))
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(ticks)))
    written = []
    from schmidt.operators import run as module

    save = module.Run.save
    monkeypatch.setattr(
        module.Run, "save", lambda self, d, at: (written.append(at.step), save(self, d, at))
    )
    trained(tmp_path, training={"steps": 10, "checkpoint_seconds": 4.0})
    assert written == [0, 4, 8, 10]
    written.clear()
    trained(tmp_path, training={"steps": 10, "checkpoint_seconds": None, "checkpoint_every": 3})
    assert written == [0, 3, 6, 9, 10]


def test_an_unwritable_folder_shows_before_the_first_step(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    calls = []
    with pytest.raises(OSError, match="file"):
        trained(file / "below", monitor=lambda r, l: calls.append(1) or {}, monitor_every=1)
    assert not calls


def test_nothing_to_resume_is_said(tmp_path):
    with pytest.warns(UserWarning, match="nothing to resume"):
        trained(tmp_path, resume=True)


def test_one_process_may_hold_a_folder_twice_and_two_threads_may_not(tmp_path):
    with exclusive(tmp_path):
        assert trained(tmp_path).steps == 4


def test_digests_of_arrays(tmp_path):
    """Of a memory map, some rows and the size; of equal numbers in other layouts, the same."""
    a = np.random.default_rng(0).standard_normal((5000, 3))
    np.save(tmp_path / "a.npy", a)
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    assert identity.digest(mapped) != identity.digest(a)
    assert identity.digest(mapped) == identity.digest(np.load(tmp_path / "a.npy", mmap_mode="r"))
    assert identity.digest(mapped) != identity.digest(mapped[:4000])
    assert identity.digest(a) == identity.digest(np.asfortranarray(a))
    assert identity.digest(a) == identity.digest(torch.from_numpy(a))
    assert identity.digest(a) != identity.digest(a.T)
    rounded = identity.evidence_of_array(a * (1 + 1e-15))
    assert not identity.differences({"a": rounded}, {"a": identity.evidence_of_array(a)})


def test_the_evidence_is_there(tmp_path):
    """A refusal by values needs values: they exist for every kind of form."""
    cases = [
        (well(), small_network(), None),
        (well(form="strong"), small_network(), None),
        (Matrix(np.eye(20)), IndexTable(20, 2), None),
        (
            Matrix(np.ones((8, 4)), block=2),
            IndexTable(2, 2, outputs=2),
            IndexTable(4, 2, outputs=2),
        ),
        (DATA["points"][0](), plain(), None),
        (DATA["pairs"][0](), plain(), plain(1)),
    ]
    for i, (form, right, left) in enumerate(cases):
        trained(tmp_path / str(i), form, right, left)
        evidence = json.loads((tmp_path / str(i) / "checkpoint.json").read_text())["evidence"]
        assert evidence["operator"] is not None
        assert evidence["gradient"] is not None
