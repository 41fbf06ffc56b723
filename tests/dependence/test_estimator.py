"""The estimator around the learned kernel: data of every kind, files, settings, refusals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import schmidt
from schmidt.dependence import CDK, GivenPairs
from schmidt.storage import DamagedFileError

Pairs = tuple[np.ndarray, np.ndarray]
Views = Callable[..., tuple[Pairs, Pairs]]

SMALL = {"hidden": (16,), "batch": 64, "steps": 5, "progress": False}
WHOLE = {**SMALL, "held_out": 0}


class Pooled(nn.Module):
    """Images (B, 3, 6, 6) to three functions."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.out = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.conv(x).relu().mean((2, 3)))


@pytest.fixture
def images() -> tuple[Tensor, Tensor]:
    x = torch.randn(120, 3, 6, 6)
    return x, x + torch.randn(120, 3, 6, 6)


def modules() -> tuple[nn.Module, nn.Module]:
    return Pooled(), Pooled()


def test_pairs_given_loaded_and_drawn_are_one_law(views: Views) -> None:
    (x, _), (y, _) = views()
    x, y = x.astype(np.float32), y.astype(np.float32)
    tensors = TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
    settings = {**WHOLE, "steps": 200, "polish": "span"}
    fitted = [
        CDK(2, **settings).fit(x, y),
        CDK(2, **settings).fit(DataLoader(tensors, batch_size=50, shuffle=True)),
        CDK(2, **settings).fit(GivenPairs(x, y).__call__),
    ]
    for other in fitted[1:]:
        np.testing.assert_allclose(other.singular_values_, fitted[0].singular_values_, atol=0.02)
        overlap = np.corrcoef(other.transform_x(x).T, fitted[0].transform_x(x).T)[:2, 2:]
        assert (np.abs(overlap.diagonal()) > 0.95).all()


def test_weights_of_loaders_and_arrays_count(views: Views) -> None:
    (x, _), (y, _) = views()
    wrong = np.random.default_rng(0).permutation(len(y))
    both = np.vstack([x, x]).astype(np.float32), np.vstack([y, y[wrong]]).astype(np.float32)
    weight = np.repeat([1.0, 0.0], len(x))
    parts = (torch.from_numpy(np.array(a)) for a in (*both, weight))
    loader = DataLoader(TensorDataset(*parts), batch_size=96, shuffle=True)
    settings = {**WHOLE, "steps": 100, "polish": "span"}
    plain = CDK(2, **settings).fit(*both).singular_values_[0]
    for found in (
        CDK(2, **settings).fit(*both, sample_weight=weight),
        CDK(2, **settings).fit(loader),
    ):
        assert found.singular_values_[0] > 1.5 * plain


def test_networks_of_your_own_on_images(images: tuple[Tensor, Tensor], tmp_path: Path) -> None:
    own = modules()
    before = [p.clone() for p in own[0].parameters()]
    found = CDK(3, network=own, **SMALL).fit(*images)
    assert all(torch.equal(a, b) for a, b in zip(before, own[0].parameters(), strict=True))
    out = found.transform_x(images[0])
    assert isinstance(out, Tensor)
    assert out.shape == (120, 3)
    path = found.save(tmp_path / "own.safetensors")
    with pytest.raises(ValueError, match="networks of your own"):
        CDK.load(path)
    assert not found.right_.units  # nobody knows the hidden ones
    again = CDK.load(path, modules())
    assert torch.equal(again.transform_x(images[0]), out)
    with pytest.raises(ValueError, match="hidden units"):
        CDK(3, network=own, polish="ritz", **SMALL).fit(*images)


def test_images_are_flattened_for_perceptrons(images: tuple[Tensor, Tensor]) -> None:
    x, y = images
    a = CDK(3, **SMALL).fit(x, y).transform_x(x)
    b = CDK(3, **SMALL).fit(x.flatten(1), y.flatten(1)).transform_x(x.flatten(1))
    assert torch.equal(a, b)
    whole = CDK(3, **SMALL).fit((x * 50).to(torch.uint8), (y * 50).to(torch.uint8))
    assert whole.transform_x(np.zeros((2, 3, 6, 6), np.uint8)).dtype == np.float32


@pytest.mark.parametrize(
    "settings",
    [
        {"polish": None},
        {"share": True},
        {"share": "flag", "inputs": "standard"},
        {"polish": "ritz", "inputs": "none"},
        {"network": "disjoint", "hidden": (8, 8)},
        {"network": "disjoint", "polish": "ritz", "hidden": (8,)},
    ],
)
def test_a_saved_estimator_is_the_same_to_the_last_bit(
    settings: dict[str, object], views: Views, tmp_path: Path
) -> None:
    (x, cx), (y, cy) = views()
    found = CDK(3, **{**SMALL, **settings}).fit((x, cx), (y, cy))
    again = CDK.load(found.save(tmp_path / "cdk.safetensors"))
    assert again.get_params() == clone(found).get_params()
    np.testing.assert_array_equal(again.transform_x(x), found.transform_x(x))
    np.testing.assert_array_equal(again.transform_y(y), found.transform_y(y))
    np.testing.assert_array_equal(again.singular_values_, found.singular_values_)
    short = found.truncate(2)
    again = CDK.load(short.save(tmp_path / "short.safetensors"))
    np.testing.assert_array_equal(again.transform_x(x), short.transform_x(x))


