"""Formulas: they mean what numpy says they mean, and nothing else gets in."""

from __future__ import annotations

import ast
import copy
import math
import pickle
import time

import numpy as np
import pytest
import torch
from scipy.special import erf

from schmidt.operators import Lebesgue, Radial, Schrodinger
from schmidt.problems.formula import (
    CONSTANTS,
    FUNCTIONS,
    MAX_DEPTH,
    MAX_LENGTH,
    Formula,
    _Reader,
    formula,
)

OTHER = {
    "min": np.minimum,
    "max": np.maximum,
    "atan": np.arctan,
    "erf": erf,
    "where": np.where,
    "heaviside": lambda a: np.heaviside(a, 0.5),
}
NUMPY = {name: getattr(np, name) for name in FUNCTIONS if name not in OTHER} | OTHER | CONSTANTS

FORMULAS = [
    "x",
    "x**2 + y**2 + 0.1*x*y**2",
    "x1**2 + x2**2 + 0.1*x1*x2**2",
    "(x**2 + y**2)/2 - 3*exp(-r**2/0.5)",
    "-1/r",
    "-x**2",
    "(-x)**2 - y**-2",
    "2**-x * 3",
    "2**x**2",
    "(2**x)**2 + (x - y)**3",
    "x - y - 1 - (x - y - 1)",
    "x / y / 2 * 3",
    "x - -y + +1 - (-(-x))",
    "2 - 3*x",
    "1/3*x + x/3",
    "2*3*x + 2*pi*e",
    "sqrt(abs(x)) + log(r) + cosh(y) - sinh(x)*tanh(y)",
    "sin(pi*x)*cos(2*y) + tan(x/4)",
    "min(x, y) + max(x, 0) - max(0.5, y) + min(1, 2)",
    "max(min(x, 1), -1)**2",
    "abs(x)**1.5 + abs(x)**y",
    "(\n x +\t1e-3 )*.5 + 2.*1E2",
    "((((x))))",
    " 7*x*0 + 007 ",
    "4*x**2*(x**2 - 1)**2/(1 + y**2)**0.5",
    "-3*(abs(x) < 1) + 2*(x >= y) - (y <= 0.1)*(1 > x)",
    "where(x > 0, sin(x), erf(y)) + sign(y)*heaviside(x - 0.3) - atan(2*x)",
]


def points(dim: int, count: int = 50) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(count, dim, generator=generator, dtype=torch.float64)


def by_numpy(text: str, x: np.ndarray) -> np.ndarray:
    """The same formula, spelled in Python, by Python's own eval."""
    names = {f"x{i + 1}": column for i, column in enumerate(x.T)}
    names |= dict(zip("xyz", x.T, strict=False))
    spelled = " ".join(text.replace("007", "7").split())
    return eval(spelled, {**NUMPY, **names, "r": np.linalg.norm(x, axis=1)})


@pytest.mark.parametrize("text", FORMULAS)
def test_values_are_those_of_numpy(text: str) -> None:
    x = points(2)
    values = formula(text, 2)(x)
    assert values.shape == (50,)
    np.testing.assert_allclose(values.numpy(), by_numpy(text, x.numpy()), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("text", FORMULAS)
def test_gradients_are_those_of_differences(text: str) -> None:
    x = points(2, 20)
    x = x[(x.abs() > 0.05).all(1)].requires_grad_()
    assert torch.autograd.gradcheck(formula(text, 2), x)


def test_second_derivatives() -> None:
    x = points(2).requires_grad_()
    (slope,) = torch.autograd.grad(formula("x^3*y", 2)(x).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(slope[:, 0].sum(), x)
    torch.testing.assert_close(second, torch.stack([6 * x[:, 0] * x[:, 1], 3 * x[:, 0] ** 2], 1))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2^3^2", 512),
        ("2**3^2", 512),
        ("-2^2", -4),
        ("2^-1", 0.5),
        ("1+2^2", 5),
        ("2^2+1", 5),
        ("3*2^2", 12),
        ("2*3+4*5", 26),
        ("2-3-4", -5),
        ("2-(3-4)", 3),
        ("16/4/2", 2),
        ("16/4*2", 8),
        ("--1", 1),
        ("1/3", 1 / 3),
        ("9007199254740993 - 9007199254740992", 0),
        ("9**9**9", math.inf),
        ("-9^9^9^9", -math.inf),
        ("1/0", math.inf),
        ("1e200*1e200", math.inf),
        ("exp(1)", math.e),
        ("e^(log(pi))", math.pi),
    ],
)
def test_constants_and_precedence(text: str, value: float) -> None:
    """Powers first and from the right, in either spelling; huge powers are merely infinite."""
    values = formula(text, 1)(points(1, 3))
    torch.testing.assert_close(values, torch.full((3,), value, dtype=torch.float64))


