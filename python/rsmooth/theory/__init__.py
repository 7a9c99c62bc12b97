"""The theory of the paper: divergences, and the assessment of mechanisms."""
