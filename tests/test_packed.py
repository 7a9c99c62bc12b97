"""Arrays in JSON come back as they were, and nothing else is taken for one."""

import base64
import json
import zlib

import numpy as np
import pytest

from rsmooth.io.packed import packed, unpacked

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("array", "kind"),
    [
        (np.zeros((0, 3), int), "<u1"),
        (np.array(255), "<u1"),
        (np.array([[255, 256]], np.uint16), "<u2"),
        (np.array([2**16], ">i8"), "<u4"),
        (np.array([2**32]), "<i8"),
        (np.array([-1, 5], np.int8), "<i8"),
        (RNG.integers(0, 3, (7, 5, 4))[:, ::-2].T, "<u1"),
        (RNG.normal(size=(3, 2)).T, "<f8"),
        (np.array([np.nan, np.inf, -0.0, 5e-324]), "<f8"),
        (np.array([0.1], np.float32), "<f8"),
    ],
)
def test_arrays_come_back_as_they_were(array, kind):
    content = json.loads(json.dumps(packed(array)))
    assert content["type"] == kind
    found = unpacked("x", content)
    assert found.dtype == (np.float64 if kind == "<f8" else np.int64)
    assert found.shape == array.shape
    assert np.array_equal(found, array, equal_nan=kind == "<f8")
    assert found.flags.writeable


WHOLE = packed(np.arange(6).reshape(2, 3))
BOMB = base64.b64encode(zlib.compress(bytes(10**7))).decode()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ([1, 2], "list indices"),
        (None, "not subscriptable"),
        ({"type": "<u1", "shape": [6]}, "'zlib'"),
        (WHOLE | {"type": "|O"}, "no array has the type '|O'"),
        (WHOLE | {"type": "<f4"}, "no array has the type '<f4'"),
        (WHOLE | {"type": ["<u1"]}, "no array has the type"),
        (WHOLE | {"shape": [2, -3]}, "and the shape (2, -3)"),
        (WHOLE | {"shape": [2, 3.0]}, "and the shape (2, 3.0)"),
        (WHOLE | {"shape": [True, 6]}, "and the shape (True, 6)"),
        (WHOLE | {"shape": 6}, "not iterable"),
        (WHOLE | {"shape": [7]}, "there are not 7 bytes in it"),
        (WHOLE | {"shape": [5]}, "there are not 5 bytes in it"),
        (WHOLE | {"shape": []}, "there are not 1 bytes in it"),
        (WHOLE | {"shape": [2**70]}, "too large"),
        (packed(np.empty((0, 1))) | {"shape": [0] * 99}, "dimension"),
        (WHOLE | {"zlib": "?"}, ""),
        (WHOLE | {"zlib": "AAAA"}, ""),
        (WHOLE | {"zlib": 7}, ""),
        # What would fill the memory is not decompressed beyond what its shape says.
        (WHOLE | {"zlib": BOMB}, "there are not 6 bytes in it"),
    ],
)
def test_what_is_no_array_is_refused_by_name(content, reason):
    with pytest.raises(ValueError, match="counts is no array as runs pack them: ") as error:
        unpacked("counts", content)
    assert reason in str(error.value)
