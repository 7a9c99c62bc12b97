"""What needs the Adversarial Robustness Toolbox is left out where that is not installed."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("art") else ["docs/art.md", "python/rsmooth/torch/art.py"]
