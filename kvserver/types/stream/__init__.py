"""Streams: entries of fields and values in the order of their ids."""
