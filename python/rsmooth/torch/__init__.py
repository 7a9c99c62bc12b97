"""What needs torch: smoothed classifiers, models of every make, votes of a model, noise drawn ahead."""

from rsmooth.torch.models import numpy_model

__all__ = ["numpy_model"]
