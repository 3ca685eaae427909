"""Strings: their commands, and those that count with them, cut them, compare them and look at their bits."""
