"""``schmidt svd`` and ``schmidt compress`` as a user calls them."""

from __future__ import annotations

import gzip
import io
import json
import os
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import scipy.sparse
from PIL import Image

from schmidt.cli import main
from schmidt.cli.matrix_files import read_matrix


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
    for heading in ("σ", "residual", "‖T − T_k‖_F: ", "rank 4: met"):
        assert heading in text
    content = json.loads(report.read_text())
    assert content == json.loads((out / "report.json").read_text())
    np.testing.assert_allclose(content["values"], exact[:4], rtol=1e-6)
    error = content["certificate"]["bounds"]["frobenius"]["high"]
    assert error == pytest.approx(np.linalg.norm(exact[4:]))
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
        ((bad,), "header is damaged"),
        ((empty,), "is empty"),
        ((text,), "line 2, column 2: 'x' is no number"),
        ((tmp_path / "two.npz",), "2 arrays"),
        ((tmp_path / "a.txt",), "no such file"),
        ((good, "--rank", 99), "at most min(m, n) = 20"),
        ((good, "--rank", 2, "--tol", 0.1), "exactly one of"),
    ]
    for arguments, message in cases:
        status, _, error = run(capsys, "svd", *arguments, "--out", out)
        assert status == 2
        assert message in error
        last = error.splitlines()[-1]
        assert last.startswith("schmidt: error: ")
        assert message in last
        assert error.count("\n") <= 2  # what was understood, what is wrong
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
    assert error.splitlines()[-1] == "schmidt: interrupted"


def test_a_table_is_read_as_it_was_meant(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text(";2001;2002;2003\nDE;1,5;2;3\nFR;2,5;1;0\nIT;4;4;1\n")
    status, _, error = run(capsys, "svd", tmp_path / "a.csv", "--out", tmp_path / "out")
    assert status == 0
    assert error.strip() == (
        "a.csv: 3 rows × 3 columns, separated by ';', decimal commas, names in line 1, column 1 "
        "names the rows"
    )
    found = json.loads((tmp_path / "out" / "report.json").read_text())["values"]
    exact = np.linalg.svd([[1.5, 2, 3], [2.5, 1, 0], [4, 4, 1]], compute_uv=False)
    np.testing.assert_allclose(found, exact)
    status, _, error = run(
        capsys, "svd", tmp_path / "a.csv", "--columns", "2002", "4", "--out", tmp_path / "out"
    )
    assert status == 0
    assert "columns 2002, 2003" in error


@pytest.mark.parametrize("kind", ["npy", "npz sparse", "mtx", "csv plain"])
def test_standard_input(
    kind: str,
    matrix: np.ndarray,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    data = written(tmp_path, kind, matrix).read_bytes()
    for sent in (data, gzip.compress(data)):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(sent)))
        status, _, _ = run(capsys, "svd", "-", "--rank", 3, "--out", tmp_path / "out")
        assert status == 0
        found = json.loads((tmp_path / "out" / "report.json").read_text())["values"]
        np.testing.assert_allclose(found, np.linalg.svd(matrix, compute_uv=False)[:3], rtol=1e-6)


def test_files_are_written_before_anything_is_printed(matrix: np.ndarray, tmp_path: Path) -> None:
    """``schmidt svd A.npy | head -1``"""
    file, out = written(tmp_path, "npy", matrix), tmp_path / "out"
    program = "import sys; from schmidt.cli import main; sys.exit(main(sys.argv[1:]))"
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", program, "svd", str(file), "--out", str(out)],
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
        text=True,
    )
    os.close(writer)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    seen = {p.name for p in out.iterdir() if not p.name.startswith(".")}
    assert seen == {"factors.npz", "report.json", "spectrum.png", "report.html", "run.json"}


