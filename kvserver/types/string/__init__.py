"""Strings: their value, and the commands that store them, count with them, cut them, compare them and use their bits."""
