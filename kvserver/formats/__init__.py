"""The bytes that outlive a process: frames and their payloads, journal records, Redis's DUMP format.

Pure, both ways: nothing here reads or writes a file or a socket. Generators ask for bytes, and pause, instead.
"""
