"""Arrays of all types and shapes, a piece at a time: the core must see the values that were given."""

import itertools

import numpy as np
import pytest

from rsmooth import Gaussian, clopper_pearson
from rsmooth._arrays import in_pieces

SHAPES = [(), (1,), (4,), (3, 4), (1, 4), (3, 1)]
TYPES = ["f2", "f4", "f8", ">f8", "u1", "i4", "i8", "?"]


def arrays(seed):
    rng = np.random.default_rng(seed)
    for kind, shape in itertools.product(TYPES, SHAPES):
        values = np.asarray(100 * rng.random(shape)).astype(kind)
        yield values
        if values.ndim:
            yield np.repeat(values, 2, axis=-1)[..., ::2]


def test_pieces_hold_the_inputs_however_they_are_broadcast_converted_and_strided():
    for one, other in itertools.product(arrays(1), arrays(2)):
        expected = np.broadcast_arrays(one.astype(np.float64), other.astype(np.int64))
        seen = []

        def fill(first, *pieces, seen=seen):
            assert all(piece.flags.c_contiguous and piece.ndim == 1 for piece in pieces)
            seen.append((first, *(piece.copy() for piece in pieces[:2])))
            pieces[2][:] = pieces[0] + pieces[1]

        total = np.full(expected[0].shape, np.nan)
        in_pieces(fill, [one, other], [np.float64, np.int64], [total])
        assert [first for first, *_ in seen] == [0]
        for found, array in zip(seen[0][1:], expected, strict=True):
            assert (found == array.ravel()).all(), (one.dtype, one.shape, other.dtype, other.shape)
        assert (total == expected[0] + expected[1]).all()


def test_pieces_of_large_arrays_follow_each_other():
    one, total, firsts = np.arange(2_500_000, dtype=np.float32), np.empty(2_500_000), []

    def fill(first, piece, scalar, out):
        firsts.append(first)
        out[:] = piece + scalar

    in_pieces(fill, [one, np.int32(7)], [np.float64, np.float64], [total])
    assert firsts[:2] == [0, 1 << 20]
    assert (total == one.astype(np.float64) + 7).all()


@pytest.mark.parametrize("kind", ["f4", "i8"])
def test_bounds_of_scalars_of_any_type_are_those_of_their_values(kind):
    one = np.ones((), kind)
    assert Gaussian(0.5).radius(one, 0, norm=2, dim=3) == np.inf
    assert Gaussian(0.5).radius([0.9, 0.8], one - one, norm=2, dim=3).tolist() == [np.inf] * 2
    assert (clopper_pearson(np.int32(9), np.int16(10), np.float32(0.125)) == clopper_pearson(9, 10, 0.125)).all()
