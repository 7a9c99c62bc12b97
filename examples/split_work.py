"""Does work that is shared out give the same certificates?

Every draw has a name: the seed, the number of the example, the number of the draw. So examples may be certified in any
order, in batches of any size, and by as many machines as there are; what they find is put side by side. Here one
machine certifies all examples, and two others the even and the odd ones.

Run it: python examples/split_work.py [draws]
"""

from __future__ import annotations

import sys

import numpy as np
import torch

from rsmooth import Gaussian, SmoothedClassifier


def main(draws: int = 2000) -> None:
    """Certify twelve images at once and in two halves, and compare."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    smoothed = SmoothedClassifier(model, Gaussian(0.25), num_classes=10)
    images = torch.randint(0, 256, (12, 1, 8, 8), dtype=torch.uint8)

    whole = smoothed.certify(images, n=draws, norm=2, seed=7)
    counts = np.empty_like(whole.counts)
    for machine, batch_size in ((0, 500), (1, 64)):
        mine = np.arange(machine, len(images), 2)
        part = smoothed.certify(images[mine], n=draws, norm=2, seed=7, indices=mine, batch_size=batch_size)
        counts[mine] = part.counts
        print(f"machine {machine}: examples {', '.join(map(str, mine))}, {batch_size} copies at a time")
    print(f"the same votes: {np.array_equal(counts, whole.counts)}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
