"""The directions over which test error is averaged: scrambled Sobol points on the sphere."""

import importlib.util
from functools import cache
from pathlib import Path

import numpy as np

BITS = 30


@cache
def sphere_directions(dimension: int, count: int) -> np.ndarray:
    """Return `count` Sobol directions on the unit sphere, shape `(dimension, count)`; `count` is a power of two."""
    from scipy.special import ndtri

    points = sobol_points(dimension, count, np.random.default_rng(0))
    normal = ndtri(np.clip(points, 1e-12, 1 - 1e-12))
    return np.ascontiguousarray((normal / np.linalg.norm(normal, axis=1, keepdims=True)).T)


def sobol_points(dimension: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return the first points of a scrambled Sobol sequence in the unit cube, shape `(count, dimension)`.

    The same numbers as `scipy.stats.qmc.Sobol(dimension, rng=rng).random(count)`, from the same table of direction
    numbers (Joe and Kuo 2008) and scrambled alike (Matousek 1998), without importing `scipy.stats`, which takes as
    long as a whole study. Point i differs from the one before in the direction number of the lowest set bit of i.

    Args:
        dimension: from 1 to 21201.
        count: points, from 1 to 2^30.
        rng: source of the scrambling; its first child is used.
    """
    (stream,) = rng.spawn(1)
    bits, down = np.arange(BITS), np.arange(BITS - 1, -1, -1)
    shift = stream.integers(2, size=(dimension, BITS), dtype=np.uint32) @ (1 << bits)
    lower = np.tril(stream.integers(2, size=(dimension, BITS, BITS), dtype=np.uint32)).astype(np.int64)
    lower[:, bits, bits] = 1  # row i: which bits of a direction number, from the highest, make up bit i of the new one
    digits = (_direction_numbers(dimension)[:, None, :] >> down[:, None]) & 1
    mixed = (((lower @ digits) & 1) << down[:, None]).sum(axis=1)
    place = np.arange(1, count)
    lowest = np.log2(place & -place).astype(int)
    return np.bitwise_xor.accumulate(np.vstack([shift, mixed[:, lowest].T])) * 2.0**-BITS


def _direction_numbers(dimension: int) -> np.ndarray:
    """Return the direction numbers, shape `(dimension, BITS)`, by the recurrence of each coordinate's polynomial."""
    package = importlib.util.find_spec("scipy")
    origin = package.origin if package else None
    assert origin is not None
    with np.load(Path(origin).parent / "stats" / "_sobol_direction_numbers.npz") as table:
        polynomials, numbers = table["poly"][:dimension], np.zeros((dimension, BITS), np.int64)
        numbers[:, : table["vinit"].shape[1]] = table["vinit"][:dimension]
    numbers[0] = 1
    for row, polynomial in zip(numbers[1:], polynomials[1:].tolist(), strict=True):
        degree = polynomial.bit_length() - 1
        for j in range(degree, BITS):
            row[j] = row[j - degree]
            for k in range(1, degree + 1):
                if polynomial >> (degree - k) & 1:
                    row[j] ^= row[j - k] << k
    return numbers << np.arange(BITS - 1, -1, -1)
