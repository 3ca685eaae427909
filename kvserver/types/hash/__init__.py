"""Hashes: fields with their values, and the times at which fields expire."""
