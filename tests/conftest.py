"""Settings of the tests: one thread for torch, and no tests that need a CUDA device where there is none."""

import os

# Before torch is imported: the tests' networks are so small that starting threads costs several times their arithmetic.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest


def pytest_collection_modifyitems(items):
    needing = [item for item in items if item.get_closest_marker("gpu")]
    if not needing:
        return
    import torch

    if not torch.cuda.is_available():
        for item in needing:
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))