class TestDamagedFiles:
    """One clear error for a file that is not what it says; never a crash, never another matrix."""

    @staticmethod
    def sparse_parts(**changed: Any) -> dict[str, Any]:
        A = scipy.sparse.csr_array(np.diag([1.0, 2, 3, 4]))
        parts = {
            "format": np.array(b"csr"),
            "shape": np.array([4, 4]),
            "data": A.data,
            "indices": A.indices,
            "indptr": A.indptr,
        }
        return parts | changed

    @pytest.mark.parametrize(
        "changed",
        [
            {"indices": np.array([0, 1, 2, 10**6], np.int32)},
            {"indices": np.array([0, 1, 2, -1], np.int32)},
            {"indices": np.array([0, 1, 2], np.int32)},
            {"indices": np.array([0.0, 1, 2, 3])},
            {"indptr": np.array([0, 1, 2, 3, 9], np.int32)},
            {"indptr": np.array([0, 3, 2, 3, 4], np.int32)},
            {"indptr": np.array([0, 1], np.int32)},
            {"shape": np.array([10**12, 4])},
            {"shape": np.array([-4, 4])},
            {"shape": np.array([4, 4, 4])},
            {"format": np.array(b"csx")},
            {"format": np.array(3.0)},
            {"data": np.ones((4, 1))},
            {"format": np.array(b"bsr"), "data": np.ones((4, 0, 0))},
            {"format": np.array(b"bsr"), "data": np.ones((4, 3, 3))},
            {"format": np.array(b"dia"), "data": np.ones((2, 4)), "offsets": np.array([0])},
            {"format": np.array(b"coo"), "row": np.array([0, 9]), "col": np.array([0, 1])},
        ],
    )
    def test_sparse(self, changed: dict, tmp_path: Path) -> None:
        np.savez(tmp_path / "a.npz", **self.sparse_parts(**changed))
        with pytest.raises(ValueError, match=r"a\.npz"):
            read_matrix(tmp_path / "a.npz")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("1 1 3,5\n2 2 1\n", "line 3: '3,5' is no number"),
            ("1.0 1 3\n2 2\n", "line 4: expected 3 numbers, got 2"),
            ("1 1 3\n", "cut short"),
            ("1 1 3\n2 2 1\n1 2 1\n", "more than the 2"),
            ("1 1 3\n3 2 1\n", "of a 2 × 2 matrix"),
            ("1 1 3\n0 2 1\n", "of a 2 × 2 matrix"),
            ("1 1 3\n1.5 2 1\n", "of a 2 × 2 matrix"),
            ("1 1 3\n2 2 1e999\n", "'1e999' is no number"),
        ],
    )
    def test_matrix_market(self, text: str, message: str, tmp_path: Path) -> None:
        head = "%%MatrixMarket matrix coordinate real general\n2 2 2\n"
        (tmp_path / "a.mtx").write_text(head + text)
        with pytest.raises(ValueError, match=message):
            read_matrix(tmp_path / "a.mtx")

    @pytest.mark.parametrize("end", ["", " ", "\n", " \n \n", "\r\n"])
    def test_ends_of_matrix_market(self, end: str, tmp_path: Path) -> None:
        head = "%%MatrixMarket matrix coordinate real symmetric\n% why\n\n2 2 2\n"
        (tmp_path / "a.mtx").write_text(f"{head}1 1 3\n2  1\t-1.5e0{end}", newline="")
        A, _ = read_matrix(tmp_path / "a.mtx")
        np.testing.assert_array_equal(A.toarray(), [[3, -1.5], [-1.5, 0]])

    @pytest.mark.parametrize("field", ["real", "complex", "integer", "pattern"])
    @pytest.mark.parametrize("symmetry", ["general", "symmetric", "skew-symmetric", "hermitian"])
    @pytest.mark.parametrize("dense", [False, True])
    def test_every_kind_of_matrix_market(
        self, field: str, symmetry: str, dense: bool, rng: np.random.Generator, tmp_path: Path
    ) -> None:
        """As scipy writes and reads it."""
        if (field == "pattern" and (dense or symmetry != "general")) or (
            (symmetry == "hermitian") != (field == "complex" and symmetry != "general")
        ):
            return
        A = rng.integers(-3, 4, (6, 6)).astype(complex if field == "complex" else float)
        A = A + 1j * rng.integers(-3, 4, (6, 6)) if field == "complex" else A
        A = A if symmetry == "general" else A - A.T if "skew" in symmetry else A + A.conj().T
        A = A.astype(int) if field == "integer" else A
        scipy.io.mmwrite(
            tmp_path / "a.mtx", A if dense else scipy.sparse.coo_array(A),
            field=field, symmetry=symmetry,
        )  # fmt: skip
        found, _ = read_matrix(tmp_path / "a.mtx")
        exact = A if field != "pattern" else (A != 0).astype(float)
        np.testing.assert_array_equal(found if dense else found.toarray(), exact)

    @pytest.mark.parametrize(
        "text",
        [
            "%%MatrixMarket matrix coordinate real general\n1000000000000 1000000000000 1\n1 1 1\n",
            "%%MatrixMarket matrix coordinate real general\n3 3 1000000000000\n1 1 1\n",
            "%%MatrixMarket matrix array real general\n1000000 1000000\n1\n",
            "%%MatrixMarket matrix array real skew-symmetric\n1000000 1000000\n1\n",
            f"%%MatrixMarket matrix array real general\n{'9' * 5000} 1\n1\n",
        ],
    )
    def test_tiny_files_that_claim_much(self, text: str, tmp_path: Path) -> None:
        (tmp_path / "a.mtx").write_text(text)
        with pytest.raises(ValueError, match=r"a\.mtx"):
            read_matrix(tmp_path / "a.mtx")

    def test_arrays(self, matrix: np.ndarray, tmp_path: Path) -> None:
        """numpy's advice to load it unsafely is never passed on."""
        path = tmp_path / "a.npy"
        np.save(path, matrix)
        whole = path.read_bytes()
        np.save(tmp_path / "objects.npy", np.array([[1, "x"]], dtype=object))
        np.save(tmp_path / "words.npy", np.array([["x"]]))
        (tmp_path / "short.npy").write_bytes(whole[:-8])
        (tmp_path / "twice.npy").write_bytes(whole * 2)
        (tmp_path / "claims.npy").write_bytes(whole.replace(b"(30, 20)", b"(10**9,)"))
        (tmp_path / "more.npy").write_bytes(whole.replace(b"(30, 20)", b"(9999, 9999999)"))
        (tmp_path / "header.npy").write_bytes(whole[:20])
        (tmp_path / "empty.npy").write_bytes(b"")
        for bad in tmp_path.glob("*.npy"):
            if bad == path:
                np.testing.assert_array_equal(read_matrix(bad)[0], matrix)
                continue
            for read in (lambda p=bad: read_matrix(p), lambda p=bad: zipped(p)):
                with pytest.raises(ValueError, match=bad.stem) as raised:
                    read()
                assert "pickle" not in str(raised.value)
                assert "\n" not in str(raised.value)

    @pytest.mark.parametrize("kind", ["npy", "npz dense", "npz sparse", "mtx"])
    def test_one_byte(
        self, kind: str, matrix: np.ndarray, rng: np.random.Generator, tmp_path: Path
    ) -> None:
        path = written(tmp_path, kind, np.round(matrix[:6, :5], 3))
        whole = path.read_bytes()
        for _ in range(120):
            data = bytearray(whole)
            place = int(rng.integers(len(data)))
            data[place] = rng.integers(256)
            path.write_bytes(data if rng.random() < 0.7 else data[:place])
            try:
                A, _ = read_matrix(path)
            except ValueError as error:
                assert "\n" not in str(error)  # noqa: PT017 – either is right
                assert "pickle" not in str(error)  # noqa: PT017
            else:
                (A if isinstance(A, np.ndarray) else A.tocsr()).sum()


