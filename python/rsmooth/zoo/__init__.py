"""Networks, checkpoints and data sets by name."""
