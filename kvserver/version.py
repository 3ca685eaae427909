"""The version of this package, where both those who offer it and those who tell it find it."""

__version__ = "0.1.0"
