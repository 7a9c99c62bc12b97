"""Results, wherever they come from: read, compared, in tables."""
