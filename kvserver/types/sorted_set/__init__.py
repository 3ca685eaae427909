"""Sorted sets: members, each with a score, in the order of their scores."""
