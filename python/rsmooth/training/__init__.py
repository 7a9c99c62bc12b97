"""Training with the noise of a mechanism."""
