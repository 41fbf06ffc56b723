"""Distances between functions: zero for the same span, known for planted perturbations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from schmidt import compare

POINTS, MODES = 200, 6


@pytest.fixture
def weights(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(0.1, 2.0, POINTS)


def orthonormal(rng: np.random.Generator, weights: np.ndarray, modes: int) -> np.ndarray:
    """Functions orthonormal under the weights."""
    q = np.linalg.qr(rng.standard_normal((len(weights), modes)))[0]
    return q / np.sqrt(weights)[:, None]


def rotation(rng: np.random.Generator, size: int) -> np.ndarray:
    return np.linalg.qr(rng.standard_normal((size, size)))[0]


def kinds(a: np.ndarray) -> list[Any]:
    return [a, torch.from_numpy(a.copy()), a[:, ::-1].copy()[:, ::-1]]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([9.0, 4.0, 4.0, 1.0], [(0, 1), (1, 3), (3, 4)]),
        ([1.0], [(0, 1)]),
        ([2.0, 2.0, 2.0], [(0, 3)]),
        ([0.0, 0.0, -1.0], [(0, 2), (2, 3)]),
        ([1.0, -1.0], [(0, 1), (1, 2)]),
        ([1.0, 1.0 - 0.9e-3, 1.0 - 3e-3], [(0, 2), (2, 3)]),
        ([1e-9, 0.99e-9], [(0, 1), (1, 2)]),
    ],
)
def test_groups_are_runs_of_equal_values(
    values: list[float], expected: list[tuple[int, int]]
) -> None:
    found = compare.degenerate_groups(values)
    assert [(g.start, g.stop) for g in found] == expected
    scaled = compare.degenerate_groups(torch.tensor(values, dtype=torch.float64) * 1e6)
    assert scaled == found


def test_groups_tolerance_is_the_callers() -> None:
    assert len(compare.degenerate_groups([1.0, 0.95, 0.5], rtol=0.1)) == 2


def test_groups_of_a_reversed_view() -> None:
    """numpy's eigenvalues ascend: people hand over ``values[::-1]``."""
    assert len(compare.degenerate_groups(np.array([1.0, 4.0, 4.0])[::-1])) == 2


def test_relative_errors() -> None:
    found = compare.relative_errors(torch.tensor([1.1, -2.0, 0.25]), np.array([1.0, -4.0, 0.0]))
    np.testing.assert_allclose(found, [0.1, 0.5, 0.25], rtol=1e-6)


def test_procrustes_undoes_a_rotation(rng: np.random.Generator, weights: np.ndarray) -> None:
    b = orthonormal(rng, weights, MODES)
    turn = rotation(rng, MODES)
    found = compare.procrustes(b @ turn.T, b, weights).numpy()
    np.testing.assert_allclose(found, turn, atol=1e-12)


def test_procrustes_is_the_best_rotation(rng: np.random.Generator, weights: np.ndarray) -> None:
    a, b = (rng.standard_normal((POINTS, MODES)) for _ in range(2))
    best = compare.procrustes(a, b, weights).numpy()

    def cost(turn: np.ndarray) -> float:
        return float((weights[:, None] * (a @ turn - b) ** 2).sum())

    np.testing.assert_allclose(best.T @ best, np.eye(MODES), atol=1e-12)
    assert all(cost(rotation(rng, MODES)) >= cost(best) for _ in range(50))


def test_align_stays_inside_groups(rng: np.random.Generator, weights: np.ndarray) -> None:
    b = orthonormal(rng, weights, MODES)
    turn = np.eye(MODES)
    turn[1:4, 1:4] = rotation(rng, 3)
    scale = rng.uniform(0.5, 3, MODES) * np.array([-1, 1, 1, 1, -1, 1])
    groups = [slice(0, 1), slice(1, 4), slice(4, 5), slice(5, 6)]
    found = compare.align((b @ turn) * scale, b, weights, groups).numpy()
    np.testing.assert_allclose(found, b, atol=1e-12)


@pytest.mark.parametrize("angle", [1e-12, 1e-9, 1e-4, 0.3, np.pi / 4, np.pi / 2])
def test_angle_of_a_planted_perturbation(
    angle: float, rng: np.random.Generator, weights: np.ndarray
) -> None:
    """To all digits also for tiny angles, where arccos of a cosine would be noise of 1e-8."""
    basis = orthonormal(rng, weights, 2 * MODES)
    b, other = basis[:, :MODES], basis[:, MODES:]
    a = 3 * (np.cos(angle) * b - np.sin(angle) * other)
    found = compare.angle_distances(a, b, weights)
    np.testing.assert_allclose(found, 2 / np.pi * angle, rtol=1e-6, atol=1e-15)


def test_angles_ignore_rotations_inside_groups_only(
    rng: np.random.Generator, weights: np.ndarray
) -> None:
    b = orthonormal(rng, weights, 2)
    a = b @ rotation(rng, 2)
    assert compare.angle_distances(a, b, weights, [slice(0, 2)]).max() < 1e-14
    assert compare.angle_distances(a, b, weights).min() > 0.01


def test_subspace_distance_sees_spans_only(rng: np.random.Generator, weights: np.ndarray) -> None:
    b = orthonormal(rng, weights, MODES)
    mix = rng.standard_normal((MODES, MODES))
    assert compare.subspace_distance(b @ mix, b, weights) < 1e-25


