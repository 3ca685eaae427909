"""The benchmarks of kvserver, beside redis-server and others in the same run: `python -m bench --help`."""
