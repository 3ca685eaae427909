"""The same store without a server, for a Python program that may wait for it."""
