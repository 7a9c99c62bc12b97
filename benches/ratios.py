"""Medians by name, and the ratios to print of them at the end of a run."""

MEDIANS = {}
RATIOS = []


def ratio(what, against, *, ours, theirs, at_least, ours_units=1, theirs_units=1):
    """Ask for a line of the table: how many times as fast as `theirs` `ours` is, per unit of work."""
    RATIOS.append((what, against, ours, theirs, at_least, ours_units, theirs_units))
