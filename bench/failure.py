"""The parent of every reason for which a benchmark ends early.

Owns that one name, so that each command line can answer with one clear line and no traceback. Must never be raised
itself: what is raised says what went wrong.
"""


class BenchFailed(Exception):
    """A benchmark ends early. The message is one line for the person who started it."""