@pytest.mark.parametrize("angle", [1e-7, 1e-3, 0.5])
def test_subspace_distance_of_a_planted_perturbation(
    angle: float, rng: np.random.Generator, weights: np.ndarray
) -> None:
    basis = orthonormal(rng, weights, MODES + 1)
    b, a = basis[:, :MODES], basis[:, :MODES].copy()
    a[:, 2] = np.cos(angle) * a[:, 2] + np.sin(angle) * basis[:, MODES]
    expected = np.sin(angle) ** 2 / MODES
    assert compare.subspace_distance(a, b, weights) == pytest.approx(expected, rel=1e-6)
    assert compare.subspace_distance(b, a, weights) == pytest.approx(expected, rel=1e-6)


def test_subspace_distance_of_orthogonal_spans_is_one(
    rng: np.random.Generator, weights: np.ndarray
) -> None:
    basis = orthonormal(rng, weights, 2 * MODES)
    assert compare.subspace_distance(basis[:, :MODES], basis[:, MODES:], weights) == pytest.approx(
        1
    )


def test_a_zero_function_spans_nothing() -> None:
    b = np.eye(4, 3)
    a = b * [1, 1, 0]
    assert compare.subspace_distance(a, b) == pytest.approx(1 / 3)
    np.testing.assert_allclose(compare.angle_distances(a, b), [0, 0, 1], atol=1e-15)
    assert compare.orthogonality(a) == pytest.approx(1 / 9)


def test_two_equal_functions_span_one_dimension() -> None:
    b = np.eye(4, 2)
    assert compare.subspace_distance(b[:, [0, 0]], b) == pytest.approx(1 / 2)


def test_orthogonality_of_known_gram(rng: np.random.Generator, weights: np.ndarray) -> None:
    b = orthonormal(rng, weights, 2)
    a = np.stack([5 * b[:, 0], 0.6 * b[:, 0] + 0.8 * b[:, 1]], 1)
    np.testing.assert_allclose(compare.gram(a, weights), [[1, 0.6], [0.6, 1]], atol=1e-14)
    assert compare.orthogonality(a, weights) == pytest.approx(2 * 0.36 / 4)
    assert compare.orthogonality(b, weights) < 1e-30


def test_weights_are_repeated_points(rng: np.random.Generator) -> None:
    a, b = (rng.standard_normal((20, 3)) for _ in range(2))
    counts = rng.integers(1, 4, 20)
    long = [np.repeat(q, counts, axis=0) for q in (a, b)]
    assert compare.subspace_distance(a, b, counts) == pytest.approx(
        compare.subspace_distance(*long)
    )
    np.testing.assert_allclose(
        compare.angle_distances(a, b, counts), compare.angle_distances(*long)
    )


def test_compare_gathers_every_measure(rng: np.random.Generator, weights: np.ndarray) -> None:
    b = orthonormal(rng, weights, 3)
    turn = np.eye(3)
    turn[1:, 1:] = rotation(rng, 2)
    exact, values = np.array([9.0, 4.0, 4.0]), np.array([9.9, 4.0, 3.8])
    for a in kinds(b @ turn):
        found = compare.compare(a, b, weights=weights, values=values, exact=exact)
        assert found.groups == (slice(0, 1), slice(1, 3))
        np.testing.assert_allclose(found.relative_error, [0.1, 0, 0.05], atol=1e-12)
        assert found.mean_relative_error == pytest.approx(0.05)
        assert found.mean_angle_distance < 1e-14
        assert max(found.subspace_distance, found.subspace_distance_total) < 1e-25
        assert found.orthogonality < 1e-25


def test_subspace_distance_is_the_mean_over_groups_and_the_total_over_all(
    rng: np.random.Generator, weights: np.ndarray
) -> None:
    """Modes exchanged between groups: each group is wrong, the whole span is right."""
    b = orthonormal(rng, weights, 3)
    found = compare.compare(b[:, [1, 0, 2]], b, weights=weights, values=[3, 2, 2], exact=[3, 2, 2])
    assert found.subspace_distance == pytest.approx((1 + 1 / 2) / 2)
    assert found.subspace_distance_total < 1e-25
    given = compare.compare(
        b[:, [1, 0, 2]], b, weights=weights, values=[3, 2, 2], exact=[3, 2, 2], groups=[slice(0, 3)]
    )
    assert given.subspace_distance < 1e-25


ONES = np.ones((4, 2))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: compare.degenerate_groups([]), "non-empty vector"),
        (lambda: compare.degenerate_groups(ONES), "non-empty vector"),
        (lambda: compare.gram(np.ones(4)), r"shape \(points, modes\), got \(4,\)"),
        (lambda: compare.gram(ONES, np.ones(3)), r"weights of shape \(4,\), got \(3,\)"),
        (lambda: compare.gram(ONES, -np.ones(4)), "weights must be finite and not negative"),
        (lambda: compare.gram(ONES * np.nan), "contain NaN or Inf"),
        (lambda: compare.subspace_distance(ONES, np.ones((4, 3))), r"got \(4, 2\) and \(4, 3\)"),
        (lambda: compare.procrustes(ONES, np.ones((5, 2))), r"got \(4, 2\) and \(5, 2\)"),
    ],
)
def test_bad_input_is_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
