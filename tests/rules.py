"""Radii with their orders, for tests."""

from rsmooth.bounds import radii
from rsmooth.mechanisms.base import rule_of


def radius_of(mechanism, p1, p2, *, norm, dim, bound="renyi", grid=None, threads=None):
    return radii(rule_of(mechanism, norm=norm, dim=dim, bound=bound, grid=grid), p1, p2, threads=threads)
