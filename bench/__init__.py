"""Benchmarks of kvserver, each started as ``python -m bench.NAME``; every one names its options under ``--help``."""