def zipped(path: Path) -> Any:
    """The file as the one member of an .npz."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.npy", path.read_bytes())
    target = path.with_suffix(".npz")
    target.write_bytes(buffer.getvalue())
    return read_matrix(target)


class TestPictures:
    @pytest.mark.parametrize("colour", [(255, 0, 0), (0, 0, 0), (0, 200, 255)])
    @pytest.mark.parametrize("rule", [("--rank", 3), ("--energy", 0.9)])
    def test_empty_channels(
        self, colour: tuple, rule: tuple, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        Image.new("RGB", (20, 16), colour).save(tmp_path / "p.png")
        status, _, _ = run(capsys, "compress", tmp_path / "p.png", *rule, "--out", tmp_path / "out")
        assert status == 0
        (kept,) = (tmp_path / "out").glob("rank-*.png")
        assert (np.asarray(Image.open(kept)) == colour).all()
        (version,) = json.loads((tmp_path / "out" / "report.json").read_text())["versions"]
        assert version["psnr"] is None
        assert version["energy"] == pytest.approx(1)

    def test_orientation_and_transparency(
        self, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        pixels = np.arange(12 * 20 * 4).reshape(12, 20, 4).astype(np.uint8)
        exif = Image.Exif()
        exif[0x0112] = 6  # a quarter turn
        Image.fromarray(pixels).save(tmp_path / "p.png", exif=exif)
        status, text, _ = run(
            capsys, "compress", tmp_path / "p.png", "--rank", 12, "--out", tmp_path / "out"
        )
        assert status == 0
        assert "12 × 20 pixels" in text
        assert "turned as its camera was held" in text
        assert "transparency is kept" in text
        kept = np.asarray(Image.open(tmp_path / "out" / "rank-12.png"))
        np.testing.assert_array_equal(kept, np.rot90(pixels, -1))

    def test_damaged(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        whole = io.BytesIO()
        Image.fromarray(np.arange(4800).reshape(40, 40, 3).astype(np.uint8)).save(whole, "PNG")
        data = whole.getvalue()
        (tmp_path / "short.png").write_bytes(data[: len(data) // 2])
        (tmp_path / "body.png").write_bytes(data[:60] + b"\0" * 40 + data[100:])
        head = struct.pack(">II", 10**6, 10**6)
        claim = data[:16] + head + data[24:29]
        claim += struct.pack(">I", zlib.crc32(claim[12:29])) + data[33:]
        (tmp_path / "claims.png").write_bytes(claim)
        for name in ("short", "body", "claims"):
            status, _, error = run(
                capsys, "compress", tmp_path / f"{name}.png", "--out", tmp_path / "out"
            )
            assert status == 2
            assert error.count("\n") == 1
            assert not (tmp_path / "out").exists()
