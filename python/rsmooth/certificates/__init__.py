"""Kinds of certificates: what is counted, and what the counts prove."""