@pytest.mark.parametrize("text", ["sqrt(-1)", "log(0-1)", "0/0", "(-8)^(1/3)"])
def test_values_that_are_not_numbers_are_not_its_business(text: str) -> None:
    assert formula(text, 1)(points(1, 3)).isnan().all()


def test_one_coordinate() -> None:
    x = points(1)
    for text in ("x**2", "x1**2", "r**2"):
        torch.testing.assert_close(formula(text, 1)(x), x[:, 0] ** 2)


def test_ten_coordinates() -> None:
    x = points(10)
    torch.testing.assert_close(
        formula("+".join(f"x{i + 1}**2" for i in range(10)), 10)(x), formula("r^2", 10)(x)
    )
    torch.testing.assert_close(
        formula("x10 - x*x2/z", 10)(x), x[:, 9] - x[:, 0] * x[:, 1] / x[:, 2]
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("text", ["x", "2", "1e300", "x*pi", "max(0, x)", "max(1, 2)", "1e300*x"])
def test_the_precision_of_the_points_is_kept(text: str, dtype: torch.dtype) -> None:
    values = formula(text, 2)(points(2).to(dtype))
    assert values.dtype == dtype
    assert values.shape == (50,)
    assert formula(text, 2)(torch.empty(0, 2, dtype=dtype)).shape == (0,)


def test_integers_become_numbers() -> None:
    values = formula("x/2", 1)(torch.tensor([[1], [2]]))
    torch.testing.assert_close(values, torch.tensor([0.5, 1.0], dtype=torch.float64))


def test_values_are_no_view_of_the_points() -> None:
    x = points(2)
    kept = x.clone()
    formula("x", 2)(x).zero_()
    formula("3", 2)(x).zero_()
    assert torch.equal(x, kept)


def test_constant_pieces_are_in_double_precision() -> None:
    x = torch.ones(1, 1, dtype=torch.float32)
    assert float(formula("x*(1e8 + 1 - 1e8)", 1)(x)) == 1.0


def test_long_sums_are_not_deep() -> None:
    text = "+".join(["x"] * (MAX_LENGTH // 2))
    assert float(formula(text, 1)(torch.ones(1, 1))) == MAX_LENGTH // 2
    text = "(" * 100 + "x" + "*x+1)" * 100
    assert float(formula(text, 1)(torch.ones(1, 1))) == 101


def test_a_formula_is_a_small_value() -> None:
    well = formula("x^2 + y^2", 2)
    assert (well.text, well.dim) == ("x^2 + y^2", 2)
    assert repr(well) == "Formula(text='x^2 + y^2', dim=2, parameters=())"
    assert well == Formula("x^2 + y^2", 2) != formula("x^2 + y^2", 3)
    assert len({well, formula("x^2 + y^2", 2)}) == 1
    with pytest.raises(AttributeError):
        well.text = "x"  # type: ignore[misc]
    for twin in (pickle.loads(pickle.dumps(well)), copy.deepcopy(well)):
        assert twin == well
        torch.testing.assert_close(twin(points(2)), well(points(2)))


def test_a_formula_is_a_potential() -> None:
    measure = Lebesgue(Radial(2, scale=1.0, outer=9.0))
    sample = Schrodinger(formula("r^2", 2), measure).evaluation()
    torch.testing.assert_close(formula("r^2", 2)(sample.x.x), sample.x.x.pow(2).sum(1))


ERRORS = {
    # names
    "x + q": "at character 5: unknown name 'q'; known: x, y, x1, x2, r, pi, e",
    "xy": "unknown name 'xy'",
    "X": "unknown name 'X'",
    "x0": "unknown name 'x0'",
    "x01": "unknown name 'x01'",
    "x + z": "at character 5: z needs --dim 3 or more, the dimension is 2",
    "x12": "x12 needs --dim 12 or more, the dimension is 2",
    "x" + "9" * 1500: "unknown name 'x999",
    "arctan(x)": "at character 1: unknown function 'arctan'; known: sqrt, exp, log, sin, cos, tan,",
    "x + foo (x)": "at character 5: unknown function 'foo'",
    "sum(x)": "unknown function 'sum'",
    # arguments
    "sqrt(x, y)": "sqrt takes 1 argument, got 2",
    "1 + max(x)": "at character 5: max takes 2 arguments, got 1",
    "sqrt x": "at character 1: sqrt needs parentheses",
    "x + sin": "at character 5: sin needs parentheses",
    "sin*2": "at character 1: sin needs parentheses",
    "sqrt()": "at character 6: a value is missing before ')'",
    "max(x, y,)": "at character 10: a value is missing before ')'",
    # grammar
    "": "the formula is empty",
    " \n": "the formula is empty",
    "x +": "at the end: a value is missing here",
    "x + * y": "at character 5: a value is missing before '*'",
    "* x": "at character 1: a value is missing before '*'",
    "x // y": "at character 4: a value is missing before '/'",
    "x^^2": "at character 3: a value is missing before '^'",
    "x^*2": "at character 3: a value is missing",
    "x*^2": "at character 3: a value is missing",
    "x* *2": "at character 4: a value is missing",
    "x***2": "at character 4: a value is missing",
    "max(*x)": "at character 5: a value is missing",
    "max(^x, y)": "at character 5: a value is missing",
    "max(x, ^y)": "at character 8: a value is missing",
    "()": "at character 2: a value is missing",
    "(x^2 + y": "at character 1: '(' was never closed",
    "x^10 + y)": "at character 9: unmatched ')'",
    "x^2, y": "',' stands only in min, max and where",
    "sqrt((x, y))": "',' stands only in min, max and where",
    "2x": "at character 2: an operator is missing before 'x' (a product needs its *)",
    "x y": "at character 3: an operator is missing before 'y'",
    "2 (x + 1)": "at character 3: an operator is missing before '('",
    "x(y)": "at character 2: an operator is missing before '('",
    "(x)(y)": "at character 4: an operator is missing before '('",
    "(x) 2": "at character 5: an operator is missing before '2'",
    "1.5.5e3": "at character 4: an operator is missing before '.5e3'",
    "1e400*x": "at character 1: a number is too large",
    "x*" + "9" * 400: "at character 3: a number is too large",
    # signs without a meaning
    "x % 2": "at character 3: '%' has no meaning",
    "x == y": "at character 3: '=' has no meaning",
    "x != y": "'!' has no meaning",
    "x[0]": "at character 2: '[' has no meaning in a formula; write (",
    "|x|": "write abs(…)",
    "x − y": "at character 3: '−' (MINUS SIGN) has no meaning in a formula; write -",
    "x² + y²": "at character 2: '²' (SUPERSCRIPT TWO) has no meaning in a formula; write **2",
    "2·x": "write *",
    "π": "write pi",
}


@pytest.mark.parametrize("text", ERRORS, ids=lambda text: ascii(text[:20]))
def test_errors_say_what_and_where(text: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the message is compared below
        formula(text, 2)
    message = str(error.value)
    assert ERRORS[text] in message
    assert "\n" not in message
    assert len(message) < 300


HOSTILE = [
    "x.__class__",
    "().__class__.__bases__",
    "x.real",
    "1..real",
    "1 .real",
    "x.exp()",
    "...",
    "__import__('os')",
    "__import__(x)",
    "__builtins__",
    "__debug__",
    "eval(x)",
    "exec(x)",
    "open(x)",
    "getattr(x, y)",
    "lambda: 1",
    "(lambda: x)()",
    "lambda",
    "[x for x in y]",
    "(x for x in y)",
    "max(x for x in y)",
    "{x: y}",
    "{x}",
    "[x]",
    "x if y else 1",
    "x and y",
    "not x",
    "x in y",
    "x is y",
    "await x",
    "yield",
    "(yield x)",
    "x := 2",
    "(x := 2)",
    "max(x, y=2)",
    "max(*x)",
    "max(**x)",
    "f'{x}'",
    "b'x'",
    "'x'",
    '"x"',
    "x; y",
    "x = y",
    "x # y",
    "x \\\n + y",
    "x @ y",
    "x & y",
    "x ~ y",
    "~x",
    "!x",
    "$x",
    "`x`",
    "1j",
    "1_000",
    "0x10",
    "0b1",
    "1if x else y",
    "None",
    "True",
    "import os",
    "\0",
    "x\0",
    "\ud800",
    "\u202ex",
    "х",  # Cyrillic
    "𝐱",  # mathematical bold: Python would read it as x
    "ｘ + 1",
    "x + ２",  # full width: digits to int() and \d
    "ⅇ",
    "sqrt（x）",
]


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
@pytest.mark.parametrize("frame", ["{}", "1 + sqrt({})", "max(x, {})"])
def test_hostile_texts_are_refused(text: str, frame: str) -> None:
    with pytest.raises(ValueError, match=r"^formula .* (at character \d+|at the end): "):
        formula(frame.replace("{}", text), 2)


@pytest.mark.parametrize(
    "source",
    [
        "x.real",
        "x(x)",
        "eval(x)",
        "sqrt",
        "lambda: 1",
        "[x]",
        "(x,)",
        "x[0]",
        "x if x else x",
        "x // x",
        "~x",
        "not x",
        "x in x",
        "'x'",
        "1",
        "1j",
        "True",
        "...",
        "(y := x)",
        "f'{x}'",
        "max(*x, x)",
        "max(x, **x)",
        "max(x, x, key=x)",
        "sqrt(x for x in x)",
        "x + (x % x)",
    ],
)
def test_the_second_wall(source: str) -> None:
    """Whatever might get past the spelling is still refused by the list of nodes."""
    reader = _Reader("x", 1)
    reader.origins = [0]
    with pytest.raises(ValueError, match=r"has no meaning in a formula|one value"):
        reader._build(ast.parse(source, mode="eval").body, 0)


@pytest.mark.parametrize(
    "text",
    [
        "-" * (MAX_DEPTH + 1) + "x",
        "-" * (MAX_LENGTH - 1) + "x",
        "^".join(["x"] * (MAX_DEPTH + 2)),
        "^".join(["9"] * (MAX_LENGTH // 2)),
        "sqrt(" * (MAX_DEPTH + 1) + "x" + ")" * (MAX_DEPTH + 1),
        "sqrt(" * 250 + "x" + ")" * 250,
        "(" * 900 + "x" + ")" * 900,
        "(" * (MAX_LENGTH - 1) + "x",
        "1+(" * 60 + "x" + ")" * 60,
    ],
    ids=lambda text: text[:8],
)
def test_deep_nesting_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"nested|deep"):
        formula(text, 2)


def test_deep_but_allowed() -> None:
    deep = formula("-" * MAX_DEPTH + "x", 1)
    assert float(deep(torch.ones(1, 1))) == 1.0


def test_long_texts_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 2000 characters, this one has 1000000"):
        formula("x" * 1_000_000, 2)


QUICK = ["9**9**9**9**9", "9^" * 40 + "9", "exp(" * 40 + "9" + ")" * 40, "(x)*" * 400 + "x"]
QUICK_TO_REFUSE = ["1" * 2000, ".1" * 1000, "1e" * 1000, "x1" * 1000, "x" + " " * 1998 + "y"]


def test_nothing_takes_long() -> None:
    start = time.perf_counter()
    for text in QUICK:
        formula(text, 2)(points(2))
    for text in QUICK_TO_REFUSE:
        with pytest.raises(ValueError, match=r"too large|missing|unknown"):
            formula(text, 2)
    assert time.perf_counter() - start < 5.0


@pytest.mark.parametrize("text", [b"x", None, 3])
def test_a_text_is_a_string(text: object) -> None:
    with pytest.raises(TypeError, match="a formula must be a string, got"):
        formula(text, 2)  # type: ignore[arg-type]


@pytest.mark.parametrize("dim", [0, -1])
def test_dimensions_are_positive(dim: int) -> None:
    with pytest.raises(ValueError, match="the dimension must be positive"):
        formula("1", dim)


@pytest.mark.parametrize("x", [torch.ones(4, 3), torch.ones(2), torch.ones(4, 2) + 0j])
def test_points_of_another_shape_are_refused(x: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"2 coordinates expects real points \(B, 2\), got \("):
        formula("x", 2)(x)


def test_parameters_are_numbers_with_names() -> None:
    x = points(1)
    well = formula("-V0*(abs(x) < a)", 1, {"V0": 3, "a": 0.5})
    assert torch.equal(well(x), -3.0 * (x[:, 0].abs() < 0.5))
    assert pickle.loads(pickle.dumps(well)) == well
    assert well != formula("-V0*(abs(x) < a)", 1, {"V0": 4, "a": 0.5})
    with pytest.raises(ValueError, match="unknown name 'V0'; known: x, x1, r, pi, e, a"):
        formula("V0*x", 1, {"a": 1})


@pytest.mark.parametrize("name", ["x", "r", "x12", "e", "exp", "where", "2a", "a b", "lambda"])
def test_names_that_are_taken_are_no_parameters(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be the name of a parameter"):
        formula("x", 1, {name: 1.0})


def test_chains_of_comparisons() -> None:
    x = torch.tensor([[-1.0], [0.0], [0.5], [1.0], [2.0]])
    assert formula("0 <= x < 1", 1)(x).tolist() == [0, 1, 1, 0, 0]


@pytest.mark.parametrize(
    "text",
    ["where(x > 0, 2*log(x), 5)", "where(x > 0.1, 1/log(x), y)", "r^2*(r < y)", "erf(x*y)+atan(x)",
     "sign(x-y)*heaviside(x*y)", "sqrt(r)+cos(x*y)"],
)  # fmt: skip
def test_enclosures_of_boxes_hold_every_value(text: str) -> None:
    f = formula(text, 2)
    generator = np.random.default_rng(0)
    low = generator.normal(size=(150, 2))
    high = low + 10 ** generator.uniform(-5, 0.5, (150, 2))
    least, most = f.enclose(low, high)
    known = ~(np.isnan(least) | np.isnan(most))
    assert known.any()
    for _ in range(30):
        x = low + generator.uniform(size=low.shape) * (high - low)
        v = f(torch.from_numpy(x)).numpy()
        fine = np.isfinite(v) & known
        assert ((least[fine] <= v[fine]) & (v[fine] <= most[fine])).all()
