"""The data types, a folder each: its value and its commands."""
