"""Strings: their commands, and what counts, cuts and compares them."""
