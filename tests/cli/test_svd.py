"""``schmidt svd`` and ``schmidt compress`` as a user calls them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import scipy.sparse
from PIL import Image

from schmidt.cli import main


def run(capsys: pytest.CaptureFixture[str], *arguments: Any) -> tuple[int, str, str]:
    status = main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.fixture
def matrix(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((30, 20)) * 0.7 ** np.arange(20)


def written(folder: Path, kind: str, A: np.ndarray) -> Path:
    path = folder / f"a.{kind.split()[0]}"
    if kind == "npy":
        np.save(path, A)
    elif kind == "npz dense":
        np.savez(path, A)
    elif kind == "npz sparse":
        scipy.sparse.save_npz(path, scipy.sparse.csr_array(A))
    elif kind == "mtx":
        scipy.io.mmwrite(path, scipy.sparse.coo_array(A))
    else:
        names = ",".join(f"c{i}" for i in range(A.shape[1])) if kind == "csv named" else ""
        np.savetxt(path, A, delimiter=",", header=names, comments="")
        if not names:
            path.write_text(path.read_text().lstrip("\n"))
    return path


@pytest.mark.parametrize(
    "kind", ["npy", "npz dense", "npz sparse", "mtx", "csv named", "csv plain"]
)
def test_every_file(
    kind: str, matrix: np.ndarray, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file, report = written(tmp_path, kind, matrix), tmp_path / "r.json"
    out = tmp_path / "out"
    status, text, _ = run(capsys, "svd", file, "--rank", 4, "--out", out, "--json", report)
    assert status == 0
    exact = np.linalg.svd(matrix, compute_uv=False)
    for heading in ("σ", "residual", "‖A − A_k‖_F = ", "rank 4: met"):
        assert heading in text
    content = json.loads(report.read_text())
    assert content == json.loads((out / "report.json").read_text())
    np.testing.assert_allclose(content["values"], exact[:4], rtol=1e-6)
    assert content["certificate"]["frobenius"] == pytest.approx(np.linalg.norm(exact[4:]))
    with np.load(out / "factors.npz") as f:
        E = matrix - (f["U"] * f["s"]) @ f["Vh"]
    assert np.linalg.norm(E) == pytest.approx(np.linalg.norm(exact[4:]))
    assert (out / "spectrum.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "rule", [("--tol", 0.1), ("--energy", 0.9), ("--mass", 0.8), ("--tol", 0.2, "--norm", "sigma")]
)
def test_every_rule(
    rule: tuple, matrix: np.ndarray, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = written(tmp_path, "npy", matrix)
    status, text, _ = run(capsys, "svd", file, *rule, "--center", "--out", tmp_path)
    assert status == 0
    assert ": met" in text


def test_errors_are_one_line_and_leave_nothing(
    matrix: np.ndarray, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    good, out = written(tmp_path, "npy", matrix), tmp_path / "out"
    bad, empty, text = tmp_path / "b.npy", tmp_path / "e.csv", tmp_path / "t.csv"
    bad.write_bytes(b"no matrix")
    empty.write_text("")
    text.write_text("1,2\n3,x\n")
    np.savez(tmp_path / "two.npz", matrix, matrix)
    cases: list[tuple[tuple, str]] = [
        ((tmp_path / "none.npy",), "no such file"),
        ((bad,), "cannot be read"),
        ((empty,), "cannot be read"),
        ((text,), "cannot be read"),
        ((tmp_path / "two.npz",), "2 arrays"),
        ((tmp_path / "a.txt",), "no such file"),
        ((good, "--rank", 99), "at most min(m, n) = 20"),
        ((good, "--rank", 2, "--tol", 0.1), "exactly one of"),
    ]
    for arguments, message in cases:
        status, _, error = run(capsys, "svd", *arguments, "--out", out)
        assert status == 2
        assert message in error
        assert error.count("\n") == 1
        assert not out.exists()


class TestCompress:
    def test_colour_by_rank(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        x = np.arange(48)
        pixels = np.stack([np.add.outer(x, 2 * x), np.outer(x, x) % 200, np.add.outer(x, -x)], -1)
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "p.png")
        out = tmp_path / "out"
        status, text, _ = run(capsys, "compress", tmp_path / "p.png", "--rank", 2, 30, "--out", out)
        assert status == 0
        for heading in ("stored (m+n)k", "PSNR", "dB", "take more than the picture"):
            assert heading in text
        for name in ("rank-2.png", "rank-30.png", "contact-sheet.png", "spectrum.png"):
            assert (out / name).read_bytes().startswith(b"\x89PNG")
        version = json.loads((out / "report.json").read_text())["versions"][0]
        assert version["stored"] == 3 * 2 * 96
        assert np.asarray(Image.open(out / "rank-2.png")).shape == (48, 48, 3)

    def test_without_a_picture_and_by_energy(
        self, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        status, text, _ = run(
            capsys, "compress", "--grey", "--energy", 0.98, "--out", tmp_path, "--json",
            tmp_path / "r.json",
        )  # fmt: skip
        assert status == 0
        assert "china" in text
        (version,) = json.loads((tmp_path / "r.json").read_text())["versions"]
        assert version["energy"] >= 0.98
        assert version["psnr"] > 20

    def test_errors(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        (tmp_path / "x.png").write_text("not a picture")
        for arguments, message in (
            ((tmp_path / "none.png",), "no such file"),
            ((tmp_path / "x.png",), "not a picture"),
            (("--rank", 5, "--energy", 0.9), "either --rank or --energy"),
            (("--rank", 1000), "ranks must lie between"),
        ):
            status, _, error = run(capsys, "compress", *arguments, "--out", tmp_path / "out")
            assert status == 2
            assert message in error
            assert not (tmp_path / "out").exists()

    def test_sixteen_bits_are_scaled(
        self, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        grey = (np.arange(20 * 30).reshape(20, 30) * 100).astype(np.uint16)
        Image.fromarray(grey).save(tmp_path / "g.png")
        status, _, _ = run(
            capsys, "compress", tmp_path / "g.png", "--rank", 20, "--out", tmp_path / "out"
        )
        assert status == 0
        kept = np.asarray(Image.open(tmp_path / "out" / "rank-20.png"), dtype=float)
        np.testing.assert_allclose(kept, grey * (255 / 65535), atol=1)


def test_a_gap_in_the_first_line_is_no_header(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text("1,,3\n4,5,6\n")
    status, _, error = run(capsys, "svd", tmp_path / "a.csv")
    assert status == 2
    assert "line 1, column 2: '' is no number" in error


def test_small_matrices_have_few_terms_and_brackets_are_text(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "[x].csv").write_text("a,b,c\n1,2,3\n4,5,6.5\n")
    out = tmp_path / "out [" / "16]"
    status, text, _ = run(capsys, "svd", tmp_path / "[x].csv", "--out", out)
    assert status == 0
    assert "[x].csv: 2 × 3" in text
    assert "rank 2; rank 2" not in text
    assert json.loads((out / "report.json").read_text())["rank"] == 2


def test_ctrl_c_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("schmidt.cli.svd.svd", interrupted)
    (tmp_path / "a.csv").write_text("1,2\n3,4\n")
    status, _, error = run(capsys, "svd", tmp_path / "a.csv")
    assert status == 130
    assert error.strip() == "schmidt: interrupted"
