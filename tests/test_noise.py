"""The noise stream: its bits, its promise that a value depends on (seed, draw, coordinate) alone, and its arguments."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reference
import rsmooth
from rsmooth import Exponential, Gaussian, Laplace

DATA = Path(__file__).parent / "data"
SAMPLERS = {"linf": rsmooth.sample_linf, "gaussian": rsmooth.sample_gaussian, "laplace": rsmooth.sample_laplace}
DIMS = [1, 15, 16, 17, 255, 256, 257, 3072]


@pytest.mark.parametrize("law", SAMPLERS)
@pytest.mark.parametrize("dim", DIMS)
def test_values_are_those_of_the_documented_layout(law, dim):
    first = 2**32 - 2  # the draws' numbers cross a word boundary
    doubles = SAMPLERS[law]((5, dim), 0.5, seed=11, first=first, dtype="float64")
    singles = SAMPLERS[law]((5, dim), 0.5, seed=11, first=first)
    for i in range(5):
        expected = reference.LAWS[law](reference.key_of(11), first + i, dim, 0.5)
        np.testing.assert_allclose(doubles[i], expected, rtol=4e-13, atol=1e-15)
        scale = max(1.0, dim / 20) if law == "linf" else 1.0
        np.testing.assert_allclose(singles[i], expected, rtol=1e-6, atol=3e-7 * scale)


def test_the_reference_is_chacha8():
    # First block of test vector TC1 for ChaCha8 with a 256-bit key, draft-strombergson-chacha-test-vectors-01.
    first = reference.blocks([0] * 8, 0, 0, 0)[0].astype("<u4").tobytes().hex()
    assert first.startswith("3e00ef2f895f40d67f5bb8e81f09a5a1")


@pytest.mark.parametrize("law", ["gaussian", "laplace"])
def test_the_far_tail_is_resolved_beyond_32_bits(law):
    draws, dim = 4000, 512
    singles = SAMPLERS[law]((draws, dim), 1.0, seed=3)
    depth = {"gaussian": 4.75, "laplace": 11.2}[law]
    draw, coordinate = np.argwhere(abs(singles) > depth)[0]
    expected = reference.LAWS[law](reference.key_of(3), int(draw), dim, 1.0)
    # The high word alone would be off by 2^-17 relative in probability: 1e-6 in the value.
    assert singles[draw, coordinate] == np.float32(expected[coordinate])


def test_the_gamma_sampler_retries_where_the_reference_does():
    attempts = [reference.radius(reference.key_of(2), draw, 1, 1.0)[1] for draw in range(400)]
    assert max(attempts) >= 2
    doubles = rsmooth.sample_linf((400, 1), 1.0, seed=2, dtype="float64")
    expected = [reference.linf(reference.key_of(2), draw, 1, 1.0)[0] for draw in range(400)]
    np.testing.assert_allclose(doubles[:, 0], expected, rtol=1e-12)


@pytest.mark.parametrize("law", SAMPLERS)
@pytest.mark.parametrize("dim", [1, 2, 15, 16, 17, 100, 3071, 3072, 65_537, 100_003])
def test_pieces_threads_and_the_whole_are_equal_bit_for_bit(law, dim):
    sample = SAMPLERS[law]
    whole = sample((11, dim), 0.1, seed=1, threads=1)
    for threads in (None, 2, 3, 7):
        assert np.array_equal(whole, sample((11, dim), 0.1, seed=1, threads=threads))
    for cut in (1, 4, 10):
        assert np.array_equal(whole[:cut], sample((cut, dim), 0.1, seed=1))
        assert np.array_equal(whole[cut:], sample((11 - cut, dim), 0.1, seed=1, first=cut))


@given(
    law=st.sampled_from(sorted(SAMPLERS)),
    dim=st.integers(1, 600),
    first=st.integers(0, 2**64 - 20),
    cut=st.integers(0, 20),
    dtype=st.sampled_from(["float32", "float64", "float16"]),
)
def test_any_cut_gives_the_same_draws(law, dim, first, cut, dtype):
    whole = SAMPLERS[law]((20, dim), 0.5, seed=0, first=first, dtype=dtype)
    if cut:
        assert np.array_equal(whole[:cut], SAMPLERS[law]((cut, dim), 0.5, seed=0, first=first, dtype=dtype))
    if cut < 20:
        later = SAMPLERS[law]((20 - cut, dim), 0.5, seed=0, first=first + cut, dtype=dtype)
        assert np.array_equal(whole[cut:], later)


@pytest.mark.parametrize("law", SAMPLERS)
def test_half_precisions_are_the_rounded_single_precision_noise(law):
    torch = pytest.importorskip("torch")
    single = torch.from_numpy(SAMPLERS[law]((7, 1000), 0.01, seed=5))
    for dtype in (torch.float16, torch.bfloat16):
        out = torch.empty(7, 1000, dtype=dtype)
        assert SAMPLERS[law]((7, 1000), 0.01, seed=5, out=out) is out
        assert torch.equal(out, single.to(dtype))


@pytest.mark.parametrize("law", ["gaussian", "laplace"])
@pytest.mark.parametrize("scale", [0.7, 0.01, 0.3, 0.1, 1 / 3, 0.25, 12.3])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_noise_in_single_precision_is_never_narrower_than_asked_for(law, scale, dtype):
    """float32(0.7) is below 0.7: noise of that scale would be narrower than its certificate believes."""
    nearest = np.float32(scale)
    used = nearest if float(nearest) >= scale else np.nextafter(nearest, np.float32(np.inf))
    draws = SAMPLERS[law]((300, 700), scale, seed=4, dtype=dtype)  # tail values that both words make are among them
    assert np.array_equal(draws, SAMPLERS[law]((300, 700), float(used), seed=4, dtype=dtype))
    assert not np.array_equal(draws, SAMPLERS[law]((300, 700), float(used) * (1 - 2**-22), seed=4, dtype=dtype))


@pytest.mark.parametrize(("law", "most"), [("linf", 2**-31), ("gaussian", 3.3e-6), ("laplace", 2**-16)])
def test_single_and_double_precision_differ_by_no_more_than_documented(law, most):
    largest = 0.0
    for first in range(0, 4000, 500):
        single = SAMPLERS[law]((500, 3072), 1.0, seed=8, first=first)
        double = SAMPLERS[law]((500, 3072), 1.0, seed=8, first=first, dtype="float64")
        # Beyond that come the roundings of single precision itself.
        size = abs(double).max(axis=1, keepdims=True) if law == "linf" else abs(double)
        largest = max(largest, float((abs(single - double) - 2**-21 * size).max()))
    assert largest < most
    assert law == "linf" or largest > most / 4


DIGEST = """
    import hashlib, json, sys
    import numpy as np, rsmooth
    digests = {}
    for law in ("linf", "gaussian", "laplace"):
        sample = getattr(rsmooth, "sample_" + law)
        for dtype in ("float32", "float64", "float16"):
            for dim in (1, 15, 16, 17, 3072):
                draws = sample((30_000 // dim + 200, dim), 0.01, seed=20, first=2**40, dtype=dtype)
                digests[f"{law} {dtype} {dim}"] = hashlib.sha256(draws.tobytes()).hexdigest()
    json.dump({"simd": rsmooth.build_info()["simd"], "digests": digests}, sys.stdout)
"""


def python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize("simd", rsmooth.build_info()["simd_supported"])
def test_values_never_change_whatever_the_vector_instructions(simd):
    """The digests are the promise of layout version 1: a change of any of them needs a new version."""
    ran = python(DIGEST, RSMOOTH_SIMD=simd)
    assert not ran.stderr
    result = json.loads(ran.stdout)
    assert result["simd"] == simd
    assert result["digests"] == json.loads((DATA / "noise_digests.json").read_text())


def test_an_unknown_instruction_set_is_refused():
    ran = python("import rsmooth", RSMOOTH_SIMD="mmx")
    assert ran.returncode == 1
    assert "RSMOOTH_SIMD must be unset or one of scalar," in ran.stderr
    assert "got mmx" in ran.stderr


def test_seeds_name_streams():
    def draw(seed):
        return rsmooth.sample_gaussian((2, 50), 1.0, seed=seed)

    assert np.array_equal(draw(7), draw(np.random.SeedSequence(7)))
    assert np.array_equal(draw(7), draw(np.int64(7)))
    children = np.random.SeedSequence(7).spawn(2)
    distinct = [draw(7), draw(8), draw(None), draw(None), *map(draw, children)]
    assert all(not np.array_equal(a, b) for i, a in enumerate(distinct) for b in distinct[:i])


def test_out_takes_any_writable_contiguous_buffer():
    import torch

    expected = rsmooth.sample_linf((3, 4, 5), 0.1, seed=1)
    for out in (
        np.empty((3, 4, 5), np.float32),
        np.empty(60, np.float32),
        torch.empty(3, 4, 5),
        torch.empty(60, requires_grad=True),
        memoryview(bytearray(240)).cast("f"),
        memoryview(bytearray(240)).cast("f", (3, 4, 5)),
    ):
        assert rsmooth.sample_linf((3, 4, 5), 0.1, seed=1, out=out) is out
        got = out.detach().numpy() if isinstance(out, torch.Tensor) else np.asarray(out)
        assert np.array_equal(got.reshape(3, 4, 5), expected)


@pytest.mark.parametrize("start", [0, 4])  # at the start of a cache line, and not
def test_large_outputs_hold_the_same(start):
    rows, dim = 2**24 // 3072 + 1, 3072  # 64 MiB, from where they are stored past the caches
    memory = np.zeros(rows * dim + 32, np.float32)
    start += -memory.ctypes.data % 64 // 4
    out = memory[start : start + rows * dim].reshape(rows, dim)
    rsmooth.sample_linf(out.shape, 0.1, seed=1, out=out)
    assert np.array_equal(out, rsmooth.sample_linf(out.shape, 0.1, seed=1))
    x = np.ones((1, dim), np.float32)
    Gaussian(0.5).perturb(x, copies=rows, seed=1, out=out[None])
    assert np.array_equal(out, Gaussian(0.5).perturb(x, copies=rows, seed=1)[0])


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), 0])
def test_no_draws_are_no_values(shape):
    assert rsmooth.sample_linf(shape, 1.0, seed=1).size == 0


def test_a_bare_number_of_draws_has_one_coordinate_each():
    assert np.array_equal(rsmooth.sample_linf(5, 1.0, seed=1), rsmooth.sample_linf((5, 1), 1.0, seed=1)[:, 0])


@pytest.mark.parametrize("mechanism", [Gaussian(0.3), Exponential(0.01), Laplace(0.3)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_perturb_adds_exactly_the_sampled_noise(mechanism, dtype):
    x = np.random.default_rng(0).random((4, 3, 10, 10)).astype(dtype)
    noisy = mechanism.perturb(x, copies=25, seed=9, first=3)
    assert noisy.dtype == x.dtype
    computed = "float64" if dtype == "float64" else "float32"
    z = mechanism.sample((100, 300), seed=9, first=3, dtype=computed).reshape(4, 25, 3, 10, 10)
    assert np.array_equal(noisy, (x[:, None].astype(computed) + z).astype(dtype))
    one = mechanism.perturb(x[2:3], copies=25, seed=9, first=53)
    assert np.array_equal(one[0], noisy[2])


def test_perturb_keeps_to_the_kind_of_its_input():
    import torch

    x = torch.rand(3, 8, 8)
    noisy = Gaussian(0.5).perturb(x, copies=4, seed=1)
    assert isinstance(noisy, torch.Tensor)
    assert np.array_equal(noisy.numpy(), Gaussian(0.5).perturb(x.numpy(), copies=4, seed=1))
    for dtype in (torch.float16, torch.bfloat16):
        half = x.to(dtype)
        z = torch.from_numpy(Gaussian(0.5).sample((12, 8, 8), seed=1)).reshape(3, 4, 8, 8)
        assert torch.equal(Gaussian(0.5).perturb(half, copies=4, seed=1), (half.float()[:, None] + z).to(dtype))


def sum_in_child(queue):
    queue.put(float(rsmooth.sample_linf((100, 3072), 0.1, seed=1).sum(dtype=np.float64)))


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_children_draw_after_the_parent_did(method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    here = float(rsmooth.sample_linf((100, 3072), 0.1, seed=1, threads=2).sum(dtype=np.float64))
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    child = context.Process(target=sum_in_child, args=(queue,))
    child.start()
    assert queue.get(timeout=60) == here
    child.join(timeout=60)
    assert child.exitcode == 0


def test_an_interrupt_ends_a_long_call_soon():
    code = """
        import numpy as np, rsmooth, time
        out = np.empty((40_000, 3072), np.float32)
        print("ready", flush=True)
        try:
            while True:
                rsmooth.sample_gaussian(out.shape, 1.0, out=out, threads=1)
        except KeyboardInterrupt:
            print("interrupted", time.monotonic(), flush=True)
    """
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "ready\n"
    time.sleep(0.5)
    sent = time.monotonic()
    child.send_signal(signal.SIGINT)
    word, when = child.communicate(timeout=60)[0].split()
    assert word == "interrupted"
    # Generous, for busy machines: the pieces between two looks at signals take a few milliseconds.
    assert float(when) - sent < 2


if __name__ == "__main__":
    # Writes the digests anew: only ever together with a new version of the layout.
    digests = json.loads(python(DIGEST).stdout)["digests"]
    (DATA / "noise_digests.json").write_text(json.dumps(digests, indent=1) + "\n")
