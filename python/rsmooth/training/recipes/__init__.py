"""Training recipes: the loss of a step, one file each."""