def test_a_finished_run_is_taken_up_where_it_ended(views: Views, tmp_path: Path) -> None:
    x, y = views()
    settings = {**SMALL, "checkpoint": tmp_path}
    first = CDK(3, **settings).fit(x, y)
    again = CDK(3, **settings, resume=True).fit(x, y)
    assert again.steps_ == 5
    np.testing.assert_array_equal(again.transform_x(x[0]), first.transform_x(x[0]))
    with pytest.raises(ValueError, match=r"holds another run.*cap"):
        CDK(3, **settings, resume=True, cap=2.0).fit(x, y)
    next((tmp_path / "stages").iterdir()).unlink()
    with pytest.raises(DamagedFileError, match="is missing, without which"):
        CDK(3, **settings, resume=True).fit(x, y)
    with pytest.raises(ValueError, match="resume needs the directory"):
        CDK(3, resume=True).fit(x, y)


@pytest.mark.parametrize("call", [1, 5, 9])
def test_killed_inside_any_write_it_goes_on_to_the_same_bits(
    call: int, views: Views, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The n-th file that is put into its place is the last: checkpoints, and stages of training."""
    x, y = views()
    whole = CDK(3, **SMALL).fit(x, y)
    real, calls = os.replace, 0

    class Killed(BaseException):
        pass

    def dying(*given: str) -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            raise Killed
        real(*given)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", dying)
        with pytest.raises(Killed):
            CDK(3, **SMALL, checkpoint=tmp_path, checkpoint_seconds=0).fit(x, y)
    begun = (tmp_path / "checkpoint.json").exists()
    assert begun == (call > 1)
    again = CDK(3, **SMALL, checkpoint=tmp_path, resume=begun).fit(x, y)
    np.testing.assert_array_equal(again.transform_x(x[0]), whole.transform_x(x[0]))
    np.testing.assert_array_equal(again.singular_values_, whole.singular_values_)


class Interrupted(GivenPairs):
    """Pairs whose n-th draw is accompanied by Ctrl-C."""

    def __init__(self, x: np.ndarray, y: np.ndarray, at: int) -> None:
        super().__init__(x, y)
        self.left = at

    def draw(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        self.left -= 1
        if self.left == 0:
            signal.raise_signal(signal.SIGINT)
        return self(n, generator)


def test_ctrl_c_keeps_what_there_is_and_a_resumed_run_repeats_every_bit(
    views: Views, tmp_path: Path
) -> None:
    (x, _), (y, _) = views()
    settings = {**SMALL, "steps": 30, "polish": "span"}
    whole = CDK(2, **settings).fit(GivenPairs(x, y).__call__)
    stopped = CDK(2, **settings, checkpoint=tmp_path).fit(Interrupted(x, y, 60).draw)
    assert stopped.interrupted_
    assert 0 < stopped.steps_ < 30
    assert stopped.transform_x(x).shape == (len(x), 2)
    resumed = CDK(2, **settings, checkpoint=tmp_path, resume=True).fit(GivenPairs(x, y).__call__)
    assert resumed.steps_ == 30
    np.testing.assert_array_equal(resumed.transform_x(x), whole.transform_x(x))


def test_estimators_are_found_at_the_top() -> None:
    assert schmidt.CDK is CDK
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        schmidt.nothing  # noqa: B018
    code = "import sys, schmidt; assert 'sklearn' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


REFUSED: list[tuple[dict[str, object], str]] = [
    ({"share": "yes"}, "share must be"),
    ({"inputs": "pca"}, "inputs must be"),
    ({"network": "deep"}, "network must be"),
    ({"activation": "step"}, "activation must be"),
    ({"nesting": "other"}, "nesting must be"),
    ({"estimator": "other"}, "estimator must be"),
    ({"polish": "wax"}, "polish must be"),
    ({"optimizer": "lion"}, "optimizer must be"),
    ({"cap": -1.0}, "cap must be a number above 0"),
    ({"hidden": ()}, "hidden must be a whole number of at least 1.*widths"),
    ({"prior": "flat"}, "prior must be"),
    ({"steps": 0}, "steps must be a whole number of at least 1"),
    ({"modes": 12}, "12 classes have at most 11 modes"),
    ({"modes": 0}, "modes must be a whole number of at least 1"),
]


@pytest.mark.parametrize(("settings", "message"), REFUSED)
def test_settings_that_make_no_sense(
    settings: dict[str, object], message: str, views: Views
) -> None:
    x, y = views()
    with pytest.raises(ValueError, match=message):
        CDK(**{"modes": 3, **SMALL, **settings}).fit(x, y)


def test_data_that_make_no_sense(views: Views) -> None:
    (x, cx), (y, _) = views()
    bad = x.copy()
    bad[3, 1] = np.nan
    model = CDK(3, **SMALL)
    with pytest.raises(ValueError, match="x of the pairs contain NaN"):
        model.fit(bad, y)
    with pytest.raises(ValueError, match="as many x as y"):
        model.fit(x[1:], y)
    with pytest.raises(ValueError, match="3 pairs have at most 2 modes"):
        model.fit(x[:3], y[:3])
    with pytest.raises(ValueError, match="for both domains"):
        model.fit((x, cx), y)
    with pytest.raises(ValueError, match="a loader or sampler"):
        model.fit(x)
    with pytest.raises(ValueError, match="items of one size"):
        CDK(3, **SMALL, share=True).fit(x, y[:, :2])
    with pytest.raises(ValueError, match="all items x are equal"):
        model.fit(np.ones_like(x), y)
    with pytest.raises(ValueError, match="belongs to pairs"):
        model.fit((x, cx), (y, cx), sample_weight=np.ones(len(x)))
