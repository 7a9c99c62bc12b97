"""What needs torch: smoothed classifiers, votes of a model, noise drawn ahead."""
